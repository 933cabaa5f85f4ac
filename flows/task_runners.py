"""Where the tasks of a flow run: on threads of its own process, or on a Dask or Ray cluster.

``EDGEKEEPER_TASK_RUNNER`` says which. What must be done once and in one place stays with the flow's
process whatever the setting: the snapshot, bringing together, the lease, repairs and the report.
"""

import logging
import os
import re
from typing import Any, cast

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from checks.errors import SettingsError
from tasks.settings import Settings, load_settings

#: Of a thread pool: enough for three listings beside partitions on as many cores as are usual.
THREADS = 8
#: How long a scheduler may take to answer.
ANSWER_SECONDS = 20
#: Ray asks nobody home, and says nothing on a terminal.
_OF_DASK = re.compile(r"distributed\b|prefect\.task_runner\.dask")
_QUIET_RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


class AsConfigured(ThreadPoolTaskRunner):  # type: ignore[type-arg] # it is not generic everywhere
    """Stands in a flow's definition for what the settings ask for when a run of it begins."""

    def duplicate(self) -> TaskRunner[Any]:  # type: ignore[override] # another kind, on purpose
        """The task runner of a run that begins now. Raises SettingsError where it can't be had."""
        return task_runner(load_settings())

    def __reduce__(self) -> tuple[Any, ...]:
        """On a worker, whose environment holds no settings, it is a pool of threads."""
        return ThreadPoolTaskRunner, (THREADS,)


def threads() -> TaskRunner[Any]:
    """Threads of the flow's own process."""
    return cast("TaskRunner[Any]", ThreadPoolTaskRunner(max_workers=THREADS))


def task_runner(settings: Settings) -> TaskRunner[Any]:
    """The task runner that the setting asks for: threads, or a cluster's.

    Raises SettingsError where the package that connects Prefect with the cluster is not installed.
    """
    kind, _, address = settings.task_runner.partition(":")
    if kind == "threads":
        return threads()
    try:
        return _dask(address) if kind == "dask" else _ray(address)
    except ImportError as error:
        raise SettingsError(
            f"EDGEKEEPER_TASK_RUNNER asks for {kind}, but the package prefect-{kind} is not "
            f"installed ({error}). Install edgekeeper[{kind}], here and on every worker, or use "
            "threads."
        ) from error


def _dask(address: str) -> TaskRunner[Any]:
    """A cluster whose scheduler is at ``address``, or one of this machine's cores."""
    from prefect_dask import DaskTaskRunner  # noqa: PLC0415 - an extra

    for name in filter(_OF_DASK.match, logging.root.manager.loggerDict):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # no news to a person on call
    client = {"timeout": ANSWER_SECONDS}
    if address:
        return cast("TaskRunner[Any]", DaskTaskRunner(address=address, client_kwargs=client))
    keep_lost_workers()
    own = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    return cast("TaskRunner[Any]", DaskTaskRunner(cluster_kwargs=own, client_kwargs=client))


def keep_lost_workers() -> None:
    """Has a cluster of this machine's wait ten minutes until a worker that died is replaced.

    Dask gives it up, for good, where the next is not there within 15 s
    (``distributed.deploy.spec``), and on a busy machine a process takes longer. What a person has
    set for that stays.
    """
    import dask  # noqa: PLC0415 - an extra
    import distributed  # noqa: F401, PLC0415 - which has defaults of its own

    deploy = {"lost-worker-timeout": "10 minutes"}
    dask.config.update_defaults({"distributed": {"deploy": deploy}})


def _ray(address: str) -> TaskRunner[Any]:
    """A cluster at ``address``, or one of this machine's cores."""
    os.environ.update(_QUIET_RAY)
    from prefect_ray import RayTaskRunner  # noqa: PLC0415 - an extra

    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own = {} if address else {"include_dashboard": False}
    return cast("TaskRunner[Any]", RayTaskRunner(address=address or None, init_kwargs=quiet | own))
