"""How a run compares with those before it: how much it found, verified, and how long ago they were.

A run keeps what it measured (:func:`measured`) with its checks; the next ones compare themselves
with that (:func:`rows`). What there is nothing to compare with yields no row.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import Any

from checks.model import StoreState
from checks.run import RunRecord

DRIFT, UNVERIFIED, GAP = "findings", "never verified", "hours since the audit before"
MEASURES = (DRIFT, UNVERIFIED, GAP)
#: So many runs are looked back upon, and at least so many are needed to know what is usual.
LOOK_BACK, ENOUGH = 30, 3
#: More than usual by this factor is much, if it is more by these numbers too.
FACTOR = 3
FEW, SHARE = 5, 0.001
POINTS = 5.0
HOURS = 48.0
_ALL = "all kinds"
Measured = dict[str, Any]


def measured(run: RunRecord) -> Measured:
    """What is kept of a run for those after it, as JSON.

    ``finished_at``; ``rows`` compared and ``counts`` by kind, ``whole``: whether every store was
    seen whole; ``unverified``: in percent by store that was.
    """
    states = {store: summary.state for store, summary in run.stores.items()}
    seen = {
        store: own for store, own in run.coverage.stores.items()
        if states.get(store) is StoreState.COMPLETE and own.assets
    }  # fmt: skip
    return {
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "rows": run.edges.compared,
        "counts": dict(run.counts),
        "whole": all(state is StoreState.COMPLETE for state in states.values()),
        "unverified": {
            store: 100 - 100 * own.verified["ever"].assets / own.assets
            for store, own in seen.items() if "ever" in own.verified
        },
    }  # fmt: skip


def rows(run: RunRecord, former: Sequence[Measured], names: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of ``columns.RUN_MEASURES`` that can be judged.

    Args:
        run: the run, counted.
        former: what the completed ones before it measured, newest first.
        names: the ids of these.
    """
    own = measured(run)
    return [
        {"measure": measure, "of": of, "value": round(value, 1), "limit": round(limit, 1),
         "usual": None if usual is None else round(usual, 1)}
        for measure, of, value, usual, limit in (
            *_drift(own, former), *_unverified(own, former), *_gap(run, former, names)
        )
    ]  # fmt: skip


Row = tuple[str, str, float, float | None, float]


def _drift(own: Measured, former: Sequence[Measured]) -> list[Row]:
    """How many findings of each kind, beside how many so many rows usually have."""
    like = [each for each in former if each["whole"] and each["rows"]][:LOOK_BACK]
    if len(like) < ENOUGH or not own["rows"]:
        return []
    counts = {_ALL: sum(own["counts"].values()), **own["counts"]}
    return [_of_kind(kind, number, own["rows"], like) for kind, number in counts.items()]


def _of_kind(kind: str, number: int, compared: int, like: Sequence[Measured]) -> Row:
    rates = [
        (sum(each["counts"].values()) if kind == _ALL else each["counts"].get(kind, 0))
        / each["rows"]
        for each in like
    ]
    usual = median(rates) * compared
    return DRIFT, kind, number, usual, max(FACTOR * usual, usual + max(FEW, SHARE * compared))


def _unverified(own: Measured, former: Sequence[Measured]) -> list[Row]:
    """The share of each store's copies that were never verified, beside that of the run before."""
    before: Mapping[str, float] = former[0]["unverified"] if former else {}
    return [
        (UNVERIFIED, store, share, before[store], before[store] + POINTS)
        for store, share in own["unverified"].items()
        if before.get(store, 100) < 100  # noqa: PLR2004 - percent: nothing was verified
    ]


def _gap(run: RunRecord, former: Sequence[Measured], names: Sequence[str]) -> list[Row]:
    """How long ago the run before ended, beside how long that usually is."""
    ends = [
        datetime.fromisoformat(each["finished_at"]) for each in former[:LOOK_BACK]
        if each["finished_at"]
    ]  # fmt: skip
    if len(ends) < ENOUGH:
        return []
    gaps = [(later - earlier).total_seconds() / 3600 for later, earlier in pairwise(ends)]
    usual = median(gaps)
    since = (run.started_at - ends[0]).total_seconds() / 3600
    return [(GAP, names[0], since, usual, max(FACTOR * usual, HOURS))]
