"""Where a run's processes put what they exchange: ``<home>/exchange/<run id>/`` on other storage.

Nothing that another process waits for is found by listing, and no file is ever written again: it
has a name of its own, which whoever put it passes on. So a process that was thought dead can't
change what others read, and a storage whose listings lag costs work and never a finding.
"""

import errno
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, TypeVar

from pydantic import TypeAdapter

from checks.errors import HomeStorageError
from checks.run import new_run_id
from tasks.partitions import whole
from tasks.remote_home import Runs, asking, make_directory, names_in, opened, read_if_there
from tasks.run_directory import is_run_id

#: What a run that nobody can resume any more has left is removed after.
KEPT = timedelta(days=7)
_TOP = "exchange"
Document = TypeVar("Document")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Area:
    """The part of a home on other storage that the processes of one run share.

    Every method raises HomeStorageError where the storage does not do what it is asked.
    """

    def __init__(self, home: str, run_id: str) -> None:
        """Asks nothing yet. Raises SettingsError where nothing here speaks the URL's protocol."""
        self._home, self._run_id = home, run_id
        self._system, root = opened(home)
        self._top = f"{root}/{_TOP}/{run_id}"
        self._made: set[str] = set()
        self._making = Lock()

    def put(self, path: Path, name: str) -> None:
        """Puts a file."""
        with self._asking():
            self._system.put_file(str(path), self._target(name))

    def get(self, name: str, path: Path, size: int | None) -> None:
        """Has ``path`` hold what was put, whole or not at all; ``size``: its bytes, if known."""
        with whole(path) as draft:
            try:
                with self._asking():
                    try:
                        self._system.get_file(f"{self._top}/{name}", str(draft))
                    except FileNotFoundError:
                        raise self.lacking(name) from None
            except HomeStorageError as error:
                if getattr(error.__cause__, "errno", None) in _FULL:
                    raise HomeStorageError(
                        f"the disk that holds {path.parent} is full: make room, then resume "
                        f"{self._run_id}"
                    ) from error
                raise
            if size is not None and draft.stat().st_size != size:
                raise self.lacking(name)

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Puts a document, as JSON."""
        with self._asking():
            self._system.pipe_file(self._target(name), json.dumps(document).encode())

    def read(self, name: str, form: TypeAdapter[Document]) -> Document | None:
        """A document; None where there is none of this form: half of one is as good as none."""
        with self._asking():
            text = read_if_there(self._system, f"{self._top}/{name}")
        try:
            return None if text is None else form.validate_python(json.loads(text))
        except (ValueError, RecursionError):  # pydantic's is a ValueError too
            return None

    def names(self, directory: str) -> list[str]:
        """What a directory holds by now, in order; nothing where there is none."""
        with self._asking():
            self._system.invalidate_cache()
            return sorted(names_in(self._system, f"{self._top}/{directory}"))

    def copied(self, name: str, target: str) -> bool:
        """Copies what was put to another place of the storage; False where it can't do that."""
        try:
            self._system.cp_file(f"{self._top}/{name}", target)
        except Exception:  # noqa: BLE001 - whatever it is, then it is put once more
            return False
        return True

    def lacking(self, name: str) -> HomeStorageError:
        """The error where the storage does not show what was put there."""
        return HomeStorageError(
            f"EDGEKEEPER_HOME: its storage does not show {name} as it was put there: it has to "
            f"show a new object to everybody as soon as it is put. Then resume {self._run_id}"
        )

    def over(self) -> HomeStorageError:
        """The error of a task that goes on where the run has ended."""
        return HomeStorageError(
            f"the run {self._run_id} has ended, or the directory that this task worked in is gone: "
            "nothing of it counts"
        )

    def _asking(self) -> Any:
        return asking(self._home, HomeStorageError, f". Then resume {self._run_id}")

    def _target(self, name: str) -> str:
        """The place of something that is put, in a directory that is there."""
        target = f"{self._top}/{name}"
        parent = str(PurePosixPath(target).parent)
        with self._making:
            if parent not in self._made:
                make_directory(self._system, parent)
                self._made.add(parent)
        return target


def clear(home: str, run_id: str) -> None:
    """Removes what the processes of a run exchanged. Raises StoreUnreachableError."""
    system, root = opened(home)
    with asking(home):
        system.invalidate_cache()
        try:
            system.rm(f"{root}/{_TOP}/{run_id}", recursive=True)
        except FileNotFoundError:
            return


def sweep(home: str, now: datetime) -> None:
    """Removes what runs have exchanged that can't be resumed any more.

    Raises StoreUnreachableError.
    """
    border, runs = new_run_id(now - KEPT), Runs.of(home)
    for run_id in filter(is_run_id, runs.names_in(f"{runs.root}/{_TOP}")):
        if run_id < border:
            clear(home, run_id)
