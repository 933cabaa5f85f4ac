"""What a person reads on the terminal at the end of a run: verdict, kinds, stores, next step."""

from collections import Counter
from typing import TYPE_CHECKING

from checks.kinds import ABSENT, KINDS, ROTTEN, Severity, rank
from checks.model import Backend, RepairPolicy, RepairState, RunStatus, StoreState

if TYPE_CHECKING:
    from checks.run import Finding, RunRecord
    from edgekeeper.cli.output import Output

_STORE_NAMES = {"neon-db": "Neon", "vercel-blob": "Vercel Blob", "icp-canister": "ICP canister"}
_STYLES = {
    RunStatus.CLEAN: "good",
    RunStatus.DRIFT: "warning",
    RunStatus.INCONCLUSIVE: "warning",
    RunStatus.FAILED: "critical",
}


def print_run(out: "Output", run: "RunRecord", *, with_next_step: bool = True) -> None:
    """Prints the summary of an audit; with ``--quiet`` two lines, and of a clean one none."""
    if out.quiet:
        if run.status is not RunStatus.CLEAN:
            out.notice(f"{verdict(run)}\nReport: {run.report}")
        return
    out.say(verdict(run), _STYLES[run.status])
    for reason in run.inconclusive:
        out.say(f"  not conclusive: {reason}")
    for breaker in run.breaker_to_come:
        out.say(f"  repairs would be refused: {breaker}")
    if run.counts:
        out.say("")
        out.table(("finding", "count", "severity", "repair"), _kinds(run))
    out.say("")
    out.table(("store", "state", "objects", "bytes", "seconds", "detail"), _stores(run))
    out.say("")
    if run.report:
        out.say(f"Report: {run.report}")
    if with_next_step and (step := next_step(run)) is not None:
        out.say(f"Next: {step}")


def verdict(run: "RunRecord") -> str:
    """One sentence about the whole run."""
    open_ones = run.open.critical + run.open.warning
    worst = f"{run.open.critical:,} critical" if run.open.critical else "none critical"
    match run.status:
        case RunStatus.CLEAN:
            return f"Clean: {_nothing_open(run)}."
        case RunStatus.DRIFT if open_ones:
            return f"Drift: {_findings(open_ones)} open, {worst}."
        case RunStatus.DRIFT:
            return f"Drift: data-quality checks failed: {run.checks.failed:,}."
        case RunStatus.INCONCLUSIVE:
            return (
                f"Not conclusive: not everything could be seen. {_findings(open_ones)} open, "
                f"{worst}; what was not seen is unknown."
            )
        case RunStatus.FAILED:
            return f"Failed: {run.error or 'the run did not come to its end'}."


def _nothing_open(run: "RunRecord") -> str:
    """What a clean run says: with how many are acknowledged, they are still there."""
    noted = [f"{run.open.info:,} noted for information"] if run.open.info else []
    if run.acknowledged:
        return f"nothing is open ({', '.join([f'{run.acknowledged:,} acknowledged', *noted])})"
    return f"the ledger agrees with the stores{f' ({noted[0]})' if noted else ''}"


def _findings(count: int) -> str:
    return "1 finding is" if count == 1 else f"{count:,} findings are"


def next_step(run: "RunRecord") -> str | None:
    """The command, or the act, that comes next; None where nothing is to be done."""
    unseen = [
        _STORE_NAMES.get(name, name)
        for name, store in run.stores.items()
        if store.state in (StoreState.UNREACHABLE, StoreState.INCOMPLETE)
    ]
    if run.interrupted or run.error:
        return f"edgekeeper audit --resume {run.run_id}"
    if unseen:
        return f"see to {', '.join(unseen)} (edgekeeper doctor), then: edgekeeper audit"
    if run.breaker_to_come:
        return "look at what the breaker names above, before any repair"
    if (repairs := _repairs(run)) is not None:
        return repairs
    if run.open.critical + run.open.warning:
        return f"edgekeeper findings --open --run {run.run_id}"
    return None


def _repairs(run: "RunRecord") -> str | None:
    """The command that makes more repairs than this run did, None where none would help."""
    mendable, copyable = _mendable(run), _copyable(run)
    if copyable and not run.repair.allows(RepairPolicy.CONTENT):
        read = "--verify all " if any(each.kind in ROTTEN for each in copyable) else ""
        others = mendable - sum(each.repair is RepairState.PROPOSED for each in copyable)
        also = f"; mends what the ledger says: {others:,}" if others > 0 else ""
        copies = f"copies from verified replicas: {len(copyable):,}"
        return f"edgekeeper audit {read}--repair content   ({copies}{also})"
    if mendable and run.repair is RepairPolicy.NONE:
        return f"edgekeeper audit --repair ledger   (mends what the ledger says: {mendable:,})"
    return None


def _copyable(run: "RunRecord") -> list["Finding"]:
    """The open findings at hand about bytes that another store may give back.

    Of a lost memory there are none anywhere. Rot that is critical has no verified replica, so that
    it would be refused; what is missing is copied from one that is verified then.
    """
    now = run.finished_at or run.started_at
    lost = {(each.memory_id, each.memory_type) for each in run.findings if each.kind == "lost"}
    return [
        each for each in run.findings
        if each.kind in (ABSENT | ROTTEN) and each.backend != Backend.NEON
        and each.is_open(now) and (each.memory_id, each.memory_type) not in lost
        and (each.kind in ABSENT or each.severity != Severity.CRITICAL.value)
    ]  # fmt: skip


def _mendable(run: "RunRecord") -> int:
    """How many findings an edit of the ledger mends; where not all are at hand, by their kinds."""
    if not run.findings_truncated:
        return sum(finding.repair is RepairState.PROPOSED for finding in run.findings)
    return sum(
        count for kind, count in run.counts.items() if kind in KINDS and KINDS[kind].ledger_repair
    )


def _kinds(run: "RunRecord") -> list[tuple[str, int, str, str]]:
    """A row for each kind of finding, the gravest first."""
    severities: dict[str, Counter[str]] = {}
    repairs: dict[str, Counter[str]] = {}
    now = run.finished_at or run.started_at
    for finding in run.findings:
        severities.setdefault(finding.kind, Counter())[finding.severity] += 1
        states = repairs.setdefault(finding.kind, Counter())
        states[finding.repair] += 1
        states["acknowledged"] += finding.is_acknowledged(now)
    order = sorted(run.counts, key=rank)
    return [
        (
            kind,
            run.counts[kind],
            ", ".join(severities.get(kind, {})),
            _repair(kind, repairs.get(kind, Counter())),
        )
        for kind in order
    ]


def _repair(kind: str, states: Counter[str]) -> str:
    """What was done about the findings of a kind, or would be."""
    done = [
        f"{count:,} {state}" for state, count in states.items()
        if count and state != RepairState.NONE
    ]  # fmt: skip
    if done:
        return ", ".join(done)
    known = KINDS.get(kind)
    return "none proposed" if known and known.ledger_repair else "no ledger repair"


def _stores(run: "RunRecord") -> list[tuple[str, str, int, int, str, str | None]]:
    return [
        (
            _STORE_NAMES.get(name, name), store.state.value, store.objects, store.bytes,
            f"{store.seconds:.1f}", store.detail,
        )
        for name, store in run.stores.items()
    ]  # fmt: skip
