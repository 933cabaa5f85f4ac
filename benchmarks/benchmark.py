"""What a benchmark is: a name, a way to prepare, a round that measures, and a table of the rounds.

A round runs everything once, edgekeeper and its peers one after the other, so that a ratio compares
what was measured side by side. A table shows medians of the rounds, also of the ratios.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

OURS = "edgekeeper"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        memories: how many memories there are; most have four edges.
        directory: a sandbox that is up and seeded, used as it is; None: one is made.
    """

    memories: int
    directory: Path | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one way of doing one thing took, once.

    Attributes:
        case: what was done.
        way: who did it: ``OURS`` or a peer.
        seconds: by the clock; None where this peer is not installed or was left out.
        cpu: processor seconds of the processes that were started, on any core.
        server_cpu: of the Postgres that served them.
        rows: how many were dealt with.
        peak_mb: the most memory that a process held.
        also: what else is of interest, by name.
        why_not: why there is nothing here.
    """

    case: str
    way: str
    seconds: float | None
    cpu: float | None = None
    server_cpu: float = 0.0
    rows: int = 0
    peak_mb: float | None = None
    also: dict[str, float] = field(default_factory=dict)
    why_not: str = ""

    @property
    def all_cpu(self) -> float | None:
        """Processor seconds on both sides of the connection."""
        return None if self.cpu is None else self.cpu + self.server_cpu


Round = Callable[[], list[Measurement]]
#: The rounds' measurements, each in the same order.
Rounds = Sequence[Sequence[Measurement]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One thing that is measured.

    Attributes:
        name: as it is given to the command.
        title: what stands above its table.
        about: what exactly each way does; Markdown.
        prepared: makes what the rounds need, gives the round, and clears up.
        table: the rounds as Markdown.
    """

    name: str
    title: str
    about: str
    prepared: Callable[[Scale], AbstractContextManager[Round]]
    table: Callable[[Rounds], str]


def missing(case: str, way: str, why: str = "not installed") -> Measurement:
    """The line of a peer that can't be had."""
    return Measurement(case, way, None, why_not=why)
