"""What is reported of each case: its gravest kind, and which others apply to it besides."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from checks.kinds import rank


@dataclass(slots=True)
class Reported:
    """The kinds of a partition's cases, each array of shape (memories, 6).

    Attributes:
        kind: what is reported, empty where nothing is.
        besides: other kinds that apply to the same edge, separated by commas, or None.
        about: edges that a finding is about, also one that stands on another case.
    """

    kind: NDArray[np.object_]
    besides: NDArray[np.object_]
    about: NDArray[np.bool_]

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> Self:
        """Nothing is reported yet."""
        return cls(
            np.full(shape, "", dtype=object),
            np.full(shape, None, dtype=object),
            np.zeros(shape, dtype=bool),
        )

    def of(self, case: NDArray[np.intp]) -> NDArray[np.object_]:
        """What is reported of some cases."""
        kinds: NDArray[np.object_] = self.kind.reshape(-1)[case]
        return kinds

    def add(self, case: NDArray[np.intp], kind: str) -> None:
        """Reports ``kind`` of some cases; where something graver is reported, as its companion."""
        for other, same in self._by_kind(case):
            if other and rank(other) < rank(kind):
                self._name(same, kind)
            else:
                self._replace(same, kind, other)

    def supersede(self, case: NDArray[np.intp], kind: str) -> None:
        """Reports ``kind`` of some cases, whatever was reported of them; that is named besides."""
        for other, same in self._by_kind(case):
            self._replace(same, kind, other)

    def withdraw(self, case: NDArray[np.intp]) -> None:
        """Reports nothing of some cases any more."""
        self.kind.reshape(-1)[case] = ""
        self.besides.reshape(-1)[case] = None

    def edges_reported(self) -> NDArray[np.bool_]:
        """The cases that a finding is about, shape (memories, 6)."""
        reported: NDArray[np.bool_] = self.about | (self.kind != "")
        return reported

    def _by_kind(self, case: NDArray[np.intp]) -> list[tuple[str, NDArray[np.intp]]]:
        kinds = self.of(case)
        return [(other, case[kinds == other]) for other in set(kinds.tolist())]

    def _replace(self, case: NDArray[np.intp], kind: str, other: str) -> None:
        self.kind.reshape(-1)[case] = kind
        if other not in ("", kind):
            self._name(case, other)

    def _name(self, case: NDArray[np.intp], kind: str) -> None:
        """Adds a kind to those that apply besides."""
        flat = self.besides.reshape(-1)
        flat[case] = [kind if named is None else f"{named}, {kind}" for named in flat[case]]
