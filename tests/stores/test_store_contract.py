"""What every store must do alike. A store is added as one more entry of ``STORES``."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
import pytest_asyncio
from blob_process import STORE_ID, BlobProcess

from checks.columns import BLOB_INVENTORY
from checks.errors import AccessRefusedError, StoreError
from checks.model import StoreState
from tasks.stores.blob import listing
from tasks.stores.protocol import ListingReport, Store


@dataclass
class Filled:
    """A store that holds known objects, and the ways it is looked at here."""

    store: Store
    refused: Store
    unreachable: Store
    identity: str
    columns: pa.Schema
    key: str
    objects: dict[str, bytes]
    absent: str


@asynccontextmanager
async def filled_blob_store(directory: Path) -> AsyncIterator[Filled]:
    process = BlobProcess(directory)
    objects = {"images/ü b.jpg": b"\xff\xd8" * 5000, "notes/empty": b"", "z": b"zed"}
    for pathname, body in objects.items():
        process.put(pathname, body)
    store = process.store()
    refused = process.store(f"vercel_blob_rw_{STORE_ID}_another")
    unreachable = process.store(blob_api_url="http://127.0.0.1:9/api/blob")
    try:
        yield Filled(
            store, refused, unreachable, STORE_ID, BLOB_INVENTORY, "location", objects, "images/no"
        )  # fmt: skip
    finally:
        for one in (store, refused, unreachable):
            await one.aclose()
        process.close()


STORES: dict[str, Callable[[Path], AbstractAsyncContextManager[Filled]]] = {
    "blob": filled_blob_store,
}


@pytest_asyncio.fixture(params=STORES.values(), ids=STORES.keys())
async def filled(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Filled]:
    async with request.param(tmp_path) as case:
        yield case


def fresh_report() -> ListingReport:
    return ListingReport(StoreState.INCOMPLETE)


async def test_the_identity_is_told_once_the_credentials_are_accepted(filled: Filled) -> None:
    assert await filled.store.identity() == filled.identity
    with pytest.raises(AccessRefusedError):
        await filled.refused.identity()


async def test_a_listing_holds_every_object_with_the_columns_of_the_inventory(
    filled: Filled,
) -> None:
    report = fresh_report()
    rows = [row async for batch in filled.store.list_batches(report) for row in batch]
    assert {row[filled.key] for row in rows} == set(filled.objects)
    assert len(rows) == len(filled.objects)
    wanted = set(filled.columns.names) - {"key_hi", "key_lo"}
    for row in rows:
        assert set(row) == wanted
        assert row["size"] == len(filled.objects[row[filled.key]])
        assert isinstance(row["written_at"], datetime)
        assert row["written_at"].tzinfo is not None
    assert (report.state, report.objects, report.detail) == (StoreState.COMPLETE, len(rows), None)
    assert report.bytes == sum(map(len, filled.objects.values()))
    assert report.requests >= 1
    assert report.seconds > 0


async def test_shards_are_all_that_a_listing_holds_and_share_nothing(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "FEWEST_PAGES", 0)
    monkeypatch.setattr(listing, "PAGES_PER_FOLDER", 0)
    shards = await filled.store.shards(3, len(filled.objects)) or [None]
    seen = []
    for shard in shards:
        report = fresh_report()
        async for batch in filled.store.list_batches(report, shard):
            seen += [row[filled.key] for row in batch]
        assert report.state is StoreState.COMPLETE
    assert sorted(seen) == sorted(filled.objects)
    with pytest.raises(StoreError):
        await filled.refused.shards(3, len(filled.objects))


async def test_a_store_that_refuses_access_lists_nothing_and_proves_nothing(filled: Filled) -> None:
    report = fresh_report()
    assert [batch async for batch in filled.refused.list_batches(report)] == []
    assert report.state is StoreState.INCOMPLETE
    assert report.detail


@pytest.mark.usefixtures("no_waiting")
async def test_a_store_that_does_not_answer_is_unreachable(filled: Filled) -> None:
    report = fresh_report()
    assert [batch async for batch in filled.unreachable.list_batches(report)] == []
    assert report.state is StoreState.UNREACHABLE
    assert report.detail
    location = next(iter(filled.objects))
    with pytest.raises(StoreError):
        await filled.unreachable.look_up(location)
    with pytest.raises(StoreError):
        await filled.unreachable.read(location)


async def test_what_is_not_there_is_none_and_what_can_not_be_looked_at_is_an_error(
    filled: Filled,
) -> None:
    assert await filled.store.look_up(filled.absent) is None
    assert await filled.store.read(filled.absent) is None
    with pytest.raises(AccessRefusedError):
        await filled.refused.look_up(filled.absent)
    with pytest.raises(AccessRefusedError):
        await filled.refused.read(filled.absent)


async def test_an_object_is_looked_up_and_read_at_the_version_that_was_listed(
    filled: Filled,
) -> None:
    rows = [row async for batch in filled.store.list_batches(fresh_report()) for row in batch]
    for row in rows:
        location, body = row[filled.key], filled.objects[row[filled.key]]
        seen, read = await filled.store.look_up(location), await filled.store.read(location)
        assert seen is not None
        assert (seen.location, seen.size) == (location, len(body))
        assert (seen.version, seen.written_at) == (row["version"], row["written_at"])
        assert read is not None
        assert (read.size, read.version) == (len(body), row["version"])
        assert read.sha256 == hashlib.sha256(body).hexdigest()
        assert read.md5 == hashlib.md5(body, usedforsecurity=False).hexdigest()
