"""How far long work has come, told to whoever listens: a bar on a terminal, lines elsewhere.

There is one listener per process, set by the command line; where there is none, nothing is told.
Of things that a person waits for one by one each is told besides, as a line of text.
"""

from collections.abc import Callable
from threading import Lock

#: Called with the work's name, what was done since the last call, and the whole if it is known.
Listener = Callable[[str, int, int | None], None]
#: Called with a line about one thing that is done.
Reader = Callable[[str], None]

_lock = Lock()
_listener: Listener | None = None
_reader: Reader | None = None


def listen(listener: Listener | None, reader: Reader | None = None) -> None:
    """Tells ``listener`` and ``reader`` from now on, and nobody else."""
    global _listener, _reader
    with _lock:
        _listener, _reader = listener, reader


def advance(work: str, by: int = 1, total: int | None = None) -> None:
    """Tells that ``by`` more units of ``work`` are done, of ``total`` where that is known."""
    with _lock:
        if _listener is not None:
            _listener(work, by, total)


def note(line: str) -> None:
    """Tells in a line of one thing that is done."""
    with _lock:
        if _reader is not None:
            _reader(line)


def advancing(work: str, total: int | None = None) -> Callable[[int], None]:
    """A function that tells of progress in ``work``."""
    return lambda by: advance(work, by, total)
