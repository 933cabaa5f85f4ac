"""The breaker: a run that would take away too much takes nothing away.

A mistake of ours or a store in trouble looks like mass loss. Where the repairs of one run would
turn off or delete more than a small share of what the ledger says a store holds, a person has to
look first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

#: So many may always be taken away: in a small store a single row is more than a percent.
FLOOR = 3
_EVERYTHING = 100


@dataclass(frozen=True, slots=True)
class Tripped:
    """A backend whose repairs are refused.

    Attributes:
        backend: its name in the ledger.
        kinds: repairs that would take something away, by the kind of their finding.
        present: edges with present=true.
        percent: the limit, in percent.
    """

    backend: str
    kinds: Mapping[str, int]
    present: int
    percent: float

    @property
    def taken(self) -> int:
        """How many repairs would take something away."""
        return sum(self.kinds.values())

    def __str__(self) -> str:
        share = 100 * self.taken / self.present if self.present else 100.0
        gravest = max(self.kinds, key=lambda kind: self.kinds[kind])
        counted = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items() if count)
        return (
            f"{self.taken} of {self.present} present edges of {self.backend} ({share:.2f} %) would "
            f"be taken away ({counted}); the breaker's limit is {self.percent:g} %. Look first "
            f"whether they are really gone: `edgekeeper findings --kind {gravest}` beside what "
            f"the store itself shows. If they are, allow it once: "
            f"`edgekeeper audit --repair ledger --allow-percent {_allowing(share)}`."
        )


def _allowing(share: float) -> str:
    """A limit that is just enough for a share, both in percent."""
    return f"{min(int(share) + 1, _EVERYTHING)}"


def tripped(
    taken: Mapping[str, Mapping[str, int]], present: Mapping[str, int], percent: float
) -> dict[str, Tripped]:
    """The backends whose breaker trips: more than ``percent`` **percent**, and more than the floor.

    Args:
        taken: repairs that would take something away, by backend and kind; all of the run.
        present: edges with present=true, by backend.
        percent: the limit in percent (1.0 is one in a hundred); 100 allows everything, also rows
            that are not present=true and so are no part of the hundred.
    """
    found = {
        backend: Tripped(backend, kinds, present.get(backend, 0), percent)
        for backend, kinds in taken.items()
        if percent < _EVERYTHING
    }
    return {
        backend: each
        for backend, each in found.items()
        if each.taken > FLOOR and each.taken * 100 > percent * each.present
    }
