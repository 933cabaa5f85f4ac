"""Deciding about repairs and making them.

Nothing is repaired on what was seen minutes ago: directly before a partition's repairs are made,
its findings are confirmed once more, and each repair is a compare-and-set on the row besides.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from checks.breaker import Tripped, tripped
from checks.describe import plain_records
from checks.model import RepairState, StoreState
from checks.repairs import EdgeRepair, plan
from checks.run import side_of
from tasks.acknowledgements import decisions
from tasks.audit import AuditRun
from tasks.comparison import all_findings, judged_part, planned
from tasks.confirm import confirm
from tasks.lease import Fence
from tasks.ledger import Observed, apply_repairs, repaired
from tasks.observe import OpenStores, Seen
from tasks.resolve import Workspace
from tasks.store_identity import answering

Outcomes = dict[str, tuple[str, str | None]]
#: Where several repairs belong to one finding, the first of these that occurs is the finding's.
_WORST_FIRST = (
    RepairState.FAILED, RepairState.REFUSED, RepairState.SUPERSEDED, RepairState.APPLIED,
)  # fmt: skip
#: Columns of an edge that are compared besides its version.
_COMPARED = ("present", "location", "content_hash", "size_bytes", "sync_state", "sync_error")
_UNSEEN = (RepairState.PROPOSED.value, "not made: a store that it rests on did not answer")
_UNCONFIGURED = (RepairState.PROPOSED.value, "not made: the store is not configured")
_UNWHOLE = (RepairState.PROPOSED.value, "not made: the store was not seen whole")
_CHANGED = "it changed between the finding and the repair; the next audit looks at it again"


@dataclass(slots=True)
class Proposal:
    """What could be repaired.

    Attributes:
        fingerprints: of findings that a ledger repair mends.
        tripped: backends from which nothing may be taken away in this run.
        taken: by backend and kind, how many repairs would take something away.
        decided: by fingerprint, why a person does not want the ledger to follow.
    """

    fingerprints: set[str] = field(default_factory=set)
    tripped: dict[str, Tripped] = field(default_factory=dict)
    taken: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    decided: dict[str, str] = field(default_factory=dict)

    def refusal(self, repair: EdgeRepair) -> str | None:
        """Why a repair may not be made: a person's decision, or the breaker."""
        if repair.fingerprint in self.decided:
            return self.decided[repair.fingerprint]
        if repair.takes_away and repair.backend in self.tripped:
            return str(self.tripped[repair.backend])
        return None

    def outcomes(self) -> Outcomes:
        """What to say of the repairs where none is made."""
        proposed: Outcomes = dict.fromkeys(self.fingerprints, (RepairState.PROPOSED.value, None))
        return proposed | {
            name: (RepairState.REFUSED.value, why)
            for name, why in self.decided.items() if name in self.fingerprints
        }  # fmt: skip


@dataclass(slots=True)
class Made:
    """What became of the repairs.

    Attributes:
        outcomes: by fingerprint, for the findings that a ledger repair mends.
        unknown: backends that could not be asked any more, with the reason.
    """

    outcomes: Outcomes = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)


def propose(run: AuditRun, facts: Mapping[str, Any]) -> Proposal:
    """All ledger repairs of the run, counted and held against the breaker before any is made."""
    workspace = run.workspace(facts["partitions"])
    proposal = Proposal(decided=_decided(run, workspace))
    taken: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for partition in range(workspace.partitions):
        for repair in planned(workspace, partition, run.run_id):
            proposal.fingerprints.add(repair.fingerprint)
            if repair.takes_away and repair.fingerprint not in proposal.decided:
                taken[repair.backend][repair.kind] += 1
    proposal.taken = taken
    proposal.tripped = tripped(taken, facts["present"], run.options.breaker_percent)
    return proposal


def _decided(run: AuditRun, workspace: Workspace) -> dict[str, str]:
    """By fingerprint, the findings about which a person decided that the ledger is right.

    A decision holds as long as what is observed is what the person saw.
    """
    with run.connect() as conn:
        said = decisions(conn)
    if not said:
        return {}
    findings = all_findings(workspace)
    decided = {}
    for finding in plain_records(findings[findings["fingerprint"].isin(list(said))]):
        decision = said[finding["fingerprint"]]
        facts = {"first_seen": decision.first_seen, "observed": side_of(finding["observed"])}
        if decision.why_void(facts) is None:
            decided[finding["fingerprint"]] = (
                f"{decision.by} decided on {decision.at:%Y-%m-%d} that the ledger is right: "
                f"{decision.reason}"
            )
    return decided


def mend(run: AuditRun, seen: Seen, fence: Fence, proposal: Proposal) -> Made:
    """Makes the ledger repairs and says by fingerprint what became of each.

    Raises LeaseLostError where another run has taken over.
    """
    made = Made()
    outcomes: Outcomes = {}
    workspace = run.workspace(seen.facts["partitions"])
    withheld = _withheld(run, seen, made)
    with run.connect() as conn:
        before = repaired(conn, run.run_id)
    for partition in range(workspace.partitions):
        judged, parts = judged_part(workspace, partition)
        # What was repaired before an interruption no longer looks as it was found.
        begun, partly = (each["fingerprint"].isin(before) for each in (judged, parts))
        held, held_parts, unheld = asyncio.run(
            _still_holding(run, seen, judged[~begun], parts[~partly], made)
        )
        held = pd.concat([held, judged[begun]], ignore_index=True) if begun.any() else held
        parts = pd.concat([held_parts, parts[partly]]) if partly.any() else held_parts
        outcomes |= unheld
        repairs = list(plan(held, parts, run.run_id))
        outcomes |= {
            each.fingerprint: withheld[each.backend]
            for each in repairs if each.backend in withheld
        }  # fmt: skip
        repairs = [each for each in repairs if each.backend not in withheld]
        allowed = [each for each in repairs if proposal.refusal(each) is None]
        outcomes |= _applied(run, fence, allowed, _observed(held) | _observed(parts))
        outcomes |= {
            each.fingerprint: (RepairState.REFUSED.value, why)
            for each in repairs
            if (why := proposal.refusal(each)) is not None
        }
    made.outcomes = {
        name: outcome for name, outcome in outcomes.items() if name in proposal.fingerprints
    }
    return made


def _withheld(run: AuditRun, seen: Seen, made: Made) -> dict[str, tuple[str, str]]:
    """By backend of which no edge is written, what to say of its repairs.

    A store that is not configured, one that was not seen whole without its being known which part
    was not, and one that does not answer now are unknown, and of what is unknown nothing is
    repaired: not even what rests on the ledger's row alone. Of a capsule or a table that could not
    be seen only its own memories are unknown.
    """
    withheld = {}
    for backend, report in seen.reports.items():
        if report.state == StoreState.NOT_CONFIGURED:
            withheld[backend.value] = _UNCONFIGURED
        elif report.state != StoreState.COMPLETE and not report.unknown_parts:
            withheld[backend.value] = _UNWHOLE
    asked = [backend for backend in seen.reports if backend.value not in withheld]
    for backend in set(asked) - answering(run.settings, asked):
        made.unknown[backend.value] = "it did not answer when repairs were about to begin"
        withheld[backend.value] = _UNSEEN
    return withheld


async def _still_holding(
    run: AuditRun, seen: Seen, judged: pd.DataFrame, parts: pd.DataFrame, made: Made
) -> tuple[pd.DataFrame, pd.DataFrame, Outcomes]:
    """The findings and parts that hold when looked at once more, and what to say of the others."""
    async with OpenStores(run, seen) as stores:
        whole = await confirm(judged, stores, run.reread, about_to_act=True)
        partly = await confirm(parts, stores, run.reread, about_to_act=True)
    unheld: Outcomes = {}
    for asked, again in ((judged, whole), (parts, partly)):
        made.unknown |= {backend.value: why for backend, why in again.why_not.items()}
        gone = set(asked["fingerprint"]) - set(again.kept["fingerprint"])
        unheld |= dict.fromkeys(gone, (RepairState.SUPERSEDED.value, _CHANGED))
        if len(again.unseen):
            unheld |= dict.fromkeys(again.unseen["fingerprint"], _UNSEEN)
    return whole.kept, partly.kept[~partly.kept["fingerprint"].isin(unheld)], unheld


def _observed(cases: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The edges as they were seen, by id: a repair is made only while they are still that."""
    edges = cases.loc[cases["edge_id"].notna(), ["edge_id", *_COMPARED]]
    return {case["edge_id"]: {name: case[name] for name in _COMPARED}
            for case in plain_records(edges)}  # fmt: skip


def _applied(
    run: AuditRun, fence: Fence, repairs: list[EdgeRepair], observed: Observed
) -> Outcomes:
    """Makes repairs; of several that belong to one finding the worst outcome counts."""
    if not repairs:
        return {}
    with run.connect() as conn:
        results = apply_repairs(conn, fence, repairs, observed=observed)
    outcomes: dict[str, tuple[RepairState, str | None]] = {}
    for result in results:
        name = result.repair.fingerprint
        before = outcomes.get(name)
        if before is None or _worse(result.state, before[0]):
            outcomes[name] = (result.state, result.detail)
    return {name: (state.value, detail) for name, (state, detail) in outcomes.items()}


def _worse(state: RepairState, other: RepairState) -> bool:
    return _WORST_FIRST.index(state) < _WORST_FIRST.index(other)


def doubts(proposal: Proposal, made: Made | None) -> tuple[str, ...]:
    """Why the run can't conclude, where repairs were asked for: breakers, stores that went away."""
    if made is None:
        return ()
    away = (f"{name} did not give every answer: {why}" for name, why in made.unknown.items())
    return (*(str(each) for each in proposal.tripped.values()), *away)


def reported(proposal: Proposal, made: Made | None) -> Outcomes:
    """What became of every repair: of those that were made, or that could be."""
    return proposal.outcomes() if made is None else proposal.outcomes() | made.outcomes
