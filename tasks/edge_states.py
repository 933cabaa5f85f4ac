"""Edges of a copy under way: into ``migrating`` before it, out of it after, each a compare-and-set.

Every change is made only while the edge is the row that was seen, is journaled in the same
transaction, and is fenced by the lease; the memory's claim comes and goes with it. What somebody
else wrote meanwhile is left as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from checks.model import Artifact, Backend, SyncState
from checks.transitions import LEGAL
from tasks.app_tables import AppTables, find_app_tables
from tasks.claims import claim, give_up
from tasks.copying import Copied
from tasks.database import Connection, transaction
from tasks.lease import Fence, check_fence
from tasks.ledger import ledger_parts, rows_there, storable
from tasks.log import mask
from tasks.queries import query
from tasks.subjects import EdgeRow

#: What of an error stands in the ledger: the app may show it to people.
ERROR_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Copy:
    """A memory's copy to one backend.

    Attributes:
        memory_id, memory_type: whose.
        backend: where to.
        kind: what it is made for, as the journal has it: ``store-forever`` or a finding's kind.
    """

    memory_id: str
    memory_type: str
    backend: Backend
    kind: str


@dataclass(frozen=True, slots=True)
class Begun:
    """An edge that is ``migrating`` by our hand: the row's id and the version it has since."""

    artifact: Artifact
    edge_id: str
    version: str


@dataclass(frozen=True, slots=True)
class End:
    """How the copy of one artifact ended.

    Attributes:
        begun: the edge.
        values: the columns that change with it.
        fingerprint: of the finding that is mended by it.
    """

    begun: Begun
    values: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str | None = None


class RowGoneError(Exception):
    """The memory's row is not there any more: nothing is copied of what was deleted."""


def begin(
    conn: Connection,
    fence: Fence,
    copy: Copy,
    edges: Mapping[Artifact, EdgeRow | None],
    *,
    take_over: bool = False,
) -> dict[Artifact, Begun]:
    """Puts edges into ``migrating`` and claims the memory; those that could be, by artifact.

    Args:
        conn: a connection that is not in a transaction.
        fence: the lease under which it is written.
        copy: what is copied where.
        edges: by artifact the edge as it was seen, None where there was none.
        take_over: an edge that is ``migrating`` belongs to a copy that is known to be dead.

    Raises RowGoneError where the memory was deleted, LeaseLostError where another run took over.
    """
    wanted = [
        {
            "ordinal": ordinal, "memory_id": copy.memory_id, "memory_type": copy.memory_type,
            "artifact": artifact.value, "backend": copy.backend.value,
            "edge_id": seen and seen.edge_id, "version": seen and seen.version,
        }
        for ordinal, (artifact, seen) in enumerate(edges.items())
        if (seen and seen.sync_state, SyncState.MIGRATING) in LEGAL or take_over
    ]  # fmt: skip
    with transaction(conn):
        check_fence(conn, fence)
        tables = find_app_tables(conn)
        _check_row(conn, tables, copy)
        statement = query("queries/edge_states", "begin", **ledger_parts(tables.ledger()))
        parameters = {"run_id": fence.run_id, "kind": copy.kind, "edges": Jsonb(wanted)}
        made = conn.execute(statement, parameters).fetchall()
        if made:
            claim(conn, fence.run_id, copy.memory_id, copy.memory_type, copy.backend)
    artifacts = list(edges)
    return {
        artifacts[ordinal]: Begun(artifacts[ordinal], edge_id, version)
        for ordinal, edge_id, version in made
    }


def finish(
    conn: Connection, fence: Fence, copy: Copy, ends: Sequence[End], *, done: bool = True
) -> set[Artifact]:
    """Takes edges out of ``migrating``; the artifacts whose edge nobody had written meanwhile.

    ``done``: nothing more of this copy is under way, so that the claim is given up. Raises
    ValueError where an edge is to go where none may.
    """
    for end in ends:
        if (SyncState.MIGRATING, SyncState(end.values["sync_state"])) not in LEGAL:
            raise ValueError(f"a copy does not end in {end.values['sync_state']}")
    wanted = [
        {
            "ordinal": ordinal, "edge_id": end.begun.edge_id, "version": end.begun.version,
            "fingerprint": end.fingerprint,
            "new": {name: storable(value) for name, value in end.values.items()},
        }
        for ordinal, end in enumerate(ends)
    ]  # fmt: skip
    with transaction(conn):
        check_fence(conn, fence)
        parts = ledger_parts(find_app_tables(conn).ledger())
        parameters = {"run_id": fence.run_id, "kind": copy.kind, "edges": Jsonb(wanted)}
        statement = query("queries/edge_states", "finish", **parts)
        written = {ends[row[0]].begun.artifact for row in conn.execute(statement, parameters)}
        if done:
            give_up(conn, fence.run_id, copy.memory_id, copy.memory_type, copy.backend)
    return written


def row_is_there(conn: Connection, copy: Copy) -> bool:
    """Whether the memory's row is there at this moment."""
    with transaction(conn):
        return _is_there(conn, find_app_tables(conn), copy)


def stored(artifact: Artifact, location: str | None, copied: Copied | None) -> dict[str, Any]:
    """The columns of a copy that is there, of an asset with what was read back of it."""
    values: dict[str, Any] = {
        "present": True, "sync_state": SyncState.IDLE.value, "sync_error": None,
        "location": location, "last_synced_at": datetime.now(UTC),
    }  # fmt: skip
    if artifact is Artifact.ASSET and copied is not None:
        values |= {"content_hash": copied.sha256, "size_bytes": copied.size}
    return values


def failed(error: str, run_id: str) -> dict[str, Any]:
    """The columns of a copy that failed: why, in few words and without a secret."""
    said = " ".join(mask(error).split())
    said = said if len(said) <= ERROR_LENGTH else f"{said[: ERROR_LENGTH - 1]}…"
    return {"sync_state": SyncState.FAILED.value, "sync_error": f"{said} (edgekeeper {run_id})"}


def _check_row(conn: Connection, tables: AppTables, copy: Copy) -> None:
    if not _is_there(conn, tables, copy):
        raise RowGoneError(f"the row of {copy.memory_type} {copy.memory_id} is gone")


def _is_there(conn: Connection, tables: AppTables, copy: Copy) -> bool:
    wanted = {copy.memory_type: {copy.memory_id}}
    return (copy.memory_type, copy.memory_id.lower()) in rows_there(conn, tables, wanted)
