"""The Internet Computer store against its stand-in: listing, looking up, reading, and what fails."""

import asyncio
import hashlib
import tracemalloc
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import stamina
from icp_process import (
    CANISTER_ID,
    LONG_AGO,
    PEM,
    STRANGER_PEM,
    IcpProcess,
    asset,
    external,
    free_port,
    inline,
    internal,
    new_memory,
)

from checks.columns import ICP_INVENTORY
from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    ObjectChangedError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
)
from checks.model import Artifact, Backend, StoreState
from checks.normal import icp_location
from sandbox.content import Generated
from sandbox.icp.interface import methods
from tasks.settings import MAINNET_ROOT_KEY
from tasks.stores.icp import IcpStore, listing, reading
from tasks.stores.protocol import ListingReport, Store

CHUNK = 1_500_000


@pytest.fixture
async def store(icp: IcpProcess) -> AsyncIterator[IcpStore]:
    opened = icp.store()
    yield opened
    await opened.aclose()


@pytest.fixture
def impatient() -> Iterator[None]:
    """Three attempts, without waiting in between."""
    with stamina.set_testing(True, attempts=3):
        yield


async def listed(store: IcpStore) -> tuple[list[dict[str, Any]], ListingReport]:
    report = ListingReport(StoreState.INCOMPLETE)
    rows = [row async for batch in store.list_batches(report) for row in batch]
    return rows, report


def blob_meta(size: int, chunks: int) -> bytes:
    """What ``blob_get_meta`` would answer, in Candid."""
    return methods()["blob_get_meta"].write(("Ok", {"size": size, "chunk_count": chunks}))


def fill(icp: IcpProcess, count: int) -> tuple[str, set[str]]:
    """A capsule with so many memories."""
    capsule = icp.capsule()
    memories = [new_memory(capsule, inline(10)[0]) for _ in range(count)]
    icp.storage.add_memories(memories)
    return capsule, {memory.id for memory in memories}


# Who it is ---------------------------------------------------------------------------------------


async def test_it_is_a_store_and_its_identity_is_the_canister(store: IcpStore) -> None:
    as_protocol: Store = store
    assert as_protocol.backend is Backend.ICP
    assert await store.identity() == CANISTER_ID


async def test_the_canisters_interface_is_the_one_needed(store: IcpStore) -> None:
    await store.check_interface()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"canister_id": None}, "CANISTER_ID_BACKEND is not set"),
        ({"canister_id": "ryjl3-tyaaa-aaaaa-aaaba-caj"}, "CANISTER_ID_BACKEND is not usable"),
        ({"ic_root_key": "00"}, "IC_ROOT_KEY is not usable"),
        ({"identity_pem": "-----BEGIN nonsense"}, "IC_IDENTITY_PEM could not be read"),
        ({"identity_pem": "/no/such/file"}, "No such file"),
    ],
)
def test_a_setting_that_is_not_usable_is_named(
    icp: IcpProcess, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        icp.store(**changes)


async def test_a_local_replica_may_be_asked_for_its_root_key(icp: IcpProcess) -> None:
    store = icp.store(ic_root_key="fetch")
    assert await store.identity() == CANISTER_ID
    await store.aclose()


async def test_the_mainnets_root_key_does_not_vouch_for_the_stand_in(icp: IcpProcess) -> None:
    store = icp.store(ic_root_key=MAINNET_ROOT_KEY)
    with pytest.raises(StoreError, match="signature does not hold"):
        await store.identity()
    await store.aclose()


# Listing -----------------------------------------------------------------------------------------


async def test_a_listing_has_every_memory_once_with_the_inventorys_columns(
    icp: IcpProcess, store: IcpStore
) -> None:
    first, ids = fill(icp, 250)
    second, more = fill(icp, 30)
    rows, report = await listed(store)
    assert sorted(row["memory_id"] for row in rows) == sorted(ids | more)
    assert {row["capsule_id"] for row in rows} == {first, second}
    assert set(rows[0]) == set(ICP_INVENTORY.names) - {"key_hi", "key_lo"}
    assert report.state is StoreState.COMPLETE
    assert report.objects == 280
    assert report.bytes == 2800
    assert report.requests >= 5
    assert report.unknown_parts == {}


async def test_a_row_says_what_the_uploader_declared_of_the_original(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    thumbnail, _ = inline(5, asset_type="Thumbnail")
    original, content = internal(70)
    memory = icp.memory(capsule, thumbnail, original, memory_type="Video")
    [row], _ = await listed(store)
    assert row["memory_id"] == memory.id
    assert row["memory_type"] == "video"
    assert row["asset_there"] is True
    assert row["size"] == 70
    assert row["declared_sha256"] == hashlib.sha256(content).hexdigest()
    assert row["version"] == str(memory.updated_at)
    assert row["created_at"].timestamp() == LONG_AGO // 10**9
    assert row["written_at"].timestamp() == LONG_AGO // 10**9 + 5


async def test_links_thumbnails_and_nothing_are_no_asset(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    icp.memory(capsule, external())
    icp.memory(capsule, inline(5, asset_type="Thumbnail")[0])
    icp.memory(capsule)
    rows, _ = await listed(store)
    assert [row["asset_there"] for row in rows] == [False] * 3
    assert [row["size"] for row in rows] == [None] * 3


async def test_absurd_times_sizes_and_hashes_do_not_fail_a_listing(
    icp: IcpProcess, store: IcpStore
) -> None:
    odd = replace(inline(5)[0], bytes=2**64 - 1, sha256="ab" * 32)
    icp.memory(icp.capsule(), odd, created_at=2**64 - 1, updated_at=2**64 - 1)
    [row], report = await listed(store)
    assert row["size"] is None
    assert row["created_at"].year == 2554
    assert row["version"] == str(2**64 - 1)
    assert report.state is StoreState.COMPLETE


async def test_an_item_that_comes_twice_is_listed_once(icp: IcpProcess, store: IcpStore) -> None:
    _, ids = fill(icp, 250)
    icp.fault("duplicate_page", None, None, canister_method="memories_list")
    rows, report = await listed(store)
    assert sorted(row["memory_id"] for row in rows) == sorted(ids)
    assert report.state is StoreState.COMPLETE


async def test_an_item_that_was_skipped_is_found_in_the_next_pass(
    icp: IcpProcess, store: IcpStore
) -> None:
    _, ids = fill(icp, 250)
    icp.fault("drop_item", 7, 2, canister_method="memories_list")
    rows, report = await listed(store)
    assert sorted(row["memory_id"] for row in rows) == sorted(ids)
    assert report.state is StoreState.COMPLETE


async def test_a_capsule_of_which_items_never_come_is_unknown(
    icp: IcpProcess, store: IcpStore
) -> None:
    whole, few = fill(icp, 3)
    capsule, _ = fill(icp, 150)
    icp.fault("drop_item", 99, None, canister_method="memories_list")
    rows, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "149 of its 150" in report.unknown_parts[capsule]
    assert whole not in report.unknown_parts
    assert few <= {row["memory_id"] for row in rows}


async def test_a_listing_that_comes_back_to_a_cursor_ends_as_incomplete(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, _ = fill(icp, 250)
    icp.fault("repeat_cursor", None, None, canister_method="memories_list")
    _, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "cursor" in report.unknown_parts[capsule]


async def test_a_stale_listing_is_not_taken_for_the_whole(icp: IcpProcess, store: IcpStore) -> None:
    capsule, _ = fill(icp, 5)
    icp.fault("stale_list", 3600, None, canister_method="memories_list")
    _, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "0 of its 5" in report.unknown_parts[capsule]


@pytest.mark.usefixtures("impatient")
async def test_what_passes_is_tried_again(icp: IcpProcess, store: IcpStore) -> None:
    _, ids = fill(icp, 150)
    icp.fault("status", 503, 1, canister_method="memories_list")
    icp.fault("truncate", 200, 1, canister_method="memories_list")
    icp.fault("status", {"status": 429, "headers": {"retry-after": "0"}}, 1, path_regex="query")
    rows, report = await listed(store)
    assert {row["memory_id"] for row in rows} == ids
    assert report.state is StoreState.COMPLETE


@pytest.mark.usefixtures("impatient")
async def test_a_page_that_never_comes_makes_its_capsule_unknown(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, _ = fill(icp, 150)
    icp.fault("status", 500, None, canister_method="memories_list")
    _, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "answered 500" in report.unknown_parts[capsule]
    assert capsule in (report.detail or "")


async def test_a_page_whose_bits_were_turned_over_is_not_believed(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, _ = fill(icp, 150)
    icp.fault("flip_bit", 8 * 5000, None, canister_method="memories_list")
    rows, report = await listed(store)
    assert rows == []
    assert report.state is StoreState.INCOMPLETE
    assert "does not hold" in report.unknown_parts[capsule]


async def test_a_refusal_that_looks_like_absence_is_unknown(icp: IcpProcess) -> None:
    mine, ids = fill(icp, 3)
    theirs = icp.capsule(pem=STRANGER_PEM)
    store = icp.store(known_capsules=[mine, theirs, "capsule-gone"])
    rows, report = await listed(store)
    assert {row["memory_id"] for row in rows} == ids
    assert report.state is StoreState.COMPLETE
    assert set(report.unknown_parts) == {theirs, "capsule-gone"}
    await store.aclose()


async def test_a_capsule_that_is_known_to_be_gone_holds_nothing_once_that_is_certified(
    icp: IcpProcess,
) -> None:
    mine, ids = fill(icp, 3)
    store = icp.store(
        known_capsules=[mine, "capsule-gone", "capsule-other"],
        icp_gone_capsules=(mine, "capsule-gone"),
    )
    rows, report = await listed(store)
    assert {row["memory_id"] for row in rows} == ids
    assert set(report.unknown_parts) == {"capsule-other"}
    assert report.detail == "certified to be gone: capsule-gone"
    assert await store.look_up(icp_location("capsule-gone", "a")) is None
    with pytest.raises(AccessRefusedError):
        await store.look_up(icp_location("capsule-other", "a"))
    await store.aclose()


async def test_a_capsule_whose_end_nobody_certifies_is_unknown_whatever_a_person_says(
    icp: IcpProcess,
) -> None:
    mine, _ = fill(icp, 3)
    store = icp.store(known_capsules=[mine, "capsule-gone"], icp_gone_capsules=("capsule-gone",))
    refusal = {"err": "Unauthorized"}
    icp.fault("answer", refusal, None, canister_method="memories_list", path_regex="/call$")
    _, report = await listed(store)
    assert "did not certify" in report.unknown_parts["capsule-gone"]
    await store.aclose()
    hidden = icp.store(known_capsules=[mine], icp_gone_capsules=(mine,))
    icp.no_faults()
    none = methods()["capsules_list"].write([]).hex()
    icp.fault("answer", {"hex": none}, None, canister_method="capsules_list")
    _, report = await listed(hidden)
    assert "answers for it" in report.unknown_parts[mine]
    await hidden.aclose()


@pytest.mark.parametrize("pem", [STRANGER_PEM, None])
@pytest.mark.parametrize("ledger_knows", [True, False])
async def test_whoever_sees_no_capsule_lists_nothing_that_proves_absence(
    icp: IcpProcess, pem: str | None, *, ledger_knows: bool
) -> None:
    capsule, _ = fill(icp, 3)
    known = {capsule} if ledger_knows else set()
    store = icp.store(known_capsules=known, identity_pem=pem)
    rows, report = await listed(store)
    assert rows == []
    assert report.state is StoreState.INCOMPLETE
    assert set(report.unknown_parts) == known
    assert "IC_IDENTITY_PEM" in (report.detail or "")
    await store.aclose()


@pytest.mark.usefixtures("impatient")
async def test_where_nothing_answers_the_listing_is_unreachable(icp: IcpProcess) -> None:
    store = icp.store(ic_url=f"http://127.0.0.1:{free_port()}", known_capsules=["capsule-1"])
    rows, report = await listed(store)
    assert rows == []
    assert report.state is StoreState.UNREACHABLE
    assert "did not answer" in (report.detail or "")
    assert set(report.unknown_parts) == {"capsule-1"}
    with pytest.raises(StoreUnreachableError):
        await store.look_up(icp_location("capsule-1", "a"))
    await store.aclose()


async def test_a_canister_that_invents_memories_for_ever_is_given_up(
    icp: IcpProcess, store: IcpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SPARE_PAGES_IN_ALL", 12)
    fill(icp, 5)
    icp.fault("fresh_cursor", 3, None, canister_method="memories_list")
    icp.fault("wrong_count", 2**60, None, canister_method="capsules_list")
    rows, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert "many times as many pages" in (report.detail or "")
    assert len(rows) < 12 * 9


async def test_a_listing_may_be_left_early(icp: IcpProcess, store: IcpStore) -> None:
    for _ in range(4):
        fill(icp, 150)
    report = ListingReport(StoreState.INCOMPLETE)
    batches = store.list_batches(report)
    async for _ in batches:
        break
    await batches.aclose()  # type: ignore[attr-defined]
    assert report.state is StoreState.INCOMPLETE
    assert len(asyncio.all_tasks()) == 1


# Looking up --------------------------------------------------------------------------------------


async def test_a_memory_and_its_asset_are_looked_up_apart(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    original, content = internal(70, bytes=99)
    memory = icp.memory(capsule, inline(5, asset_type="Thumbnail")[0], original)
    location = icp_location(capsule, memory.id)
    found = await store.look_up_memory(location)
    assert found is not None
    assert (found.location, found.size, found.is_link) == (location, None, False)
    assert found.version == str(memory.updated_at)
    there = await store.look_up_asset(location)
    assert there is not None
    assert there.size == len(content)  # the truth, not the 99 that were declared
    assert there.declared_sha256 == original.sha256
    assert there.content_type == "image/jpeg"
    assert await store.look_up(location) == there


async def test_a_blob_that_is_gone_is_an_absent_asset_of_a_present_memory(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    gone = replace(internal(70)[0], body=None)
    location = icp_location(capsule, icp.memory(capsule, gone).id)
    assert await store.look_up_memory(location) is not None
    assert await store.look_up_asset(location) is None
    assert await store.read(location) is None
    assert await store.look_up(location, Artifact.METADATA) is not None
    assert await store.look_up(location, Artifact.ASSET) is None


async def test_a_link_is_no_asset_and_is_told_apart_from_nothing(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    url = "https://abcdef123.public.blob.vercel-storage.com/images/lake.jpg"
    link, empty = icp.memory(capsule, external(url=url)), icp.memory(capsule)
    found = await store.look_up_asset(icp_location(capsule, link.id))
    assert found is not None
    assert found.is_link
    assert found.size is None
    assert await store.read(icp_location(capsule, link.id)) is None
    assert await store.look_up_asset(icp_location(capsule, empty.id)) is None
    links = await store.external_links([link.id, empty.id])
    assert links == [(link.id, "VercelBlob", "images/lake.jpg", url)]


async def test_a_memory_on_its_way_out_is_absent(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, inline()[0], deleted_at=LONG_AGO)
    location = icp_location(capsule, memory.id)
    assert await store.look_up(location) is None
    assert await store.look_up_memory(location) is None
    assert await store.look_up_asset(location) is None
    assert await store.read(location) is None


async def test_not_found_is_absence_only_in_a_capsule_that_can_be_read(
    icp: IcpProcess, store: IcpStore
) -> None:
    mine, theirs = icp.capsule(), icp.capsule(pem=STRANGER_PEM)
    there = icp.memory(theirs, inline()[0])
    assert await store.look_up(icp_location(mine, str(uuid.uuid4()))) is None
    for memory_id in (there.id, str(uuid.uuid4())):
        for ask in (store.look_up, store.look_up_asset, store.look_up_memory, store.read):
            with pytest.raises(AccessRefusedError, match="may not read capsule"):
                await ask(icp_location(theirs, memory_id))


async def test_a_bare_id_is_absent_only_where_every_known_capsule_can_be_read(
    icp: IcpProcess,
) -> None:
    mine, theirs = icp.capsule(), icp.capsule(pem=STRANGER_PEM)
    memory = icp.memory(mine, inline()[0])
    store = icp.store(known_capsules=[mine])
    blind = icp.store(known_capsules=[mine, theirs])
    nobody = icp.store(identity_pem=None)
    assert await store.look_up(memory.id) is not None
    assert await store.look_up(str(uuid.uuid4())) is None
    for other in (blind, nobody):
        with pytest.raises(AccessRefusedError):
            await other.look_up(str(uuid.uuid4()))
    for opened in (store, blind, nobody):
        await opened.aclose()


async def test_a_location_of_another_kind_is_refused(store: IcpStore) -> None:
    with pytest.raises(StoreError, match="names no memory"):
        await store.look_up("https://example.com/a/b")


async def test_a_memory_in_another_capsule_than_its_location_says_is_found_where_it_is(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, other = icp.capsule(), icp.capsule()
    memory = icp.memory(capsule, inline()[0])
    found = await store.look_up(icp_location(other, memory.id))
    assert found is not None
    assert found.location == icp_location(capsule, memory.id)


# Reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 30_000])
async def test_inline_bytes_are_hashed(icp: IcpProcess, store: IcpStore, length: int) -> None:
    capsule = icp.capsule()
    original, content = inline(length)
    memory = icp.memory(capsule, original)
    found = await store.read(icp_location(capsule, memory.id))
    assert found is not None
    assert found.size == length
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert found.version == str(memory.updated_at)


@pytest.mark.parametrize("length", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7])
async def test_a_blob_is_hashed_from_its_chunks_in_order(
    icp: IcpProcess, store: IcpStore, length: int
) -> None:
    capsule = icp.capsule()
    original, content = internal(length)
    memory = icp.memory(capsule, original)
    found = await store.read(icp_location(capsule, memory.id))
    assert found is not None
    assert found.size == length
    assert found.sha256 == hashlib.sha256(content).hexdigest()


async def test_what_is_read_are_the_bytes_and_not_what_was_declared(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    good = Generated("lake", 2 * CHUNK)
    rotten = Generated("lake", 2 * CHUNK, flips=(12_345_678,))
    memory = icp.memory(capsule, asset("internal", rotten.describe(), good.read()))
    found = await store.read(icp_location(capsule, memory.id))
    assert found is not None
    assert found.sha256 == rotten.sha256() != good.sha256()


@pytest.mark.usefixtures("impatient")
async def test_a_chunk_that_was_damaged_on_its_way_is_not_hashed(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, internal(2 * CHUNK)[0])
    icp.fault("flip_bit", 8 * 1000, 1, canister_method="blob_read_chunk")
    with pytest.raises(StoreError, match="does not hold"):
        await store.read(icp_location(capsule, memory.id))


@pytest.mark.usefixtures("impatient")
async def test_a_read_that_is_cut_short_is_taken_up_again(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    original, content = internal(3 * CHUNK)
    memory = icp.memory(capsule, original)
    icp.fault("truncate", 1000, 2, canister_method="blob_read_chunk")
    found = await store.read(icp_location(capsule, memory.id))
    assert found is not None
    assert found.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("shorter", [False, True])
async def test_a_memory_written_while_it_is_read_has_changed(
    icp: IcpProcess, store: IcpStore, *, shorter: bool
) -> None:
    capsule = icp.capsule()
    original, _ = internal(3 * CHUNK)
    memory = icp.memory(capsule, original)
    icp.fault("delay", 400, None, canister_method="blob_read_chunk")
    reading = asyncio.create_task(store.read(icp_location(capsule, memory.id)))
    await asyncio.sleep(0.2)
    body = Generated("new", CHUNK).describe() if shorter else original.body
    written = replace(
        memory, updated_at=memory.updated_at + 1, assets=(replace(original, body=body),)
    )
    icp.storage.replace_memory(written)
    with pytest.raises(ObjectChangedError, match="read it again"):
        await reading


@pytest.mark.usefixtures("impatient")
async def test_an_asset_whose_chunks_come_too_slowly_is_given_up(
    icp: IcpProcess, store: IcpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, internal(3 * CHUNK)[0])
    monkeypatch.setattr(reading, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(reading, "LOWEST_SPEED", 100 * CHUNK)
    icp.fault("delay", 400, None, canister_method="blob_read_chunk")
    with pytest.raises(StoreUnreachableError, match="a second; it was given up"):
        await store.read(icp_location(capsule, memory.id))
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("size", [2**40 + 1, 2**63, 2**64 - 1])
async def test_a_blob_that_no_canister_can_hold_is_no_size(
    icp: IcpProcess, store: IcpStore, size: int
) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, internal(70)[0])
    icp.fault("answer", {"hex": blob_meta(size, 5).hex()}, None, canister_method="blob_get_meta")
    for ask in (store.look_up, store.read):
        with pytest.raises(MalformedAnswerError, match="no canister holds that"):
            await ask(icp_location(capsule, memory.id))


async def test_a_blob_in_ever_so_many_chunks_costs_no_memory_and_no_end(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, internal(70)[0])
    many = blob_meta(2**40, 2**32 - 1)
    icp.fault("answer", {"hex": many.hex()}, None, canister_method="blob_get_meta")
    with pytest.raises(MalformedAnswerError, match="chunk 1 of 4294967295"):
        await store.read(icp_location(capsule, memory.id))


async def test_reading_a_large_asset_holds_a_few_of_its_chunks(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, internal(30 * CHUNK)[0])
    await store.look_up(icp_location(capsule, memory.id))  # what is made once is made now
    tracemalloc.start()
    found = await store.read(icp_location(capsule, memory.id))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert found.size == 30 * CHUNK
    assert peak < 15 * CHUNK  # two on their way, each in a few forms


async def test_many_memories_are_read_at_the_same_time(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    memories = [icp.memory(capsule, internal(CHUNK + 1)[0]) for _ in range(12)]
    found = await asyncio.gather(*(store.read(icp_location(capsule, m.id)) for m in memories))
    assert [f.sha256 if f else None for f in found] == [m.assets[0].sha256 for m in memories]


async def test_a_malformed_answer_is_said_to_be_one(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    icp.fault("status", {"status": 200, "body": "<html>"}, 1, canister_method="memories_read")
    with pytest.raises(MalformedAnswerError):
        await store.look_up(icp_location(capsule, str(uuid.uuid4())))


assert PEM != STRANGER_PEM
