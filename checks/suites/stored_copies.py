"""The check of when bytes were last read: one row per copy of an asset that a store holds.

Copies that were never verified are left to the run's coverage: a new collection has many.
"""

from typing import Any

from checks.suites import Limits, Suite, words

_KEY = ("memory_id", "memory_type", "backend")


def _expectations(limits: Limits) -> list[Any]:
    """The check. It counts where a person said how old a verification may be."""
    return [
        words.since(
            "verified_at", limits.verified_since, "verified_lately",
            "Every copy that was ever verified was verified since "
            f"{limits.verified_since:%d %B %Y}.",
            counts=limits.verified_counts,
            unjudged="No copy's bytes have been verified yet.",
        ),
    ]  # fmt: skip


SUITE = Suite(
    table="stored-copies",
    title="Stored copies",
    keys=_KEY,
    columns=(*_KEY, "verified_at"),
    expectations=_expectations,
)
