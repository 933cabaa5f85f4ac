"""The stage that reads bytes: which assets, in which order, within what a night may cost.

What was read is kept every few seconds, in the run's directory and in ``audit.verification``: a run
that is killed goes on with what it has not read. In memory is a number or three per asset, and the
rows of those whose turn is near.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from checks import rolling
from checks.cases import View
from checks.describe import plain_records
from checks.model import Backend, StoreState
from tasks import comparison, verification
from tasks import resolve as matching
from tasks.allowance import Allowance
from tasks.audit import AuditRun
from tasks.observe import OpenStores, Seen, view_of
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition
from tasks.progress import advancing, note
from tasks.settings import ALL_BYTES
from tasks.stores.protocol import ListingReport
from tasks.verification_history import record, spool_readings
from tasks.wording import copy_read

_TARGET_COLUMNS = ["key_hi", "key_lo", "memory_id", "memory_type", "backend", "content_hash",
                   "object_location", "object_size", "object_version"]  # fmt: skip
_REPLICA = ["key_hi", "key_lo", "memory_type", "backend"]
_BY = ["memory_id", "memory_type", "backend"]
#: Assets whose rows are in memory while their turn is near.
_NEAR = 20_000
_FACTS = b"edgekeeper"


def verify(
    run: AuditRun,
    facts: Mapping[str, Any],
    reports: Mapping[Backend, ListingReport],
    memory_ids: Collection[str] | None = None,
) -> dict[str, Any]:
    """Reads the bytes of as many assets as the budget allows, and of all notes.

    Gives the fields of ``verification.Reading``, and ``left``: assets that could have been read.
    ``memory_ids`` are those that the run is about, None for all that there are.
    """

    def work() -> dict[str, Any]:
        workspace = run.workspace(facts["partitions"])
        with run.connect() as conn:
            spool_readings(conn, workspace.readings, workspace.partitions, memory_ids)
        reading, left = verification.Reading(), 0
        if run.options.verify_budget > 0:
            told = _nobody if memory_ids is None else _note
            reading, left = asyncio.run(_read(run, workspace, Seen(facts, reports), told))
        reading.read += _collect(run, workspace, reading.unknown)
        return asdict(reading) | {
            "left": left,
            "unknown": {backend.value: why for backend, why in reading.unknown.items()},
        }

    return run.stage("verify", work)


def _note(row: Mapping[str, Any]) -> None:
    note(copy_read(row))


def _nobody(_row: Mapping[str, Any]) -> None:
    """Of a whole collection nobody follows copy by copy."""


async def _read(
    run: AuditRun,
    workspace: matching.Workspace,
    seen: Seen,
    told: Callable[[Mapping[str, Any]], None],
) -> tuple[verification.Reading, int]:
    """Reads what was not read before an interruption; what was read in all, and what was left."""
    view = view_of(run, seen.facts, seen.reports)
    kept = _Kept(run, workspace)
    line = _Line.of(run, workspace, view, kept.done)
    options = run.options
    seconds = None if options.verify_minutes is None else options.verify_minutes * 60
    allowance = Allowance(options.verify_budget, seconds)
    allowance.resume(kept.reading.bytes, kept.seconds)
    progress = advancing("reading bytes", min(line.bytes, options.verify_budget))
    async with OpenStores(run, seen) as stores:
        await verification.read_assets(
            line.targets(), stores, kept.keep, progress, told=told,
            allowance=allowance, assured=0 if len(kept.done) else line.assured,
        )  # fmt: skip
    return kept.reading, len(line.order) + len(kept.done) - kept.number


@dataclass(slots=True)
class _Line:
    """The assets in the order in which they are read; their rows lie in a file per partition.

    Attributes:
        order: of each, its place among all rows of all files.
        starts: the place of each file's first row.
        bytes: as far as the stores say.
        assured: see ``rolling.assured``.
    """

    workspace: matching.Workspace
    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    bytes: int
    assured: int

    @classmethod
    def of(
        cls, run: AuditRun, workspace: matching.Workspace, view: View, done: pd.MultiIndex
    ) -> "_Line":
        """Writes the assets that can be read down, but for those ``done``, and orders them."""
        parts: list[tuple[Any, ...]] = [(np.zeros(0, bool), np.zeros(0, "i8"), np.zeros(0, "i8"))]
        starts = [0]
        (workspace.directory / "to-read").mkdir(parents=True, exist_ok=True, mode=0o700)
        for partition in range(workspace.partitions):
            targets = _targets(run, workspace, partition, view)
            targets = targets[~pd.MultiIndex.from_frame(targets[_REPLICA]).isin(done)]
            targets[[*_TARGET_COLUMNS, "verified_sha256"]].to_parquet(
                partition_path(workspace.directory / "to-read", partition), index=False
            )
            size = targets["object_size"].fillna(0).astype("int64").to_numpy()
            parts.append((rolling.urgent(targets), rolling.moments(targets["read_at"]), size))
            starts.append(starts[-1] + len(targets))
        urgent, moments, sizes = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = rolling.line(urgent, moments, sizes)
        total = min(int(sizes.astype(np.float64).sum()), ALL_BYTES)
        return cls(workspace, order, np.array(starts), total, rolling.assured(urgent))

    def targets(self) -> Iterator[dict[str, Any]]:
        """The rows in their order; only those whose turn is near are in memory."""
        for start in range(0, len(self.order), _NEAR):
            places = self.order[start : start + _NEAR]
            files = np.searchsorted(self.starts, places, side="right") - 1
            parts = []
            for number in np.unique(files):
                own = np.flatnonzero(files == number)
                table = read_partition(self.workspace.directory / "to-read", int(number))
                part = table.take(pa.array(places[own] - self.starts[number])).to_pandas()
                parts.append(part.set_axis(own))
            yield from plain_records(pd.concat(parts).sort_index())


def _targets(
    run: AuditRun, workspace: matching.Workspace, partition: int, view: View
) -> pd.DataFrame:
    """One partition's assets in stores that can be read object by object, with former readings."""
    usable = (StoreState.COMPLETE, StoreState.INCOMPLETE)
    backends = verification.readable(view.stores)
    named = [backend.value for backend in backends if view.stores[backend] in usable]
    cases, _ = comparison.cases_of(workspace, partition, view, run.settings.blob_address)
    frame = cases.frame(cases.readable_assets())[_TARGET_COLUMNS]
    known = read_partition(workspace.readings, partition).to_pandas()
    known = known.drop(columns=["key_hi", "key_lo"])
    return frame[frame["backend"].isin(named)].merge(known, "left", _BY)


@dataclass(slots=True)
class _Kept:
    """What this run has read so far, also before an interruption.

    Attributes:
        reading: all of it in numbers.
        seconds: what the interrupted part took.
        done: the replicas that it read.
        number: how many replicas were read in all.
    """

    run: AuditRun
    workspace: matching.Workspace
    reading: verification.Reading = field(default_factory=verification.Reading)
    seconds: float = 0.0
    done: pd.MultiIndex = field(init=False)
    number: int = 0
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self.workspace.read.mkdir(parents=True, exist_ok=True, mode=0o700)
        replicas = [verification.HASHES.empty_table().select(_REPLICA)]
        for path in partition_files(self.workspace.read):
            table = pq.read_table(path, columns=[*_REPLICA, "outcome"])
            facts = json.loads(table.schema.metadata[_FACTS])
            self.seconds = facts.pop("seconds")
            self.reading.add(verification.Reading(**facts))
            answered = table.filter(pc.not_equal(table["outcome"], "silent"))
            replicas.append(answered.select(_REPLICA).replace_schema_metadata(None))
        self.done = pd.MultiIndex.from_frame(pa.concat_tables(replicas).to_pandas())
        self.number = len(self.done)

    async def keep(self, reading: verification.Reading, rows: list[dict[str, Any]]) -> None:
        """Keeps a portion in the database and beside the run."""
        self.reading.add(reading)
        if rows:
            await asyncio.to_thread(self._write, reading, rows)

    def _write(self, reading: verification.Reading, rows: list[dict[str, Any]]) -> None:
        now = datetime.now(UTC)
        facts = {
            "seconds": self.seconds + (now - self._began).total_seconds(), "read": reading.read,
            "bytes": reading.bytes,
        }  # fmt: skip
        table = pa.Table.from_pylist(rows, verification.HASHES)
        with self.run.connect() as conn:
            record(conn, table, self.run.run_id, now)
        path = partition_path(self.workspace.read, len(partition_files(self.workspace.read)))
        unfinished = path.with_suffix(".unfinished")
        pq.write_table(table.replace_schema_metadata({_FACTS: json.dumps(facts)}), unfinished)
        unfinished.rename(path)
        self.number += sum(row["outcome"] != "silent" for row in rows)


def _collect(run: AuditRun, workspace: matching.Workspace, unknown: Collection[Backend]) -> int:
    """Brings what was read under the memories' keys, the notes too; how many notes there are."""
    notes = 0
    with PartitionWriter(workspace.hashes, verification.HASHES, workspace.partitions) as writer:
        if run.options.verify_budget > 0:
            for path in reversed(partition_files(workspace.read)):  # what came last counts
                table = pq.read_table(path).replace_schema_metadata(None)
                writer.write(verification.settled(table, unknown))
            with run.connect() as conn:
                for partition in range(workspace.partitions):
                    hashed = _notes(workspace, partition)
                    notes += hashed.num_rows
                    writer.write(hashed)
                    record(conn, hashed, run.run_id, datetime.now(UTC))
    return notes


def _notes(workspace: matching.Workspace, partition: int) -> pa.Table:
    """One partition's notes, whose hashes Postgres computed."""
    rows, edges, known = (
        read_partition(directory, partition).to_pandas()
        for directory in (
            workspace.inventory(Backend.NEON), workspace.ledger, workspace.readings
        )
    )  # fmt: skip
    return verification.note_hashes(rows, edges, known)
