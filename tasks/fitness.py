"""Whether a process of a cluster is fit for parts of runs: asked before a run begins.

It imports little: it is asked of every worker, and what a run needs takes seconds to load.
"""

import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path

_API_SECONDS = 10.0


def lacks(probe: str, wanted: str, api: str | None, machine: str) -> str | None:
    """What keeps this process from doing parts of runs, None where nothing does.

    Args:
        probe: a file that lies in the home of runs at this moment: its path, or its URL where that
            is all that the workers share.
        wanted: the version of edgekeeper.
        api: Prefect's, which records each task where it runs; None: a temporary one's, which is
            to start on ``machine``.
        machine: the one that the run's own process is on.
    """
    found = metadata.version("edgekeeper")
    if found != wanted:
        return f"edgekeeper {found} is installed there, and {wanted} here"
    if problem := _lacks_storage(probe) if "://" in probe else _lacks_directory(Path(probe)):
        return problem
    if not _reaches(api, machine):
        return (
            "Prefect's server can't be reached from there: set PREFECT_API_URL to one that all "
            "workers reach; the temporary one answers on its own machine alone"
        )
    return None


def _lacks_directory(probe: Path) -> str | None:
    home = probe.parent
    if probe.exists() and os.access(home, os.W_OK | os.X_OK):
        return None
    return (
        f"{home} is not there, or another directory: EDGEKEEPER_HOME has to be one that every "
        "worker shares, under the same path and as the same user, or a URL"
    )


def _lacks_storage(probe: str) -> str | None:
    """The same of a home that is a URL: it has to be read, listed and written to.

    What is written is for who put the probe to remove.
    """
    from tasks.settings import local_path  # noqa: PLC0415 - see above

    home = probe.rpartition("/")[0]
    scheme = home.partition("://")[0]
    cache = local_path(home).parent
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        return f"{cache} can't be made or written to: a worker keeps the files of its tasks there"
    try:
        same = _sees(probe)
    except (ImportError, ValueError):
        return f"nothing there speaks {scheme}://: install the fsspec package for it, such as s3fs"
    except FileNotFoundError:
        same = False
    except Exception as error:  # noqa: BLE001 - each protocol's client has errors of its own
        return (
            f"the {scheme}:// storage of EDGEKEEPER_HOME can't be used from there "
            f"({type(error).__name__}): the worker needs its address, and credentials to read, "
            "list and write, in its environment or fsspec's configuration"
        )
    return None if same else (
        f"EDGEKEEPER_HOME leads to another {scheme}:// storage from there: give the worker the "
        "same address, in its environment or fsspec's configuration"
    )  # fmt: skip


def _sees(probe: str) -> bool:
    """Whether a probe holds its own name; then something is put beside it.

    The listing is asked for, since that may be forbidden: what it shows may lag.
    """
    import fsspec  # noqa: PLC0415 - see above

    system, path = fsspec.core.url_to_fs(probe)
    system.invalidate_cache()
    directory, _, name = path.rpartition("/")
    if system.cat_file(path) != name.encode():
        return False
    with suppress(FileNotFoundError):
        system.ls(directory, detail=False)
    system.pipe_file(f"{path}-{platform.node()}-{os.getpid()}", b"")
    return True


def _reaches(api: str | None, machine: str) -> bool:
    import httpx  # noqa: PLC0415 - see above

    if api is None:
        return platform.node() == machine
    try:
        httpx.get(f"{api}/health", timeout=_API_SECONDS)
    except httpx.HTTPError:
        return False
    return True
