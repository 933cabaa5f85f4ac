"""The data-quality checks of an audit: of what it read, and at its end of the audit itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from checks import run_measures
from checks.columns import RUN_MEASURES
from checks.run import RunRecord
from checks.suites import MODULES, Limits
from tasks.audit import AuditRun
from tasks.check_history import former_measures, record_checks
from tasks.database import Connection
from tasks.partitions import partition_path
from tasks.quality import CheckResult, folders, run_suites, write_data_docs
from tasks.run_directory import private_directory
from tasks.tracked_items import spool_tracked

#: What is known only once all was compared.
_OF_THE_RUN = ("stored-copies", "run")
#: The tables that are checked while a run is under way.
EARLY = tuple(table for table in MODULES if table not in _OF_THE_RUN)
_ITEMS = "gallery-items"
#: The check beside which a run keeps what it measured.
_KEEPER = ("run", "findings_usual")


def check_tables(
    run: AuditRun, facts: Mapping[str, Any], part: str | None = None
) -> list[CheckResult]:
    """Validates everything that was spooled, or of it the table ``part``, one of :func:`parts`.

    ``facts`` are those of the snapshot.
    """

    def work() -> dict[str, Any]:
        where = folders(run.directory)
        wanted = EARLY if part is None else (part,)
        if _ITEMS in wanted:
            grace = timedelta(minutes=run.settings.grace_minutes)
            snapshot_at = datetime.fromisoformat(facts["at"])
            spool_tracked(run.workspace(facts["partitions"]), where[_ITEMS], snapshot_at - grace)
        early = {table: where[table] for table in wanted}  # also one that is not there: unjudged
        results = run_suites(run.directory, _limits(run, datetime.now(UTC)), tables=early)
        return {"results": [asdict(result) for result in results]}

    name = "quality-checks" if part is None else f"quality-checks-{part}"
    results = run.stage(name, work)["results"]
    return [CheckResult(**each | {"sample": tuple(each["sample"])}) for each in results]


def parts(run: AuditRun) -> Sequence[str | None]:
    """What :func:`check_tables` is called with, in turn: on a cluster each table is a task."""
    return [None] if run.abreast == 1 else EARLY


def check_run(
    conn: Connection, run: AuditRun, record: RunRecord, of_tables: Sequence[CheckResult]
) -> list[CheckResult]:
    """All checks of an audit, its own among them: kept in the database, and shown in Data Docs.

    Args:
        conn: a connection that is not in a transaction.
        run: the audit, at its end.
        record: of it, counted.
        of_tables: what :func:`check_tables` gave.
    """
    former = former_measures(conn, ".".join(_KEEPER), run.run_id, run_measures.LOOK_BACK)
    where = {table: folders(run.directory)[table] for table in _OF_THE_RUN}
    rows = run_measures.rows(record, [each for _, each in former], [run_id for run_id, _ in former])
    pq.write_table(
        pa.Table.from_pylist(rows, RUN_MEASURES), partition_path(private_directory(where["run"]), 0)
    )
    now = record.finished_at or datetime.now(UTC)
    limits = _limits(run, now)
    results = [*of_tables, *run_suites(run.directory, limits, tables=where)]
    kept = [
        replace(each, measured=run_measures.measured(record))
        if (each.table, each.check) == _KEEPER else each
        for each in results
    ]  # fmt: skip
    record_checks(conn, run.run_id, kept)
    write_data_docs(run.directory, kept, limits, now)
    return kept


def _limits(run: AuditRun, now: datetime) -> Limits:
    """What the checks measure against.

    Times are held against the end of the reading: what was written meanwhile is no future.
    """
    days = run.settings.verify_within_days
    return Limits.at(now, None if days is None else timedelta(days=days))
