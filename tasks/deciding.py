"""A person decides a finding: looked at afresh, shown, and only then written, as a run of its own.

The look is a verification of the one memory, every byte in every store. The write is a repair as
any other: compare-and-set under the lease, journaled, taken back by ``revert``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checks.acknowledgement import changed_facts
from checks.decisions import as_read, as_the_url_says, needs_copies, refusal
from checks.describe import plain_records
from checks.errors import UsageError
from checks.model import Accept, Artifact, Backend, RepairPolicy, RepairState
from checks.repairs import EdgeRepair, plan
from checks.run import side_of
from tasks import audit, chosen, looking_up, mending, observe, publish, rolling
from tasks.acknowledgements import keep_decision
from tasks.comparison import Concluded, all_findings, cases_of, judged_part
from tasks.database import connect
from tasks.findings_history import KnownFinding, known_finding
from tasks.lease import Fence
from tasks.ledger import apply_repairs
from tasks.schema import ensure_audit_schema
from tasks.settings import ALL_BYTES, Settings
from tasks.verdict import verdict

RESOLVE = "resolve"
_LOOK_AGAIN = "Run `edgekeeper audit`, and decide on what it shows. Nothing was done."


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided and what came of it.

    Attributes:
        run_id: the run that it was made under: what ``revert`` takes back.
        finding: as it was seen just now: ``kind``, ``explanation``, both sides as objects.
        changes: the edges that are written (or would be), each with its new values.
        applied: how many were written.
        left: why the others were not.
    """

    run_id: str
    finding: Mapping[str, Any]
    changes: Sequence[EdgeRepair] = ()
    applied: int = 0
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Look:
    """A fresh look at the finding's memory."""

    asked: chosen.Chosen
    seen: observe.Seen
    reading: Mapping[str, Any]
    conclusions: list[Concluded]


def decide(
    settings: Settings,
    fingerprint: str,
    accept: Accept,
    *,
    reason: str,
    dry_run: bool = False,
    show: Callable[[Decision], None] = lambda _: None,
) -> Decision:
    """Carries out a person's decision about an open finding.

    Args:
        settings: the settings.
        fingerprint: of the finding.
        accept: which of the two facts is right.
        reason: in the person's words.
        dry_run: look and show only.
        show: called with both facts and the changes, before anything is written.

    Raises UsageError where there is no such open finding, where it is not what was reported any
    more, or where the decision can mean nothing for it; then nothing is written.
    """
    with connect(settings.batch_database_url, purpose="edgekeeper resolve") as conn:
        ensure_audit_schema(conn)
        known = known_finding(conn, fingerprint)
    kind = known.doc["kind"]
    if why := refusal(kind, accept):
        raise UsageError(f"{kind} can't be resolved for the {accept}: {why}. Nothing was done.")
    policy = RepairPolicy.NONE if dry_run else RepairPolicy.LEDGER
    options = audit.AuditOptions(policy, verify_budget=ALL_BYTES, breaker_percent=100.0)
    with audit.under_way(settings, options, flow=RESOLVE) as (run, fence):
        look = _looked(run, f"{known.doc['memory_type']}:{known.doc['memory_id']}")
        finding = _still_so(run, look, fingerprint, known)
        changes = [] if accept is Accept.LEDGER else _changes(run, look, fingerprint, finding)
        decision = Decision(run.run_id, finding, changes)
        show(decision)
        if fence is None:
            _close(run, look, fingerprint, None)
            return decision
        if accept is Accept.LEDGER:
            with run.connect() as conn:
                keep_decision(
                    conn, fingerprint, known, finding["observed"], run_id=run.run_id, reason=reason
                )
            _close(
                run, look, fingerprint, (RepairState.REFUSED.value, f"the ledger stands: {reason}")
            )
            return decision
        return _written(run, fence, look, fingerprint, decision)


def _looked(run: audit.AuditRun, memory: str) -> _Look:
    """Looks at a memory afresh, every byte in every store."""
    asked = chosen.choose(run, None, memory)
    facts = looking_up.snapshot(run, asked)
    reports = {Backend.NEON: observe.neon_report(facts)} | {
        each: looking_up.look_up(run, each, facts, asked) for each in (Backend.BLOB, Backend.ICP)
    }
    observe.resolve(run, facts)
    reading = rolling.verify(run, facts, reports, [memory_id for memory_id, _ in asked.pairs()])
    seen = observe.Seen(facts, observe.after_reading(reports, reading))
    conclusions = [observe.conclude(run, number, seen) for number in range(facts["partitions"])]
    return _Look(asked, seen, reading, conclusions)


def _still_so(
    run: audit.AuditRun, look: _Look, fingerprint: str, known: KnownFinding
) -> dict[str, Any]:
    """The finding as it is now. Raises UsageError where it is not what a person was shown."""
    findings = all_findings(run.workspace(look.seen.facts["partitions"]))
    same = list(plain_records(findings[findings["fingerprint"] == fingerprint]))
    if not same:
        raise UsageError(f"A fresh look does not find {fingerprint} any more. {_LOOK_AGAIN}")
    finding = same[0] | {side: side_of(same[0][side]) or {} for side in ("expected", "observed")}
    for side in ("expected", "observed"):
        shown = side_of(known.doc.get(side)) or {}
        if changed := changed_facts(shown, finding[side]):
            raise UsageError(
                f"{fingerprint} is not what was reported any more: {', '.join(changed)} changed. "
                f"{_LOOK_AGAIN}"
            )
    return finding


def _changes(
    run: audit.AuditRun, look: _Look, fingerprint: str, finding: Mapping[str, Any]
) -> list[EdgeRepair]:
    """What *observed* writes. Raises UsageError where it can't be written."""
    workspace = run.workspace(look.seen.facts["partitions"])
    changes: list[EdgeRepair] | str = "no edit of the ledger mends what was seen just now"
    for partition in range(workspace.partitions):
        judged, parts = judged_part(workspace, partition)
        judged = judged[judged["fingerprint"] == fingerprint]
        parts = parts[parts["fingerprint"] == fingerprint]
        if judged.empty:
            continue
        if needs_copies(finding["kind"]):
            copies = _copies(run, look, partition, finding)
            changes = as_read(finding["kind"], fingerprint, finding["backend"], copies)
        elif finding["kind"] == "location_conflict":
            changes = as_the_url_says(fingerprint, next(plain_records(judged)))
        else:
            changes = list(plan(judged, parts, run.run_id)) or changes
    if isinstance(changes, str):
        raise UsageError(f"{fingerprint} can't be resolved so: {changes}. Nothing was done.")
    return changes


def _copies(
    run: audit.AuditRun, look: _Look, partition: int, finding: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The memory's assets that have an edge saying that they are there, as they were seen."""
    workspace = run.workspace(look.seen.facts["partitions"])
    view = observe.view_of(run, look.seen.facts, look.seen.reports)
    cases, _ = cases_of(workspace, partition, view, run.settings.blob_address)
    frame = cases.frame(np.flatnonzero(cases.edge > 0))
    mine = (frame["memory_id"] == finding["memory_id"]) & (
        frame["artifact"] == Artifact.ASSET.value
    )
    here = mine & (frame["present"].fillna(value=False).astype(bool))
    return list(plain_records(frame[here & (frame["memory_type"] == finding["memory_type"])]))


def _written(
    run: audit.AuditRun, fence: Fence, look: _Look, fingerprint: str, decision: Decision
) -> Decision:
    """Writes the changes, and says of each what became of it."""
    with run.connect() as conn:
        results = apply_repairs(conn, fence, decision.changes)
    left = [f"{each.state.value}: {each.detail}" for each in results
            if each.state is not RepairState.APPLIED]  # fmt: skip
    outcome = (RepairState.SUPERSEDED.value, left[0]) if left else (RepairState.APPLIED.value, None)
    _close(run, look, fingerprint, outcome)
    return Decision(
        decision.run_id, decision.finding, decision.changes, len(results) - len(left), left
    )


def _close(
    run: audit.AuditRun, look: _Look, fingerprint: str, outcome: tuple[str, str | None] | None
) -> None:
    """Leaves a record and a page, as every run does."""
    proposal = mending.Proposal({fingerprint})
    made = mending.Made({fingerprint: outcome}) if outcome else None
    answer = verdict(run, look.seen, look.asked, {})
    publish.close(
        run, look.seen, publish.Outcome(look.conclusions, look.reading, proposal, made, ()), answer
    )
