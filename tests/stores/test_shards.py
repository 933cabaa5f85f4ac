"""Listings cut into shards: together what one listing gives, and never less without a word."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from blob_process import BlobProcess
from icp_process import IcpProcess, free_port, inline, new_memory

from checks.columns import BLOB_INVENTORY
from checks.errors import StoreError
from checks.model import StoreState
from tasks.inventory import as_one, spool
from tasks.partitions import PartitionWriter, merge, read_partition, rows_in
from tasks.stores.blob import BlobStore, listing
from tasks.stores.icp import IcpStore
from tasks.stores.protocol import ListingReport, Shard, Store
from tasks.stores.side_by_side import merged

pytestmark = pytest.mark.usefixtures("no_waiting")
#: More objects than that a store is cut.
EXPECTED = 1_000
NAMES = [
    "images/1",
    "images/2",
    "images/3",
    "images/a/1",
    "images2/1",
    "notes/1",
    "root",
    "z/y/x/1",
]


@pytest.fixture
async def capsules(icp: IcpProcess) -> AsyncIterator[tuple[IcpStore, dict[str, int]]]:
    """A canister with four capsules, and how many memories each has."""
    held = {}
    for count in (7, 1, 4, 0):
        capsule = icp.capsule()
        icp.storage.add_memories([new_memory(capsule, inline(10)[0]) for _ in range(count)])
        held[capsule] = count
    store = icp.store(known_capsules=[*held, "capsule-gone"])
    yield store, held
    await store.aclose()


@pytest.fixture
def easily_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pages are enough, as many as there are folders."""
    monkeypatch.setattr(listing, "FEWEST_PAGES", 1)
    monkeypatch.setattr(listing, "PAGES_PER_FOLDER", 0)
    monkeypatch.setattr(
        "tasks.stores.blob.asking.list_page.__kwdefaults__",
        {"limit": 5, "prefix": "", "folded": False, "on_attempt": lambda: None},
    )


def fill(blobs: BlobProcess, names: list[str] = NAMES) -> None:
    for name in names:
        blobs.put(name, name.encode())


async def listed(
    store: Store, shard: Shard | None = None, expected: int = EXPECTED
) -> tuple[list[dict[str, Any]], ListingReport]:
    report = ListingReport(StoreState.INCOMPLETE, expected=expected)
    rows = [row async for batch in store.list_batches(report, shard) for row in batch]
    return rows, report


@pytest.mark.usefixtures("easily_cut")
async def test_a_large_store_is_listed_by_its_folders(blobs: BlobProcess, store: BlobStore) -> None:
    fill(blobs)
    rows, report = await listed(store)
    assert sorted(row["location"] for row in rows) == NAMES
    assert (report.state, report.objects) == (StoreState.COMPLETE, len(NAMES))
    assert report.bytes == sum(map(len, NAMES))
    # The folders, one page for each of the four, and the objects beside them.
    assert report.requests == 6


async def test_a_small_store_is_listed_in_one(blobs: BlobProcess, store: BlobStore) -> None:
    fill(blobs)
    rows, report = await listed(store)
    assert (len(rows), report.requests) == (len(NAMES), 1)
    assert await store.shards(4, EXPECTED) == []


@pytest.mark.usefixtures("easily_cut")
@pytest.mark.parametrize("number", [2, 3, 99])
async def test_the_blob_stores_shards_are_all_of_it_and_share_nothing(
    blobs: BlobProcess, store: BlobStore, number: int
) -> None:
    fill(blobs)
    shards = await store.shards(number, EXPECTED)
    assert len(shards) == min(number, 4)
    assert len({shard.id for shard in shards}) == len(shards)
    names: Counter[str] = Counter()
    for shard in shards:
        rows, report = await listed(store, shard)
        assert report.state is StoreState.COMPLETE
        names.update(row["location"] for row in rows)
    assert names == Counter(NAMES)


@pytest.mark.usefixtures("easily_cut")
async def test_folders_are_looked_for_where_they_begin(
    blobs: BlobProcess, store: BlobStore
) -> None:
    names = ["app/2024/1", "app/2025/1", "app/2025/a/1", "app/direct", "root"]
    fill(blobs, names)
    shards = await store.shards(2, EXPECTED)
    assert [shard.names for shard in shards] == [("app/2024/",), ("app/2025/",)]
    assert shards[0].levels == ("", "app/")
    rows, report = await listed(store)
    assert sorted(row["location"] for row in rows) == names
    assert report.state is StoreState.COMPLETE


async def test_where_folders_would_cost_more_pages_than_they_save_nothing_is_cut(
    blobs: BlobProcess, store: BlobStore
) -> None:
    names = [f"folder{number}/1" for number in range(8)]
    fill(blobs, names)
    enough = 1_000 * listing.PAGES_PER_FOLDER * len(names)
    assert enough > 1_000 * listing.FEWEST_PAGES
    assert len(await store.shards(99, enough)) == len(names)
    assert await store.shards(99, enough - 1_000) == []
    assert await store.shards(1, enough) == []
    blobs.delete(*names[2:])
    assert len(await store.shards(99, 1_000 * listing.FEWEST_PAGES)) == 2
    assert await store.shards(99, 1_000 * (listing.FEWEST_PAGES - 1)) == []


@pytest.mark.usefixtures("easily_cut")
@pytest.mark.parametrize("folders", [["no-slash"], ["a//"], ["a/b/"], ["/a"], ["images/", "x"]])
async def test_folders_that_can_be_none_are_not_relied_on(
    blobs: BlobProcess, store: BlobStore, folders: list[str]
) -> None:
    fill(blobs)
    body = {"blobs": [], "hasMore": False, "folders": folders}
    blobs.fault("status", {"status": 200, "body": body}, method="GET", path="mode=folded")
    rows, report = await listed(store)
    assert sorted(row["location"] for row in rows) == NAMES
    assert report.state is StoreState.COMPLETE


@pytest.mark.usefixtures("easily_cut")
@pytest.mark.parametrize("folders", [7, [7], "images/", {"images/": 1}])
async def test_an_answer_that_makes_no_sense_leaves_the_listing_incomplete(
    blobs: BlobProcess, store: BlobStore, folders: Any
) -> None:
    fill(blobs)
    body = {"blobs": [], "hasMore": False, "folders": folders}
    blobs.fault("status", {"status": 200, "body": body}, method="GET", path="mode=folded")
    rows, report = await listed(store)
    assert (rows, report.state) == ([], StoreState.INCOMPLETE)
    assert "folders" in (report.detail or "")


@pytest.mark.usefixtures("easily_cut")
@pytest.mark.parametrize("prefix", ["prefix=notes", "mode=folded"])
async def test_what_lies_elsewhere_is_not_taken_for_what_was_asked_for(
    blobs: BlobProcess, store: BlobStore, prefix: str
) -> None:
    fill(blobs)
    entry = blobs.http.get("/api/blob", params={"prefix": "images/a/1"}).json()["blobs"]
    body = {"blobs": entry, "hasMore": False, "folders": ["images/", "notes/"]}
    blobs.fault("status", {"status": 200, "body": body}, method="GET", path=prefix, times=None)
    _, report = await listed(store, Shard(("notes/",), ("",)))
    assert report.state is StoreState.INCOMPLETE
    assert "images/a/1" in (report.detail or "")


@pytest.mark.usefixtures("easily_cut")
async def test_a_folders_marker_is_listed_once_wherever_it_is_shown(
    blobs: BlobProcess, store: BlobStore
) -> None:
    fill(blobs, [*NAMES, "images/"])
    entry = blobs.http.get("/api/blob", params={"prefix": "images/", "limit": 1}).json()["blobs"]
    assert entry[0]["pathname"] == "images/"
    body = {"blobs": entry, "hasMore": False, "folders": ["images/", "images2/", "notes/", "z/"]}
    blobs.fault("status", {"status": 200, "body": body}, path="mode=folded", times=None)
    rows, report = await listed(store)
    assert report.state is StoreState.COMPLETE
    assert sorted(row["location"] for row in rows) == ["images/", *(n for n in NAMES if "/" in n)]


@pytest.mark.usefixtures("easily_cut")
async def test_where_a_level_has_more_than_a_page_nothing_is_cut(
    blobs: BlobProcess, store: BlobStore
) -> None:
    names = [f"folder{number}/1" for number in range(7)]
    fill(blobs, names)  # a page has five
    assert await store.shards(99, EXPECTED) == []
    rows, _ = await listed(store)
    assert sorted(row["location"] for row in rows) == names


@pytest.mark.usefixtures("easily_cut")
async def test_one_folder_that_does_not_answer_leaves_the_listing_incomplete(
    blobs: BlobProcess, store: BlobStore
) -> None:
    fill(blobs)
    blobs.fault("status", 503, times=None, path="prefix=notes")
    _, report = await listed(store)
    assert report.state is StoreState.INCOMPLETE
    assert report.detail


async def test_the_canisters_shards_are_all_of_it_and_weigh_the_same(
    capsules: tuple[IcpStore, dict[str, int]],
) -> None:
    store, held = capsules
    shards = await store.shards(2, EXPECTED)
    assert sorted(sum(held.get(name, 0) for name in shard.names) for shard in shards) == [5, 7]
    reports, seen = [], Counter[str]()
    for shard in shards:
        rows, report = await listed(store, shard)
        assert {row["capsule_id"] for row in rows} <= set(shard.names)
        seen.update(row["memory_id"] for row in rows)
        reports.append(report)
    whole, report = await listed(store)
    assert seen == Counter(row["memory_id"] for row in whole)
    together = as_one(reports)
    assert set(together.unknown_parts) == set(report.unknown_parts) == {"capsule-gone"}
    assert (together.state, together.objects) == (report.state, report.objects)
    assert len(await store.shards(99, EXPECTED)) == len(held)
    assert await store.shards(1, EXPECTED) == []


async def test_a_capsule_that_is_gone_when_its_shard_is_listed_is_unknown(
    capsules: tuple[IcpStore, dict[str, int]],
) -> None:
    store, held = capsules
    there = next(iter(held))
    _, report = await listed(store, Shard((there, "was-there")))
    assert set(report.unknown_parts) == {"was-there"}
    _, report = await listed(store, Shard(("was-there",)))
    assert (report.state, set(report.unknown_parts)) == (StoreState.INCOMPLETE, {"was-there"})
    assert "of its shard" in (report.detail or "")


async def test_of_a_shard_that_can_not_be_looked_at_every_capsule_is_unknown(
    icp: IcpProcess,
) -> None:
    away = icp.store(ic_url=f"http://127.0.0.1:{free_port()}", known_capsules=["a"])
    rows, report = await listed(away, Shard(("a", "b")))
    await away.aclose()
    assert (rows, report.state) == ([], StoreState.UNREACHABLE)
    assert set(report.unknown_parts) == {"a", "b"}
    good = ListingReport(StoreState.COMPLETE, objects=3)
    together = as_one([good, report])
    assert (together.state, together.objects) == (StoreState.INCOMPLETE, 3)
    assert set(together.unknown_parts) == {"a", "b"}


def test_reports_are_added_up() -> None:
    one = ListingReport(StoreState.COMPLETE, 1, 10, 2.0, 3, "odd", {"x": "why"}, 1, expected=9)
    other = ListingReport(StoreState.COMPLETE, 2, 20, 1.0, 4, "odd", {}, 0, expected=9)
    assert as_one([one, other]) == ListingReport(
        StoreState.COMPLETE, 3, 30, 2.0, 7, "odd", {"x": "why"}, 1, expected=9
    )
    away = ListingReport(StoreState.UNREACHABLE)
    assert as_one([away, away]).state is StoreState.UNREACHABLE
    assert as_one([one, away]).state is StoreState.INCOMPLETE


@pytest.mark.usefixtures("easily_cut")
async def test_what_shards_hold_is_made_one_inventory(
    blobs: BlobProcess, store: BlobStore, tmp_path: Path
) -> None:
    fill(blobs)
    shards = await store.shards(2, EXPECTED)
    places = [tmp_path / shard.id for shard in shards]
    for shard, place in zip(shards, places, strict=True):
        report = await spool(store, BLOB_INVENTORY, place, 3, expected=EXPECTED, shard=shard)
        assert rows_in(place, 3) == report.objects
    whole = tmp_path / "whole"
    with PartitionWriter(whole, BLOB_INVENTORY, 3):  # what a former attempt has left
        pass
    late = PartitionWriter(whole, BLOB_INVENTORY, 3)  # and one who was thought dead
    merge(places, whole, 3)
    with pytest.raises(FileNotFoundError):
        late.__exit__(None, None, None)
    found = [read_partition(whole, number) for number in range(3)]
    assert sorted(name for table in found for name in table["location"].to_pylist()) == NAMES
    assert {table.schema for table in found} == {BLOB_INVENTORY}
    assert rows_in(whole, 3) == len(NAMES)
    (whole / "part-00001.parquet").write_bytes(b"")
    assert rows_in(whole, 3) is None
    (whole / "part-00001.parquet").unlink()
    assert rows_in(whole, 3) is None


async def counted(name: str, number: int, most: Counter[str]) -> AsyncGenerator[str, None]:
    most["now"] += 1
    most["most"] = max(most["most"], most["now"])
    try:
        for each in range(number):
            await asyncio.sleep(0)
            if name == "bad" and each == 2:
                raise StoreError("bad")
            yield f"{name}{each}"
    finally:
        most["now"] -= 1


async def test_so_many_sequences_at_once_give_all_that_each_gives() -> None:
    most: Counter[str] = Counter()
    found = [x async for x in merged((counted(str(n), 3, most) for n in range(7)), 3)]
    assert sorted(found) == sorted(f"{n}{each}" for n in range(7) for each in range(3))
    assert (most["most"], most["now"]) == (3, 0)
    assert [x async for x in merged(iter(()), 3)] == []


async def test_an_error_of_one_ends_the_others_after_what_came_before_it() -> None:
    most: Counter[str] = Counter()
    found = []
    with pytest.raises(StoreError, match="bad"):  # noqa: PT012 - what came before counts
        async for each in merged((counted(n, 10**6, most) for n in ("bad", "x")), 2):
            found.append(each)  # noqa: PERF401
    assert {"bad0", "bad1"} <= set(found)
    assert most["now"] == 0


async def test_what_was_cancelled_is_no_end() -> None:
    async def cancelled() -> AsyncGenerator[str, None]:
        yield "a"
        raise asyncio.CancelledError

    found = []
    with pytest.raises(StoreError, match="cancelled"):  # noqa: PT012 - what came before counts
        async for each in merged([cancelled()], 1):
            found.append(each)  # noqa: PERF401
    assert found == ["a"]


async def test_whoever_stops_taking_ends_all() -> None:
    most: Counter[str] = Counter()
    several = merged((counted(str(n), 10**6, most) for n in range(3)), 3)
    await anext(several)
    await several.aclose()
    assert most["now"] == 0
