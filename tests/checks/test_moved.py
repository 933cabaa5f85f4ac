# ruff: noqa: PD011 - the values are a repair's, not a frame's
"""A missing file whose very bytes lie under another name was moved."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from partition_samples import BLOB, HASH, ID, OLD, OTHER_HASH, YOUNG, Sample, sound, view, without

from checks.describe import describe, plain_records
from checks.errors import StoreError
from checks.model import Artifact, Backend
from checks.repairs import plan
from tasks import moved
from tasks.resolve import Workspace
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
