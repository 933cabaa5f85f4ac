"""What the canister stand-in answers to queries, quirks included."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ic.candid import Types, encode
from ic.identity import Identity
from icp_server import LONG_AGO, Caller, IcpServerProcess, asset, memory

from sandbox.content import Generated, parse
from sandbox.icp.storage import StoredGallery, StoredMemory

NOT_FOUND = {"Err": {"NotFound": None}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpServerProcess]:
    running = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def owner(server: IcpServerProcess) -> Caller:
    return Caller(server)


@pytest.fixture
def capsule(server: IcpServerProcess, owner: Caller) -> str:
    return server.capsule(owner)


def added(server: IcpServerProcess, held: StoredMemory) -> StoredMemory:
    server.storage.add_memories([held])
    return held


def listed(caller: Caller, capsule: str, size: int = 100) -> list[dict[str, Any]]:
    """All pages of a listing."""
    items: list[dict[str, Any]] = []
    cursor: list[str] = []
    while True:
        page = caller.query("memories_list", capsule, cursor, [size])["Ok"]
        items += page["items"]
        if not page["next_cursor"]:
            return items
        cursor = page["next_cursor"]


# --- who may see what


def test_owners_controllers_and_the_subject_see_a_capsule_and_nobody_else_does(
    server: IcpServerProcess,
) -> None:
    subject, owner, controller, stranger = (Caller(server) for _ in range(4))
    capsule = server.capsule(subject, owners=(owner.name,), controllers=(controller.name,))
    held = added(server, memory(capsule, asset()))
    for caller in (subject, owner, controller):
        (header,) = caller.query("capsules_list")
        assert header["id"] == capsule
        assert header["subject"]["Principal"].bytes == subject.principal.bytes
        counts = [header[f"{name}_count"] for name in ("owner", "controller", "memory")]
        assert counts == [1, 1, 1]
        assert [item["id"] for item in listed(caller, capsule)] == [held.id]
    assert stranger.query("capsules_list") == []


def test_what_a_caller_may_not_read_looks_like_what_is_not_there(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    held = added(server, memory(capsule, asset()))
    gallery = StoredGallery(f"gallery of {capsule}", capsule, "Title", (), 1, 1)
    server.storage.add_galleries([gallery])
    locator, asset_id = held.assets[0].locator, held.assets[0].asset_id
    calls: list[tuple[Any, ...]] = [
        ("memories_list", capsule, [], []),
        ("memories_read", held.id),
        ("memories_list_assets", held.id),
        ("asset_get_by_id", held.id, asset_id),
        ("blob_get_meta", locator),
        ("blob_read_chunk", locator, 0),
        ("galleries_read", gallery.id),
    ]
    for stranger in (Caller(server), Caller(server, Identity(anonymous=True))):
        for call in calls:
            assert "Ok" in owner.query(*call)
            assert stranger.query(*call) == NOT_FOUND
        (ping,) = stranger.query("memories_ping", [held.id])["Ok"]
        assert not ping["metadata_present"]
        assert stranger.query("galleries_list") == []
    for update in (("memories_delete", held.id, True), ("uploads_begin", capsule, 1, "idem")):
        assert Caller(server).update(*update) == NOT_FOUND


def test_the_anonymous_caller_sees_nothing_even_where_it_is_an_owner(
    server: IcpServerProcess,
) -> None:
    anonymous = Caller(server, Identity(anonymous=True))
    capsule = server.capsule(anonymous)
    assert anonymous.query("capsules_list") == []
    assert anonymous.query("memories_list", capsule, [], []) == NOT_FOUND


# --- listing


@pytest.mark.parametrize(("limit", "size"), [([], 50), ([7], 7), ([100], 100), ([5000], 100)])
def test_a_page_has_50_items_unless_told_otherwise_and_never_more_than_100(
    server: IcpServerProcess, owner: Caller, capsule: str, limit: list[int], size: int
) -> None:
    server.storage.add_memories(memory(capsule) for _ in range(101))
    page = owner.query("memories_list", capsule, [], limit)["Ok"]
    assert len(page["items"]) == size
    assert page["next_cursor"] == [str(size)]


@pytest.mark.parametrize("size", [100, 50, 33])
def test_pages_together_are_all_memories_once_in_the_maps_own_order(
    server: IcpServerProcess, owner: Caller, capsule: str, size: int
) -> None:
    held = [memory(capsule) for _ in range(250)]
    server.storage.add_memories(held)
    ids = [item["id"] for item in listed(owner, capsule, size)]
    assert sorted(ids) == sorted(one.id for one in held)
    assert ids != sorted(ids)


def test_a_memory_deleted_between_two_pages_makes_another_one_skipped(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    server.storage.add_memories(memory(capsule) for _ in range(20))
    first = owner.query("memories_list", capsule, [], [10])["Ok"]
    server.storage.delete_memories([first["items"][0]["id"]])
    second = owner.query("memories_list", capsule, first["next_cursor"], [10])["Ok"]
    assert len(second["items"]) == 9
    assert second["next_cursor"] == []


@pytest.mark.parametrize("cursor", ["x", "-1", "", "1.5", "²", "9" * 100])
def test_a_cursor_that_is_no_number_is_refused(owner: Caller, capsule: str, cursor: str) -> None:
    answer = owner.query("memories_list", capsule, [cursor], [])
    assert "invalid cursor" in answer["Err"]["InvalidArgument"]


def test_a_cursor_beyond_the_end_gives_an_empty_page(owner: Caller, capsule: str) -> None:
    page = owner.query("memories_list", capsule, ["5000"], [])["Ok"]
    assert (page["items"], page["next_cursor"]) == ([], [])


def test_a_header_has_what_was_declared_of_the_original_and_of_its_derivatives(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    original = asset(bytes=77, sha256="ab" * 32)
    thumbnail = asset("inline", "Thumbnail", details={"base": {"width": 32, "height": 24}})
    held = added(
        server,
        memory(capsule, asset("external", "Display"), original, thumbnail, tags=("lake",)),
    )
    (header,) = listed(owner, capsule)
    links = header["assets"]
    assert links["original"][0]["asset_id"] == original.asset_id
    assert links["original"][0]["asset_kind"] == {"Original": None}
    assert (links["original"][0]["bytes"], links["original"][0]["etag"]) == ([77], ["ab" * 32])
    assert (links["thumbnail"][0]["width"], links["thumbnail"][0]["height"]) == ([32], [24])
    assert links["display"] == []
    assert header["size"] == sum(one.bytes for one in held.assets)
    assert (header["asset_count"], header["tags"], header["title"]) == (3, ["lake"], [held.title])
    assert (header["name"], header["memory_type"]) == (held.title, {"Image": None})
    assert header["database_storage_edges"] == [{"Icp": None}]


def test_a_memory_that_is_only_a_link_has_no_original_in_the_listing(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    added(server, memory(capsule, asset("external")))
    (header,) = listed(owner, capsule)
    assert (header["assets"]["original"], header["asset_count"]) == ([], 1)


# --- memories


def test_a_memory_is_read_whole_and_its_blob_reference_says_nothing_but_where(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    inline, internal = asset("inline", "Thumbnail"), asset()
    external = asset("external", "Display", location="VercelBlob")
    held = added(
        server,
        memory(
            capsule,
            inline,
            internal,
            external,
            description="Words",
            deleted_at=9,
            details={"people_in_memory": ["Anna"], "date_of_memory": 7},
        ),
    )
    read = owner.query("memories_read", held.id)["Ok"]
    assert (read["id"], read["capsule_id"]) == (held.id, capsule)
    metadata = read["metadata"]
    assert metadata["deleted_at"] == [9]
    assert metadata["people_in_memory"] == [["Anna"]]
    assert (metadata["date_of_memory"], metadata["description"]) == ([7], ["Words"])
    assert (metadata["asset_count"], metadata["uploaded_at"]) == (3, LONG_AGO)
    (shown,) = read["inline_assets"]
    assert bytes(shown["bytes"]) == parse(inline.body or "").read()
    (shown,) = read["blob_internal_assets"]
    assert shown["blob_ref"] == {"locator": internal.locator, "len": 0, "hash": []}
    base = shown["metadata"]["Image"]["base"]
    assert base["bytes"] == internal.bytes
    assert bytes(base["sha256"][0]).hex() == internal.sha256
    assert base["asset_type"] == {"Original": None}
    (shown,) = read["blob_external_assets"]
    assert (shown["location"], shown["url"]) == ({"VercelBlob": None}, [external.url])


@pytest.mark.parametrize("memory_type", ["Note", "Image", "Document", "Audio", "Video"])
def test_a_memory_may_be_of_any_type(
    server: IcpServerProcess, owner: Caller, capsule: str, memory_type: str
) -> None:
    held = added(server, memory(capsule, asset(), memory_type=memory_type))
    read = owner.query("memories_read", held.id)["Ok"]
    assert read["metadata"]["memory_type"] == {memory_type: None}
    assert list(read["blob_internal_assets"][0]["metadata"]) == [memory_type]


def test_an_id_may_be_any_text(server: IcpServerProcess, owner: Caller, capsule: str) -> None:
    held = added(server, memory(capsule, id=f"no uuid, for {capsule}: ü/?"))
    assert owner.query("memories_read", held.id)["Ok"]["id"] == held.id


def test_assets_are_listed_by_where_they_are(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    assets = asset("inline"), asset(), asset("external"), asset("internal", "Display")
    held = added(server, memory(capsule, *assets))
    answer = owner.query("memories_list_assets", held.id)["Ok"]
    assert answer["inline_assets"] == [assets[0].asset_id]
    assert answer["internal_assets"] == [assets[1].asset_id, assets[3].asset_id]
    assert answer["external_assets"] == [assets[2].asset_id]
    assert (answer["memory_id"], answer["total_count"]) == (held.id, 4)


def test_ping_says_that_the_asset_is_there_even_where_it_is_not(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    gone = added(server, memory(capsule, asset(body=None)))
    bare = added(server, memory(capsule))
    answers = owner.query("memories_ping", [gone.id, "unknown", bare.id])["Ok"]
    assert [ping["memory_id"] for ping in answers] == [gone.id, "unknown", bare.id]
    assert [ping["metadata_present"] for ping in answers] == [True, False, True]
    assert [ping["asset_present"] for ping in answers] == [True, False, True]
    assert owner.query("blob_get_meta", gone.assets[0].locator) == NOT_FOUND


def test_an_asset_is_got_by_its_id(server: IcpServerProcess, owner: Caller, capsule: str) -> None:
    inline, internal, external = asset("inline"), asset(), asset("external", sha256=None)
    held = added(server, memory(capsule, inline, internal, external))
    got = owner.query("asset_get_by_id", held.id, inline.asset_id)["Ok"]["Inline"]
    assert hashlib.sha256(bytes(got["bytes"])).hexdigest() == inline.sha256
    assert (got["content_type"], got["size"]) == ("image/jpeg", inline.bytes)
    got = owner.query("asset_get_by_id", held.id, internal.asset_id)["Ok"]["InternalBlob"]
    assert (got["blob_id"], got["size"]) == (internal.locator, internal.bytes)
    got = owner.query("asset_get_by_id", held.id, external.asset_id)["Ok"]["ExternalUrl"]
    assert (got["url"], got["sha256"]) == (external.url, [])
    assert owner.query("asset_get_by_id", held.id, "unknown") == NOT_FOUND


# --- blobs


@pytest.mark.parametrize("length", [0, 1, 1_499_999, 1_500_000, 1_500_001, 4_000_000])
def test_a_blob_is_read_in_chunks_whatever_its_asset_declares(
    server: IcpServerProcess, owner: Caller, capsule: str, length: int
) -> None:
    body = Generated("big", length, flips=(3,) if length else ())
    one = asset(body=body.describe(), bytes=1, sha256="00" * 32)
    added(server, memory(capsule, one))
    meta = owner.query("blob_get_meta", one.locator)["Ok"]
    assert meta == {"size": length, "chunk_count": -(-length // 1_500_000)}
    digest = hashlib.sha256()
    for index in range(meta["chunk_count"]):
        digest.update(owner.chunk(one.locator or "", index))
    assert digest.hexdigest() == body.sha256()
    assert owner.query("blob_read_chunk", one.locator, meta["chunk_count"]) == NOT_FOUND


def test_damage_done_by_another_process_is_seen_at_once(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    one = asset()
    held = added(server, memory(capsule, one))
    assert owner.query("blob_get_meta", one.locator)["Ok"]["size"] == one.bytes
    shorter = replace(one, body=Generated(one.asset_id, 10).describe())
    server.storage.replace_memory(replace(held, assets=(shorter,)))
    assert owner.query("blob_get_meta", one.locator)["Ok"]["size"] == 10


# --- galleries and the rest


def test_galleries_are_listed_and_read_with_their_items_in_order(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    items = (("b", "Video", 0, None), ("a", "Image", 1, "At the lake"))
    gallery = StoredGallery(f"gallery of {capsule}", capsule, "Summer", items, 1, 2)
    server.storage.add_galleries([gallery])
    headers = {header["id"]: header for header in owner.query("galleries_list")}
    assert headers[gallery.id]["name"] == "Summer"
    assert headers[gallery.id]["memory_count"] == 2
    read = owner.query("galleries_read", gallery.id)["Ok"]
    assert [item["memory_id"] for item in read["items"]] == ["b", "a"]
    assert [item["caption"] for item in read["items"]] == [[], ["At the lake"]]
    assert read["items"][0]["memory_type"] == {"Video": None}
    assert owner.query("galleries_read", "unknown") == NOT_FOUND


def test_the_upload_configuration_can_be_asked_for(owner: Caller) -> None:
    config = owner.query("upload_config")
    assert config["chunk_size"] == 1_500_000
    assert config["inline_max"] < config["chunk_size"]


def test_an_older_client_may_leave_out_the_last_arguments(owner: Caller, capsule: str) -> None:
    argument = encode([{"type": Types.Text, "value": capsule}])
    assert owner.answer("memories_list", argument)["status"] == "replied"
