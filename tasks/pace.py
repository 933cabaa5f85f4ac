"""A deadline that moves on while bytes come.

How much is to come is something that the sender says: a deadline computed from that could be years
away. One that is computed from what has come can't be stretched by a claim.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def paced(patience: float, lowest_speed: float) -> AsyncIterator[Callable[[int], None]]:
    """Ends what it encloses with TimeoutError once that has fallen behind.

    Gives the function that is told of bytes as they come.

    Args:
        patience: seconds allowed beside those for the bytes.
        lowest_speed: bytes a second that must come on the whole.
    """
    started = asyncio.get_running_loop().time()
    received = 0
    async with asyncio.timeout(patience) as limit:

        def arrived(size: int) -> None:
            nonlocal received
            received += size
            if not limit.expired():
                limit.reschedule(started + patience + received / lowest_speed)

        yield arrived
