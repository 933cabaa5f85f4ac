# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper prune``: delete what is left of old runs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.pruning import Pruned


@command
def prune(
    out: Output,
    keep_days: Annotated[
        int,
        typer.Option(
            max=36_500, metavar="N", help="Keep what is younger than so many days; 32 at least."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
) -> int:
    """Delete old runs' directories, and the rows of old checks that passed.

    Whatever is asked for, failures, runs that changed something and the journal to take that back
    stay for 400 days, and the newest run of each kind, statements with their certificates, open
    findings and everything in quarantine for ever.

    Example: edgekeeper prune --keep-days 90 --dry-run

    Example: edgekeeper prune --keep-days 90

    Exit codes: 0 done; 2 usage or settings; 3 the database or the storage of EDGEKEEPER_HOME can't
    be reached: what is left goes the next time.
    """
    from tasks.database import connector  # noqa: PLC0415 - --help does without
    from tasks.pruning import prune as prune_runs  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    connect = connector(settings.batch_database_url, purpose="edgekeeper prune")
    pruned = prune_runs(settings, connect, keep_days=keep_days, dry_run=dry_run)
    out.json({"keep_days": keep_days, "dry_run": dry_run, **asdict(pruned)})
    _tell(out, pruned, dry_run=dry_run)
    return 0


def _tell(out: Output, pruned: "Pruned", *, dry_run: bool) -> None:
    """What went, and what stayed for which reason."""
    from tasks.wording import plural, size  # noqa: PLC0415

    would = "would be deleted" if dry_run else "deleted"
    out.say(f"{plural(len(pruned.runs), 'run', 'runs')} ({size(pruned.bytes)}) {would}.")
    if pruned.runs:
        out.say(f"From {pruned.runs[0]} to {pruned.runs[-1]}.")
    rows = [(f"audit.{table}", f"{number:,}") for table, number in pruned.rows.items() if number]
    if rows:
        out.table(("table", f"rows {would}"), rows)
    if pruned.kept:
        out.table(
            ("older runs that stay", "because of"),
            [(f"{number:,}", why) for why, number in sorted(pruned.kept.items())],
        )
