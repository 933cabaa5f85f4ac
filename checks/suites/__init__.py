"""Great Expectations suites: is what was read fit to be compared at all?

Two different things can be wrong with a row. *Drift* is a true row about a world that changed: a
missing object, a stuck copy, a hash nobody recorded. Drift is a finding, and no check here fails
for it. A *broken table* is a row that can't be true of any world: a key twice, a state that no
application knows, a hash that is none, a time that has not come yet. Comparing such rows would
yield nonsense, so these are checks, and a failed one keeps the run from ending with 0.

Between the two stand gaps that a careless but legal writer leaves (a failure without a reason, a
present asset without a size): checks of severity ``info``, shown and not counted as failures. The
checks of the run itself are of that severity too: that much was found, or little verified, is no
broken table, and what was found counts by itself. An exception is the age of verifications where a
person set its limit.

A check that needs something to compare with (former runs, bytes that were read) says so where there
is nothing: it has neither passed nor failed.

The modules of this package import Great Expectations, which takes seconds: import them late, by way
of :func:`checks.suites.all_suites`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

#: The tables that have a suite, and the module that holds it.
MODULES = {
    "ledger": "checks.suites.ledger",
    "neon-db": "checks.suites.neon_inventory",
    "vercel-blob": "checks.suites.blob_inventory",
    "icp-canister": "checks.suites.icp_inventory",
    "gallery-items": "checks.suites.gallery_items",
    "stored-copies": "checks.suites.stored_copies",
    "run": "checks.suites.run",
}
#: How far a clock may be ahead of ours before a time counts as future.
CLOCK_SKEW = timedelta(minutes=5)
#: How old a verification may be where nobody set a limit.
VERIFY_WITHIN = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the checks of one run measure against.

    Attributes:
        latest: the latest moment that counts as past.
        verified_since: the earliest moment at which a copy may have been verified last.
        verified_counts: whether an older verification is a failure: a person set the limit.
    """

    latest: datetime
    verified_since: datetime
    verified_counts: bool = False

    @classmethod
    def at(cls, now: datetime, verify_within: timedelta | None = None) -> "Limits":
        """The limits at a moment; ``verify_within`` is how old a verification may be."""
        since = now - (verify_within or VERIFY_WITHIN)
        return cls(now + CLOCK_SKEW, since, verify_within is not None)


@dataclass(frozen=True, slots=True)
class Suite:
    """The checks of one table.

    Attributes:
        table: ``ledger``, the store whose inventory it is, or another name in ``MODULES``.
        title: a heading.
        keys: the columns that name a row to a person; a failed check shows them.
        columns: every column that the checks read.
        expectations: makes the checks.
    """

    table: str
    title: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    expectations: Callable[[Limits], list[Any]]


def all_suites() -> dict[str, Suite]:
    """The suite of each table. The first call imports Great Expectations."""
    return {table: import_module(module).SUITE for table, module in MODULES.items()}
