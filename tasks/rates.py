"""How fast the blob store may be asked, by the plan that is paid for, and how often it was.

Operations a minute and what counts as which: Vercel's documentation of Blob usage and limits. A
listed page, a put, a copy and each deleted object are advanced operations; a look-up and a read
that misses the CDN's cache are simple ones.
"""

from collections import Counter
from enum import StrEnum
from typing import get_args

from aiolimiter import AsyncLimiter

from checks.run import Usage
from tasks import usage
from tasks.settings import BlobPlan

#: The length of a burst. A leaky bucket lets its capacity pass at once and refills meanwhile, so
#: that a minute sees ``60 / BURST_SECONDS`` refills and one capacity more.
BURST_SECONDS = 5.0
_SHARES = 60 / BURST_SECONDS + 1


class Operation(StrEnum):
    """What the plan distinguishes."""

    SIMPLE = "simple"
    ADVANCED = "advanced"


#: Operations a minute. A plan that is not named has no limit.
PER_MINUTE: dict[BlobPlan, dict[Operation, int]] = {
    "hobby": {Operation.SIMPLE: 1200, Operation.ADVANCED: 900},
    "pro": {Operation.SIMPLE: 7200, Operation.ADVANCED: 4500},
    "enterprise": {Operation.SIMPLE: 9000, Operation.ADVANCED: 7500},
}
#: What a plan includes a month; beyond it hobby is blocked for up to 30 days, and pro pays. From a
#: copy of the price list: Vercel's own pages may have other figures by now.
QUOTAS: dict[BlobPlan, Usage] = {
    "hobby": Usage(blob_simple=10_000, blob_advanced=2_000, blob_bytes=10 * 10**9),
    "pro": Usage(blob_simple=100_000, blob_advanced=10_000, blob_bytes=100 * 10**9),
}


class OperationRates:
    """Lets operations pass at the plan's rates and counts them by class.

    Belongs to one event loop. ``counts`` is what the run's record says, retries included.
    """

    def __init__(self, plan: BlobPlan, sharing: int = 1) -> None:
        """``sharing``: so many processes keep under the plan's rates together."""
        if plan not in get_args(BlobPlan):
            raise ValueError(f"{plan!r} is no plan; it is one of {', '.join(get_args(BlobPlan))}")
        self.counts: Counter[Operation] = Counter()
        self._limiters = {
            operation: _limiter(per_minute / sharing)
            for operation, per_minute in PER_MINUTE.get(plan, {}).items()
        }

    async def admit(self, operation: Operation) -> None:
        """Waits until one more operation keeps under the plan's rate, and counts it."""
        limiter = self._limiters.get(operation)
        if limiter is not None:
            await limiter.acquire()
        self.counts[operation] += 1
        usage.count(f"blob_{operation}")


def _limiter(per_minute: float) -> AsyncLimiter:
    """Keeps under a rate; where it is small, with longer bursts, so that one of them fits in."""
    burst = per_minute / _SHARES
    return AsyncLimiter(max(burst, 1.0), BURST_SECONDS * max(1.0, 1.0 / burst))
