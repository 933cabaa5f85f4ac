"""Great Expectations suites: is what was read fit to be compared at all?

Two different things can be wrong with a row. *Drift* is a true row about a world that changed: a
missing object, a stuck copy, a hash nobody recorded. Drift is a finding, and no check here fails
for it. A *broken table* is a row that can't be true of any world: a key twice, a state that no
application knows, a hash that is none, a time that has not come yet. Comparing such rows would
yield nonsense, so these are checks, and a failed one keeps the run from ending with 0.

Between the two stand gaps that a careless but legal writer leaves (a failure without a reason, a
present asset without a size): checks of severity ``info``, shown and not counted as failures.

The modules of this package import Great Expectations, which takes seconds: import them late, by way
of :func:`checks.suites.all_suites`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

#: The tables that have a suite, and the module that holds it.
MODULES = {
    "ledger": "checks.suites.ledger",
    "neon-db": "checks.suites.neon_inventory",
    "vercel-blob": "checks.suites.blob_inventory",
    "icp-canister": "checks.suites.icp_inventory",
}


@dataclass(frozen=True, slots=True)
class Suite:
    """The checks of one table.

    Attributes:
        table: ``ledger``, or the store whose inventory it is.
        title: a heading.
        keys: the columns that name a row to a person; a failed check shows them.
        columns: every column that the checks read.
        expectations: makes the checks, given the latest moment that counts as past.
    """

    table: str
    title: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    expectations: Callable[[datetime], list[Any]]


def all_suites() -> dict[str, Suite]:
    """The suite of each table. The first call imports Great Expectations."""
    return {table: import_module(module).SUITE for table, module in MODULES.items()}
