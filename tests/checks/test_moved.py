# ruff: noqa: PD011 - the values are a repair's, not a frame's
"""A missing file whose very bytes lie under another name was moved."""

import asyncio
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from partition_samples import BLOB, HASH, ID, OLD, OTHER_HASH, YOUNG, Sample, sound, view, without

from checks.describe import describe, plain_records
from checks.errors import StoreError
from checks.model import Artifact, Backend
from checks.repairs import plan
from tasks import moved, partitions
from tasks.resolve import LEFT_OVER, Workspace
from tasks.stores.protocol import HashedObject


class Shelf:
    """A blob store that can only be read; what is not text can't be."""

    def __init__(self, **hashes: str | Exception) -> None:
        self.hashes = hashes
        self.read_names: list[str] = []

    async def read(self, location: str) -> HashedObject | None:
        self.read_names.append(location)
        found = self.hashes[location]
        if isinstance(found, Exception):
            raise found
        return HashedObject(10, found, "md5", "v1")


def gone() -> Sample:
    sample = sound()
    sample.blobs.clear()
    return sample


def recognised(
    sample: Sample, shelf: Shelf, place: Path, *objects: tuple[str, int, datetime]
) -> pd.DataFrame:
    """The findings of a sample beside objects (name, size, written at) that nothing refers to."""
    workspace = Workspace(place, 1)
    workspace.left_over.mkdir(parents=True)
    names, sizes, times = zip(*objects, strict=True) if objects else ((), (), ())
    pd.DataFrame(
        {"object_location": names, "object_size": sizes, "object_version": "v1",
         "object_written_at": times}
    ).to_parquet(workspace.left_over / "part-00000.parquet")  # fmt: skip
    moved.spread_by_size(workspace, len(objects))
    stores: Any = {Backend.BLOB: shelf}
    return asyncio.run(moved.recognise(sample.judged().findings, workspace, view(), stores))


def kinds(found: pd.DataFrame) -> list[str]:
    return sorted(found["kind"])


def test_the_same_bytes_under_another_name_are_the_file(tmp_path: Path) -> None:
    found = recognised(gone(), Shelf(x=HASH), tmp_path, ("x", 10, OLD))
    assert kinds(found) == ["moved"]
    (case,) = plain_records(found)
    told = describe(case)
    assert (told["severity"], told["evidence"]) == ("warning", "sha256")
    assert "x, which nothing refers to, has the same SHA-256" in told["explanation"]
    (repair,) = plan(found.assign(fingerprint="f"), found[:0].assign(fingerprint="f"), "run")
    assert repair.values == {"location": "x"}
    assert not repair.takes_away


@pytest.mark.parametrize(
    ("content", "size", "written"),
    [
        (OTHER_HASH, 10, OLD),
        (HASH, 11, OLD),
        (HASH, 10, YOUNG),
        (StoreError("away"), 10, OLD),
    ],
)
def test_other_bytes_another_size_or_what_is_in_flight_are_not(
    content: str | Exception, size: int, written: datetime, tmp_path: Path
) -> None:
    found = recognised(gone(), Shelf(x=content), tmp_path, ("x", size, written))
    assert kinds(found) == ["missing"]


def test_only_what_has_the_size_of_something_missing_is_read(tmp_path: Path) -> None:
    shelf = Shelf(x=OTHER_HASH, y=HASH)
    recognised(gone(), shelf, tmp_path, ("x", 11, OLD), ("y", 10, OLD))
    assert shelf.read_names == ["y"]
    nothing_missing = Shelf(x=HASH)
    recognised(sound(), nothing_missing, tmp_path / "other", ("x", 10, OLD))
    assert nothing_missing.read_names == []


def test_of_all_that_is_left_over_only_the_files_with_its_size_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "ROWS_PER_PARTITION", 10)
    looked_into: list[int] = []

    def noted(directory: Path, partition: int, columns: Any = None) -> Any:
        if directory.name == "left-over-by-size":
            looked_into.append(partition)
        return partitions.read_partition(directory, partition, columns)

    monkeypatch.setattr(moved, "read_partition", noted)
    many = [(f"{size}-{number}", size, OLD) for size in range(1, 31) for number in range(4)]
    shelf = Shelf(**{name: OTHER_HASH for name, _, _ in many})
    recognised(gone(), shelf, tmp_path, *many)
    assert shelf.read_names == [f"10-{number}" for number in range(4)]
    assert len(looked_into) == 1
    assert len(list((tmp_path / "seen" / "left-over-by-size").iterdir())) == 12


@given(
    held=st.lists(st.tuples(st.integers(-2, 40), st.booleans()), max_size=60),
    sizes=st.lists(st.integers(-2, 45), min_size=1, max_size=20),
)
def test_what_has_one_of_some_sizes_is_found_whole(
    held: list[tuple[int, bool]], sizes: list[int]
) -> None:
    with (
        TemporaryDirectory() as place,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(partitions, "ROWS_PER_PARTITION", 7)
        workspace = Workspace(Path(place), 3)
        workspace.left_over.mkdir(parents=True)
        rows = [
            {"object_location": f"{number:03}", "object_size": size, "object_version": "v",
             "object_written_at": YOUNG if young else OLD}
            for number, (size, young) in enumerate(held)
        ]  # fmt: skip
        for part in range(3):
            table = pa.Table.from_pylist(rows[part::3], LEFT_OVER)
            pq.write_table(table, partitions.partition_path(workspace.left_over, part))
        moved.spread_by_size(workspace, len(rows))
        found = moved._left_over(workspace, view(), [float(size) for size in sizes])
    expected = [row for row in rows if row["object_size"] in sizes]
    old = [row["object_location"] for row in expected if row["object_written_at"] == OLD]
    assert found["object_location"].tolist() == old


def test_without_its_files_nothing_is_taken_for_nothing_left_over(tmp_path: Path) -> None:
    stores: Any = {Backend.BLOB: Shelf()}
    with pytest.raises(FileNotFoundError):
        asyncio.run(
            moved.recognise(gone().judged().findings, Workspace(tmp_path, 1), view(), stores)
        )


def test_a_file_that_was_moved_is_not_lost(tmp_path: Path) -> None:
    sample = gone()
    for artifact in Artifact:
        without(sample, artifact.value, Backend.ICP)
    sample.replicas.clear()
    assert "lost" in kinds(sample.judged().findings)
    found = recognised(sample, Shelf(x=HASH), tmp_path, ("x", 10, OLD))
    assert kinds(found) == ["moved"]


@pytest.mark.parametrize("url", [None, "https://store.example/old.jpg"])
def test_that_the_app_names_a_place_where_nothing_is_stays_open(
    url: str | None, tmp_path: Path
) -> None:
    sample = gone()
    sample.rows[0]["url"] = url
    found = recognised(sample, Shelf(x=HASH), tmp_path, ("x", 10, OLD))
    (case,) = plain_records(found)
    told = describe(case)
    assert told["stays_open"] is (url is not None)
    assert ("the app has to be told" in told["explanation"]) is (url is not None)


def test_where_files_were_moved_to_is_remembered_beside_the_run(tmp_path: Path) -> None:
    found = recognised(gone(), Shelf(x=HASH), tmp_path, ("x", 10, OLD))
    workspace = Workspace(tmp_path, 1)
    assert moved.moved_files(workspace) == set()
    moved.save_moved(workspace, 0, found)
    assert moved.moved_files(workspace) == {"x"}


def test_the_sample_is_about_the_file_that_it_names() -> None:
    found = gone().judged().findings
    assert found[["kind", "backend", "memory_id"]].to_numpy().tolist() == [["missing", BLOB, ID]]
