"""``EDGEKEEPER_HOME`` on another machine's storage: runs are made here and kept there.

A run needs files that are renamed into place, which object stores can't do. So it is made in a
local directory, a cache that may be lost between runs, and copied to the URL when it ends. Former
runs' records are fetched from there, so that history does not depend on the machine.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from checks.errors import SettingsError, StoreUnreachableError
from tasks.run_directory import RunDirectory, is_run_id, private_directory

#: Former runs whose records are fetched.
HISTORY = 90


def is_remote(home: str) -> bool:
    """Whether ``home`` is a URL of other storage than this machine's directories."""
    scheme, mark, _ = home.partition("://")
    return bool(mark) and scheme not in ("file", "local")


def fetch_history(home: str, local: Path) -> None:
    """Fetches the newest runs' records that are not in ``local`` yet.

    Raises SettingsError where nothing can speak the URL's protocol, StoreUnreachableError where
    the storage does not answer.
    """
    system, root = _opened(home)
    try:
        kept = system.ls(f"{root}/runs", detail=False) if system.exists(f"{root}/runs") else []
        names = (PurePosixPath(path).name for path in kept)
        for name in sorted(filter(is_run_id, names), reverse=True)[:HISTORY]:
            target = local / "runs" / name / "run.json"
            source = f"{root}/runs/{name}/run.json"
            if not target.exists() and system.exists(source):
                private_directory(target.parent)
                target.write_bytes(system.cat_file(source))
    except OSError as error:
        raise _unreachable(home, error) from error


def report_url(home: str, directory: RunDirectory) -> str:
    """Where the run's report is once it is kept."""
    return f"{home.rstrip('/')}/runs/{directory.run_id}/{directory.report.name}"


def keep(home: str, directory: RunDirectory) -> None:
    """Copies a finished run and the index to ``home``.

    Raises StoreUnreachableError where the storage does not take it; the run is in ``directory``.
    """
    system, root = _opened(home)
    try:
        target = f"{root}/runs/{directory.run_id}"
        for path in sorted(directory.path.rglob("*")):
            if path.is_file():
                name = path.relative_to(directory.path).as_posix()
                system.makedirs(str(PurePosixPath(f"{target}/{name}").parent), exist_ok=True)
                system.put_file(str(path), f"{target}/{name}")
        index = directory.home / "index.html"
        if index.exists():
            system.put_file(str(index), f"{root}/index.html")
    except OSError as error:
        raise _unreachable(home, error) from error


def _opened(home: str) -> tuple[Any, str]:
    """The file system that speaks the URL's protocol, and the path in it."""
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


def _unreachable(home: str, error: OSError) -> StoreUnreachableError:
    scheme = home.partition("://")[0]
    return StoreUnreachableError(
        f"EDGEKEEPER_HOME: the {scheme}:// storage could not be used ({type(error).__name__}); "
        "check its address and credentials"
    )
