"""The directories that a worker of a cluster keeps files of runs in which it shares by URL alone.

Each process has one of its own for each attempt at a run: what another attempt has left can't be
taken for this one's, and nobody else's work is removed with it. It goes when the run ends, when the
process ends, or when it turns to another run, but not before the last task that works in it: a task
can't be stopped, and would take what is gone for what never was. That of a process that was killed
goes when the next one begins here, which it is known by: nobody holds its lock. The lock file goes
before the directory, so that who finds the file there has all that was written.
"""

import atexit
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from threading import Lock

from checks.errors import HomeStorageError
from tasks.exchange import WorkerSide, exchanging
from tasks.run_directory import RunDirectory, local_home, private_directory

_DIRECTORY = "workers"
_LOCK = ".lock"


@dataclass(slots=True)
class _Cache:
    """A directory, its exchange and lock, how many tasks work in it, and if the run has ended."""

    top: Path
    directory: RunDirectory
    side: WorkerSide
    held: ExitStack
    tasks: int = 0
    over: bool = False

    def leave(self) -> None:
        """Has it go, where tasks work in it after the last of them."""
        self.over = True
        self.side.close()
        if not self.tasks:
            self.remove()

    def remove(self) -> None:
        _removed(self.top)
        self.held.close()


_caches: dict[str, _Cache] = {}
#: Those of attempts that have ended: what comes late of them is refused.
_left: set[str] = set()
_turning = Lock()


@contextmanager
def entered(home: str, run_id: str, attempt: str) -> Iterator[RunDirectory]:
    """This process's directory of a run, for one task of it; ``home`` is the URL.

    Raises SettingsError where it can't be made, or nothing here speaks the URL's protocol, and
    HomeStorageError where the attempt has ended.
    """
    name = _name(run_id, attempt)
    with _turning:
        if name in _left:
            raise HomeStorageError(f"this attempt at the run {run_id} has ended")
        for other in [key for key, cache in _caches.items() if key != name and not cache.tasks]:
            _caches.pop(other).remove()
        if name not in _caches:
            _caches[name] = _made(home, run_id, attempt)
        cache = _caches[name]
        cache.tasks += 1
    try:
        yield cache.directory
    finally:
        with _turning:
            cache.tasks -= 1
            if cache.over and not cache.tasks:
                cache.remove()


def leave(home: str, run_id: str, attempt: str) -> None:
    """Removes what this process keeps of a run that has ended, and what dead ones have left of it.

    Where a task still works in it, it goes after that one.
    """
    name = _name(run_id, attempt)
    with _turning:
        _left.add(name)
        if name in _caches:
            _caches.pop(name).leave()
    _sweep(_top(home), f"{name}-*")


def _made(home: str, run_id: str, attempt: str) -> _Cache:
    top = private_directory(_top(home))
    _sweep(top)
    path = top / f"{_name(run_id, attempt)}-{os.getpid()}-{token_hex(4)}"
    with ExitStack() as held:
        lock = path.with_name(path.name + _LOCK)
        held.callback(lock.unlink, missing_ok=True)
        file = held.enter_context(lock.open("wb"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        directory = RunDirectory(path, run_id)
        side = WorkerSide(home, directory, attempt, lock.exists)
        held.callback(side.close)
        held.enter_context(exchanging(directory, side))
        private_directory(directory.path)  # the lock came first: one without is a dead process's
        return _Cache(path, directory, side, held.pop_all())


def _sweep(top: Path, pattern: str = "*") -> None:
    """Removes what processes have left that are no more."""
    for path in [path for path in top.glob(pattern) if path.is_dir()]:
        try:
            # NFS gives no exclusive lock of a file that is open for reading alone.
            with path.with_name(path.name + _LOCK).open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _removed(path)
        except FileNotFoundError:
            _removed(path)
        except OSError:  # held, or nobody can say: then it is somebody's
            continue


def _removed(path: Path) -> None:
    path.with_name(path.name + _LOCK).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _top(home: str) -> Path:
    return local_home(home) / _DIRECTORY


def _name(run_id: str, attempt: str) -> str:
    return f"{run_id}-{attempt}"


@atexit.register
def _remove_all() -> None:
    """A worker that ends as it should leaves nothing."""
    for cache in _caches.values():
        cache.remove()
