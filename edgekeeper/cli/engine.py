"""How a command runs a flow: settings first, the server beside the imports, then the flow."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edgekeeper.cli.output import Output
from edgekeeper.cli.progress import shown

Runner = Callable[..., dict[str, Any]]


@contextmanager
def running(out: Output) -> Iterator[Runner]:
    """Gives what runs a flow; import the flow inside, while the Prefect server starts.

    Raises SettingsError where a setting is not usable: then nothing was started.
    """
    from flows import server  # noqa: PLC0415 - --help does without all of these
    from tasks import log  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    _ = settings.batch_database_url  # no run does without a database: say so before anything starts
    log.protect(settings)
    warnings.simplefilter("ignore")  # libraries' deprecations are no news to a person on call
    server.begin(settings.home_path())
    out.progress("starting …")

    def run(flow: Any, **parameters: Any) -> dict[str, Any]:
        from flows.engine import run_flow  # noqa: PLC0415

        with shown(out):
            result: dict[str, Any] = run_flow(flow, **parameters)
        return result

    yield run
