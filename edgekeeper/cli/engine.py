"""How a command runs a flow: settings first, the server beside the imports, then the flow."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from checks.errors import InterruptedRunError
from edgekeeper.cli.output import Output
from edgekeeper.cli.progress import shown

Runner = Callable[..., dict[str, Any]]


@contextmanager
def running(out: Output) -> Iterator[Runner]:
    """Gives what runs a flow; import the flow inside, while the Prefect server starts.

    Raises SettingsError where a setting is not usable: then nothing was started.
    """
    from flows import server  # noqa: PLC0415 - --help does without all of these
    from tasks import log, run_directory  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    _ = settings.batch_database_url  # no run does without a database: say so before anything starts
    log.protect(settings)
    run_directory.keep_private()
    warnings.simplefilter("ignore")  # libraries' deprecations are no news to a person on call
    server.begin(settings.home_path())
    out.progress("starting …")

    def run(flow: Any, **parameters: Any) -> dict[str, Any]:
        from prefect.exceptions import TerminationSignal  # noqa: PLC0415

        from flows.engine import run_flow  # noqa: PLC0415

        # Ctrl-C in the middle of a statement is no news to who pressed it.
        logging.getLogger("psycopg").setLevel(logging.CRITICAL)
        before = run_directory.run_ids(settings.home_path())
        try:
            with shown(out):
                result: dict[str, Any] = run_flow(flow, **parameters)
        except (KeyboardInterrupt, TerminationSignal):  # what Prefect makes of a SIGTERM
            begun = sorted(set(run_directory.run_ids(settings.home_path())) - set(before))
            run_id = begun[-1] if begun else parameters.get("resume")
            raise InterruptedRunError(f"Interrupted. {_how_to_go_on(flow.name, run_id)}") from None
        return result

    yield run


def _how_to_go_on(flow: str, run_id: str | None) -> str:
    """What to type after an interruption."""
    if run_id is None:
        return "Nothing was done yet; to start anew, run the same command again."
    if flow == "backfill":
        return "What was written stays. To go on where it was: edgekeeper backfill"
    if flow == "store-forever":
        return "What is stored stays. To store what is left: run the same command again"
    return f"To go on where it was, within a day: edgekeeper audit --resume {run_id}"
