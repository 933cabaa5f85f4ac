"""Edges that are to be made, sent to Postgres in short transactions that a kill can't tear.

A unit's edges come in the order of their memories, and are dealt out to lanes by their memories:
each lane sends its own on a connection of its own, so that Postgres works on several batches at the
same time. With each batch the last memory that it holds is kept in the same transaction, so that
whoever goes on after a kill begins behind it: no batch is sent twice, none is left out, and the
counts stay right.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from threading import Lock
from types import TracebackType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import stamina
from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb
from pyarrow import csv

from checks.model import MemoryType
from tasks.app_tables import AppTables
from tasks.database import Connection, Connector, transaction, translated
from tasks.lease import Fence, check_fence
from tasks.ledger import ledger_parts
from tasks.queries import query

BATCH = 10_000
#: Connections that write at the same time. Of every pair one batch is made while the other one is
#: inserted; more would take connections from the app and gain little.
LANES = 2
#: How often a batch is tried where the app holds a lock on one of its edges; 5 s each.
LOCK_ATTEMPTS = 8
EDGE = ["row_id", "memory_id", "artifact", "backend", "present", "location", "content_hash",
        "size_bytes", "last_synced_at"]  # fmt: skip
_TYPES = {"present": pa.bool_(), "size_bytes": pa.int64(), "last_synced_at": pa.timestamp("us")}
Told = Callable[[int], None]


@dataclass(slots=True)
class Mark:
    """How far a unit has come.

    Attributes:
        memory_type, memory_id: the last memory whose edges were written.
        inserted: edges made, by artifact and backend.
        already_there: edges that were there before (or whose memory went away meanwhile).
    """

    memory_type: str = ""
    memory_id: str = ""
    inserted: Counter[str] = field(default_factory=Counter)
    already_there: int = 0


class EdgeWriter:
    """Sends frames of edges to Postgres in batches and counts what became of them."""

    def __init__(
        self,
        connect: Connector,
        fence: Fence,
        tables: AppTables,
        *,
        batch: int = BATCH,
        told: Told = lambda _edges: None,
    ) -> None:
        self._fence = fence
        self._batch = batch
        self._told = told
        self._telling = Lock()
        self._parts = {name: _parts_of(tables, name) for name in tables.memories}
        with connect() as conn, translated():
            found = conn.execute(query("queries/backfill", "marks"), {"run_id": fence.run_id})
            self.marks = {unit: _mark(state) for unit, state in found.fetchall()}
        with ExitStack() as opened:
            self._lanes = [_Lane(opened.enter_context(connect())) for _ in range(LANES)]
            self._closing = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The batches that are under way are finished, whatever else happened."""
        for lane in self._lanes:
            lane.sender.shutdown(wait=True)
        self._closing.close()

    def write(self, unit: str, edges: pd.DataFrame) -> None:
        """Inserts those of a unit's edges that are not there yet, from where it was left.

        While batches are inserted the next ones are made: this returns before the last ones are
        written, and ``finish`` waits for them. What went wrong with a batch a later call raises.

        ``edges``: the columns ``EDGE`` and ``memory_type``, in the order of ``in_order``.
        """
        # By the id alone: whoever goes on after a kill finds each memory in the same lane again.
        dealt = pd.util.hash_array(edges["memory_id"].to_numpy(dtype=object)) % len(self._lanes)
        series = (
            self._batches(edges[dealt == number], f"{unit}/{number}")
            for number in range(len(self._lanes))
        )
        for turn in zip_longest(*series):
            for lane, batch in zip(self._lanes, turn, strict=True):
                if batch is not None:
                    lane.settle()
                    lane.sending = lane.sender.submit(self._send, lane.conn, batch)

    def finish(self) -> None:
        """Waits for the last batches; when all is written nobody goes on from anywhere."""
        for lane in self._lanes:
            lane.settle()
        conn = self._lanes[0].conn
        with transaction(conn):
            conn.execute(query("queries/backfill", "forget_marks"), {"run_id": self._fence.run_id})

    def _send(self, conn: Connection, batch: "_Batch") -> None:
        """Inserts a batch; where the app holds a lock on one of its edges, again a little later."""
        for attempt in stamina.retry_context(
            on=_is_locked, attempts=LOCK_ATTEMPTS, timeout=None, wait_initial=0.5, wait_max=8
        ):
            with attempt:
                self._insert(conn, batch)
        self._tell(batch.edges)

    def _tell(self, edges: int) -> None:
        with self._telling:  # whoever is told need not expect several threads
            self._told(edges)

    def _batches(self, edges: pd.DataFrame, unit: str) -> Iterator["_Batch"]:
        """Batches behind the unit's mark; the edges of one memory stay together."""
        mark = self.marks.setdefault(unit, Mark())
        for name, group in edges.groupby("memory_type", sort=True):
            memory_type, ids = str(name), group["memory_id"].to_numpy(dtype=object)
            start = 0
            if memory_type < mark.memory_type:
                start = len(ids)
            elif memory_type == mark.memory_type:
                start = int(np.searchsorted(ids, mark.memory_id, side="right"))
            self._tell(start)
            while start < len(ids):
                last = ids[min(start + self._batch, len(ids)) - 1]
                end = int(np.searchsorted(ids, last, side="right"))
                rows = _as_csv(group.iloc[start:end])
                yield _Batch(unit, memory_type, last, end - start, rows)
                start = end

    def _insert(self, conn: Connection, batch: "_Batch") -> None:
        """One short transaction: the batch, its line in the journal, and how far it got."""
        parts = self._parts[MemoryType(batch.memory_type)]
        before = self.marks[batch.unit]
        with transaction(conn):
            conn.execute(query("queries/backfill", "batch", **parts))
            with conn.cursor() as cursor:
                with cursor.copy(query("queries/backfill", "fill")) as copy:
                    copy.write(batch.rows)
                insert = query("queries/backfill", "insert", **parts)
                made = cursor.execute(insert, {"run_id": self._fence.run_id}).fetchall()
            # Last: two lanes that held the run's row all the time would let no heartbeat through.
            check_fence(conn, self._fence)
            after = Mark(batch.memory_type, batch.last_memory, before.inserted.copy())
            after.inserted.update({f"{artifact} {backend}": n for artifact, backend, n in made})
            after.already_there = before.already_there + batch.edges - sum(n for _, _, n in made)
            conn.execute(
                query("queries/backfill", "mark"),
                {"run_id": self._fence.run_id, "unit": batch.unit, "state": Jsonb(_state(after))},
            )
        self.marks[batch.unit] = after


@dataclass(slots=True)
class _Lane:
    """A connection, the thread that writes on it, and what it is writing."""

    conn: Connection
    sender: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="edge writer")
    )
    sending: Future[None] | None = None

    def settle(self) -> None:
        """Waits for the batch that is under way, and raises what went wrong with it."""
        sending, self.sending = self.sending, None
        if sending is not None:
            sending.result()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Edges on their way: of which unit, up to which memory, how many, and as COPY takes them."""

    unit: str
    memory_type: str
    last_memory: str
    edges: int
    rows: memoryview


def in_order(edges: pd.DataFrame) -> pd.DataFrame:
    """Edges in the order in which they are written: neighbours share pages of the index."""
    return edges.sort_values(["memory_type", "memory_id"], kind="stable")


def _is_locked(error: Exception) -> bool:
    """Whether the app holds a lock that it will let go."""
    return isinstance(error.__cause__, (pg.LockNotAvailable, pg.DeadlockDetected))


def _mark(state: Any) -> Mark:
    """A mark from what the database keeps of it."""
    return Mark(**state | {"inserted": Counter(state["inserted"])})


def _state(mark: Mark) -> dict[str, Any]:
    """A mark as the database keeps it."""
    names = ("memory_type", "memory_id", "already_there")
    return {name: getattr(mark, name) for name in names} | {"inserted": dict(mark.inserted)}


def _parts_of(tables: AppTables, memory_type: MemoryType) -> dict[str, sql.Composable]:
    """What completes the statements for one memory table."""
    memories = tables.memories[memory_type]
    id_column = memories.required_column("id")
    return {
        **ledger_parts(tables.ledger()),
        "memories": memories.identifier,
        "memory_type": sql.Literal(memory_type.value),
        "id": sql.Identifier(id_column),
        "row_id_type": sql.SQL(memories.columns[id_column]),
    }


def _as_csv(edges: pd.DataFrame) -> memoryview:
    """Edges as COPY takes them: nothing for null, a quoted text for a text."""
    arrays = [_column(edges[name], _TYPES.get(name, pa.string())) for name in EDGE]
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table(arrays, names=EDGE), sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def _column(values: "pd.Series[Any]", kind: Any) -> Any:
    """A column of a frame as an array; times lose their zone, which is UTC."""
    if pa.types.is_timestamp(kind):
        values = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    return pa.Array.from_pandas(values, type=kind)
