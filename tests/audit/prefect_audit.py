"""Flows as the program runs them: by Prefect, their tasks side by side."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from damaged_sandbox import Audited, Hook
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import engine, server, task_runners
from flows import nightly_audit as audits
from tasks import run_directory
from tasks.settings import Settings

#: By stage, the task that begins it.
_FIRST = {
    "snapshot": "snapshot", "list": "listings", "resolve": "resolve", "verify": "verify_bytes",
    "conclude": "conclude", "propose": "propose", "mend": "mend", "close": "close",
}  # fmt: skip


class _Announced:
    """A task before whose first run, however it is begun, a hook is called."""

    def __init__(self, task: Any, hook: Hook) -> None:
        self._task = task
        self._hook: Hook | None = hook

    def _before(self, begun: Callable[..., Any]) -> Callable[..., Any]:
        hook, self._hook = self._hook, None
        if hook:
            hook()
        return begun

    def __call__(self, *values: Any) -> Any:
        return self._before(self._task)(*values)

    def submit(self, *values: Any) -> Any:
        return self._before(self._task.submit)(*values)

    def map(self, *values: Any) -> Any:
        return self._before(self._task.map)(*values)


@contextmanager
def prefect_with(url: str, settings: Settings, module: ModuleType) -> Iterator[pytest.MonkeyPatch]:
    """Has the flow of a module run against the Prefect server at ``url``, with these settings."""
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: url}):
        patch.setenv("PREFECT_API_URL", url)
        patch.setattr(server, "_begun", [])  # whatever server another test has begun
        for each in (engine, task_runners, module):
            patch.setattr(each, "load_settings", lambda: settings)
        yield patch


def through_prefect(
    url: str, settings: Settings, *, before: Mapping[str, Hook], **parameters: Any
) -> Audited:
    """The nightly audit; ``before`` as ``audited`` takes it.

    Its pages are written too. The breaker's limit is 100 %: damage on purpose would trip it.
    """
    with prefect_with(url, settings, audits) as patch:
        for stage, hook in before.items():
            name = _FIRST[stage]
            patch.setattr(audits, name, _Announced(getattr(audits, name), hook))
        outcome = engine.run_flow(audits.nightly_audit, allow_percent=100.0, **parameters)
    home = run_directory.local_home(settings.home)
    return Audited(run_directory.existing(home, outcome["run_id"]).read_run())
