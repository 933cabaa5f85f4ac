"""A process that ends the sandbox's servers when their supervisor is gone, however it went."""

import contextlib
import os
import signal
import time
from pathlib import Path

STOP_SECONDS = 15
POLL_SECONDS = 0.05


class Guard:
    """The supervisor's end of a pipe to a forked guard.

    It is a fork, so that it holds the supervisor's lock too: the sandbox counts as running until
    the last server is down.
    """

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        if not os.fork():
            os.close(self._pipe)
            _watch(reading)
        os.close(reading)

    def add(self, process_id: int, stop_signal: signal.Signals) -> None:
        """Tell it of a server, and of the signal that ends it."""
        os.write(self._pipe, f"{process_id} {int(stop_signal)}\n".encode())

    def dismiss(self) -> None:
        """Tell it that all servers ended."""
        os.write(self._pipe, b"done\n")
        os.close(self._pipe)


def _watch(reading: int) -> None:
    """What the guard does: wait for the end of the pipe, and end what was not ended. Exits."""
    try:
        os.setsid()  # a signal to the supervisor's group must not take the guard along
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        with os.fdopen(reading) as pipe:
            lines = list(pipe)
        if "done\n" not in lines:
            _end([(int(number), int(stop)) for number, stop in map(str.split, lines)])
    finally:
        os._exit(0)


def _end(servers: list[tuple[int, int]]) -> None:
    for process_id, number in servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)
    deadline = time.monotonic() + STOP_SECONDS
    while any(_is_alive(number) for number, _ in servers) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    for process_id, _ in servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def _is_alive(process_id: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked after counts as ended."""
    try:
        os.kill(process_id, 0)
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii", errors="replace")
    except ProcessLookupError:
        return False
    except OSError:  # no /proc here
        return True
    return state.rpartition(")")[2].split()[0] != "Z"
