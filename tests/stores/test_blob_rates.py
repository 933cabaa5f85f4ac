"""The plans' rates: kept in any minute, counted by class."""

import asyncio

import pytest
from aiolimiter import AsyncLimiter

from tasks import rates
from tasks.rates import PER_MINUTE, Operation, OperationRates
from tasks.settings import BlobPlan


@pytest.mark.parametrize("plan", PER_MINUTE)
@pytest.mark.parametrize("operation", Operation)
async def test_no_minute_sees_more_than_the_plan_allows(
    plan: BlobPlan, operation: Operation
) -> None:
    limiter = OperationRates(plan)._limiters[operation]
    burst_and_refill = limiter.max_rate + 60 * limiter.max_rate / limiter.time_period
    assert burst_and_refill == pytest.approx(PER_MINUTE[plan][operation])
    assert limiter.max_rate >= 1


async def test_what_is_over_the_rate_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    meter = OperationRates("hobby")
    monkeypatch.setitem(meter._limiters, Operation.ADVANCED, AsyncLimiter(5, 0.2))
    started = loop.time()
    await asyncio.gather(*(meter.admit(Operation.ADVANCED) for _ in range(10)))
    assert loop.time() - started >= 0.15
    assert meter.counts == {Operation.ADVANCED: 10}


async def test_the_unlimited_plan_only_counts() -> None:
    meter = OperationRates("unlimited")
    for _ in range(10_000):
        await meter.admit(Operation.SIMPLE)
    assert meter.counts[Operation.SIMPLE] == 10_000


def test_an_unknown_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="it is one of"):
        rates.OperationRates("gold")  # type: ignore[arg-type]
