"""Repairs of the ledger: compare-and-set, journaled, fenced.

A repair is made only if the edge is still the row that was observed, and an insert only while the
memory's row is (or is not) there; what it changed stands in ``audit.repair`` with the row before
and after, written in the same transaction. Running the same repairs again changes nothing: those
in the journal count as applied.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg import sql
from psycopg.types.json import Jsonb

from checks.errors import StoreError, StoreUnreachableError
from checks.model import RepairState
from checks.normal import is_uuid
from checks.repairs import EdgeRepair
from tasks.app_tables import AppTables, Table, find_app_tables
from tasks.database import Connection, transaction, translated
from tasks.lease import Fence, check_fence
from tasks.queries import query

BATCH = 1_000
_log = structlog.get_logger(__name__)
_ROW_WRITTEN = "the edge was written meanwhile"


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What became of one repair, and why where it was superseded or failed."""

    repair: EdgeRepair
    state: RepairState
    detail: str | None = None


Observed = Mapping[str, Mapping[str, Any]]


def apply_repairs(
    conn: Connection,
    fence: Fence,
    repairs: Sequence[EdgeRepair],
    *,
    observed: Observed | None = None,
    batch: int = BATCH,
) -> list[RepairResult]:
    """Applies repairs in short transactions; one result per repair, in their order.

    A batch that one bad repair spoils is done again repair by repair, so that only that one fails.

    Args:
        conn: a connection that is not in a transaction.
        fence: the lease under which it is written.
        repairs: what to change.
        observed: by edge id, columns of the row as they were observed; where given, they must still
            be the same, besides the row's version.
        batch: repairs per transaction.

    Raises LeaseLostError where another run has taken over (what came before is applied), and
    StoreUnreachableError where the connection broke: apply the same repairs again.
    """
    with translated():
        tables = find_app_tables(conn)
    results: list[RepairResult] = []
    for start in range(0, len(repairs), batch):
        chunk = repairs[start : start + batch]
        try:
            results += _apply_batch(conn, fence, chunk, tables, observed or {})
        except StoreUnreachableError:
            raise
        except StoreError as error:
            _log.warning("repair_batch_failed", run_id=fence.run_id, reason=str(error))
            results += _one_by_one(conn, fence, chunk, tables, observed or {})
    return results


def repaired(conn: Connection, run_id: str) -> set[str]:
    """The fingerprints of the findings that the run has repaired already, wholly or in part."""
    with transaction(conn, snapshot=True):
        found = conn.execute(query("queries/ledger", "repaired"), {"run_id": run_id}).fetchall()
    return {fingerprint for (fingerprint,) in found}


def _one_by_one(
    conn: Connection,
    fence: Fence,
    repairs: Sequence[EdgeRepair],
    tables: AppTables,
    observed: Observed,
) -> Iterator[RepairResult]:
    """Each repair in a transaction of its own."""
    for repair in repairs:
        try:
            yield from _apply_batch(conn, fence, [repair], tables, observed)
        except StoreUnreachableError:
            raise
        except StoreError as error:
            yield RepairResult(repair, RepairState.FAILED, str(error))


def _apply_batch(
    conn: Connection,
    fence: Fence,
    repairs: Sequence[EdgeRepair],
    tables: AppTables,
    observed: Observed,
) -> list[RepairResult]:
    """One transaction: fence, journal, memory rows, then the writes."""
    results: dict[int, RepairResult] = {}
    with transaction(conn, statement_timeout="60s"):
        check_fence(conn, fence)
        done = _journaled(conn, fence, repairs)
        there = _present_memories(conn, tables, repairs)
        writes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for ordinal, repair in enumerate(repairs):
            if _identity(repair) in done:
                results[ordinal] = RepairResult(repair, RepairState.APPLIED)
            elif problem := _memory_problem(repair, tables, there):
                results[ordinal] = RepairResult(repair, RepairState.SUPERSEDED, problem)
            else:
                row = _row(ordinal, repair, observed.get(repair.edge_id or "", {}))
                writes[repair.action].append(row)
        applied: set[int] = set()
        for action in ("delete", "update", "insert"):
            applied |= _write(conn, fence, action, writes[action], tables.ledger())
    for ordinal, repair in enumerate(repairs):
        if ordinal not in results:
            good = ordinal in applied
            detail = "there is an edge by now" if repair.action == "insert" else _ROW_WRITTEN
            results[ordinal] = RepairResult(
                repair,
                RepairState.APPLIED if good else RepairState.SUPERSEDED,
                None if good else detail,
            )
    return [results[ordinal] for ordinal in range(len(repairs))]


def ledger_parts(edges: Table) -> dict[str, sql.Composable]:
    """The ledger's name and its columns' types, for statements that write to it."""
    columns = {"id": "id_type"} | {
        name: f"{name}_type" for name in ("memory_id", "memory_type", "artifact", "backend")
    }
    types = {part: sql.SQL(edges.columns[name]) for name, part in columns.items()}
    return {"edges": edges.identifier, **types}


def _write(
    conn: Connection, fence: Fence, action: str, rows: list[dict[str, Any]], edges: Table
) -> set[int]:
    """Runs one kind of write; returns the ordinals of what was changed."""
    if not rows:
        return set()
    statement = query("queries/ledger", action, **ledger_parts(edges))
    parameters = {"run_id": fence.run_id, "repairs": Jsonb(rows)}
    return {row[0] for row in conn.execute(statement, parameters).fetchall()}


def _row(ordinal: int, repair: EdgeRepair, observed: Mapping[str, Any]) -> dict[str, Any]:
    """A repair as the statements take it."""
    return {
        "ordinal": ordinal,
        "fingerprint": repair.fingerprint,
        "kind": repair.kind,
        "memory_id": repair.memory_id,
        "memory_type": repair.memory_type,
        "artifact": repair.artifact,
        "backend": repair.backend,
        "edge_id": repair.edge_id,
        "version": repair.version,
        "observed": dict(observed),
        "new": {name: storable(value) for name, value in repair.values.items()},
    }


def storable(value: Any) -> Any:
    """A value as JSON can carry it into Postgres, which knows no NUL in texts."""
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return value.isoformat() if hasattr(value, "isoformat") else value


Identity = tuple[str, str, str, str, str, str]


def _identity(repair: EdgeRepair) -> Identity:
    """What tells a repair from every other one of its run."""
    key = (repair.memory_id.lower(), repair.memory_type, repair.artifact, repair.backend)
    return (repair.fingerprint, repair.action, *key)


def _journaled(conn: Connection, fence: Fence, repairs: Sequence[EdgeRepair]) -> set[Identity]:
    """Which of the repairs this run has made already."""
    parameters = {"run_id": fence.run_id, "fingerprints": [r.fingerprint for r in repairs]}
    found = conn.execute(query("queries/ledger", "journaled"), parameters).fetchall()
    return {
        (fingerprint, action, str(memory).lower(), kind, artifact, backend)
        for fingerprint, _edge, action, memory, kind, artifact, backend in found
    }


def _memory_must_be_there(repair: EdgeRepair) -> bool | None:
    """Whether the memory's row must be there, must be gone, or does not matter (None)."""
    if repair.action == "insert":
        return repair.row_must_exist
    if repair.action == "delete" or repair.kind == "deleted_memory":
        return False
    return None


def _memory_problem(
    repair: EdgeRepair, tables: AppTables, there: set[tuple[str, str]]
) -> str | None:
    """Why the memory's row forbids the repair, if it does."""
    wanted = _memory_must_be_there(repair)
    if wanted is None:
        return None
    if repair.memory_type not in tables.memories and repair.action != "insert":
        return "the memory's table can't be seen"
    is_there = (repair.memory_type, repair.memory_id.lower()) in there
    if is_there == wanted:
        return None
    return "the memory's row is there by now" if is_there else "the memory's row is gone"


def _present_memories(
    conn: Connection, tables: AppTables, repairs: Sequence[EdgeRepair]
) -> set[tuple[str, str]]:
    """Which of the repairs' memories have a row."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for repair in repairs:
        if _memory_must_be_there(repair) is not None:
            wanted[repair.memory_type].add(repair.memory_id)
    return rows_there(conn, tables, wanted)


def rows_there(
    conn: Connection, tables: AppTables, wanted: Mapping[str, Collection[str]]
) -> set[tuple[str, str]]:
    """Which memories' rows are there, as pairs of type and id in lower case.

    Where we may, they are kept there until the transaction's end. ``wanted``: ids by memory type.
    """
    found: set[tuple[str, str]] = set()
    for memory_type, table in tables.memories.items():
        column = table.required_column("id")
        ids = sorted(wanted.get(memory_type.value, ()))
        if table.columns[column] == "uuid":
            ids = [each for each in ids if is_uuid(each)]
        if ids:
            statement = query(
                "queries/memories",
                "lock" if table.lockable and table.kind in ("r", "p") else "present",
                id=sql.Identifier(column),
                table=table.identifier,
                ids=table.keys_array(column, ids),
            )
            found |= {(memory_type.value, row[0].lower()) for row in conn.execute(statement)}
    return found
