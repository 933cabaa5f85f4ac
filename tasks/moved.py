"""Files that were moved behind everybody's back: missing in one place, the same bytes in another.

What nothing refers to and has the size of something missing is read: only its SHA-256 proves that
it is the same file. A size that is alike by chance costs one read.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checks.cases import View
from checks.describe import plain_records
from checks.errors import StoreError
from checks.model import Artifact, Backend
from checks.row_values import canonical_sha256
from tasks.partitions import (
    PartitionWriter,
    partition_files,
    partition_path,
    partitions_for,
    read_partition,
    whole,
)
from tasks.resolve import LEFT_OVER, Workspace
from tasks.stores.protocol import Store

#: How much is read of one partition's candidates; what is left over stays missing and orphaned.
PROOF_BYTES = 1_000_000_000
_COLUMNS = ["moved_to", "moved_version", "moved_written_at"]
#: With the size as what its file is chosen by, 0 where it is unknown.
_BY_SIZE = pa.schema([("unsigned_size", pa.uint64()), *LEFT_OVER])


def spread_by_size(workspace: Workspace, objects: int) -> None:
    """Spools what nothing refers to once more, so that all of one size lies in one file.

    For each partition with something missing a few files are read then, however much is left over.

    Args:
        workspace: its blobs have been matched.
        objects: how many were left over.
    """
    sized = workspace.left_over_by_size
    with PartitionWriter(sized, _BY_SIZE, partitions_for(objects), by="unsigned_size") as writer:
        for partition in range(workspace.partitions):
            table = read_partition(workspace.left_over, partition)
            size = pc.fill_null(table["object_size"], 0).cast(pa.uint64(), safe=False)
            writer.write(table.append_column("unsigned_size", size))


async def recognise(
    findings: pd.DataFrame, workspace: Workspace, view: View, stores: Mapping[Backend, Store]
) -> pd.DataFrame:
    """``findings`` (see ``Judgement``) where what is missing and was found elsewhere is ``moved``.

    Adds ``moved_to`` (a pathname), ``moved_version`` and ``moved_written_at`` where there is any. A
    file that was moved is not lost.
    """
    missing = _missing_files(findings)
    if missing.empty or Backend.BLOB not in stores:
        return findings
    free = _left_over(workspace, view, missing["size_bytes"].unique())
    if free.empty:
        return findings
    by_hash = await _hashed(free, stores[Backend.BLOB])
    moved = {
        row: places[number % len(places)]
        for sha256, group in missing.groupby("content_hash")
        if (places := by_hash.get(str(sha256)))
        for number, row in enumerate(group.index)
    }
    return _with_moved(findings, free, moved) if moved else findings


def _missing_files(findings: pd.DataFrame) -> pd.DataFrame:
    """The findings that a file is missing whose size and hash are known."""
    files = (findings["kind"] == "missing") & (findings["artifact"] == Artifact.ASSET.value)
    files &= findings["backend"] == Backend.BLOB.value
    files &= findings["size_bytes"].notna()
    hashes = findings["content_hash"].where(files)
    return findings[files & hashes.map(canonical_sha256, na_action="ignore").notna()]


def _left_over(workspace: Workspace, view: View, sizes: Iterable[float]) -> pd.DataFrame:
    """What nothing refers to, is past its grace and has one of some sizes."""
    wanted = sorted({int(size) for size in sizes})
    found = list(_of_sizes(workspace.left_over_by_size, wanted))
    free = pa.concat_tables(found).to_pandas()
    young = pd.to_datetime(free["object_written_at"], utc=True) > pd.Timestamp(view.grace_after)
    past: pd.DataFrame = free[~young].sort_values("object_location", ignore_index=True)
    return past


def _of_sizes(directory: Path, sizes: list[int]) -> Iterator[Any]:
    """The rows of some sizes, a table for each file that may have some."""
    wanted = pa.array(sizes, pa.int64())
    files = max(1, len(partition_files(directory)))
    keys = {size % 2**64 for size in sizes}  # as casting to an unsigned one makes it
    for partition in sorted({key % files for key in keys}):
        table = read_partition(directory, partition, LEFT_OVER.names)
        yield table.filter(pc.is_in(table["object_size"], value_set=wanted))


async def _hashed(free: pd.DataFrame, store: Store) -> dict[str, list[int]]:
    """The rows of ``free`` by the SHA-256 of their bytes; what can't be read is in none."""
    by_hash: dict[str, list[int]] = defaultdict(list)
    spent = 0
    for number, row in enumerate(plain_records(free)):
        if spent >= PROOF_BYTES:
            break
        spent += int(row["object_size"])
        try:
            read = await store.read(row["object_location"])
        except StoreError:
            continue
        if read is not None and read.version == row["object_version"]:
            by_hash[read.sha256].append(number)
    return by_hash


def _with_moved(findings: pd.DataFrame, free: pd.DataFrame, moved: dict[int, int]) -> pd.DataFrame:
    names = ["object_location", "object_version", "object_written_at"]
    places = free.loc[list(moved.values()), names].set_axis(list(moved)).set_axis(_COLUMNS, axis=1)
    found = findings.join(places)
    found.loc[list(moved), "kind"] = "moved"
    memory = ["memory_id", "memory_type"]
    there = pd.MultiIndex.from_frame(found.loc[list(moved), memory])
    lost = (found["kind"] == "lost") & pd.MultiIndex.from_frame(found[memory]).isin(there)
    return found[~lost].reset_index(drop=True)


def save_moved(workspace: Workspace, partition: int, kept: pd.DataFrame) -> None:
    """Writes down where the files of the confirmed findings are now."""
    moved = kept.loc[kept["kind"] == "moved"]
    if len(moved):
        directory = _directory(workspace)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with whole(partition_path(directory, partition)) as path:
            moved[["moved_to"]].to_parquet(path, index=False)


def moved_files(workspace: Workspace) -> set[str]:
    """The pathnames that files were found to have been moved to: they are no orphans."""
    files = partition_files(_directory(workspace))
    return {name for path in files for name in pq.read_table(path)["moved_to"].to_pylist()}


def _directory(workspace: Workspace) -> Path:
    return workspace.directory / "moved"
