# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper report``: the pages of former runs."""

import webbrowser
from typing import Annotated

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output


@command
def report(
    out: Output,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN_ID]", help="A run; without it: all runs.")
    ] = None,
    open_page: Annotated[
        bool, typer.Option("--open", help="Show the page in the browser.")
    ] = False,
) -> int:
    """Print the path of a run's report; without an id, of the index of all runs.

    Example: edgekeeper report --open

    Example: edgekeeper report 20261123T031500Z-7f3a

    Exit codes: 0 it is there; 2 there is no such run, or no run at all.
    """
    from checks.errors import UsageError  # noqa: PLC0415 - --help does without
    from tasks.report import write_index  # noqa: PLC0415
    from tasks.run_directory import existing, former_runs, local_home  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    home = local_home(load_settings().home)
    if run_id is not None:
        page = existing(home, run_id).report
        if not page.is_file():
            raise UsageError(f"Run {run_id} has no report: it did not come to its end.")
    else:
        history = former_runs(home)
        if not history.runs:
            raise UsageError(f"There is no run in {home} yet; start with: edgekeeper audit")
        page = write_index(home)
        out.table(
            ("run", "flow", "status", "critical", "warning", "info"),
            [
                (run.run_id, run.flow, run.status.value,
                 run.open.critical, run.open.warning, run.open.info)
                for run in history.runs[:20]
            ],
        )  # fmt: skip
    out.json({"report": str(page)})
    out.product(str(page))
    if open_page and not webbrowser.open(page.as_uri()):
        out.progress("no browser could be started; open the file by hand")
    return 0
