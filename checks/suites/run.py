"""The checks of a run against the runs before it: one row per thing measured.

None counts as a failure: what was found counts by itself, and a gap between two runs is over. They
are there for the person who wonders whether this night was like the others.
"""

from typing import Any

from great_expectations.expectations.row_conditions import Column

from checks.run_measures import (
    DRIFT,
    ENOUGH,
    FACTOR,
    FEW,
    GAP,
    HOURS,
    POINTS,
    SHARE,
    UNVERIFIED,
)
from checks.suites import Limits, Suite, words

_KEY = ("of", "value", "usual", "limit")
#: By measure: the check, what it expects, and why nothing can be said where there is no row.
_CHECKS = {
    DRIFT: (
        "findings_usual",
        f"No kind has over {FACTOR} times its usual findings, and {FEW} or {SHARE:.1%} more.",
        f"Fewer than {ENOUGH} audits before this one saw every store whole.",
    ),
    UNVERIFIED: (
        "coverage_kept",
        f"No store's share of copies never verified, in %, grew by over {POINTS:g} points.",
        "Nothing was verified before this audit, so there is no coverage to keep.",
    ),
    GAP: (
        "run_lately",
        f"The audit before ended less than {FACTOR} times the usual hours ago, or than {HOURS:g}.",
        f"There are fewer than {ENOUGH} audits before this one, so what is usual is not known.",
    ),
}


def _expectations(limits: Limits) -> list[Any]:
    """The checks."""
    del limits  # each row has its own
    return [
        words.within(
            "value", "limit", Column("measure") == measure, check, sentence,
            counts=False, unjudged=unjudged,
        )
        for measure, (check, sentence, unjudged) in _CHECKS.items()
    ]  # fmt: skip


SUITE = Suite(
    table="run",
    title="This run",
    keys=_KEY,
    columns=("measure", *_KEY),
    expectations=_expectations,
)
