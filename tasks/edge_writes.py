"""One edge written on behalf of the web app: the fields it gives, by legal transitions, journaled.

The row is locked, looked at and written in one short transaction; the journal keeps it as it was
before, under an id of its own that ``edgekeeper revert`` takes.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from checks.errors import IllegalTransitionError, NotFoundError, StoreError, UsageError
from checks.model import Artifact, Backend, MemoryType, SyncState
from checks.transitions import illegal
from tasks.ledger import ledger_parts
from tasks.presence import AsyncConn, Sources, has_row, in_time
from tasks.queries import query

#: An error text longer than this is cut: it may repeat a whole answer of a store.
MAX_ERROR = 2_000
#: How often an edge may turn up or go away between looking and writing.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class EdgeKey:
    """Which edge is meant."""

    memory_id: str
    memory_type: MemoryType
    artifact: Artifact
    backend: Backend


@dataclass(frozen=True, slots=True)
class Written:
    """An edge as it was written.

    Attributes:
        row: the ledger's row.
        created: whether there was none before.
        run_id: under which the journal has the write.
    """

    row: DictRow
    created: bool
    run_id: str


async def type_of(conn: AsyncConn, sources: Sources, memory_id: str) -> MemoryType:
    """The type of a memory whose id is known alone.

    Raises NotFoundError where nobody knows the id, UsageError where it is used under two types,
    StoreError where a table that might know it can't be seen.
    """
    ledger = sources.tables.ledger()
    statement = query(
        "queries/presence", "tracked_types", edges=ledger.identifier,
        ids=sources.same_memory(memory_id),
    )  # fmt: skip
    async with in_time():
        rows = await (await conn.execute(statement)).fetchall()
    known = {row["memory_type"] for row in rows}
    for memory_type in sources.tables.memories:
        if memory_type not in known and await has_row(conn, sources, memory_type, memory_id):
            known.add(memory_type.value)
    if len(known) > 1:
        types = " and ".join(sorted(known))
        raise UsageError(f"memoryType: {memory_id} is used as {types}; say which is meant")
    if known:
        return MemoryType(known.pop())
    if sources.tables.unseen:
        unseen = ", ".join(sorted(sources.tables.unseen))
        raise StoreError(f"memoryType: {memory_id} may be one of {unseen}, which can't be seen")
    raise NotFoundError(f"There is no memory {memory_id}.")


async def write_edge(
    conn: AsyncConn, sources: Sources, key: EdgeKey, fields: Mapping[str, Any]
) -> Written:
    """Inserts an edge, or changes the fields given of the one that is there.

    Args:
        conn: a connection that is not in a transaction.
        sources: what to write to.
        key: which edge.
        fields: any of ``present, location, content_hash, size_bytes, sync_state, last_synced_at,
            sync_error``, by the ledger's names; times as ISO texts in UTC without a zone.

    Raises NotFoundError where neither app nor ledger knows the memory, IllegalTransitionError,
    StoreError.
    """
    new = dict(fields)
    if new.get("sync_error"):
        new["sync_error"] = str(new["sync_error"])[:MAX_ERROR]
    for _ in range(_ATTEMPTS):
        async with in_time(), conn.transaction():
            written = await _written(conn, sources, key, new)
        if written is not None:
            return written
    raise StoreError("The edge is written by others all the time; try again.")


async def _written(
    conn: AsyncConn, sources: Sources, key: EdgeKey, new: Mapping[str, Any]
) -> Written | None:
    """The edge as it was written; None where another writer inserted it just now."""
    ledger = sources.tables.ledger()
    parts = ledger_parts(ledger)
    where = {"memory_type": key.memory_type, "artifact": key.artifact, "backend": key.backend}
    locked = query(
        "queries/presence", "locked_edge", edges=parts["edges"],
        ids=sources.same_memory(key.memory_id),
    )  # fmt: skip
    await conn.execute(
        query("queries/session", "local_settings"),
        {"statement_timeout": "5s", "lock_timeout": "2s", "idle_timeout": "10s"},
    )
    old = await (await conn.execute(locked, where)).fetchone()
    _check_transition(old, new)
    if old is None:
        await _check_known(conn, sources, key)
        statement = query("queries/presence", "insert_edge", **parts)
        values = {**where, "memory_id": key.memory_id, "new": Jsonb(dict(new))}
    else:
        statement = query("queries/presence", "update_edge", **parts)
        values = {"id": old["id"], "new": Jsonb(dict(new))}
    row = await (await conn.execute(statement, values)).fetchone()
    if row is None:
        return None
    after = row.pop("after")
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(8)}"
    await conn.execute(
        query("queries/presence", "journal"),
        {
            "run_id": run_id, "edge_id": str(row["id"]), "after": Jsonb(after),
            "action": "update" if old else "insert",
            "before": Jsonb(old["before"]) if old else None,
        },
    )  # fmt: skip
    return Written(row, old is None, run_id)


def _check_transition(old: DictRow | None, new: Mapping[str, Any]) -> None:
    """Raises IllegalTransitionError where the sync state may not change so."""
    if "sync_state" not in new:
        return
    try:
        now = SyncState(old["sync_state"]) if old else None
    except ValueError:
        now = SyncState.IDLE  # a state that only the app knows may begin to migrate as any other
    problem = illegal(now, SyncState(new["sync_state"]))
    if problem:
        raise IllegalTransitionError(f"syncState: {problem}.")


async def _check_known(conn: AsyncConn, sources: Sources, key: EdgeKey) -> None:
    """Raises NotFoundError where neither app nor ledger knows the memory of a new edge."""
    tracked = query(
        "queries/presence", "tracked", edges=sources.tables.ledger().identifier,
        ids=sources.same_memory(key.memory_id),
    )  # fmt: skip
    row = await (await conn.execute(tracked, {"memory_type": key.memory_type})).fetchone()
    if row and row["exists"]:
        return
    if key.memory_type in sources.tables.memories and not await has_row(
        conn, sources, key.memory_type, key.memory_id
    ):
        raise NotFoundError(f"There is no {key.memory_type.value} {key.memory_id}.")
