"""The retry policy: what is tried again, how long it takes, and what a server may ask for."""

import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from tasks import retries
from tasks.retries import retry_after, retrying

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Flaky(Exception):  # noqa: N818
    pass


def failing(times: int, calls: list[float]) -> Callable[[], Awaitable[str]]:
    async def call() -> str:
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise Flaky(f"attempt {len(calls)}")
        return "done"

    return call


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30.0),
        ("Mon Nov 23 12:00:30 2026", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 99 Nov 2026 99:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_without_the_header_nothing_is_asked_for() -> None:
    assert retry_after({}, NOW) is None


@given(st.text())
def test_no_header_whatever_breaks_it(text: str) -> None:
    seconds = retry_after({"retry-after": text}, NOW)
    assert seconds is None or seconds >= 0


@given(st.integers(0, 10**6))
def test_a_date_and_the_seconds_until_then_are_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == seconds


async def test_what_fails_for_good_is_tried_once() -> None:
    calls: list[float] = []
    with pytest.raises(Flaky, match="attempt 1"):
        await retrying(failing(1, calls), is_transient=lambda _: False)
    assert len(calls) == 1


async def test_what_passes_is_tried_until_it_succeeds() -> None:
    calls: list[float] = []
    with stamina.set_testing(True, attempts=8):
        assert await retrying(failing(5, calls), is_transient=lambda _: True) == "done"
    assert len(calls) == 6


async def test_attempts_run_out_with_the_last_error() -> None:
    calls: list[float] = []
    with pytest.raises(Flaky, match="attempt 2"):
        await retrying(failing(9, calls), is_transient=lambda _: True, attempts=2)
    assert len(calls) == 2


async def test_a_server_s_wait_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "JITTER_SECONDS", 0.05)
    calls: list[float] = []
    assert await retrying(failing(1, calls), is_transient=lambda _: 0.3) == "done"
    assert 0.3 <= calls[1] - calls[0] < 5


async def test_a_wait_longer_than_there_is_time_is_not_begun() -> None:
    calls: list[float] = []
    started = time.monotonic()
    with pytest.raises(Flaky):
        await retrying(failing(1, calls), is_transient=lambda _: 3600.0)
    assert time.monotonic() - started < 60
    assert len(calls) == 1


async def test_waits_grow_and_the_time_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "JITTER_SECONDS", 0.0)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.05)
    calls: list[float] = []
    with pytest.raises(Flaky):
        await retrying(failing(99, calls), is_transient=lambda _: True, total_seconds=0.6)
    waits = [after - before for before, after in itertools.pairwise(calls)]
    assert 3 <= len(calls) <= 6
    assert all(later > earlier for earlier, later in itertools.pairwise(waits))
