"""``EDGEKEEPER_HOME`` on another machine's storage: runs are made here and kept there.

A run needs files that are renamed into place, which object stores can't do. So it is made in a
local directory, a cache that may be lost between runs, and copied to the URL when it ends. Former
runs' records are fetched from there, so that history does not depend on the machine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import Any

from checks.errors import EdgekeeperError, SettingsError, StoreUnreachableError
from checks.run import RunRecord
from tasks.run_directory import RunDirectory, is_run_id, private_directory, without_findings

#: Former runs whose records are fetched.
HISTORY = 90
#: Protocols of stores of objects: there are no directories, and asked for one a client may make a
#: bucket that nobody wants.
_OF_OBJECTS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss"}


def is_remote(home: str) -> bool:
    """Whether ``home`` is a URL of other storage than this machine's directories."""
    scheme, mark, _ = home.partition("://")
    return bool(mark) and scheme not in ("file", "local")


def fetch_history(home: str, local: Path) -> None:
    """Fetches the newest runs' records that are not in ``local`` yet.

    Raises SettingsError where nothing can speak the URL's protocol, StoreUnreachableError where
    the storage does not answer.
    """
    runs = Runs.of(home)
    with asking(home):
        for name in runs.ids()[:HISTORY]:
            target = local / "runs" / name / "run.json"
            if not target.exists() and (text := runs.record_text(name)) is not None:
                private_directory(target.parent)
                target.write_bytes(text)


def report_url(home: str, directory: RunDirectory) -> str:
    """Where the run's report is once it is kept."""
    return f"{home.rstrip('/')}/runs/{directory.run_id}/{directory.report.name}"


def keep(
    home: str, directory: RunDirectory, copied: Callable[[Path, str], bool] = lambda *_: False
) -> None:
    """Copies a finished run and the index to ``home``.

    ``copied`` copies a file from another place of the same storage, if it is there, and says so.

    Raises StoreUnreachableError where the storage does not take it; the run is in ``directory``.
    """
    runs = Runs.of(home)
    with asking(home):
        target = f"{runs.root}/runs/{directory.run_id}"
        make_directory(runs.system, target)
        for path in sorted(directory.path.rglob("*")):
            name = path.relative_to(directory.path).as_posix()
            if path.is_dir():
                make_directory(runs.system, f"{target}/{name}")
            elif not copied(path, f"{target}/{name}"):
                runs.system.put_file(str(path), f"{target}/{name}")
        index = directory.home / "index.html"
        if index.exists():
            runs.put_index(index)


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs that a home holds, here or on other storage, as they lie there.

    Every method raises StoreUnreachableError where the storage does not do what it is asked.
    """

    home: str
    system: Any
    root: str

    @classmethod
    def of(cls, home: str) -> "Runs":
        """The runs of a path or URL. Raises SettingsError where nothing speaks its protocol."""
        return cls(home, *opened(home))

    def ids(self) -> list[str]:
        """Their ids, newest first."""
        return sorted(filter(is_run_id, self.names_in(f"{self.root}/runs")), reverse=True)

    def record(self, run_id: str) -> RunRecord | None:
        """What a run says of itself, its findings left out; None where it has no sound record."""
        text = self.record_text(run_id)
        try:
            return None if text is None else RunRecord.from_json(without_findings(text))
        except ValueError:
            return None

    def record_text(self, run_id: str) -> bytes | None:
        """A run's ``run.json`` as it lies there; None where there is none."""
        with asking(self.home):
            return read_if_there(self.system, f"{self._path(run_id)}/run.json")

    def has(self, run_id: str, *names: str) -> bool:
        """Whether a run has a file of one of these names, or a directory that holds something."""
        path = self._path(run_id)
        for name in set(names) & set(self.names_in(path)):
            with asking(self.home):
                is_directory = self.system.info(f"{path}/{name}")["type"] == "directory"
            if not is_directory or self.names_in(f"{path}/{name}"):
                return True
        return False

    def size(self, run_id: str) -> int:
        """Bytes of all its files."""
        with asking(self.home):
            return int(self.system.du(self._path(run_id)))

    def remove(self, run_id: str) -> None:
        """Deletes a run with all that it holds; its record last, so that it can be done again."""
        path = self._path(run_id)
        names = self.names_in(path)
        with asking(self.home):
            for name in sorted(names, key=lambda name: name == "run.json"):
                self.system.rm(f"{path}/{name}", recursive=True)
            self.system.invalidate_cache()
            if self.system.exists(path):  # a store of objects has no empty directories
                self.system.rm(path, recursive=True)

    def names_in(self, path: str) -> list[str]:
        """What a directory holds, see :func:`names_in`."""
        with asking(self.home):
            return names_in(self.system, path)

    def put_record(self, run_id: str, record: Path) -> None:
        """Puts the ``run.json`` of a run that lies there in the place of the one that it has."""
        with asking(self.home):
            self.system.put_file(str(record), f"{self._path(run_id)}/{record.name}")

    def put_index(self, index: Path) -> None:
        """Puts the page of all runs beside them."""
        with asking(self.home):
            self.system.put_file(str(index), f"{self.root}/{index.name}")

    def _path(self, run_id: str) -> str:
        return f"{self.root}/runs/{run_id}"


@contextmanager
def probed(home: str) -> Iterator[str]:
    """The URL of a file that lies in a home of other storage for as long as this is entered.

    What others have put beside it, under longer names, goes with it. Raises StoreUnreachableError.
    """
    system, root = opened(home)
    name = f".shared-{token_hex(4)}"
    with asking(home):
        make_directory(system, root)
        system.pipe_file(f"{root}/{name}", name.encode())
    try:
        yield f"{home.rstrip('/')}/{name}"
    finally:
        with asking(home):
            system.invalidate_cache()
            for path in system.ls(root, detail=False):
                if PurePosixPath(path).name.startswith(name):
                    system.rm(path)


@contextmanager
def asking(
    home: str, failure: type[EdgekeeperError] = StoreUnreachableError, but: str = ""
) -> Iterator[None]:
    """Raises ``failure`` for whatever error the client of a home's storage has.

    Each has its own, and not all of them are OSErrors; that a file is not there is for who asks.
    ``but``: what more is to be said.
    """
    try:
        yield
    except EdgekeeperError:
        raise
    except Exception as error:
        raise failure(f"{_unreachable(home, error)}{but}") from error


def opened(home: str) -> tuple[Any, str]:
    """The file system that speaks a URL's protocol, and the path in it.

    Raises SettingsError where nothing does.
    """
    import fsspec  # noqa: PLC0415 - most homes are local

    try:
        system, root = fsspec.core.url_to_fs(home)
    except (ImportError, ValueError) as error:
        scheme = home.partition("://")[0]
        raise SettingsError(
            f"EDGEKEEPER_HOME: nothing here speaks {scheme}:// ({error}); install the fsspec "
            "package for it, or give a path"
        ) from error
    return system, str(root).rstrip("/")


def names_in(system: Any, path: str) -> list[str]:
    """What a directory holds; nothing where there is none. Never that for want of an answer.

    ``exists`` and ``find`` are no help here: they take every error for absence.
    """
    try:
        return [PurePosixPath(each).name for each in system.ls(path, detail=False)]
    except FileNotFoundError:
        return []


def read_if_there(system: Any, path: str) -> bytes | None:
    """The bytes of a file; None where there is none."""
    try:
        return bytes(system.cat_file(path))
    except FileNotFoundError:
        return None


def make_directory(system: Any, path: str) -> None:
    """Makes a directory of other storage, where that has any."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}
    if not protocols & _OF_OBJECTS:
        system.makedirs(path, exist_ok=True)


def _unreachable(home: str, error: Exception) -> str:
    scheme = home.partition("://")[0] if is_remote(home) else "file"
    return (
        f"EDGEKEEPER_HOME: the {scheme}:// storage could not be used ({type(error).__name__}); "
        "check its address and credentials"
    )
