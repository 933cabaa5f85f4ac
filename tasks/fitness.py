"""Whether a process of a cluster is fit for parts of runs: asked before a run begins.

It imports little: it is asked of every worker, and what a run needs takes seconds to load.
"""

import os
import platform
from importlib import metadata
from pathlib import Path

_API_SECONDS = 10.0


def lacks(probe: str, wanted: str, api: str | None, machine: str) -> str | None:
    """What keeps this process from doing parts of runs, None where nothing does.

    Args:
        probe: a file that lies in the home of runs at this moment.
        wanted: the version of edgekeeper.
        api: Prefect's, which records each task where it runs; None: a temporary one's, which is
            to start on ``machine``.
        machine: the one that the run's own process is on.
    """
    found = metadata.version("edgekeeper")
    if found != wanted:
        return f"edgekeeper {found} is installed there, and {wanted} here"
    home = Path(probe).parent
    if not (Path(probe).exists() and os.access(home, os.W_OK | os.X_OK)):
        return (
            f"{home} is not there, or another directory: EDGEKEEPER_HOME has to be one that every "
            "worker shares, under the same path and as the same user"
        )
    if not _reaches(api, machine):
        return (
            "Prefect's server can't be reached from there: set PREFECT_API_URL to one that all "
            "workers reach; the temporary one answers on its own machine alone"
        )
    return None


def _reaches(api: str | None, machine: str) -> bool:
    import httpx  # noqa: PLC0415 - see above

    if api is None:
        return platform.node() == machine
    try:
        httpx.get(f"{api}/health", timeout=_API_SECONDS)
    except httpx.HTTPError:
        return False
    return True
