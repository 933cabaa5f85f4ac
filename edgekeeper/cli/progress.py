"""How far long work has come: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from edgekeeper.cli.output import Output

#: Seconds between two lines about the same work where there is no terminal.
LINE_EVERY = 10.0


@contextmanager
def shown(out: Output) -> Iterator[None]:
    """Shows what :mod:`tasks.progress` tells, as long as the block lasts."""
    from tasks import progress  # noqa: PLC0415 - --help does without

    if out.quiet:
        yield
        return
    with _bars(out) if out.draws else _lines(out):
        try:
            yield
        finally:
            progress.listen(None)


@contextmanager
def _bars(out: Output) -> Iterator[None]:
    """A bar for each kind of work under way."""
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from tasks import progress  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
               TimeRemainingColumn())  # fmt: skip
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=out.terminal(), transient=True) as bars:

        def told(work: str, by: int, total: int | None) -> None:
            if work not in tasks:
                tasks[work] = bars.add_task(work, total=total)
            bars.update(tasks[work], advance=by, total=total)

        progress.listen(told, out.progress)
        yield


@contextmanager
def _lines(out: Output) -> Iterator[None]:
    """A line about each kind of work, not more often than every few seconds."""
    from tasks import progress  # noqa: PLC0415

    done: dict[str, int] = {}
    began: dict[str, float] = {}
    said: dict[str, float] = {}
    lock = Lock()

    def told(work: str, by: int, total: int | None) -> None:
        with lock:
            done[work] = done.get(work, 0) + by
            now = time.monotonic()
            began.setdefault(work, now)
            if now - said.setdefault(work, now) < LINE_EVERY:
                return
            said[work] = now
            share = f" of {total:,} ({100 * done[work] / total:.0f} %)" if total else ""
            out.progress(
                f"{work}: {done[work]:,}{share}{_pace(done[work], total, now - began[work])}"
            )

    progress.listen(told)
    yield


def _pace(done: int, total: int | None, seconds: float) -> str:
    """How fast work goes, and how much longer it takes where its end is known."""
    rate = done / seconds
    if rate < 1:
        return ""
    left = max((total or 0) - done, 0) / rate
    minutes, rest = divmod(round(left), 60)
    return f", {rate:,.0f}/s" + (f", {minutes}:{rest:02d} left" if total else "")
