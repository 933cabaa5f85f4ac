"""Which capsules the identity may read: only in these does "not found" mean "not there".

The canister answers the same for a memory that is not there and for one that the identity may not
read. So a look that found nothing counts only with a proof that its capsule could be read near that
moment; a memory known by nothing but its id could lie in any capsule, and needs one of each.
"""

from asyncio import wrap_future
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import lru_cache
from threading import Lock
from time import monotonic

from checks.errors import StoreError

#: How long before a look a capsule may have been read for that to count as its proof.
_PROVEN_SECONDS = 60.0


class Proofs:
    """When capsules were last found readable, by one identity on one canister.

    Look-ups that want a proof of the same capsule at the same time share one question and its
    outcome, also from several event loops, each in a thread of its own.
    """

    def __init__(self) -> None:
        self._proven: dict[str, float] = {}
        self._asked: dict[str, Future[None]] = {}
        self._lock = Lock()

    def lacks(self, capsule_id: str, looked: float) -> bool:
        """Whether there is no proof of a capsule for a look at a moment of ``monotonic()``."""
        return self._proven.get(capsule_id, float("-inf")) < looked - _PROVEN_SECONDS

    async def prove(
        self, capsule_id: str, looked: float, ask: Callable[[], Awaitable[None]]
    ) -> None:
        """Has ``ask`` find out whether a capsule can be read, unless that is or gets known.

        What was asked after the look proves as much as asking once more, however long ago it is
        by now.

        Args:
            capsule_id: which capsule.
            looked: when its memory was not found, by ``monotonic()``.
            ask: returns where it can be read, and raises StoreError where it can't.

        Raises:
            StoreError: as ``ask`` did, here or for another look-up that was asking already.
        """
        while self.lacks(capsule_id, looked):
            own: Future[None] = Future()
            own.set_running_or_notify_cancel()  # whoever gives up waiting must not cancel it
            with self._lock:
                shared = self._asked.setdefault(capsule_id, own)
            if shared is own:
                await self._ask(capsule_id, own, ask)
            else:
                await wrap_future(shared)

    async def _ask(
        self, capsule_id: str, own: "Future[None]", ask: Callable[[], Awaitable[None]]
    ) -> None:
        """Asks for all who wait for ``own``; they ask themselves where this ends otherwise."""
        failed: StoreError | None = None
        try:
            await ask()
            self._proven[capsule_id] = monotonic()
        except StoreError as error:
            failed = error
            raise
        finally:
            with self._lock:
                del self._asked[capsule_id]
            if failed is None:
                own.set_result(None)
            else:
                own.set_exception(failed)


@lru_cache(maxsize=4)
def proofs_of(attempt: str) -> Proofs:
    """The proofs that the stores share which one attempt at a run opens in this process."""
    del attempt  # it is the key alone
    return Proofs()
