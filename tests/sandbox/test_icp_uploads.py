"""Uploads to the canister stand-in, and the memories that are made of them."""

import hashlib
import sqlite3
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from icp_server import NS, Caller, IcpServerProcess, memory

from sandbox.content import Generated
from sandbox.icp.storage import DATABASE

NOT_FOUND = {"Err": {"NotFound": None}}
CHUNK = 1_500_000


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


def begun(owner: Caller, capsule: str, chunks: int, idem: str = "") -> int:
    session: int = owner.update("uploads_begin", capsule, chunks, idem or str(uuid.uuid4()))["Ok"]
    return session


def uploaded(owner: Caller, capsule: str, data: bytes) -> str:
    """The blob id of uploaded bytes."""
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    session = begun(owner, capsule, len(chunks))
    for index, chunk in enumerate(chunks):
        assert owner.put_chunk(session, index, chunk) == {"Ok": None}
    result = owner.update("uploads_finish", session, hashlib.sha256(data).digest(), len(data))
    blob_id: str = result["Ok"]["blob_id"]
    return blob_id


def base(data: bytes, **changes: Any) -> dict[str, Any]:
    fields = {
        "name": "photo.jpg",
        "mime_type": "image/jpeg",
        "bytes": len(data),
        "asset_type": {"Original": None},
        "sha256": [hashlib.sha256(data).digest()],
        "tags": ["tag"],
        "width": [640],
        "created_at": 5,
        "updated_at": 6,
    }
    absent = "url storage_key bucket asset_location description height deleted_at"
    absent += " processing_status processing_error"
    return {name: [] for name in absent.split()} | fields | changes


def asset_input(blob_id: str, data: bytes, **changes: Any) -> dict[str, Any]:
    details = {"dpi": [300], "color_space": [], "exif_data": [], "compression_ratio": [0.5]}
    image = {**details, "orientation": [1], "base": base(data, **changes)}
    return {"blob_id": blob_id, "metadata": {"Image": image}}


def metadata(**changes: Any) -> dict[str, Any]:
    absent = "date_of_memory file_created_at parent_folder_id deleted_at people_in_memory"
    absent += " location memory_notes created_by"
    fields = {
        "memory_type": {"Image": None},
        "title": ["Lake"],
        "description": ["Words"],
        "content_type": "image/jpeg",
        "created_at": 7,
        "updated_at": 8,
        "uploaded_at": 9,
        "tags": ["summer"],
        "database_storage_edges": [{"Icp": None}, {"Neon": None}],
        "shared_count": 0,
        "sharing_status": {"Public": None},
        "total_size": 0,
        "asset_count": 1,
    }
    return {name: [] for name in absent.split()} | fields | changes


def created(owner: Caller, capsule: str, idem: str, *inputs: dict[str, Any]) -> Any:
    method = "memories_create_with_internal_blobs"
    return owner.update(method, capsule, metadata(), list(inputs), idem)


def deleted(owner: Caller, memory_id: str, *, delete_assets: bool) -> Any:
    return owner.update("memories_delete", memory_id, delete_assets)


# --- sessions


@pytest.mark.parametrize("length", [1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_what_is_uploaded_in_chunks_can_be_read_in_chunks(
    owner: Caller, capsule: str, length: int
) -> None:
    data = Generated(f"upload {length}", length).read()
    blob_id = uploaded(owner, capsule, data)
    meta = owner.query("blob_get_meta", blob_id)["Ok"]
    assert meta["size"] == length
    chunks = [owner.chunk(blob_id, index) for index in range(meta["chunk_count"])]
    assert b"".join(chunks) == data


def test_finishing_tells_what_was_stored_and_can_be_repeated(owner: Caller, capsule: str) -> None:
    data = b"a photo"
    session = begun(owner, capsule, 1)
    owner.put_chunk(session, 0, data)
    digest = hashlib.sha256(data).digest()
    first = owner.update("uploads_finish", session, digest, len(data))["Ok"]
    assert (first["size"], bytes(first["checksum_sha256"][0])) == (len(data), digest)
    assert first["storage_backend"] == {"Icp": None}
    assert abs(first["uploaded_at"] - time.time_ns()) < 60 * NS
    assert owner.update("uploads_finish", session, digest, len(data))["Ok"] == first
    refused = owner.put_chunk(session, 0, data)["Err"]
    assert "finished" in refused["Conflict"]


def test_a_wrong_checksum_is_refused_and_the_session_lives_on(owner: Caller, capsule: str) -> None:
    session = begun(owner, capsule, 1)
    owner.put_chunk(session, 0, b"data")
    refused = owner.update("uploads_finish", session, b"\0" * 32, 4)["Err"]
    assert refused["InvalidArgument"].startswith("checksum_mismatch: ")
    digest = hashlib.sha256(b"data").digest()
    assert "Ok" in owner.update("uploads_finish", session, digest, 4)


@pytest.mark.parametrize("order", [(1, 0), (0, 1, 1)])
def test_chunks_that_do_not_arrive_in_order_once_break_the_checksum(
    owner: Caller, capsule: str, order: tuple[int, ...]
) -> None:
    chunks = (b"first", b"second")
    session = begun(owner, capsule, 2)
    for index in order:
        assert "Ok" in owner.put_chunk(session, index, chunks[index])
    whole = b"".join(chunks)
    arrived = sum(len(chunks[index]) for index in order)
    refused = owner.update("uploads_finish", session, hashlib.sha256(whole).digest(), arrived)
    assert refused["Err"]["InvalidArgument"].startswith("checksum_mismatch: ")


def test_a_wrong_length_and_a_missing_chunk_are_refused(owner: Caller, capsule: str) -> None:
    session = begun(owner, capsule, 2)
    owner.put_chunk(session, 0, b"data")
    digest = hashlib.sha256(b"data").digest()
    refused = owner.update("uploads_finish", session, digest, 4)["Err"]
    assert "missing chunks: 1 of 2" in refused["InvalidArgument"]
    session = begun(owner, capsule, 1)
    owner.put_chunk(session, 0, b"data")
    refused = owner.update("uploads_finish", session, digest, 5)["Err"]
    assert "size_mismatch" in refused["InvalidArgument"]


def test_chunks_that_cannot_be_are_refused(owner: Caller, capsule: str) -> None:
    for chunks in (0, 1_000_000):
        assert "InvalidArgument" in owner.update("uploads_begin", capsule, chunks, "i")["Err"]
    session = begun(owner, capsule, 1)
    for index, data in ((1, b"data"), (0, b"\0" * (CHUNK + 1))):
        refused = owner.put_chunk(session, index, data)
        assert "InvalidArgument" in refused["Err"]
    for unknown in (10**9, 2**64 - 1):
        assert owner.put_chunk(unknown, 0, b"") == NOT_FOUND


def test_a_session_is_its_beginners_and_ends_when_aborted(
    server: IcpServerProcess, owner: Caller
) -> None:
    other = Caller(server)
    session = begun(owner, server.capsule(owner, other), 1)
    assert other.update("uploads_abort", session) == {"Err": {"Unauthorized": None}}
    assert owner.update("uploads_abort", session) == {"Ok": None}
    assert owner.update("uploads_abort", session) == NOT_FOUND
    assert owner.put_chunk(session, 0, b"data") == NOT_FOUND


def test_beginning_twice_with_one_key_gives_one_session(owner: Caller, capsule: str) -> None:
    assert begun(owner, capsule, 1, "key") == begun(owner, capsule, 1, "key")


def test_a_caller_has_100_active_sessions_in_a_capsule(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    sessions = [begun(owner, capsule, 1) for _ in range(100)]
    refused = owner.update("uploads_begin", capsule, 1, "one too many")
    assert refused == {"Err": {"ResourceExhausted": None}}
    assert begun(owner, server.capsule(owner), 1)
    owner.update("uploads_abort", sessions[0])
    assert begun(owner, capsule, 1)


def test_a_session_expires_after_two_hours(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    session = begun(owner, capsule, 1)
    with sqlite3.connect(server.directory / DATABASE, timeout=10) as database:
        query = "UPDATE upload SET started_at = started_at - ? WHERE session = ?"
        database.execute(query, (7_201 * NS, session))
    assert owner.put_chunk(session, 0, b"data") == NOT_FOUND


def test_sessions_and_blobs_survive_a_restart(server: IcpServerProcess, owner: Caller) -> None:
    capsule = server.capsule(owner)
    blob_id = uploaded(owner, capsule, b"kept")
    session = begun(owner, capsule, 2)
    owner.put_chunk(session, 0, b"before ")
    server.kill()
    server.start()
    owner.put_chunk(session, 1, b"after")
    digest = hashlib.sha256(b"before after").digest()
    assert "Ok" in owner.update("uploads_finish", session, digest, 12)
    assert owner.chunk(blob_id, 0) == b"kept"


# --- memories


def test_a_memory_is_made_of_uploaded_blobs_as_it_was_described(
    owner: Caller, capsule: str
) -> None:
    data, idem = b"the bytes of a photo", str(uuid.uuid4())
    blob_id = uploaded(owner, capsule, data)
    assert created(owner, capsule, idem, asset_input(blob_id, data)) == {"Ok": idem}
    read = owner.query("memories_read", idem)["Ok"]
    assert read["metadata"]["title"] == ["Lake"]
    assert read["metadata"]["sharing_status"] == {"Public": None}
    assert read["metadata"]["database_storage_edges"] == [{"Icp": None}, {"Neon": None}]
    assert (read["metadata"]["created_at"], read["metadata"]["total_size"]) == (7, len(data))
    assert abs(read["metadata"]["uploaded_at"] - time.time_ns()) < 60 * NS
    (shown,) = read["blob_internal_assets"]
    assert shown["blob_ref"] == {"locator": blob_id, "len": 0, "hash": []}
    image = shown["metadata"]["Image"]
    assert (image["dpi"], image["compression_ratio"]) == ([300], [0.5])
    assert (image["base"]["width"], image["base"]["tags"]) == ([640], ["tag"])
    (header,) = owner.query("memories_list", capsule, [], [])["Ok"]["items"]
    link = header["assets"]["original"][0]
    assert link["etag"] == [hashlib.sha256(data).hexdigest()]


def test_what_is_declared_of_an_asset_is_believed(owner: Caller, capsule: str) -> None:
    idem = str(uuid.uuid4())
    blob_id = uploaded(owner, capsule, b"true bytes")
    lie = asset_input(blob_id, b"other bytes, and longer")
    assert created(owner, capsule, idem, lie) == {"Ok": idem}
    (header,) = owner.query("memories_list", capsule, [], [])["Ok"]["items"]
    assert header["assets"]["original"][0]["bytes"] == [23]
    assert owner.query("blob_get_meta", blob_id)["Ok"]["size"] == 10


def test_creating_twice_with_one_key_gives_one_memory(owner: Caller, capsule: str) -> None:
    blob_id = uploaded(owner, capsule, b"data")
    for idem in (str(uuid.uuid4()), "any text"):
        first = created(owner, capsule, idem, asset_input(blob_id, b"data"))
        assert created(owner, capsule, idem, asset_input(blob_id, b"data")) == first
    assert len(owner.query("memories_list", capsule, [], [])["Ok"]["items"]) == 2


def test_a_key_that_is_no_uuid_gets_an_id_that_is_one(owner: Caller, capsule: str) -> None:
    made = created(owner, capsule, "any text", asset_input(uploaded(owner, capsule, b"d"), b"d"))
    assert uuid.UUID(made["Ok"]).version == 4


def test_a_deleted_memory_can_be_created_again(owner: Caller, capsule: str) -> None:
    idem = str(uuid.uuid4())
    for _ in range(2):
        blob_id = uploaded(owner, capsule, b"data")
        assert created(owner, capsule, idem, asset_input(blob_id, b"data")) == {"Ok": idem}
        assert deleted(owner, idem, delete_assets=True) == {"Ok": None}
        assert owner.query("blob_get_meta", blob_id) == NOT_FOUND
    assert deleted(owner, idem, delete_assets=True) == NOT_FOUND


def test_a_memory_can_be_deleted_without_its_blobs(owner: Caller, capsule: str) -> None:
    idem, blob_id = str(uuid.uuid4()), uploaded(owner, capsule, b"data")
    created(owner, capsule, idem, asset_input(blob_id, b"data"))
    assert deleted(owner, idem, delete_assets=False) == {"Ok": None}
    assert "Ok" in owner.query("blob_get_meta", blob_id)


def test_a_uuid_that_another_capsule_holds_is_a_conflict(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    held = memory(server.capsule(owner))
    server.storage.add_memories([held])
    blob_id = uploaded(owner, capsule, b"data")
    refused = created(owner, capsule, held.id, asset_input(blob_id, b"data"))
    assert "already exists" in refused["Err"]["Conflict"]


def test_a_blob_must_be_there_and_in_the_same_capsule(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    elsewhere = uploaded(owner, server.capsule(owner), b"data")
    for blob_id in ("unknown", elsewhere):
        given = asset_input(blob_id, b"data")
        assert created(owner, capsule, str(uuid.uuid4()), given) == NOT_FOUND


def test_an_asset_is_added_once_per_key(
    server: IcpServerProcess, owner: Caller, capsule: str
) -> None:
    held = memory(capsule)
    server.storage.add_memories([held])
    given = asset_input(uploaded(owner, capsule, b"data"), b"data")
    first = owner.update("memories_add_asset", held.id, given, "key")
    assert owner.update("memories_add_asset", held.id, given, "key") == first
    assert owner.update("memories_add_asset", held.id, given, "other") != first
    read = owner.query("memories_read", held.id)["Ok"]
    assert len(read["blob_internal_assets"]) == 2
    assert read["metadata"]["updated_at"] > held.updated_at
    assert owner.update("memories_add_asset", "unknown", given, "key") == NOT_FOUND


def test_a_canister_may_give_ids_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = IcpServerProcess(tmp_path_factory.mktemp("icp"), "--own-ids")
    try:
        owner = Caller(server)
        capsule, idem = server.capsule(owner), str(uuid.uuid4())
        given = asset_input(uploaded(owner, capsule, b"data"), b"data")
        first = created(owner, capsule, idem, given)
        assert first["Ok"] != idem
        assert created(owner, capsule, idem, given) == first
    finally:
        server.close()
