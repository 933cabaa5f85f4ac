"""What an audit will cost, before it begins: the facts behind ``checks.forecast``; the quota."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checks.errors import StoreError, UsageError
from checks.forecast import Before, Holdings, Known, forecast
from checks.model import Backend, MemoryType, StoreState
from checks.run import Forecast, RunRecord, Usage, new_run_id
from tasks.app_tables import AppTables, find_app_tables
from tasks.audit import NIGHTLY_AUDIT, AuditOptions, AuditRun
from tasks.database import Connection, connect, transaction, translated
from tasks.queries import query
from tasks.rates import PER_MINUTE, QUOTAS
from tasks.remote_home import fetch_history, is_remote
from tasks.run_directory import RunDirectory, completed_runs, local_home, run_ids
from tasks.settings import Settings
from tasks.snapshot import edge_statistics

#: Of an audit that read less, how fast it read says nothing.
_TELLING_BYTES = 10_000_000
_STAGE = "forecast"


def forecast_audit(settings: Settings, options: AuditOptions) -> Forecast:
    """What an audit with these options will use. Asks the database alone, and changes nothing.

    Raises StoreError where the database can't be asked, SchemaError where it has no ledger.
    """
    home = local_home(settings.home)
    if is_remote(settings.home):
        fetch_history(settings.home, home)
    last = next(completed_runs(home, NIGHTLY_AUDIT), None)
    with connect(settings.batch_database_url, purpose="edgekeeper plan") as conn:
        known = _known(conn, settings, options, last)
    limits = PER_MINUTE.get(settings.blob_plan, {})
    return forecast(
        known,
        budget=options.verify_budget,
        minutes=options.verify_minutes,
        before=_before(last) if last else None,
        per_minute={f"blob_{operation}": limit for operation, limit in limits.items()},
        quota=QUOTAS.get(settings.blob_plan),
        used=used_this_month(home, datetime.now(UTC)),
    )


def within_quota(settings: Settings, options: AuditOptions, *, over_quota: bool) -> Forecast | None:
    """The forecast of an audit that is about to begin; None where none can be made.

    What keeps the database from being asked is the audit's own to find and to record. Raises
    UsageError where the month's quota would be passed and that was not allowed.
    """
    try:
        expected = forecast_audit(settings, options)
    except StoreError:
        return None
    if expected.over and not over_quota:
        raise UsageError(
            f"This audit would pass what the plan {settings.blob_plan} includes this month: "
            f"{'; '.join(expected.over)}. Lower --verify, look at less with --store, set "
            "EDGEKEEPER_BLOB_PLAN to the plan you have, or allow it with --over-quota. Nothing "
            "was done; see: edgekeeper plan"
        )
    return expected


def keep(run: AuditRun, expected: Forecast | None) -> None:
    """Keeps a run's forecast, to stand in its record beside what was used."""
    if expected is not None:
        run.stage(_STAGE, lambda: {"forecast": expected.model_dump(mode="json")})


def forecast_of(run: AuditRun) -> Forecast | None:
    """The forecast that was kept for the run."""
    facts = run.directory.done_stages().get(_STAGE)
    return Forecast.model_validate(facts["forecast"]) if facts else None


def used_this_month(home: Path, now: datetime) -> Usage:
    """What the runs on record used since the month began, in UTC."""
    month = new_run_id(now)[:6]
    used = [record.usage for record in _records(home, month) if record.usage is not None]
    return Usage(**{name: sum(getattr(each, name) for each in used) for name in Usage.model_fields})


def _records(home: Path, month: str) -> Iterator[RunRecord]:
    """The records of the runs that began in a month; one that can't be read says nothing."""
    for run_id in run_ids(home):
        if run_id < month:
            return
        if run_id.startswith(month):
            try:
                yield RunDirectory(home, run_id).read_run(findings=False)
            except (UsageError, OSError):
                continue


def _known(
    conn: Connection, settings: Settings, options: AuditOptions, last: RunRecord | None
) -> Known:
    with transaction(conn, snapshot=True), translated():
        tables = find_app_tables(conn)
        edges = sum(each.edges for each in edge_statistics(conn, tables).values())
        assets = _assets(conn, tables)
        rows = _rows(conn, tables)
        findings = _open_findings(conn)
        capsules = _capsules(conn, tables)

    def holdings(backend: Backend, by_rows: int) -> Holdings | None:
        if backend not in options.stores or not settings.store_name(backend):
            return None
        number, size = assets.get(backend.value, (0, 0))
        listed = last.stores.get(backend.value) if last else None
        if listed is None or listed.state is not StoreState.COMPLETE:
            return Holdings(number or by_rows, number, size, findings.get(backend.value, 0))
        return Holdings(
            listed.objects, number or listed.objects, size or listed.bytes,
            findings.get(backend.value, 0),
        )  # fmt: skip

    files = sum(number for kind, number in rows.items() if kind is not MemoryType.NOTE)
    return Known(
        edges=edges,
        blob=holdings(Backend.BLOB, files),
        icp=holdings(Backend.ICP, sum(capsules)),
        capsules=capsules,
    )


def _assets(conn: Connection, tables: AppTables) -> dict[str, tuple[int, int]]:
    """By backend, how many assets the ledger says are there, and their bytes."""
    ledger = tables.ledger()
    select = query(
        "queries/forecast", "assets", table=ledger.identifier,
        present=ledger.boolean("e", "present"), size_bytes=ledger.integer("e", "size_bytes"),
    )  # fmt: skip
    return {backend: (number, size) for backend, number, size in conn.execute(select).fetchall()}


def _capsules(conn: Connection, tables: AppTables) -> tuple[int, ...]:
    """How many memories the ledger says are in each capsule."""
    ledger = tables.ledger()
    select = query(
        "queries/forecast", "capsules", table=ledger.identifier,
        present=ledger.boolean("e", "present"), location=ledger.text("e", "location"),
    )  # fmt: skip
    return tuple(number for _, number in conn.execute(select).fetchall())


def _rows(conn: Connection, tables: AppTables) -> dict[MemoryType, int]:
    """How many rows each of the app's tables has, of those that can be read."""
    counts: dict[MemoryType, int] = {}
    for memory_type, table in tables.memories.items():
        select = query("queries/forecast", "rows", table=table.identifier)
        row = conn.execute(select).fetchone()
        counts[memory_type] = row[0] if row else 0
    return counts


def _open_findings(conn: Connection) -> dict[str, int]:
    """How many findings are open, by backend; none where no run was made yet."""
    there = conn.execute("SELECT to_regclass('audit.finding') IS NOT NULL").fetchone()
    if not there or not there[0]:
        return {}
    found: list[tuple[Any, ...]] = conn.execute(
        query("queries/forecast", "open_findings")
    ).fetchall()
    return {backend: number for backend, number in found if backend}


def _before(last: RunRecord) -> Before:
    """How the last audit went."""
    stages = {stage.name: stage.seconds for stage in last.stages}
    reading = stages.get("verify", 0.0)
    whole = (last.finished_at - last.started_at).total_seconds() if last.finished_at else 0.0
    read = last.coverage.bytes_this_run
    telling = reading and read >= _TELLING_BYTES
    return Before(last.edges.total, max(whole - reading, 0.0), read / reading if telling else None)
