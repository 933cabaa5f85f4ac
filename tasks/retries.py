"""The one retry policy of every store that is reached over HTTP, on top of ``stamina``.

Attempts and total time are bounded, waits grow exponentially with jitter, and what a server asks
for in ``retry-after`` is honoured, unless it asks for more time than there is.
"""

import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina

T = TypeVar("T")

ATTEMPTS = 8
TOTAL_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
JITTER_SECONDS = 0.5


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a server asks to wait for, from ``retry-after`` in either of its two forms.

    Args:
        headers: with names in lower case, or a mapping that does not care.
        now: an aware datetime, to count an HTTP date from.

    Returns:
        Never less than 0; None where the header is missing or makes no sense.
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    seconds = _number(text)
    return _until(text, now) if seconds is None else seconds


def _number(text: str) -> float | None:
    """Seconds, where ``text`` is a finite number that is not negative."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _until(text: str, now: datetime) -> float | None:
    """Seconds from ``now`` to an HTTP date."""
    moment = http_date(text)
    return None if moment is None else max((moment - now).total_seconds(), 0.0)


def http_date(text: str) -> datetime | None:
    """An aware time from any of the three formats of HTTP; None where ``text`` makes no sense."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year may be any number
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def retrying(
    call: Callable[[], Awaitable[T]],
    *,
    is_transient: Callable[[Exception], bool | float],
    attempts: int = ATTEMPTS,
    total_seconds: float = TOTAL_SECONDS,
) -> T:
    """Awaits ``call()`` until it succeeds, fails for good, or the attempts or the time run out.

    Args:
        call: makes one attempt; it is where attempts are counted.
        is_transient: what an exception means: False: not worth another attempt; True: try again
            after the policy's own wait; a number: try again after so many seconds.
        attempts: at most so many calls.
        total_seconds: no attempt begins later than this after the first one. An attempt's own
            length is for ``call`` to bound.

    Returns:
        What the first successful call returned.

    Raises:
        Exception: what the last call raised.
    """
    deadline = time.monotonic() + total_seconds

    def backoff(error: Exception) -> bool | float:
        answer = is_transient(error)
        if isinstance(answer, bool):
            return answer and time.monotonic() < deadline
        # Whoever was told to wait at the same moment must not come back at the same moment.
        wait = answer + random.uniform(0, JITTER_SECONDS)  # noqa: S311 - no secret is made of it
        return wait if time.monotonic() + wait <= deadline else False

    async for attempt in stamina.retry_context(
        on=backoff,
        attempts=attempts,
        timeout=total_seconds,
        wait_initial=FIRST_WAIT_SECONDS,
        wait_max=LONGEST_WAIT_SECONDS,
        wait_jitter=JITTER_SECONDS,
    ):
        with attempt:
            return await call()
    raise AssertionError("stamina neither returned nor raised")
