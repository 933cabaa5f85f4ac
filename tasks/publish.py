"""What a run has to say at its end: the findings with their history, the record, the pages."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from time import monotonic
from typing import Any

import pandas as pd
import pyarrow as pa
import structlog

from checks.coverage import full_cycle, together
from checks.describe import plain_records
from checks.errors import StoreError
from checks.kinds import needed_stores
from checks.model import Backend, RepairState, StoreState
from checks.run import (
    FINDINGS,
    Changed,
    Coverage,
    Edges,
    GalleryVerdict,
    Repairs,
    RunRecord,
    Stage,
    StoreCoverage,
    StoreSummary,
    findings_table,
    settled,
    with_findings,
)
from tasks import mending
from tasks.acknowledgements import acknowledgements, told
from tasks.at_risk import at_risk
from tasks.audit import AuditRun, usage_of
from tasks.changes import Changes, changes_since
from tasks.comparison import Concluded, all_findings, dropped_findings
from tasks.database import Connection
from tasks.exchange import OwnSide, side_of
from tasks.exchange_area import clear
from tasks.findings_history import record_findings, resolve_unseen
from tasks.forecasting import forecast_of
from tasks.memory import peak_rss_mb, release_unused
from tasks.observe import Seen
from tasks.quality import CheckResult, summary
from tasks.remote_home import Runs, is_remote, keep, report_url
from tasks.report import write_index, write_report
from tasks.run_checks import check_run
from tasks.run_directory import completed_runs, former_runs, write_csv
from tasks.settings import masked
from tasks.stores.protocol import ListingReport

_NAMED = ("edgekeeper", "prefect", "psycopg", "httpx", "pandas", "ic-py", "great-expectations")
_HISTORY = 90
_log = structlog.get_logger(__name__)


def versions() -> dict[str, str]:
    """The versions of what made the run."""
    found = {}
    for name in _NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    return found


def with_repairs(findings: pd.DataFrame, outcomes: mending.Outcomes) -> pd.DataFrame:
    """``findings`` with what became of their repairs.

    Args:
        findings: columns of ``FINDINGS``.
        outcomes: by fingerprint, the repair's state and a sentence about it.
    """
    states = findings["fingerprint"].map(lambda each: outcomes.get(each, ("none", None)))
    return findings.assign(
        repair=[state for state, _ in states], repair_detail=[detail for _, detail in states]
    )


def repair_counts(findings: pd.DataFrame) -> Repairs:
    """How many findings' repairs ended in each way."""
    counts = findings["repair"].value_counts()
    wanted = (
        RepairState.APPLIED, RepairState.SUPERSEDED, RepairState.REFUSED, RepairState.FAILED
    )  # fmt: skip
    return Repairs(**{state.value: int(counts.get(state.value, 0)) for state in wanted})


def stores_of(reports: Mapping[Backend, ListingReport]) -> dict[str, StoreSummary]:
    """The stores as the record shows them."""
    names = StoreSummary.model_fields
    return {
        backend.value: StoreSummary(**{name: getattr(report, name) for name in names})
        for backend, report in reports.items()
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit concluded and did.

    Attributes:
        conclusions: per partition, and about the objects nothing refers to.
        reading: facts of the stage that read bytes.
        proposal: what could be repaired.
        made: what became of the repairs, None where none was to be made.
        checks: the results of the data-quality suites over what was read; where there are none the
            run itself is not checked either.
    """

    conclusions: Sequence[Concluded]
    reading: Mapping[str, Any]
    proposal: mending.Proposal
    made: mending.Made | None
    checks: Sequence[CheckResult]


def close(
    run: AuditRun, seen: Seen, outcome: Outcome, gallery: GalleryVerdict | None = None
) -> RunRecord:
    """Joins the findings with their history, writes the record and the pages, and gives it.

    ``gallery`` is what a verification observed: such a run has looked at some memories only, so
    that nothing is resolved by not being among its findings.
    """
    workspace = run.workspace(seen.facts["partitions"])
    release_unused()
    findings = all_findings(workspace)
    findings = with_repairs(findings, mending.reported(outcome.proposal, outcome.made))
    with run.connect() as conn:
        dropped = dropped_findings(workspace)
        whole = _whole(seen, outcome)
        findings = _remembered(conn, run, whole, findings)
        resolved = [] if gallery else resolve_unseen(conn, run.run_id, whole=whole, keep=dropped)
        risk = at_risk(conn, findings)
        record = _record(run, seen, outcome, findings).model_copy(
            update={"coverage": _coverage(run, outcome), "gallery": gallery}
        )
        checks = check_run(conn, run, record, outcome.checks) if outcome.checks else []
    record = settled(record.model_copy(update={"checks": summary(checks)}))
    changes = None if gallery else _changes(run, findings, resolved)
    if changes:
        record = record.model_copy(update={"changes": Changed(**changes.counts())})
    return published(run, record, findings, checks, changes=changes, risk=risk)


def _changes(run: AuditRun, findings: pd.DataFrame, resolved: Collection[str]) -> Changes | None:
    """What is not as it was after the last audit that came to its end."""
    before = next(completed_runs(run.directory.home, run.flow, before=run.run_id), None)
    return changes_since(run.directory, before, findings, resolved) if before else None


def _whole(seen: Seen, outcome: Outcome) -> set[str]:
    """The backends that were listed whole, every capsule of them, and answered to the end."""
    silent = {name for each in outcome.conclusions for name in each.unknown}
    return {
        backend.value for backend, report in seen.reports.items()
        if report.state is StoreState.COMPLETE and not report.unknown_parts
        and backend.value not in silent
    }  # fmt: skip


def _remembered(
    conn: Connection, run: AuditRun, whole: Collection[str], findings: pd.DataFrame
) -> pd.DataFrame:
    """``findings`` with when each was first seen, in how many runs, and what a person said of it.

    Args:
        conn: a connection that is not in a transaction.
        run: whose findings they are.
        whole: the stores that it saw whole.
        findings: columns of ``FINDINGS``.
    """
    rows = (
        row | {"doc": row, "needs": needed_stores(row["kind"], row["backend"], whole)}
        for row in plain_records(findings)
    )
    history = record_findings(conn, run.run_id, rows, complete=len(whole) == len(Backend))
    seen_before = history.set_index("fingerprint").reindex(findings["fingerprint"])
    findings = findings.assign(
        first_seen=pd.to_datetime(seen_before["first_seen"], utc=True).to_numpy(),
        runs_seen=seen_before["runs_seen"].to_numpy(),
    )
    return told(findings, acknowledgements(conn), datetime.now(UTC))


def close_inconclusive(run: AuditRun, error: StoreError) -> RunRecord:
    """The record of an audit that a store kept from its end: nothing is concluded."""
    record = settled(
        RunRecord(
            run_id=run.run_id, flow=run.flow, started_at=run.started_at,
            finished_at=datetime.now(UTC), repair=run.options.repair,
            report=str(run.directory.report), version=versions()["edgekeeper"],
            versions=versions(), stages=stages(run), settings=masked(run.settings),
            inconclusive=(str(error),), usage=usage_of(run), forecast=forecast_of(run),
        )
    )  # fmt: skip
    return published(run, record, pd.DataFrame(columns=FINDINGS.names), ())


def _record(run: AuditRun, seen: Seen, outcome: Outcome, findings: pd.DataFrame) -> RunRecord:
    """The record of an audit that came to its end."""
    concluded = outcome.conclusions
    unknown = {name: why for each in concluded for name, why in each.unknown.items()}
    doubts = [f"{name} did not give every answer: {why}" for name, why in unknown.items()]
    now = datetime.now(UTC)
    record = RunRecord(
        run_id=run.run_id,
        flow=run.flow,
        started_at=run.started_at,
        finished_at=now,
        repair=run.options.repair,
        stores=stores_of(seen.reports),
        edges=Edges(
            total=sum(each.edges for each in concluded),
            compared=sum(each.compared for each in concluded),
            agree=sum(each.agree for each in concluded),
        ),
        repairs=repair_counts(findings),
        report=str(run.directory.report),
        version=versions()["edgekeeper"],
        versions=versions(),
        stages=stages(run),
        settings=masked(run.settings),
        limits=_limits(run, concluded),
        usage=usage_of(run),
        forecast=forecast_of(run),
        inconclusive=(*doubts, *mending.doubts(outcome.proposal, outcome.made)),
        breaker=tuple(str(each) for each in outcome.proposal.tripped.values()),
    )
    return settled(with_findings(record, findings, now=now))


def _limits(run: AuditRun, concluded: Sequence[Concluded]) -> dict[str, str | int | float | None]:
    """What bounded the run."""
    sampled = Counter[str]()
    for each in concluded:  # each of them took a sample of its own
        sampled.update(each.sampled)
    return {
        "verify_budget_bytes": run.options.verify_budget,
        "breaker_percent": run.options.breaker_percent,
        "in_flight": sum(each.in_flight for each in concluded),
        **{f"confirmed_by_sample: {name}": size for name, size in sampled.items()},
        **{name: why for each in concluded for name, why in each.limits.items()},
    }


def stages(run: AuditRun) -> tuple[Stage, ...]:
    """What each stage of the run took, in the order in which they ended."""
    return tuple(
        Stage(
            name=name,
            seconds=round(facts.get("stage_seconds", 0.0), 3),
            peak_rss_mb=round(facts.get("peak_rss_mb", 0.0), 1) or None,
        )
        for name, facts in run.directory.done_stages().items()
        if name != "begun"
    )


def _coverage(run: AuditRun, outcome: Outcome) -> Coverage:
    """How much of what the ledger says of bytes rests on bytes that were read."""
    stores = {
        name: StoreCoverage.model_validate(own)
        for name, own in together(each.coverage for each in outcome.conclusions).items()
    }
    reading = outcome.reading
    of_files = [own.bytes for name, own in stores.items() if name != Backend.NEON]
    return Coverage(
        assets=sum(each.assets for each in outcome.conclusions),
        hashed_this_run=reading["read"],
        bytes_this_run=reading["bytes"],
        hash_ever_verified=sum(own.verified["ever"].assets for own in stores.values()),
        oldest_verification=min(
            (own.oldest for own in stores.values() if own.oldest), default=None
        ),
        unverifiable=sum(each.unverifiable for each in outcome.conclusions),
        stores=stores,
        left_this_run=reading["left"],
        full_cycle_runs=full_cycle(
            sum(of_files), run.options.verify_budget, reading["bytes"], left=reading["left"]
        ),
    )


def published(
    run: AuditRun,
    record: RunRecord,
    findings: pd.DataFrame,
    checks: Sequence[CheckResult],
    *,
    changes: Changes | None = None,
    risk: pd.DataFrame | None = None,
) -> RunRecord:
    """Writes ``findings.*``, ``report.html``, the index and, last of all, ``run.json``.

    ``changes`` are those since the run before, ``risk`` whose promise is touched (columns
    ``AT_RISK``), which is in ``at-risk.csv`` too.

    Where the home is on other storage all of it is copied there; if that fails, it stays here.
    """
    home = run.settings.home
    if is_remote(home):
        record = record.model_copy(update={"report": report_url(home, run.directory)})
    began = monotonic()
    table = findings_table(findings)
    run.directory.write_findings(table)
    if risk is not None and len(risk):
        write_csv(run.directory.at_risk_csv, pa.Table.from_pandas(risk, preserve_index=False))
    history = former_runs(run.directory.home, limit=_HISTORY).runs
    write_report(
        run.directory, record, table,
        history=history, checks=checks, changes=changes, risk=risk,
    )  # fmt: skip
    took = Stage(
        name="report", seconds=round(monotonic() - began, 3), peak_rss_mb=round(peak_rss_mb(), 1)
    )
    record = record.model_copy(update={"stages": (*record.stages, took)})
    run.directory.write_run(record)
    write_index(run.directory.home)
    if is_remote(home) and _kept(run):
        try:
            clear(home, run.run_id)
        except StoreError as error:  # swept when it is a week old
            _log.warning("exchange_not_removed", reason=str(error))
    return record


def _kept(run: AuditRun) -> bool:
    """Keeps the run on other storage, with what its workers have logged; whether it lies there."""
    side = side_of(run.directory)
    copied = [side.copied] if isinstance(side, OwnSide) else []
    if isinstance(side, OwnSide):
        side.try_fetch_logs()
    try:
        keep(run.settings.home, run.directory, *copied)
    except StoreError as error:
        _log.warning("run_not_copied", kept_in=str(run.directory.path), reason=str(error))
        return False
    return True


def noted(run: AuditRun, record: RunRecord, name: str, note: str) -> RunRecord:
    """``record`` with a note in ``limits``, which ``run.json`` then has too, and its copy."""
    record = record.model_copy(update={"limits": {**record.limits, name: note}})
    path, home = run.directory.write_run(record), run.settings.home
    if is_remote(home):
        try:
            Runs.of(home).put_record(run.run_id, path)
        except StoreError as error:
            _log.warning("run_not_copied", kept_in=str(run.directory.path), reason=str(error))
    return record
