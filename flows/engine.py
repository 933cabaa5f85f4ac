"""What every flow and task here has in common, and how the command line runs a flow.

A flow is a real Prefect flow run: against the server that ``PREFECT_API_URL`` names, or against a
temporary one (:mod:`flows.server`). What Prefect offers twice is settled here once: its retries,
its result store and its caches are off, because the stores' clients retry what is worth it, the
run directory holds results, and checkpoints and compare-and-set make a resumed run safe.
"""

import functools
import logging
from collections.abc import Callable
from inspect import signature
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

import prefect
import prefect.runtime.flow_run
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.flows import Flow
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Completed
from prefect.task_runners import TaskRunner
from prefect.tasks import Task

from checks.notices import sentence
from checks.run import SCHEMA, RunRecord
from flows import artifacts, server
from flows.task_runners import AsConfigured, threads
from tasks.audit import AuditRun
from tasks.exchange import Handed, in_task
from tasks.log import mask
from tasks.settings import load_settings
from tasks.workers import at_work

P = ParamSpec("P")
R = TypeVar("R")

# Prefect logs under this name past its own settings where a run ends before its events are sent.
logging.getLogger("EventsWorker").setLevel(logging.CRITICAL)


def flow(name: str, *, spreads: bool = False) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A Prefect flow called ``name``; :func:`name_run` names its runs.

    ``spreads``: its tasks run where ``EDGEKEEPER_TASK_RUNNER`` says, else on threads here.

    One that gives a run's record leaves artifacts of it, and ends in a state that is named after
    its status: Clean, Drift or Inconclusive.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        discreet = _discreet(function)

        @functools.wraps(function)
        def ended(*args: P.args, **kwargs: P.kwargs) -> R:
            outcome = discreet(*args, **kwargs)
            if prefect.runtime.flow_run.get_id() is None or not isinstance(outcome, dict):
                return outcome
            if outcome.get("schema") != SCHEMA:
                return outcome
            record = RunRecord.model_validate(outcome)
            artifacts.leave(record)
            state: State[Any] = Completed(
                name=record.status.value.capitalize(), message=sentence(record), data=outcome
            )
            return cast("R", state)  # Prefect gives the caller the data

        return prefect.flow(
            name=name,
            retries=0,  # a person or the next night resumes a run, from its checkpoints
            persist_result=False,  # a run's record is family data: it stays in the run directory
            validate_parameters=True,
            log_prints=False,
            task_runner=cast("TaskRunner[Any]", AsConfigured()) if spreads else threads(),
        )(ended)

    return decorate


def task(function: Callable[P, R], *, name: str | None = None) -> Task[P, R]:
    """A plain function as a Prefect task; the function knows nothing of it.

    Its runs are named after the run that it is given as ``run``.
    """
    title = name or function.__name__.replace("_", "-")
    return prefect.task(
        name=title,
        task_run_name=_task_run_name(title, function),
        retries=0,  # the stores' clients retry with jitter and a bound; again here would multiply
        persist_result=False,
        cache_policy=NO_CACHE,  # what a store holds is asked each time; nor are arguments hashed
        log_prints=False,
    )(_discreet(_anywhere(function)))


def _anywhere(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` for whichever process it is called in: it may be a cluster's worker.

    Where the run's own process does not see what it made there, that comes with what it gives:
    ``AuditRun.received`` takes it.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        run = next((each for each in (*args, *kwargs.values()) if isinstance(each, AuditRun)), None)
        if run is None or not run.away:
            return function(*args, **kwargs)
        with at_work(run) as here, in_task() as marks:
            given = [here if each is run else each for each in args]
            named = {name: here if each is run else each for name, each in kwargs.items()}
            outcome = function(*given, **named)  # type: ignore[arg-type] # the same but for the run
            return cast("R", Handed(outcome, marks)) if run.by_url else outcome

    return called


def _task_run_name(title: str, function: Callable[..., Any]) -> str:
    """The pattern of a task's run names: the run's id, the task, its store or its partition."""
    pattern = {"run": "{run.run_id}", "": title, "backend": "{backend}", "partition": "{partition}"}
    given = {"", *signature(function).parameters}
    return " ".join(part for name, part in pattern.items() if name in given)


def _discreet(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, whose errors say no secret: Prefect keeps their texts in its database."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            error.args = tuple(mask(each) if isinstance(each, str) else each for each in error.args)
            raise

    return called


def name_run(run_id: str) -> None:
    """Names the flow run that this is called in after its run: one name in Prefect and on disk.

    Outside of a flow run it does nothing.
    """
    flow_run_id = prefect.runtime.flow_run.get_id()
    if flow_run_id is None:
        return
    with prefect.get_client(sync_client=True) as client:
        client.set_flow_run_name(UUID(flow_run_id), run_id)


def run_flow(flow: Flow[..., R], **parameters: Any) -> R:
    """Runs ``flow`` in this process and gives what it returns.

    What the flow raises is raised here. Raises ServerError where the temporary server does not
    start, SettingsError where the task runner of the settings can't be had.
    """
    runnable = flow.with_options(task_runner=flow.task_runner.duplicate())
    url = server.api_url(load_settings().home_path())
    settings = (
        {} if url is None else {PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    )
    with temporary_settings(settings):  # heartbeats are for a server that outlives the command
        return cast("R", runnable(**parameters))
