"""Undoing a run: the journal's before-images put back, newest first, compare-and-set."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from psycopg.rows import TupleRow

from tasks.app_tables import Table, find_app_tables
from tasks.database import Connection, transaction, translated
from tasks.lease import Fence, check_fence
from tasks.ledger import BATCH, ledger_parts
from tasks.queries import query

_BATCHES_AT_ONCE = 20
_LAST = 2**62


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry of the journal, of one edge or of a batch of back-filled ones.

    Attributes:
        id: of the entry.
        action: what the run did: ``insert``, ``update`` or ``delete``.
        edge_id: the edge, None for a batch.
        edges: how many edges it is about.
        edge_ids: in a report, those that were left, where the entry is of a batch.
    """

    id: int
    action: str
    edge_id: str | None
    edges: int
    edge_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class RevertReport:
    """What a revert did.

    Attributes:
        reverted: how many edges were put back (or would be).
        changed_since: how many were left, since somebody wrote to them after the repair.
        left: the journal's entries behind those, as far as they were left.
        decisions: how many decisions for the ledger were taken back (or would be).
    """

    reverted: int = 0
    changed_since: int = 0
    left: list[JournalEntry] = field(default_factory=list)
    decisions: int = 0


def revert_run(
    conn: Connection, run_id: str, *, dry_run: bool = False, fence: Fence | None = None
) -> RevertReport:
    """Puts back what a run changed in the ledger, as far as nobody changed it since.

    A row counts as unchanged if it is what the repair made of it, ``updated_at`` aside, which is
    the time of the revert afterwards. Short transactions: run it again after an interruption.

    Args:
        conn: a connection that is not in a transaction.
        run_id: whose changes to undo.
        dry_run: only count; everything is rolled back.
        fence: the lease of the reverting run; needed unless ``dry_run``.
    """
    report = RevertReport()
    with translated():
        edges = find_app_tables(conn).ledger()
    whole = transaction(conn, lock_timeout="5s") if dry_run else nullcontext()
    with whole:
        if dry_run:  # what is undone for the count must not stay
            with conn.transaction(force_rollback=True):
                _revert(conn, run_id, edges, report, None, dry_run=True)
        else:
            _revert(conn, run_id, edges, report, fence, dry_run=False)
    return report


def _revert(
    conn: Connection,
    run_id: str,
    edges: Table,
    report: RevertReport,
    fence: Fence | None,
    *,
    dry_run: bool,
) -> None:
    """Goes through the journal from its end."""
    statement = query("queries/acknowledgements", "take_back")
    with nullcontext() if dry_run else transaction(conn):
        if fence is not None:
            check_fence(conn, fence)
        taken_back = conn.execute(statement, {"run_id": run_id}).fetchall()
    report.decisions = len(taken_back)
    before = _LAST
    while batch := _next_batch(conn, run_id, before):
        before = batch[-1].id
        with nullcontext() if dry_run else transaction(conn):
            if fence is not None:
                check_fence(conn, fence)
            by = fence.run_id if fence else "dry run"
            done = {undone[0]: undone for undone in _undo(conn, batch, edges, by, dry_run=dry_run)}
        for entry in batch:
            _, reverted, left = done.get(entry.id, (entry.id, 0, []))
            report.reverted += reverted
            report.changed_since += entry.edges - reverted
            if reverted < entry.edges:
                rest = entry.edges - reverted
                report.left.append(replace(entry, edges=rest, edge_ids=tuple(left)))


def _next_batch(conn: Connection, run_id: str, before: int) -> list[JournalEntry]:
    """The next entries, of which no two are about the same edge: the newer one goes first."""
    parameters = {"run_id": run_id, "before": before, "limit": BATCH}
    with translated():
        found: list[TupleRow] = conn.execute(
            query("queries/ledger", "entries"), parameters
        ).fetchall()
    batch: list[JournalEntry] = []
    seen: set[str] = set()
    batches = 0
    for entry in (JournalEntry(*row) for row in found):
        batches += entry.edge_id is None
        if entry.edge_id in seen or batches > _BATCHES_AT_ONCE:
            break
        if entry.edge_id is not None:
            seen.add(entry.edge_id)
        batch.append(entry)
    return batch


def _undo(
    conn: Connection, batch: list[JournalEntry], edges: Table, by: str, *, dry_run: bool
) -> Iterator[tuple[int, int, list[str]]]:
    """Undoes a batch: per entry its id, how many edges were put back, which of many were left."""
    groups: dict[str, list[int]] = {}
    for entry in batch:
        whole = "unchanged_batch" if dry_run else "revert_batch"
        name = whole if entry.edge_id is None else f"revert_{entry.action}"
        groups.setdefault(name, []).append(entry.id)
    for name, ids in groups.items():
        statement = query("queries/ledger", name, **ledger_parts(edges))
        yield from conn.execute(statement, {"ids": ids, "by": by}).fetchall()
