"""Data-quality checks and Data Docs over a spooled ledger, beside pandas reading the same files.

No sandbox is needed: the Parquet files are written that an audit of so many memories would have,
and validated as an audit does.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Scale
from benchmarks.collection import NOW, PLACES, memories, rows
from benchmarks.processes import module, tell
from benchmarks.tables import side_by_side
from checks.columns import CHECKED
from checks.run import new_run_id
from checks.suites import Limits
from tasks.partitions import PartitionWriter, partition_files, partitions_for
from tasks.quality import preload, run_suites, write_data_docs
from tasks.run_directory import RunDirectory, create, existing

_SPOOLED = ("ledger", "neon-db", "vercel-blob", "icp-canister")


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """The run directory of an audit of memories that are all stored forever."""
    with tempfile.TemporaryDirectory(prefix="edgekeeper-bench-") as temporary:
        directory = create(Path(temporary), new_run_id(NOW - timedelta(seconds=1)))
        spool(directory, scale.memories)
        yield lambda: _round(Path(temporary), directory.run_id, scale.memories)


def spool(directory: RunDirectory, number: int) -> None:
    """Writes the four tables of so many memories."""
    partitions = partitions_for((len(PLACES) + len(_SPOOLED) - 1) * number)
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(
                PartitionWriter(_folder(directory, table), CHECKED[table], partitions)
            )
            for table in _SPOOLED
        }
        for frame in memories(number):
            for table, writer in writers.items():
                writer.write(rows(table, frame, CHECKED[table]))


def _folder(directory: RunDirectory, table: str) -> Path:
    return directory.ledger if table == "ledger" else directory.inventory(table)


def _round(home: Path, run_id: str, number: int) -> list[Measurement]:
    measured = []
    case = f"{len(PLACES) * number:,} edges"
    for way, act in ((OURS, "check"), ("pandas reads the same files", "read")):
        done = module("benchmarks.quality", act, home, run_id)
        measured.append(Measurement(case, way, done.seconds, done.cpu, 0, done.found, done.peak_mb))
    return measured


def _checked(directory: RunDirectory) -> int:
    """Validates every row and writes the site, as an audit does; how many rows there are."""
    limits = Limits.at(NOW)
    results = run_suites(directory, limits)
    write_data_docs(directory, results, limits, NOW)
    return _rows(directory)


def _rows(directory: RunDirectory) -> int:
    return sum(
        pq.read_metadata(path).num_rows
        for table in _SPOOLED
        for path in partition_files(_folder(directory, table))
    )


def _read(directory: RunDirectory) -> int:
    """Reads all files, all columns, one after the other; how many rows they have."""
    return sum(
        len(pd.read_parquet(path))
        for table in _SPOOLED
        for path in partition_files(_folder(directory, table))
    )


def main() -> None:
    """Checks or reads the files of a run, and tells what that took."""
    act, home, run_id = sys.argv[1:]
    directory = existing(Path(home), run_id)
    if act == "check":
        preload()  # as an audit does, while its stores are listed
        tell(lambda: _checked(directory))
    else:
        tell(lambda: _read(directory))


BENCHMARK = Benchmark(
    "quality",
    "Data-quality checks and Data Docs",
    "The Parquet files of an audit (edges, and the three inventories), every row of them validated "
    "with all suites and the Data Docs written, beside pandas reading the same files.",
    prepared,
    side_by_side("rows"),
)

if __name__ == "__main__":
    main()
