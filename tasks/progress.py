"""How far long work has come, told to whoever listens: a bar on a terminal, lines elsewhere.

There is one listener per process, set by the command line; where there is none, nothing is told.
"""

from collections.abc import Callable
from threading import Lock

#: Called with the work's name, what was done since the last call, and the whole if it is known.
Listener = Callable[[str, int, int | None], None]

_lock = Lock()
_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Tells ``listener`` from now on, and nobody else."""
    global _listener  # noqa: PLW0603 - one terminal, one listener
    with _lock:
        _listener = listener


def advance(work: str, by: int = 1, total: int | None = None) -> None:
    """Tells that ``by`` more units of ``work`` are done, of ``total`` where that is known."""
    with _lock:
        if _listener is not None:
            _listener(work, by, total)


def advancing(work: str, total: int | None = None) -> Callable[[int], None]:
    """A function that tells of progress in ``work``."""
    return lambda by: advance(work, by, total)
