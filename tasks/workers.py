"""What a process does first that has been given a part of a run by a cluster's scheduler.

Such a worker may be on another machine, and nothing of its environment is a setting: those come
with the run. It needs edgekeeper in the run's version, and the run's directory under the same path.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from checks.errors import SettingsError
from tasks import log, run_directory
from tasks.audit import AuditRun


@contextmanager
def at_work(run: AuditRun) -> Iterator[None]:
    """Makes this process fit for a part of ``run``; in the run's own there is nothing to do.

    Raises SettingsError where the run's directory can't be seen or written to from here: what a
    worker wrote elsewhere would be lacking in the run.
    """
    if not run.away:
        yield
        return
    log.protect(run.settings)
    run_directory.keep_private()
    require_shared(run)
    path = run.directory.worker_log(name())
    if log.current_log() != path:
        log.configure(level="critical")  # what a scheduler shows of a worker's output is no place
        log.open_log(path)
    with structlog.contextvars.bound_contextvars(run_id=run.run_id):
        yield


def name() -> str:
    """This process, as a person finds it."""
    return f"{platform.node()}-{os.getpid()}"


def require_shared(run: AuditRun) -> None:
    """Raises SettingsError where this worker is not fit for ``run``."""
    path = run.directory.path
    try:
        begun = run.directory.done_stage("begun")
        usable = begun is not None and os.access(path, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        raise SettingsError(
            f"the worker {name()} can't use {path}: on a cluster EDGEKEEPER_HOME has to be a "
            "directory that every worker shares, under the same path and as the same user"
        )
