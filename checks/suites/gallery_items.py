"""The check of Neon's galleries against the ledger: one row per item.

What it finds is drift, each with a finding of its own (``untracked``): it says for which galleries
the ledger can't answer, and does not count once more.
"""

from typing import Any

from great_expectations.expectations.row_conditions import Column

from checks.suites import Limits, Suite, words

_KEY = ("gallery_id", "memory_id", "memory_type")


def _expectations(limits: Limits) -> list[Any]:
    """The check."""
    del limits  # what is in its grace period is not due, which the rows say
    due = Column("due") == True  # noqa: E712 - a condition, not a comparison
    return [
        words.true_where(
            "tracked", due, "item_tracked",
            "The memory of every gallery item has its metadata edge in the ledger.",
            counts=False,
            unjudged="No gallery item could be seen whose memory is in Neon.",
        ),
    ]  # fmt: skip


SUITE = Suite(
    table="gallery-items",
    title="Gallery items",
    keys=_KEY,
    columns=(*_KEY, "due", "tracked"),
    expectations=_expectations,
)
