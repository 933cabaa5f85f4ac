"""Whether a cluster's workers are fit for a run: asked of each before anything begins.

A worker that lacks something would fail in the middle of a night, or worse: write into a directory
of its own. ``doctor`` asks the same.
"""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib import metadata
from time import monotonic
from typing import Any, Protocol

from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from checks.errors import SettingsError, StoreUnreachableError
from flows import task_runners
from tasks import audit, run_directory, worker_cache
from tasks.audit import AuditOptions, AuditRun
from tasks.examination import FAILURE, OK, Check
from tasks.fitness import lacks
from tasks.lease import Fence
from tasks.remote_home import is_remote, probed
from tasks.run_directory import atomic
from tasks.settings import Settings
from tasks.stores.icp.identity import with_identity
from tasks.time_limit import within

#: How long a scheduler may take to have a worker, and a worker to answer.
WORKERS_SECONDS = 90.0
DOCTOR_SECONDS = 10.0
#: How long the end of a run may wait for workers to remove its files: they may do so later, too.
LEAVING_SECONDS = 10.0
_VARIABLE = "EDGEKEEPER_TASK_RUNNER"
_START = (
    "Start its scheduler and a worker, set RAY_AUTH_MODE=token where Ray asks for its token, "
    "or use threads"
)
#: Gives what keeps a process from doing parts of a run, None where nothing does.
Question = Callable[..., str | None]


class Cluster(Protocol):
    """A scheduler and its workers."""

    def abreast(self, patience: float) -> int:
        """How many tasks its workers do at the same time; the first may take ``patience`` s."""
        ...

    def ask(self, patience: float, question: Question, *values: Any) -> Mapping[str, str | None]:
        """What each process of the cluster answers within ``patience`` s, by its name."""
        ...


class Dask:
    """A Dask cluster, as a client of its own scheduler sees it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def abreast(self, patience: float) -> int:
        """The threads of all workers. Raises TimeoutError where no worker comes."""
        self._client.wait_for_workers(1, timeout=patience)
        return sum(self._client.nthreads().values())

    def ask(self, patience: float, question: Question, *values: Any) -> Mapping[str, str | None]:
        """What each worker answers; one that could not even be asked says why.

        Raises TimeoutError where one says nothing: a process that was stopped keeps its connection.
        """
        run = partial(self._client.run, question, *values, on_error="return")
        said: dict[str, Any] = within(patience, run)
        return {name: _said(answer) for name, answer in said.items()}


class Ray:
    """The Ray cluster that this process is connected to."""

    def abreast(self, patience: float) -> int:  # noqa: ARG002 - what is connected has a node
        """The cores of all nodes."""
        import ray  # noqa: PLC0415 - an extra

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    def ask(self, patience: float, question: Question, *values: Any) -> Mapping[str, str | None]:
        """What a process on each node answers; one that could not even be asked says why."""
        import ray  # noqa: PLC0415 - an extra
        from ray.util.scheduling_strategies import (  # noqa: PLC0415
            NodeAffinitySchedulingStrategy,
        )

        asked = ray.remote(num_cpus=0, max_retries=0)(question)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        answers = {
            f"{node['NodeManagerHostname']} {node['NodeID'][:8]}": asked.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(*values)
            for node in nodes
        }
        until = monotonic() + patience
        return {
            name: _said(_got(answer, max(0.0, until - monotonic())))
            for name, answer in answers.items()
        }


def _got(answer: Any, patience: float) -> Any:
    import ray  # noqa: PLC0415 - an extra

    try:
        return ray.get(answer, timeout=patience)
    except Exception as error:  # noqa: BLE001 - whatever it is, it keeps that node from working
        return error


def _said(answer: Any) -> str | None:
    """An answer, where it is an error what it says."""
    if isinstance(answer, ImportError):
        return f"edgekeeper is not installed there ({answer})"
    if isinstance(answer, BaseException):
        return f"{type(answer).__name__}: {answer}"
    return None if answer is None else str(answer)


@contextmanager
def under_way(
    settings: Settings, options: AuditOptions, resume: str | None, flow: str
) -> Iterator[tuple[AuditRun, Fence | None]]:
    """``audit.under_way`` in a flow run, on the cluster that its tasks run on, if there is one.

    Raises SettingsError where the cluster does not answer, or one of its workers is not fit for
    runs under these settings, and what ``audit.under_way`` raises.
    """
    cluster = _at_hand()
    if cluster is None:
        with audit.under_way(settings, options, resume, flow=flow) as begun:
            yield begun
        return
    with _told():
        number = cluster.abreast(WORKERS_SECONDS)
        unfit = _unfit(cluster, settings, PREFECT_API_URL.value(), WORKERS_SECONDS)
    if unfit:
        raise SettingsError(f"{_VARIABLE}: {unfit}")
    by_url = _by_url(settings)
    with ExitStack() as after, audit.under_way(
        with_identity(settings), options, resume, flow=flow, abreast=number, by_url=by_url
    ) as (run, fence):  # fmt: skip
        if by_url:
            after.callback(_left, cluster, settings.home, run)  # the lease does not wait for it
        yield run, fence


def _left(cluster: Cluster, home: str, run: AuditRun) -> None:
    """Has workers remove what they keep of a run that has ended.

    Who does not answer removes it later, at the latest when the next run begins there.
    """
    with suppress(Exception):
        cluster.ask(LEAVING_SECONDS, worker_cache.leave, home, run.run_id, run.attempt)


def _at_hand() -> Cluster | None:
    """The cluster of the flow run that this is called in, None where its tasks run on threads."""
    context = FlowRunContext.get()
    runner: Any = context.task_runner if context else None
    match type(runner).__name__:
        case "DaskTaskRunner":
            with _told():
                return Dask(runner.client)
        case "RayTaskRunner":
            return Ray()
    return None


def _by_url(settings: Settings) -> bool:
    """Whether workers share nothing but the home's URL: those on this machine see its cache."""
    _, _, address = settings.task_runner.partition(":")
    return bool(address) and is_remote(settings.home)


@contextmanager
def _told() -> Iterator[None]:
    """Raises SettingsError for whatever error a cluster's client has where nobody answers."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a time-out is an OSError
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SettingsError(f"{_VARIABLE}: the cluster can't be used ({why}). {_START}") from error


def _unfit(cluster: Cluster, settings: Settings, api: str | None, patience: float) -> str | None:
    """What keeps the workers from doing parts of runs, None where nothing does.

    A file lies in the home while they are asked: who sees it shares the home. Raises
    StoreUnreachableError where that is a URL whose storage does not answer here.
    """
    with probed(settings.home) if _by_url(settings) else _probed(settings) as probe:
        answers = cluster.ask(
            patience, lacks, probe, metadata.version("edgekeeper"), api, platform.node()
        )
    problems = [f"{name}: {problem}" for name, problem in answers.items() if problem]
    if not problems:
        return None
    return f"{len(problems)} of {len(answers)} workers can't work for this run; {problems[0]}"


@contextmanager
def _probed(settings: Settings) -> Iterator[str]:
    """A file in the home on this machine, for as long as this is entered."""
    probe = run_directory.local_home(settings.home) / f".shared-{os.getpid()}"
    with atomic(probe):
        pass
    try:
        yield str(probe)
    finally:
        probe.unlink(missing_ok=True)


def examine(settings: Settings) -> list[Check]:
    """What ``doctor`` says of the task runner: nothing of threads."""
    kind, _, address = settings.task_runner.partition(":")
    if kind == "threads":
        return []
    try:
        runner = task_runners.task_runner(settings)
        if not address:
            return [Check("task runner", OK, f"{kind} on this machine's cores is installed")]
        with _told(), runner as started:
            cluster: Cluster = Dask(_client(started)) if kind == "dask" else Ray()
            number = cluster.abreast(DOCTOR_SECONDS)
            api = os.environ.get("PREFECT_API_URL")
            unfit = _unfit(cluster, settings, api, DOCTOR_SECONDS)
    except (SettingsError, StoreUnreachableError) as error:
        detail, _, remedy = str(error).removeprefix(f"{_VARIABLE}: ").rpartition(". ")
        return [Check("task runner", FAILURE, detail or str(error), remedy or _START)]
    if unfit:
        return [
            Check("task runner", FAILURE, unfit, "mend the workers that are named: docs/cluster.md")
        ]
    return [Check("task runner", OK, f"{kind} answers, with room for {number} tasks")]


def _client(runner: Any) -> Any:
    return runner.client
