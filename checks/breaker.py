"""The breaker: a run that would take away too much takes nothing away.

A mistake of ours or a store in trouble looks like mass loss. Where the repairs of one run would
turn off or delete more than a small share of what the ledger says a store holds, a person has to
look first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: So many may always be taken away: in a small store a single row is more than a percent.
FLOOR = 3


@dataclass(frozen=True, slots=True)
class Tripped:
    """A backend whose repairs were refused.

    Attributes:
        backend: its name in the ledger.
        taken: repairs that would take something away.
        present: edges with present=true.
        percent: the limit, in percent.
    """

    backend: str
    taken: int
    present: int
    percent: float

    def __str__(self) -> str:
        share = 100 * self.taken / self.present if self.present else 100.0
        return (
            f"{self.taken} of {self.present} present edges of {self.backend} ({share:.2f} %) would "
            f"be taken away; the limit is {self.percent:g} %. Look at the findings first; "
            f"`--allow-percent` allows more for one run."
        )


def tripped(
    taken: Mapping[str, int], present: Mapping[str, int], percent: float
) -> dict[str, Tripped]:
    """The backends whose breaker trips: more than ``percent`` **percent**, and more than the floor.

    Args:
        taken: repairs that would take something away, by backend; all of the run.
        present: edges with present=true, by backend.
        percent: the limit in percent (1.0 is one in a hundred).
    """
    return {
        backend: Tripped(backend, count, present.get(backend, 0), percent)
        for backend, count in taken.items()
        if count > FLOOR and count * 100 > percent * present.get(backend, 0)
    }
