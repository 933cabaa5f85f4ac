"""What reading may cost in one run: so many bytes and so much time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic

from tasks.settings import ALL_BYTES

#: A declared size is a stranger's word: no more than this is set aside for one object.
_MOST_SET_ASIDE = 2**50


@dataclass(slots=True)
class Allowance:
    """A budget of bytes and of seconds; belongs to one event loop.

    While an object is read its declared size is set aside; what was really read is what counts.
    The one that spends the last byte may go over the budget, and what was begun is read to its end.

    Attributes:
        bytes: nothing more is begun once so many were read.
        seconds: nothing more is begun after so many; None: no limit.
        spent: bytes read so far.
        begun: objects that were begun.
    """

    bytes: int = ALL_BYTES
    seconds: float | None = None
    spent: int = 0
    begun: int = 0
    _began: float = field(default_factory=monotonic)
    _set_aside: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def resume(self, spent: int, seconds: float) -> None:
        """Counts what was spent before an interruption."""
        self.spent += spent
        self._began -= seconds

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return monotonic() - self._began

    @property
    def late(self) -> bool:
        """Whether the time is over."""
        return self.seconds is not None and self.elapsed >= self.seconds

    @asynccontextmanager
    async def place(self, size: int, *, assured: bool = False) -> AsyncIterator[bool]:
        """Whether an object of ``size`` bytes may be read; it is read inside the context.

        Waits where that depends on what the objects under way turn out to be. ``assured``: whatever
        was spent.
        """
        size = min(max(size, 1), _MOST_SET_ASIDE)
        async with self._changed:
            await self._changed.wait_for(lambda: assured or self._settled())
            admitted = assured or not (self.late or self.spent >= self.bytes)
            self._set_aside += size * admitted
            self.begun += admitted
        try:
            yield admitted
        finally:
            async with self._changed:
                self._set_aside -= size * admitted
                self._changed.notify_all()

    def _settled(self) -> bool:
        """Whether it is known if anything more may be begun."""
        over = self.late or self.spent >= self.bytes
        return over or self.spent + self._set_aside < self.bytes
