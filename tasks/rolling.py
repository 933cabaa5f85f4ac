"""The stage that reads bytes: which assets, in which order, within what a night may cost.

What was read is kept every few seconds, in the run's directory and in ``audit.verification``: a run
that is killed goes on with what it has not read. In memory is a number or three per asset, and the
rows of those whose turn is near.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
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
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition, whole
from tasks.progress import advancing, note
from tasks.read_so_far import REPLICA, Portions, ReadSoFar, began_before, next_number
from tasks.run_directory import private_directory
from tasks.settings import ALL_BYTES
from tasks.stores.protocol import ListingReport
from tasks.verification_history import record, spool_readings
from tasks.wording import copy_read

#: An asset as it is read, with what the ledger, its store and the last verification say of it.
_TARGET = pa.schema(
    [
        ("key_hi", pa.uint64()),
        ("key_lo", pa.uint64()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("content_hash", pa.string()),
        ("object_location", pa.string()),
        ("object_size", pa.int64()),
        ("object_version", pa.string()),
        ("verified_sha256", pa.string()),
    ]
)
_TARGET_COLUMNS = [name for name in _TARGET.names if name != "verified_sha256"]
#: The same with its place in its line, and the file in which it lies beside its neighbours there.
_IN_TURN = pa.schema([*_TARGET, ("turn", pa.uint64()), ("file", pa.uint64())])
_BY = ["memory_id", "memory_type", "backend"]
#: Assets in a file in their order, whose rows are in memory together while their turn is near.
_NEAR = 20_000
#: Has shares of a line read, and gives what :func:`read_share` gave of each, in their order.
Spread = Callable[[list["Share"], Seen], Iterable[Mapping[str, Any]]]


def verify(
    run: AuditRun,
    facts: Mapping[str, Any],
    reports: Mapping[Backend, ListingReport],
    memory_ids: Collection[str] | None = None,
    spread: Spread | None = None,
) -> dict[str, Any]:
    """Reads the bytes of as many assets as the budget allows, and of all notes.

    Gives the fields of ``verification.Reading``, and ``left``: assets that could have been read.
    ``memory_ids`` are those that the run is about, None for all that there are. ``spread`` has the
    shares of a line read by a cluster's workers, see :func:`read_share`; without it the line is
    read here.
    """

    def work() -> dict[str, Any]:
        workspace = run.workspace(facts["partitions"])
        with run.connect() as conn:
            spool_readings(conn, workspace.readings, workspace.partitions, memory_ids)
        reading, left = verification.Reading(), 0
        if run.options.verify_budget > 0:
            told = _nobody if memory_ids is None else _note
            reading, left = _read(run, workspace, Seen(facts, reports), told, spread)
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


def _read(
    run: AuditRun,
    workspace: matching.Workspace,
    seen: Seen,
    told: Callable[[Mapping[str, Any]], None],
    spread: Spread | None,
) -> tuple[verification.Reading, int]:
    """Reads what was not read before an interruption; what was read in all, and what was left."""
    before = ReadSoFar.of(workspace)
    view = view_of(run, seen.facts, seen.reports)
    line = _Line.of(run, workspace, view, before.replicas())
    if spread is None or run.abreast == 1:
        answers = asyncio.run(_read_here(run, line, seen, before, told))
    else:
        answers = _read_spread(run, line, seen, before, spread)
    after = ReadSoFar.of(workspace)
    after.reading.unknown = answers.unknown()
    return after.reading, len(line.order) + before.number - after.number


async def _read_here(
    run: AuditRun,
    line: "_Line",
    seen: Seen,
    before: ReadSoFar,
    told: Callable[[Mapping[str, Any]], None],
) -> verification.Answers:
    """Reads the line in this process, while the budget lasts."""
    options = run.options
    seconds = None if options.verify_minutes is None else options.verify_minutes * 60
    allowance = Allowance(options.verify_budget, seconds)
    allowance.resume(before.reading.bytes, before.seconds)
    progress = advancing("reading bytes", min(line.bytes, options.verify_budget))
    portions = Portions(run, line.workspace, began_before(before.seconds))
    async with OpenStores(run, seen) as stores:
        return await verification.read_assets(
            line.targets(options.verify_budget - before.reading.bytes), stores, portions.keep,
            progress, told=told, allowance=allowance, assured=0 if before.number else line.assured,
        )  # fmt: skip


def _read_spread(
    run: AuditRun, line: "_Line", seen: Seen, before: ReadSoFar, spread: Spread
) -> verification.Answers:
    """Has the line read by workers, in rounds: as much at a time as the rest of the budget is for.

    Most nights have one round. Another one follows where objects turned out to be smaller than
    their stores had said, or to be gone.
    """
    answers = verification.Answers()
    minutes = run.options.verify_minutes
    began = began_before(before.seconds)
    until = None if minutes is None else began + timedelta(minutes=minutes)
    assured = 0 if before.number else line.assured
    waiting, budget = np.arange(len(line.order)), run.options.verify_budget - before.reading.bytes
    told = advancing("reading bytes", min(line.bytes, run.options.verify_budget))
    begun = 1
    while begun and (until is None or datetime.now(UTC) < until):
        number = line.first(waiting, budget, min(assured, len(waiting)))
        shares = line.dealt(
            waiting[:number], budget, run.abreast, assured=assured, began=began, until=until,
            portion=next_number(line.workspace),
        )  # fmt: skip
        if shares:
            run.offer(shares[0].line)
        begun, assured, left = 0, 0, [waiting[number:]]
        for share, outcome in zip(shares, spread(shares, seen) if shares else (), strict=True):
            answers.add(verification.Answers.from_facts(outcome["answers"]))
            left.append(np.load(share.left(line.workspace)))
            begun += outcome["begun"]
            budget -= outcome["bytes"]
            told(outcome["bytes"])
        waiting = np.sort(np.concatenate(left))
    return answers


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a line, in its order: what one task of a cluster reads.

    Attributes:
        name: of its stage; nothing else has it.
        budget: bytes, see ``Allowance``.
        assured: so many of its first are read whatever they cost.
        sharing: so many are read at the same time.
        began: see :func:`began_before`.
        until: nothing more is begun from then on, UTC; None: no limit.
        portion: the number of its first portion: see :func:`next_number`.
    """

    name: str
    budget: int
    assured: int
    sharing: int
    began: datetime
    until: datetime | None
    portion: int

    @property
    def line(self) -> str:
        """What the shares of one line are called together."""
        return self.name.rpartition("-")[0]

    def turns(self, workspace: matching.Workspace) -> Path:
        """Where the turns of its assets in the line lie."""
        return workspace.directory / "shares" / f"{self.name}.npy"

    def rows(self, workspace: matching.Workspace) -> Path:
        """The directory where its assets lie: see :func:`_rows`."""
        return workspace.directory / "shares" / self.name

    def left(self, workspace: matching.Workspace) -> Path:
        """Where the turns lie that did not come."""
        return workspace.directory / "shares" / f"{self.name}-left.npy"


def read_share(run: AuditRun, share: Share, seen: Seen) -> dict[str, Any]:
    """Reads one share of a line; may be called on any machine that has the run's files.

    Gives ``answers`` (``Answers.facts``), the ``bytes`` that were read, and how many assets were
    ``begun``. Called again after it was killed it goes on with what was not kept.
    """

    def work() -> dict[str, Any]:
        workspace = run.workspace(seen.facts["partitions"])
        before = ReadSoFar.of(workspace, share.name)
        turns, done = np.load(share.turns(workspace)), before.replicas()
        if before.number:
            frames = _rows(share.rows(workspace))
            turns = turns[~np.concatenate([_replicas(each).isin(done) for each in frames])]
        seconds = None if share.until is None else (share.until - datetime.now(UTC)).total_seconds()
        allowance = Allowance(share.budget, seconds)
        allowance.resume(before.reading.bytes, 0)
        assured = 0 if before.number else share.assured
        answers = asyncio.run(_read_share(run, share, seen, done, allowance, assured))
        with whole(share.left(workspace)) as path, path.open("wb") as file:
            np.save(file, turns[allowance.begun :])
        return {
            "answers": answers.facts(), "bytes": allowance.spent,
            "begun": allowance.begun + before.number,
        }  # fmt: skip

    return run.stage(share.name, work)


async def _read_share(
    run: AuditRun,
    share: Share,
    seen: Seen,
    done: pd.MultiIndex,
    allowance: Allowance,
    assured: int,
) -> verification.Answers:
    workspace = run.workspace(seen.facts["partitions"])
    portions = Portions(run, workspace, share.began, share.name, share.portion)
    waiting = (rows[~_replicas(rows).isin(done)] for rows in _rows(share.rows(workspace)))
    line = (row for rows in waiting for row in plain_records(rows))
    async with OpenStores(run, seen, sharing=share.sharing) as stores:
        return await verification.read_assets(
            line, stores, portions.keep, allowance=allowance, assured=assured
        )


@dataclass(slots=True)
class _Line:
    """The assets in the order in which they are read; their rows lie in a file per partition.

    Attributes:
        order: of each, its place among all rows of all files.
        sizes: of each, by its turn, as far as the stores say.
        starts: the place of each file's first row.
        bytes: of all, as far as the stores say.
        assured: see ``rolling.assured``.
    """

    workspace: matching.Workspace
    order: NDArray[np.intp]
    sizes: NDArray[np.float64]
    starts: Sequence[int]
    bytes: int
    assured: int

    @classmethod
    def of(
        cls, run: AuditRun, workspace: matching.Workspace, view: View, done: pd.MultiIndex
    ) -> "_Line":
        """Writes the assets that can be read down, but for those ``done``, and orders them."""
        urgent, moments, sizes = ([np.zeros(0, kind)] for kind in (bool, np.int64, np.int64))
        starts = [0]
        private_directory(workspace.directory / "to-read")
        for partition in range(workspace.partitions):
            targets = _targets(run, workspace, partition, view)
            targets = targets[~_replicas(targets).isin(done)]
            table = pa.Table.from_pandas(targets[_TARGET.names], _TARGET, preserve_index=False)
            pq.write_table(table, partition_path(workspace.directory / "to-read", partition))
            urgent.append(rolling.urgent(targets))
            moments.append(rolling.moments(targets["read_at"]))
            sizes.append(targets["object_size"].fillna(0).astype("int64").to_numpy())
            starts.append(starts[-1] + len(targets))
        hasty, size = _joined(urgent), _joined(sizes)
        order = rolling.line(hasty, _joined(moments), size)
        known = size[order].astype(np.float64)  # a store may say absurd sizes
        total = min(int(known.sum()), ALL_BYTES)
        return cls(workspace, order, known, starts, total, rolling.assured(hasty))

    def targets(self, budget: int) -> Iterator[dict[str, Any]]:
        """The rows in their order; only those whose turn is near are in memory.

        As many as the budget is for are brought into their order at a time, and then as many as
        twice as much is for: most nights read all rows once, and write those alone that are read.
        """
        waiting, directory = np.arange(len(self.order)), self.workspace.directory / "in-turn"
        budget = max(budget, 1)
        while len(waiting):
            number = self.first(waiting, budget, _NEAR)
            self._bring_into_order([waiting[:number]], directory)
            for rows in _rows(directory):
                yield from plain_records(rows)
            waiting, budget = waiting[number:], 2 * budget

    def first(self, turns: NDArray[np.intp], budget: int, assured: int) -> int:
        """How many of ``turns`` are begun within a budget, if each is as large as is said."""
        sizes = self.sizes[turns]
        before = np.cumsum(sizes)
        before -= sizes  # in place: there may be hundreds of millions
        return max(int(np.searchsorted(before, float(budget))), assured)

    def dealt(
        self, turns: NDArray[np.intp], budget: int, number: int, *, assured: int, **limits: Any
    ) -> list[Share]:
        """``turns`` dealt out one by one to shares, ``number`` at the most.

        Each may read as much as its assets are said to have, and an equal part of what is not
        spoken for. ``limits``: of every share.
        """
        number = min(number, len(turns))
        if not number:
            return []
        spare = max(0, budget - int(self.sizes[turns].sum())) // number
        name = f"verify-{token_hex(4)}"
        directory = private_directory(self.workspace.directory / "shares")
        dealt = [turns[place::number] for place in range(number)]
        shares = []
        for place, own in enumerate(dealt):
            share = Share(
                f"{name}-{place}", int(self.sizes[own].sum()) + spare,
                assured=len(range(place, assured, number)), sharing=number, **limits,
            )  # fmt: skip
            np.save(share.turns(self.workspace), own)
            shares.append(share)
        self._give_out(shares, self._bring_into_order(dealt, directory / name), directory / name)
        return shares

    def _give_out(self, shares: Sequence[Share], files: Sequence[int], directory: Path) -> None:
        """Moves so many of the files that were brought into their order to each share's own."""
        first = 0
        for share, number in zip(shares, files, strict=True):
            own = private_directory(share.rows(self.workspace))
            for place in range(number):
                partition_path(directory, first + place).replace(partition_path(own, place))
            first += number
        directory.rmdir()

    def _bring_into_order(self, series: Sequence[NDArray[np.intp]], directory: Path) -> list[int]:
        """Writes the rows of some series of turns, each by itself in files of ``_NEAR`` turns.

        Every file in which rows lie is read once. Gives how many files each series has.
        """
        files = [-(-len(turns) // _NEAR) for turns in series]
        places = self.order[np.concatenate(series)]
        starts = np.cumsum([0, *files])
        file = np.concatenate(
            [
                start + np.arange(len(turns)) // _NEAR
                for start, turns in zip(starts[:-1], series, strict=True)
            ]
        )
        by_place = np.argsort(places)
        private_directory(directory)
        ends = np.searchsorted(places, self.starts, sorter=by_place)
        with PartitionWriter(directory, _IN_TURN, sum(files), by="file") as writer:
            for number, (start, end) in enumerate(pairwise(ends)):
                own = by_place[start:end]
                if len(own):
                    table = read_partition(self.workspace.directory / "to-read", number)
                    rows = table.take(pa.array(places[own] - self.starts[number]))
                    rows = rows.append_column("turn", pa.array(own.astype(np.uint64)))
                    writer.write(rows.append_column("file", pa.array(file[own].astype(np.uint64))))
        return files


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """The parts as one array; they are let go, since of all assets there is no room for two."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _rows(directory: Path) -> Iterator[pd.DataFrame]:
    """The rows that were brought into their order there, in it, so many at a time."""
    for path in partition_files(directory):
        table = pq.read_table(path, partitioning=None).sort_by("turn").select(_TARGET.names)
        yield table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def _replicas(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[REPLICA])


def _targets(
    run: AuditRun, workspace: matching.Workspace, partition: int, view: View
) -> pd.DataFrame:
    """One partition's assets in stores that can be read object by object, with former readings."""
    usable = (StoreState.COMPLETE, StoreState.INCOMPLETE)
    backends = verification.readable(view.stores)
    named = [backend.value for backend in backends if view.stores[backend] in usable]
    cases, _ = comparison.cases_of(workspace, partition, view, run.settings.blob_address)
    frame = cases.frame(np.flatnonzero(cases.readable_assets()))[_TARGET_COLUMNS]
    known = read_partition(workspace.readings, partition).to_pandas()
    known = known.drop(columns=["key_hi", "key_lo"])
    return frame[frame["backend"].isin(named)].merge(known, "left", _BY)


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
