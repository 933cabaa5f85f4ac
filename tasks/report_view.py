"""What the report says, before it is a page: the verdict, the groups, the next steps."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from checks.kinds import KINDS, filled, rank
from checks.model import RunStatus, StoreState
from checks.run import SEVERITY_RANK, RunRecord, Severity, side_of, utc
from tasks.pages import STORE_NAMES
from tasks.wording import count, percent, plural

#: How many findings of one kind the page shows; the others are in ``findings.csv``.
SAMPLE = 20
#: How many next steps stand at the top.
STEPS = 4
_FIELDS = {
    "present": "present",
    "location": "location",
    "size_bytes": "size",
    "content_hash": "SHA-256",
    "sha256": "SHA-256",
    "sync_state": "sync state",
    "sync_error": "sync error",
}
_UNSEEN = (StoreState.INCOMPLETE, StoreState.UNREACHABLE)
#: Where a side does not name a field.
_NOTHING = "\u2013"
#: What became of a finding, each of them in exactly one of these.
FATES = ("repaired", "mendable", "person", "noted", "acknowledged")


@dataclass(frozen=True, slots=True)
class Difference:
    """One field, as the ledger has it and as it was observed."""

    field: str
    expected: str
    observed: str

    @property
    def differs(self) -> bool:
        """Whether both sides say something, and not the same."""
        return self.expected != self.observed and _NOTHING not in (self.expected, self.observed)


@dataclass(frozen=True, slots=True)
class Shown:
    """One finding on the page."""

    row: dict[str, Any]
    fate: str
    differences: tuple[Difference, ...]
    next_step: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one kind.

    Attributes:
        kind: as it stands in all outputs.
        title: a heading.
        meaning: a sentence for somebody who has never seen one.
        next_step: what to do about all of them, or None where each has its own.
        severity: the gravest among them.
        total: how many there are.
        fates: how many met which fate.
        new: how many were never seen before this run.
        shown: the first of them, gravest first.
        ledger_repair: what ``--repair ledger`` does about them.
        content_repair: what ``--repair content`` does about them.
        collapsed: one line says it all: the back-fill is still to come.
    """

    kind: str
    title: str
    meaning: str
    next_step: str | None
    severity: Severity
    total: int
    fates: dict[str, int]
    new: int
    shown: tuple[Shown, ...]
    ledger_repair: str | None
    content_repair: str | None
    collapsed: bool = False

    @property
    def wants_somebody(self) -> int:
        """How many are open and not of severity info."""
        return self.fates["mendable"] + self.fates["person"]


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do, and how many findings of which kinds it is about."""

    text: str
    findings: int
    titles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sentence at the top.

    Attributes:
        tone: ``good``, ``attention``, ``alarm`` or ``unknown``.
        headline: the verdict itself.
        detail: what it rests on, or what limits it.
    """

    tone: str
    headline: str
    detail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the findings say."""

    verdict: Verdict
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    more_steps: int
    fates: dict[str, int]
    total: int


def view_of(run: RunRecord, table: pa.Table, *, now: datetime) -> View:
    """The view of a run over the table of all its findings (columns ``FINDINGS``, worst first)."""
    frame = table.to_pandas()
    frame["fate"] = _fates(frame, now)
    groups = _groups(run, frame)
    steps = _steps(groups)
    fates = {fate: int(number) for fate, number in frame["fate"].value_counts().items()}
    critical = frame.loc[
        (frame["severity"] == "critical") & frame["fate"].isin(["mendable", "person"])
    ]
    return View(
        verdict=_verdict(run, fates, memories_at_risk=int(critical["memory_id"].nunique())),
        groups=groups,
        steps=steps[:STEPS],
        more_steps=sum(len(step.titles) for step in steps[STEPS:]),
        fates={fate: fates.get(fate, 0) for fate in FATES},
        total=len(frame),
    )


def _fates(frame: pd.DataFrame, now: datetime) -> "pd.Series[Any]":
    """What became of each finding, by the first of these that fits."""
    stays_open = frame["stays_open"].fillna(value=False).astype(bool)  # no row says: not open
    fate = pd.Series("person", index=frame.index, dtype=object)
    fate[frame["repair"] == "proposed"] = "mendable"
    fate[frame["severity"] == "info"] = "noted"
    fate[(frame["repair"] == "applied") & ~stays_open] = "repaired"
    fate[frame["acknowledged_until"] > pd.Timestamp(utc(now))] = "acknowledged"
    return fate


def _groups(run: RunRecord, frame: pd.DataFrame) -> tuple[Group, ...]:
    """The findings by kind: the worst severity first, then the gravest kind."""
    groups = [_group(run, str(kind), rows) for kind, rows in frame.groupby("kind", sort=False)]
    return tuple(
        sorted(
            groups,
            key=lambda group: (
                not group.wants_somebody,
                SEVERITY_RANK[group.severity],
                rank(group.kind),
                group.kind,
            ),
        )
    )


def _group(run: RunRecord, kind: str, rows: pd.DataFrame) -> Group:
    """One kind's findings, which are ordered worst first."""
    known = KINDS.get(kind)
    fates = rows["fate"].value_counts()
    collapsed = kind == "untracked" and len(rows) >= max(run.edges.total, 1)
    template = "Run `edgekeeper backfill`." if collapsed else known.next_step if known else ""
    of_each = any(f"{{{name}" in template for name in ("memory", "gallery", "fingerprint"))
    open_first = (
        rows["fate"].isin(["person", "mendable"]).sort_values(ascending=False, kind="stable")
    )
    first = rows.loc[open_first.index[: 0 if collapsed else SAMPLE]]
    gravest = min(rows["severity"].unique(), key=SEVERITY_RANK.__getitem__)
    return Group(
        kind=kind,
        title=known.title if known else kind.replace("_", " ").capitalize(),
        meaning=known.meaning if known else "",
        next_step=None if of_each else filled(template, run_id=run.run_id) or None,
        severity=gravest,
        total=len(rows),
        fates={fate: int(fates.get(fate, 0)) for fate in FATES},
        new=int((rows["runs_seen"] == 1).sum()),
        shown=tuple(
            _shown(run, row, template if of_each else None)
            for row in first.astype(object).where(first.notna(), None).to_dict("records")
        ),
        ledger_repair=known.ledger_repair if known else None,
        content_repair=known.content_repair if known else None,
        collapsed=collapsed,
    )


def _shown(run: RunRecord, row: dict[Any, Any], template: str | None) -> Shown:
    """One finding as it is shown."""
    names = {name: row[name] for name in ("memory_type", "memory_id", "gallery_id", "fingerprint")}
    return Shown(
        row={str(name): value for name, value in row.items()},
        fate=str(row["fate"]),
        differences=_differences(row["expected"], row["observed"]),
        next_step=filled(template, run_id=run.run_id, **names) if template else None,
    )


def _differences(expected: str | None, observed: str | None) -> tuple[Difference, ...]:
    """Both sides of a finding, field by field, in the order in which they are named."""
    sides = [side_of(expected) or {}, side_of(observed) or {}]
    names = list(dict.fromkeys(name for side in sides for name in side))
    return tuple(
        Difference(_FIELDS.get(name, name.replace("_", " ")), *(_text(s, name) for s in sides))
        for name in names
    )


def _text(side: dict[str, Any], name: str) -> str:
    """A value of one side as a text; a dash where the side does not have it."""
    if name not in side:
        return _NOTHING
    value = side[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, int) and "size" in name:
        return f"{count(value)} bytes"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _steps(groups: Sequence[Group]) -> tuple[Step, ...]:
    """What to do, worst first; kinds with the same next step share one."""
    steps: dict[str, list[Group]] = {}
    for group in groups:
        if group.wants_somebody:
            text = group.next_step or next(
                (shown.next_step for shown in group.shown if shown.next_step), None
            )
            if text:
                steps.setdefault(text, []).append(group)
    return tuple(
        Step(text, sum(group.wants_somebody for group in of), tuple(group.title for group in of))
        for text, of in steps.items()
    )


def _verdict(run: RunRecord, fates: dict[str, int], *, memories_at_risk: int) -> Verdict:
    """The verdict of a run in a sentence, and what limits it: the first case that applies."""
    risk = _at_risk(memories_at_risk) if memories_at_risk else ""
    waiting = fates.get("mendable", 0) + fates.get("person", 0)
    partial = run.status is RunStatus.INCONCLUSIVE
    cases = (
        (run.interrupted, "unknown", "This run was interrupted before it could conclude."),
        (run.status is RunStatus.FAILED, "unknown", "This run failed before it could conclude."),
        (partial and risk, "alarm", f"{risk} And part of the picture is missing."),
        (partial, "unknown", "Part of the picture is missing, so this run is not conclusive."),
        (risk, "alarm", risk),
        (
            waiting, "attention",
            f"No memory is at risk; {plural(waiting, 'finding is', 'findings are')} to be settled.",
        ),
        (
            run.checks.failed, "attention",
            "The stores agree with the ledger, but data-quality checks failed.",
        ),
        (run.status is RunStatus.DRIFT, "attention", _of_gallery(run)),
        (fates.get("repaired"), "good", "Everything that was found has been repaired."),
    )  # fmt: skip
    fallback = ("good", "Everything is where the ledger says it is.")
    tone, headline = next(((tone, text) for applies, tone, text in cases if applies), fallback)
    detail = [*_meaning(run, tone), *_limits(run)]
    return Verdict(tone, headline, tuple(detail))


def _meaning(run: RunRecord, tone: str) -> list[str]:
    """What it is to be at risk, or what it rests on that all is well."""
    if tone == "alarm":
        return ["Bytes are lost, changed or in doubt, and no other copy is known to be right."]
    if tone != "good" or not run.edges.compared:
        return []
    whole = [name for name, store in run.stores.items() if store.state is StoreState.COMPLETE]
    stores = ", ".join(STORE_NAMES.get(name, name) for name in whole)
    rows = plural(run.edges.compared, "ledger row was", "ledger rows were")
    basis = [f"{rows} compared with {stores}."] if whole else []
    if run.coverage.assets and not run.gallery:
        share = percent(run.coverage.hash_ever_verified, run.coverage.assets)
        basis.append(f"The bytes of {share} of the stored copies were read at least once.")
    return [" ".join(basis)] if basis else []


def _at_risk(memories: int) -> str:
    """How many memories may be lost, as a sentence."""
    return f"{plural(memories, 'memory is', 'memories are')} at risk."


def _of_gallery(run: RunRecord) -> str:
    """What is to be said where the gallery asked for is why a run is not clean."""
    if run.gallery is None:
        return "Something is left to settle."
    sentences = {
        "not_found": "There is no such gallery or memory.",
        "empty": "The gallery is empty.",
    }
    return sentences.get(run.gallery.verdict, "The gallery is not whole.")


def _limits(run: RunRecord) -> list[str]:
    """Why the run can't say more than it does."""
    to_come = (f"Repairs would be refused: {each}" for each in run.breaker_to_come)
    limits = [*run.inconclusive, *to_come]
    if run.error:
        limits.append(run.error)
    for name, store in run.stores.items():
        shown = STORE_NAMES.get(name, name)
        if store.state in _UNSEEN:
            state = (
                "could not be reached"
                if store.state is StoreState.UNREACHABLE
                else ("could not be listed whole")
            )
            reason = f": {store.detail.rstrip('.')}" if store.detail else ""
            limits.append(f"{shown} {state}{reason}. Nothing was concluded about what it lacks.")
        elif store.unknown_parts:
            parts = ", ".join(list(store.unknown_parts)[:3])
            more = len(store.unknown_parts) - 3
            limits.append(
                f"{shown}: {parts}{f' and {more} more' if more > 0 else ''} could not be read; "
                "what lies there is unknown."
            )
    return limits
