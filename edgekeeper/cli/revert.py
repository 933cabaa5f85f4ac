# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper revert``: put back what a run changed in the ledger."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.journal import RevertReport


#: How many edges that were left the terminal names.
_SHOWN = 50


@command
def revert(
    out: Output,
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="The run to undo.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be put back.")
    ] = False,
) -> int:
    """Put a run's changes to the ledger back, newest first, from the journal.

    A row that was changed since is reported and left as it is.

    Example: edgekeeper revert 20261123T031500Z-7f3a --dry-run

    Example: edgekeeper revert 20261123T031500Z-7f3a

    Exit codes: 0 all put back; 1 rows were left, since somebody wrote to them; 2 no such run in
    the journal; 3 the database can't be reached; 4 another run holds the lock; 130 interrupted:
    run it again.
    """
    report = _reverted(run_id, dry_run=dry_run)
    nothing = not report.reverted and not report.changed_since and not report.decisions
    if nothing:
        _check_known(run_id)
    out.json({"run_id": run_id, "dry_run": dry_run, **asdict(report)})
    if nothing:
        out.say(f"Nothing to put back: {run_id} changed nothing, or was put back already.")
        return 0
    would = "would be put back" if dry_run else "put back"
    left = f", {report.changed_since:,} left: changed since" if report.changed_since else ""
    out.say(f"{report.reverted:,} edges {would}{left}.")
    if report.decisions:
        out.say(f"{report.decisions:,} decisions for the ledger {would}.")
    if report.left:
        out.table(
            ("journal entry", "action", "edge"),
            [
                (each.id, each.action, edge)
                for each in report.left
                for edge in each.edge_ids or (each.edge_id,)
            ][:_SHOWN],
        )
        if report.changed_since > _SHOWN:
            out.say(f"… and {report.changed_since - _SHOWN:,} more; all are in --json PATH.")
    return 1 if report.changed_since else 0


def _check_known(run_id: str) -> None:
    """Raises UsageError where neither the journal nor the home knows the run."""
    from checks.errors import UsageError  # noqa: PLC0415
    from tasks.run_directory import run_ids  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    if run_id not in run_ids(load_settings().home_path()):
        raise UsageError(
            f"The journal has no change by a run {run_id}; `edgekeeper report` lists the runs."
        )


def _reverted(run_id: str, *, dry_run: bool) -> "RevertReport":
    """Reverts under a lease of its own; a dry run needs none."""
    from datetime import UTC, datetime  # noqa: PLC0415 - --help does without all of these

    from checks.run import new_run_id  # noqa: PLC0415
    from tasks import log  # noqa: PLC0415
    from tasks.database import connector  # noqa: PLC0415
    from tasks.journal import revert_run  # noqa: PLC0415
    from tasks.lease import held  # noqa: PLC0415
    from tasks.settings import load_settings, masked  # noqa: PLC0415

    settings = load_settings()
    log.protect(settings)
    connect = connector(settings.batch_database_url, purpose="edgekeeper revert")
    with connect() as conn:
        if dry_run:
            return revert_run(conn, run_id, dry_run=True)
        with held(
            connect, new_run_id(datetime.now(UTC)),
            flow="revert", policy="ledger", settings=masked(settings),
        ) as lease:  # fmt: skip
            report = revert_run(conn, run_id, fence=lease.fence)
            lease.release(conn, "completed")
    return report
