"""Former runs that nobody needs any more: their directories, and their rows in the audit schema.

What proves something, what can be taken back and what failed is kept for longer than a person may
ask for; the files in quarantine and open findings are never touched.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import Rollback

from checks.errors import UsageError
from checks.model import RunStatus
from checks.run import RunRecord, new_run_id
from checks.run_measures import LOOK_BACK
from tasks.database import Connector, transaction, translated
from tasks.queries import query
from tasks.remote_home import Runs, is_remote
from tasks.report import write_index
from tasks.run_directory import local_home
from tasks.schema import ensure_audit_schema, has_audit_table
from tasks.settings import Settings
from tasks.statement import FILE as STATEMENT

#: The least that may be asked for: what is left of a month's quota is counted from its runs.
LEAST_DAYS = 32
#: How long failures and the journal stay at least.
LONG_DAYS = 400
#: Tables of the audit schema in the order in which they are pruned.
TABLES = ("check_result", "checkpoint", "repair", "finding", "run")


class Kept(StrEnum):
    """Why a run stays although it is older than was asked for."""

    NEWEST = "the newest of its kind, which the next one is compared with"
    PROOF = "a statement or certificates that somebody may have to check"
    CHANGES = "changes that can be looked up and taken back"
    FAILURE = "failed, not conclusive, or without a record"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was deleted, or would be.

    Attributes:
        runs: ids of the runs whose directories go, oldest first.
        bytes: what these hold.
        kept: how many older runs stay, by ``Kept``.
        rows: rows by table of the audit schema.
    """

    runs: tuple[str, ...]
    bytes: int
    kept: dict[str, int]
    rows: dict[str, int]


def prune(
    settings: Settings,
    connect: Connector,
    *,
    keep_days: int,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Pruned:
    """Deletes what is older than ``keep_days`` days and needed by nobody.

    Args:
        settings: whose home, here and on other storage.
        connect: opens a connection to the database.
        keep_days: at least ``LEAST_DAYS``.
        dry_run: say what would go, and leave it.
        now: the end of these days; default this moment.

    Raises UsageError where fewer days are asked for, and StoreError where the database or the
    storage can't be reached: it can be run again at any time.
    """
    if keep_days < LEAST_DAYS:
        raise UsageError(
            f"--keep-days {keep_days}: keep {LEAST_DAYS} days at least, since what is left of a "
            "month's quota is counted from the runs of that month"
        )
    now = now or datetime.now(UTC)
    old, oldest = (now - timedelta(days=days) for days in (keep_days, max(keep_days, LONG_DAYS)))
    journaled, rows = _prune_rows(connect, old, oldest, dry_run=dry_run)
    homes = [Runs.of(str(local_home(settings.home)))]
    if is_remote(settings.home):  # what is kept there counts; here is only a cache of it
        homes.insert(0, Runs.of(settings.home))
    going: dict[str, int] = {}
    kept: dict[str, Kept] = {}
    for runs in homes:
        for run_id, why in _older(runs, old, oldest, journaled):
            if run_id in kept:
                continue
            if why is not None and run_id not in going:
                kept[run_id] = why
                continue
            going[run_id] = going.get(run_id, 0) + runs.size(run_id)
            if not dry_run:
                runs.remove(run_id)
    if going and not dry_run:
        index = write_index(local_home(settings.home))
        if is_remote(settings.home):
            homes[0].put_index(index)
    reasons = Counter(why.value for why in kept.values())
    return Pruned(tuple(sorted(going)), sum(going.values()), dict(reasons), rows)


def _prune_rows(
    connect: Connector, old: datetime, oldest: datetime, *, dry_run: bool
) -> tuple[set[str], dict[str, int]]:
    """The runs that are still in the journal, and how many rows went by table."""
    rows: dict[str, int] = {}
    times: dict[str, Any] = {"old": old, "oldest": oldest, "newest": LOOK_BACK}
    with connect() as conn:
        with translated():
            if not has_audit_table(conn, "run"):
                return set(), rows
        ensure_audit_schema(conn)  # an older version may have left a table out
        with translated():
            found = conn.execute(query("queries/prune", "journaled"), times).fetchall()
        with transaction(conn):
            for table in TABLES:
                rows[table] = conn.execute(query("queries/prune", table), times).rowcount
            if dry_run:
                raise Rollback
    return {run_id for (run_id,) in found}, rows


def _older(
    runs: Runs, old: datetime, oldest: datetime, journaled: Collection[str]
) -> Iterator[tuple[str, Kept | None]]:
    """The runs that began before ``old``, newest first, each with why it stays; None: it goes."""
    border, long_ago = new_run_id(old)[:16], new_run_id(oldest)[:16]
    flows: set[str] = set()
    for run_id in runs.ids():
        record = runs.record(run_id)
        completed = record is not None and record.status is not RunStatus.FAILED
        newest = record is not None and completed and record.flow not in flows
        if record is not None and completed:
            flows.add(record.flow)
        if run_id < border:
            in_time = run_id >= long_ago
            yield run_id, _why_kept(
                record, newest=newest, proof=runs.has(run_id, STATEMENT, "certificates"),
                changes=run_id in journaled or bool(record and record.repairs.applied),
                in_time=in_time,
            )  # fmt: skip


def _why_kept(
    record: RunRecord | None, *, newest: bool, proof: bool, changes: bool, in_time: bool
) -> Kept | None:
    if newest:
        return Kept.NEWEST
    if proof:
        return Kept.PROOF
    if changes and in_time:
        return Kept.CHANGES
    ended_well = record is not None and record.status in (RunStatus.CLEAN, RunStatus.DRIFT)
    return Kept.FAILURE if in_time and not ended_well else None
