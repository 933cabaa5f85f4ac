"""What an audit will cost, before it begins: the facts behind ``checks.forecast``; the quota."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

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
from tasks.schema import has_audit_table
from tasks.settings import Settings
from tasks.stores.blob import asking
from tasks.stores.icp import canister

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
    return Usage.together(each.usage for each in _records(home, month) if each.usage is not None)


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
        ledger = _ledger(conn, tables)
        files = 0 if ledger.get(Backend.BLOB, _NOTHING).assets else _files(conn, tables)
        findings = _open_findings(conn)
        capsules = _capsules(conn, tables)

    def holdings(backend: Backend, page: int, without: int) -> Holdings | None:
        """``without``: how many objects where neither ledger nor audit says how many."""
        if backend not in options.stores or not settings.store_name(backend):
            return None
        said, found = ledger.get(backend, _NOTHING), findings.get(backend.value, 0)
        listed = last.stores.get(backend.value) if last else None
        if listed is None or listed.state is not StoreState.COMPLETE:
            return Holdings(page, said.assets or without, said.assets, said.bytes, found)
        assets, size = said.assets or listed.objects, said.bytes or listed.bytes
        return Holdings(page, listed.objects, assets, size, found)

    return Known(
        edges=sum(each.edges for each in ledger.values()),
        blob=holdings(Backend.BLOB, asking.PAGE_LIMIT, files),
        icp=holdings(Backend.ICP, canister.PAGE_LIMIT, sum(capsules)),
        capsules=capsules,
    )


class _Said(NamedTuple):
    """What the ledger says of one backend: its edges, and the assets that are there."""

    edges: int = 0
    assets: int = 0
    bytes: int = 0


_NOTHING = _Said()


def _ledger(conn: Connection, tables: AppTables) -> dict[str, _Said]:
    """What the ledger says, by backend, in one reading of it."""
    ledger = tables.ledger()
    select = query(
        "queries/forecast", "ledger", table=ledger.identifier,
        present=ledger.boolean("e", "present"), size_bytes=ledger.integer("e", "size_bytes"),
    )  # fmt: skip
    return {backend: _Said(*said) for backend, *said in conn.execute(select).fetchall()}


def _capsules(conn: Connection, tables: AppTables) -> tuple[int, ...]:
    """How many memories the ledger says are in each capsule."""
    ledger = tables.ledger()
    select = query(
        "queries/forecast", "capsules", table=ledger.identifier,
        present=ledger.boolean("e", "present"), location=ledger.text("e", "location"),
    )  # fmt: skip
    return tuple(number for _, number in conn.execute(select).fetchall())


def _files(conn: Connection, tables: AppTables) -> int:
    """How many rows there are that have a file: of all tables that can be read but the notes'."""
    counts = (
        conn.execute(query("queries/forecast", "rows", table=table.identifier)).fetchone()
        for memory_type, table in tables.memories.items() if memory_type is not MemoryType.NOTE
    )  # fmt: skip
    return sum(row[0] for row in counts if row)


def _open_findings(conn: Connection) -> dict[str, int]:
    """How many findings are open, by backend; none where no run was made yet."""
    if not has_audit_table(conn, "finding"):
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
