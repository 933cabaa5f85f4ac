"""When somebody has to be told of a run, and what the message says.

A clean night is silent. Told are: a critical finding that was not open before, a breaker that
trips, stores that could not be seen whole twice in a row, and that all of it is over. The message
stands on its own: who reads it on a phone at seven in the morning need not open anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from checks.kinds import KINDS, filled
from checks.model import RunStatus, StoreState
from checks.run import Finding, RunRecord

#: Findings that one message names; how many more there are is said.
NAMED = 5
#: An explanation or a detail is cut at so many characters: it may repeat what a store said.
LINE = 300
#: While stores stay unseen night after night it is said again every so many runs.
AGAIN_AFTER = 7


@dataclass(frozen=True, slots=True)
class Notice:
    """A message.

    Attributes:
        title: one line.
        body: plain text of a few lines.
        good: it says that all is well.
    """

    title: str
    body: str
    good: bool = False


def notice(
    run: RunRecord,
    former: Sequence[RunRecord],
    new_critical: Sequence[Finding],
    *,
    always: bool = False,
) -> Notice | None:
    """The message about a run, None where nobody has to be told.

    Args:
        run: the run that has just ended.
        former: the completed runs before it, newest first.
        new_critical: its open critical findings that were not open and critical in ``former[0]``.
        always: say also that a run found nothing to be told.
    """
    reasons = _reasons(run, former, new_critical)
    if reasons:
        return Notice(f"edgekeeper: {reasons[0]}", _body(run, reasons, new_critical))
    if _recovered(run, former):
        return Notice("edgekeeper: recovered", _body(run, ["recovered"], ()), good=True)
    if always:
        return Notice(f"edgekeeper: {run.status.value}", _body(run, [], ()), good=True)
    return None


def _reasons(
    run: RunRecord, former: Sequence[RunRecord], new_critical: Sequence[Finding]
) -> list[str]:
    """What somebody has to be told, the gravest first."""
    reasons = []
    if new_critical:
        number = len(new_critical)
        reasons.append(f"{number:,} new critical finding{'s' if number > 1 else ''}")
    if run.breaker and not (former and former[0].breaker):
        reasons.append("the breaker refuses repairs")
    streak = _unseen_in_a_row([run, *former])
    if streak == 2 or (streak and streak % AGAIN_AFTER == 0):  # noqa: PLR2004 - once may be a hiccup
        reasons.append(f"stores could not be seen whole {streak} times in a row")
    return reasons


def _unseen_in_a_row(runs: Sequence[RunRecord]) -> int:
    """How many of the newest runs, one after the other, did not see all of their stores."""
    for place, run in enumerate(runs):
        if run.status is not RunStatus.INCONCLUSIVE or run.breaker:
            return place
    return len(runs)


def _recovered(run: RunRecord, former: Sequence[RunRecord]) -> bool:
    """Whether somebody had been told of something that is over now."""
    if run.status is RunStatus.INCONCLUSIVE or run.open.critical or run.breaker or not former:
        return False
    before = former[0]
    return bool(before.open.critical or before.breaker or _unseen_in_a_row(former) >= 2)  # noqa: PLR2004


def _body(run: RunRecord, reasons: Sequence[str], findings: Sequence[Finding]) -> str:
    """The message's lines."""
    lines = [sentence(run), *(f"Why you are told: {reason}." for reason in reasons)]
    if findings:
        lines += ["Critical is what may be lost: no other copy of the bytes is known to be right."]
    for finding in findings[:NAMED]:
        lines += ["", *_about(finding)]
    if len(findings) > NAMED:
        lines += ["", f"… and {len(findings) - NAMED:,} more."]
    for breaker in run.breaker:
        lines += ["", _cut(breaker)]
    unseen = (StoreState.INCOMPLETE, StoreState.UNREACHABLE)
    for name, store in run.stores.items():
        if store.state in unseen:
            lines += ["", _cut(f"{name} was {store.state.value}: {store.detail or 'no detail'}")]
    if run.repairs.applied:
        undo = f"edgekeeper revert {run.run_id}"
        lines += ["", f"Repaired in the ledger: {run.repairs.applied:,}; to undo it: {undo}"]
    when = f"{run.started_at:%d %B %Y, %H:%M} UTC"
    return "\n".join([*lines, "", f"Run {run.run_id} of {when}. Report: {run.report or 'none'}"])


def sentence(run: RunRecord) -> str:
    """The run in one sentence."""
    match run.status:
        case RunStatus.CLEAN:
            return "The ledger agrees with the stores."
        case RunStatus.INCONCLUSIVE:
            return f"Not everything could be seen or done; of what was seen {_open_ones(run)}."
        case _ if run.open.critical or run.open.warning:
            return f"{_open_ones(run).capitalize()}."
        case _:
            return f"Data-quality checks failed: {run.checks.failed:,}."


def _open_ones(run: RunRecord) -> str:
    """How many findings wait for somebody, as a clause."""
    critical, warning = run.open.critical, run.open.warning
    numbers = [f"{critical:,} critical"] if critical else []
    numbers += [f"{warning:,}{' other' if critical else ''}"] if warning else []
    one = critical + warning == 1
    are = f"{' and '.join(numbers) or 'no'} {'finding is' if one else 'findings are'} open"
    return are if critical or not warning else f"{are}, none of them critical"


def _about(finding: Finding) -> list[str]:
    """A finding: what, of which memory, why, and what to do."""
    about = " ".join(filter(None, [finding.memory_type, finding.memory_id or finding.location]))
    where = f" ({finding.artifact or 'memory'} in {finding.backend})" if finding.backend else ""
    kind = KINDS.get(finding.kind)
    title = f"{kind.title} ({kind.name})" if kind else finding.kind
    lines = [f"{title}: {_cut(about)}{where}", f"  {_cut(finding.explanation)}"]
    if kind:
        step = filled(
            kind.next_step, memory_type=finding.memory_type, memory_id=finding.memory_id,
            fingerprint=finding.fingerprint,
        )  # fmt: skip
        lines.append(f"  To do: {step}")
    return lines


def _cut(text: str) -> str:
    """One line of a text that others wrote a part of."""
    line = " ".join(text.split())
    return line if len(line) <= LINE else f"{line[:LINE]}…"
