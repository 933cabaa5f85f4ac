"""Data-quality checks and Data Docs over a spooled ledger, beside pandas reading the same files.

``python -m benchmarks.quality --edges 1000000`` needs no sandbox: it writes the Parquet files that
an audit of so many edges would have, and validates them as an audit does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic, process_time
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa

from checks.columns import CHECKED
from checks.run import new_run_id
from checks.suites import Limits
from tasks.join_keys import memory_keys, text_keys
from tasks.memory import peak_rss_mb
from tasks.partitions import PartitionWriter, partition_files, partitions_for
from tasks.quality import preload, run_suites, write_data_docs
from tasks.run_directory import RunDirectory, create, existing

_NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
#: Memories whose rows are made at once.
_BATCH = 50_000
_PLACES = (("metadata", "neon-db"), ("asset", "vercel-blob"), ("metadata", "icp-canister"),
           ("asset", "icp-canister"))  # fmt: skip
_SPOOLED = ("ledger", "neon-db", "vercel-blob", "icp-canister")


def spool(directory: RunDirectory, memories: int) -> None:
    """Writes the four tables of ``memories`` that are stored forever, four edges each."""
    partitions = partitions_for(7 * memories)
    folders = {
        table: directory.ledger if table == "ledger" else directory.inventory(table)
        for table in _SPOOLED
    }
    writers = {
        table: PartitionWriter(folder, CHECKED[table], partitions)
        for table, folder in folders.items()
    }
    chance = np.random.default_rng(7)
    for start in range(0, memories, _BATCH):
        frame = _memories(chance, min(_BATCH, memories - start))
        for table, writer in writers.items():
            writer.write(_rows(table, frame))
    for writer in writers.values():
        writer.__exit__(None, None, None)


def _memories(chance: np.random.Generator, number: int) -> pd.DataFrame:
    """What all tables say of some memories."""
    octets = chance.bytes(16 * number)
    ids = [str(UUID(bytes=octets[n : n + 16], version=4)) for n in range(0, 16 * number, 16)]
    digests = chance.bytes(32 * number).hex()
    written = _NOW - pd.to_timedelta(chance.integers(1, 900, number), unit="D")
    return pd.DataFrame(
        {"memory_id": ids, "memory_type": "image", "version": chance.integers(1, 10**6, number),
         "sha256": [digests[n : n + 64] for n in range(0, 64 * number, 64)],
         "size": chance.lognormal(10, 1, number).astype("int64"), "at": written}
    )  # fmt: skip


def _rows(table: str, frame: pd.DataFrame) -> pa.Table:
    """The rows of ``table`` about the memories of ``frame``."""
    if table == "vercel-blob":
        rows = frame.assign(
            location="images/" + frame["memory_id"] + ".jpg", written_at=frame["at"]
        )
        high, low = text_keys(rows["location"])
    else:
        made = {"ledger": _edges, "neon-db": _neon, "icp-canister": _icp}
        rows = made[table](frame.assign(created_at=frame["at"], written_at=frame["at"]))
        high, low = memory_keys(pa.array(rows["memory_id"], pa.string()))
    rows = rows.assign(key_hi=high, key_lo=low, version=rows["version"].astype(str))
    schema = CHECKED[table]
    return pa.Table.from_pandas(rows[schema.names], schema=schema, preserve_index=False)


def _edges(frame: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for artifact, backend in _PLACES:
        asset = artifact == "asset"
        parts.append(
            frame.assign(
                edge_id=frame["memory_id"].str.slice(0, 8) + f"-{artifact}-{backend}",
                artifact=artifact, backend=backend, present=True, location=None,
                content_hash=frame["sha256"] if asset else None,
                size_bytes=frame["size"].astype("Int64") if asset else pd.NA,
                sync_state="idle", sync_error=None, last_synced_at=frame["at"],
                updated_at=frame["at"],
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _neon(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(url=None, content_size=None, content_sha256=None)


def _icp(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        capsule_id="capsule_1730000000", asset_there=True, asset_count=1,
        declared_sha256=frame["sha256"],
    )  # fmt: skip


def measured(directory: RunDirectory) -> dict[str, Any]:
    """What validating and the site took, and what pandas takes to read the same files."""
    preload()  # as an audit does, while its stores are listed
    limits = Limits.at(_NOW)
    suites, results = _timed(lambda: run_suites(directory, limits))
    site, _ = _timed(lambda: write_data_docs(directory, results, limits, _NOW))
    peak = peak_rss_mb()
    reading, rows = _timed(lambda: _read(directory))
    return {
        "rows": rows, "checks": len(results), "failed": sum(not each.passed for each in results),
        "suites": suites, "site": site, "pandas": reading, "peak_mb": peak,
    }  # fmt: skip


def _timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds by the clock and of processor time, and what ``work`` gives."""
    began = monotonic(), process_time()
    done = work()
    return (monotonic() - began[0], process_time() - began[1]), done


def _read(directory: RunDirectory) -> int:
    """Reads all files, all columns, one after the other; how many rows they have."""
    return sum(
        len(pd.read_parquet(path))
        for table in _SPOOLED
        for path in partition_files(
            directory.ledger if table == "ledger" else directory.inventory(table)
        )
    )


def main() -> None:
    """Spools, measures in a process of its own, and prints a row of a table in Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--of", nargs=2, metavar=("HOME", "RUN_ID"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.of:
        print(json.dumps(measured(existing(Path(options.of[0]), options.of[1]))))
        return
    with tempfile.TemporaryDirectory(prefix="edgekeeper-bench-") as temporary:
        directory = create(Path(temporary), new_run_id(_NOW - timedelta(seconds=1)))
        spool(directory, options.edges // len(_PLACES))
        command = [sys.executable, "-m", "benchmarks.quality", "--of", temporary, directory.run_id]
        done = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    suites, site, reading = (done[name] for name in ("suites", "site", "pandas"))
    ratio = [(own + pages) / plain for own, pages, plain in zip(suites, site, reading, strict=True)]
    rows = {"every row checked": suites, "Data Docs of the results": site}
    rows |= {"pandas reads the same files": reading, "ratio": ratio}
    print(
        f"{options.edges:,} edges, {done['rows']:,} rows of all tables, {done['checks']} checks\n\n"
        "| part | seconds | processor seconds |\n|---|---|---|"
    )
    for name, (seconds, processor) in rows.items():
        print(f"| {name} | {seconds:.1f} | {processor:.1f} |")
    print(f"\nThe most memory held: {done['peak_mb']:.0f} MB.")


if __name__ == "__main__":
    main()
