"""What a process does first that has been given a part of a run by a cluster's scheduler.

Such a worker may be on another machine, and nothing of its environment is a setting: those come
with the run. It needs edgekeeper in the run's version, and the run's directory under the same path,
or nothing but the storage that the home is a URL of.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import structlog

from checks.errors import HomeStorageError, SettingsError
from tasks import log, run_directory, worker_cache
from tasks.audit import AuditRun
from tasks.exchange import WorkerSide, side_of


@contextmanager
def at_work(run: AuditRun) -> Iterator[AuditRun]:
    """Makes this process fit for a part of ``run``, and gives it as it is here.

    In the run's own process there is nothing to do. Raises SettingsError where the run's directory
    can't be seen or written to from here: what a worker wrote elsewhere would be lacking in the
    run. Raises HomeStorageError where that is a URL and its storage does not answer.
    """
    if not run.away:
        yield run
        return
    log.protect(run.settings)
    run_directory.keep_private()
    if not run.by_url:
        require_shared(run)
        with _logged(run):
            yield run
        return
    with worker_cache.entered(run.settings.home, run.run_id, run.attempt) as directory:
        side = side_of(directory)
        assert isinstance(side, WorkerSide)  # noqa: S101 - what a worker's directory has
        side.begun()
        with _logged(replace(run, directory=directory)) as here:
            try:
                yield here
            finally:
                with suppress(HomeStorageError):  # what the task met with is worth more
                    side.put_log(log_of(here))


@contextmanager
def _logged(run: AuditRun) -> Iterator[AuditRun]:
    """Has events go to this worker's log of the run."""
    path = log_of(run)
    if log.current_log() != path:
        log.configure(level="critical")  # what a scheduler shows of a worker's output is no place
        log.open_log(path)
    with structlog.contextvars.bound_contextvars(run_id=run.run_id):
        yield run


def log_of(run: AuditRun) -> Path:
    """This worker's log of a run; of each attempt where it has a directory for each."""
    return run.directory.worker_log(f"{name()}-{run.attempt[:8]}" if run.by_url else name())


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
            "directory that every worker shares, under the same path and as the same user, or a URL"
        )
