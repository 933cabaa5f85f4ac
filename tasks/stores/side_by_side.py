"""Several sequences of answers at once, as they come."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from checks.errors import StoreError

T = TypeVar("T")
#: What may wait to be taken before those who bring more are held up.
_QUEUED = 32


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing comes any more; ``error``: why not."""

    error: Exception | None = None


async def merged(
    sources: Iterable[AsyncGenerator[T, None]], at_once: int
) -> AsyncGenerator[T, None]:
    """What all ``sources`` give, from so many of them at a time.

    The first error of one of them ends the others, and is raised when what came before it was
    taken. Raises StoreError where one was cancelled.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(_QUEUED)
    waiting = iter(sources)

    async def work() -> None:
        for source in waiting:
            async with aclosing(source):
                async for item in source:
                    await queue.put(item)

    async def work_all() -> None:
        end = _End()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work()) for _ in range(at_once)]
            if any(task.cancelled() for task in tasks):  # a group thinks nothing of that
                end = _End(StoreError("what was under way was cancelled; not all of it came"))
        except* Exception as errors:  # noqa: BLE001 - raised where the items are taken
            end = _End(_first(errors))
        await queue.put(end)

    running = asyncio.create_task(work_all())
    try:
        while not isinstance(item := await queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _first(errors: BaseExceptionGroup[Exception]) -> Exception:
    """The first error of a group, however deep it lies."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
