"""The nightly audit: list what is in the stores, compare, confirm, repair by policy, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import unmapped

from checks.errors import StoreError, UsageError
from checks.model import Backend, RepairPolicy
from checks.run import RunRecord
from flows import clusters
from flows.artifacts import Progress
from flows.engine import flow, name_run, task
from flows.spread import listings, quality_checks, spread_over
from tasks import (
    audit,
    content_repair,
    forecasting,
    heartbeat,
    mending,
    notifying,
    observe,
    publish,
    rolling,
)
from tasks.comparison import Concluded
from tasks.lease import Fence
from tasks.quality import CheckResult
from tasks.resolve import LeftOver
from tasks.settings import load_settings

snapshot = task(observe.snapshot)
resolve = task(observe.resolve)
verify_bytes = task(rolling.verify, name="verify")
conclude = task(observe.conclude, name="compare-and-confirm")
conclude_left_over = task(observe.conclude_left_over, name="orphans")
conclude_collection = task(observe.conclude_collection, name="whole-collection")
propose = task(mending.propose)
mend = task(content_repair.mend, name="repair")
close = task(publish.close, name="report")


@flow("nightly-audit", spreads=True)
def nightly_audit(
    repair: str | None = None,
    verify: str | None = None,
    stores: list[str] | None = None,
    allow_percent: float | None = None,
    over_quota: bool = False,  # noqa: FBT001, FBT002 - a deployment's parameter
    accept_new_store: bool = False,  # noqa: FBT001, FBT002
    resume: str | None = None,
    verify_minutes: float | None = None,
) -> dict[str, Any]:
    """Audits the ledger against Neon, Vercel Blob and the canister.

    Args:
        repair: how far the audit may go: none (the default), ledger, content or purge.
        verify: bytes to read and hash, such as 5GB, 0 or all; default EDGEKEEPER_VERIFY_BUDGET.
        stores: backends to look at; default all that are configured.
        allow_percent: the breaker's limit for this run, in percent.
        over_quota: whether it may pass what the plan includes a month.
        accept_new_store: these are other stores than those of former runs, on purpose.
        resume: the id of a run that was interrupted within the last day.
        verify_minutes: how long reading bytes may take; default EDGEKEEPER_VERIFY_MINUTES.

    Returns:
        the run object of the interface's contract.
    """
    settings = load_settings()
    options = audit.options_of(
        settings, repair=_policy(repair), verify=verify, verify_minutes=verify_minutes,
        stores=stores, allow_percent=allow_percent, accept_new_store=accept_new_store,
    )  # fmt: skip
    expected = (
        None if resume else forecasting.within_quota(settings, options, over_quota=over_quota)
    )
    with clusters.under_way(settings, options, resume, audit.NIGHTLY_AUDIT) as (run, fence):
        name_run(run.run_id)
        forecasting.keep(run, expected)
        progress = Progress(run.flow)
        try:
            findings = _found(run, progress)
        except StoreError as error:  # nothing was written yet: there is nothing to go on with
            record = publish.close_inconclusive(run, error)
        else:
            record = _mended(run, fence, findings)
        record = heartbeat.beat(run, notifying.tell(run, record))
        progress.reached(100, "done")
    return record.to_dict()


def _policy(repair: str | None) -> RepairPolicy | None:
    """How far the audit may go, where that is said. Raises UsageError where it is no policy."""
    if repair is None:
        return None
    policy = next((policy for policy in RepairPolicy if policy.value == repair), None)
    if policy is None:
        known = ", ".join(RepairPolicy)
        raise UsageError(f"repair: {repair} is no repair policy; use {known}. Nothing was done.")
    return policy


@dataclass(frozen=True, slots=True)
class _Found:
    """What an audit has concluded before it changes anything."""

    seen: observe.Seen
    reading: Mapping[str, Any]
    conclusions: Sequence[Concluded]
    proposal: mending.Proposal
    checks: Sequence[CheckResult]


def _found(run: audit.AuditRun, progress: Progress) -> _Found:
    """What an audit does before it changes anything, in its order."""
    facts = snapshot(run)
    progress.reached(10, "listing the stores")
    reports = {Backend.NEON: observe.neon_report(facts), **listings(run, facts)}
    progress.reached(50, "bringing rows, objects and edges together")
    # Workers that check tables would not read, while the minutes for reading run: they come later.
    early = quality_checks(run, facts) if run.abreast == 1 else []

    left_over = resolve(run, facts)
    progress.reached(60, "reading bytes within the budget")
    reading = verify_bytes(run, facts, reports, None, spread_over(run))
    quality = early or quality_checks(run, facts)
    progress.reached(75, "comparing and confirming")
    seen = observe.Seen(facts, observe.after_reading(reports, reading))
    conclusions = _compared(run, left_over, seen)
    doubted = observe.without_doubtful_listings(seen, conclusions)
    if doubted is not None:
        seen, conclusions = doubted, _compared(run, left_over, doubted)

    proposal = propose(run, facts)
    progress.reached(90, "repairing as far as was asked for, and reporting")
    parts = run.received([part.result() for part in quality])
    checks = [result for part in parts for result in part]
    return _Found(seen, reading, conclusions, proposal, checks)


def _compared(run: audit.AuditRun, left_over: LeftOver, seen: observe.Seen) -> list[Concluded]:
    """What is concluded of every partition, and of the objects that nothing refers to."""
    # Galleries are asked for one by one, which is mostly waiting. A worker has other things to do.
    here = run.abreast == 1 and not run.by_url
    early = conclude_collection.submit(run, seen) if here else None
    partitions = list(range(seen.facts["partitions"]))
    try:
        concluded = run.received(conclude.map(unmapped(run), partitions, unmapped(seen)).result())
        left = conclude_left_over(run, left_over, seen)
    finally:
        if early:
            early.wait()  # what is under way must not end after a run that failed
    whole = early.result() if early else conclude_collection(run, seen)
    return [*concluded, left, whole]


def _mended(run: audit.AuditRun, fence: Fence | None, found: _Found) -> RunRecord:
    """Repairs and reports. What fails here leaves a run that failed, and can be resumed."""
    made = mend(run, found.seen, fence, found.proposal) if fence else None
    outcome = publish.Outcome(found.conclusions, found.reading, found.proposal, made, found.checks)
    return close(run, found.seen, outcome)
