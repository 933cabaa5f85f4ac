"""The canister's storage: bulk loads, damage, and another process writing meanwhile."""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from icp_server import LONG_AGO, asset, memory

from sandbox.icp.records import StoredMemory
from sandbox.icp.storage import CanisterStorage, StoredCapsule, StoredGallery


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CanisterStorage]:
    opened = CanisterStorage(tmp_path)
    yield opened
    opened.close()


def walk(storage: CanisterStorage, capsule: str, size: int) -> list[StoredMemory]:
    found: list[StoredMemory] = []
    more = True
    while more:
        page, more = storage.page(capsule, len(found), size)
        found += page
    return found


def test_what_is_added_is_what_is_read(storage: CanisterStorage) -> None:
    capsule = StoredCapsule("c", "aaaaa-aa", ("aaaaa-aa",), ("2vxsx-fae",), 1, 2)
    gallery = StoredGallery("g", "c", None, (("m", "Image", 0, "caption"),), 3, 4)
    held = memory(
        "c",
        asset(),
        asset("inline", "Thumbnail"),
        asset("external", "Display", sha256=None),
        id="no UUID at all: ü",
        tags=("a", "b"),
        deleted_at=5,
        details={"location": "Bern"},
    )
    assert storage.add_capsules([capsule]) == 1
    assert storage.add_galleries([gallery]) == 1
    assert storage.add_memories([held]) == 1
    assert storage.capsules() == [capsule]
    assert storage.galleries() == [gallery]
    assert storage.memory(held.id) == held
    assert storage.memory("another") is None
    assert (storage.count(), storage.count("c"), storage.count("d")) == (1, 1, 0)


def test_20000_memories_are_added_in_seconds_and_listed_in_no_order_of_theirs(
    storage: CanisterStorage,
) -> None:
    held = [memory("c", asset(body="1::x", sha256=None)) for _ in range(20_000)]
    started = time.monotonic()
    assert storage.add_memories(held) == 20_000
    assert time.monotonic() - started < 10
    listed = [found.id for found in walk(storage, "c", 100)]
    assert sorted(listed) == sorted(found.id for found in held)
    assert listed not in (sorted(listed), [found.id for found in held])
    assert listed == [found.id for found in walk(storage, "c", 7)]


def test_a_memory_can_be_damaged_in_every_way(storage: CanisterStorage) -> None:
    original, thumbnail = asset(), asset("internal", "Thumbnail")
    held = memory("c", original, thumbnail)
    storage.add_memories([held])
    for damaged in (
        replace(held, assets=(replace(original, body="5:3:other"), thumbnail)),
        replace(held, assets=(replace(original, body=None), thumbnail)),
        replace(held, assets=(thumbnail,)),
        replace(held, assets=(), capsule_id="d", title=None),
        held,
    ):
        storage.replace_memory(damaged)
        assert storage.memory(held.id) == damaged
    storage.replace_memory(replace(held, assets=(thumbnail,)))
    assert storage.blob(original.locator or "") is None
    assert storage.blob(thumbnail.locator or "") is not None
    with pytest.raises(KeyError):
        storage.replace_memory(memory("c"))


def test_deleted_memories_take_their_blobs_along(storage: CanisterStorage) -> None:
    held = [memory("c", asset()) for _ in range(3)]
    storage.add_memories(held)
    assert storage.delete_memories([held[0].id, "unknown"]) == 1
    assert storage.delete_memories([held[1].id], blobs=False) == 1
    kept = [storage.blob(found.assets[0].locator or "") is not None for found in held]
    assert kept == [False, True, True]


def test_an_id_is_taken_once_and_its_batch_is_not_written(storage: CanisterStorage) -> None:
    held = memory("c", asset())
    storage.add_memories([held])
    with pytest.raises(sqlite3.IntegrityError):
        storage.add_memories([memory("c"), held])
    assert storage.count() == 1


@pytest.mark.parametrize(
    "wrong",
    [
        asset(kind="nowhere"),
        asset(locator=None),
        asset("inline", body=None),
        asset("external", location=None),
    ],
)
def test_an_asset_that_cannot_be_is_refused(storage: CanisterStorage, wrong: object) -> None:
    with pytest.raises(ValueError, match="of memory"):
        storage.add_memories([memory("c", wrong)])  # type: ignore[arg-type]


def test_what_another_process_writes_is_seen_at_once_even_in_the_middle_of_a_listing(
    storage: CanisterStorage,
) -> None:
    storage.add_memories(memory("c") for _ in range(50))
    first, _ = storage.page("c", 0, 20)
    other = CanisterStorage(storage.directory)
    other.delete_memories(found.id for found in first)
    # Positions shift under a listing that cuts by index: the next 20 are skipped.
    second, _ = storage.page("c", 20, 20)
    assert [found.id for found in second] == [found.id for found in walk(other, "c", 50)][20:]
    other.close()


def test_a_stale_view_has_what_was_deleted_and_lacks_what_was_added(
    storage: CanisterStorage,
) -> None:
    old, gone = memory("c", created_at=LONG_AGO), memory("c")
    storage.add_memories([old, gone])
    since = time.time_ns()
    new = memory("c")
    storage.add_memories([new])
    storage.delete_memories([gone.id])
    assert storage.stored_since("c", since) == {new.id}
    assert storage.removed_since("c", since) == [gone]
