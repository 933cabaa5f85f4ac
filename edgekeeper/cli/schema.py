# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper schema``: how the database stands to what it should be, and bringing it there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.database import Connection
    from tasks.schema import SchemaChange
    from tasks.settings import Settings

app = typer.Typer(help="The ledger's tables, views and functions in the database.",
                  no_args_is_help=True)  # fmt: skip


@app.command("status")
@command
def status(out: Output) -> int:
    """Show what is present, missing or different, object by object. Writes nothing.

    Example: edgekeeper schema status

    Example: edgekeeper schema status --json -

    Exit codes: 0 all is there; 1 something is missing or different; 2 settings; 3 the database
    can't be reached.
    """
    from tasks.schema import ObjectState, schema_status  # noqa: PLC0415 - --help does without

    with database("schema status") as conn:
        found = schema_status(conn)
    out.json({"objects": [asdict(each) for each in found]})
    out.table(
        ("object", "kind", "state", "detail"),
        [(each.name, each.kind, each.state.value, each.detail) for each in found],
    )
    for each in found:
        if not each.safe and each.statement:
            out.say(f"\nFor a person to run, for {each.name}:\n{each.statement}")
    lacking = sum(each.state is not ObjectState.PRESENT for each in found)
    step = f"Next: edgekeeper schema apply   ({lacking} to do)"
    out.say(f"\n{step}" if lacking else "\nAll is there.")
    return 1 if lacking else 0


@app.command("apply")
@command
def apply(
    out: Output,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> int:
    """Bring the database to what it should be, without touching the app's own tables.

    What can't be done safely is refused, with the statement that a person may run. Applying twice
    changes nothing.

    Example: edgekeeper schema apply --dry-run

    Example: edgekeeper schema apply

    Exit codes: 0 all is there, or would be; 1 something was refused or failed; 2 settings; 3 the
    database can't be reached.
    """
    changes = apply_to_database(dry_run=dry_run)
    out.json({"dry_run": dry_run, "objects": [asdict(each) for each in changes]})
    out.table(
        ("object", "kind", "outcome", "detail"),
        [(c.status.name, c.status.kind, c.outcome.value, c.detail) for c in changes],
    )
    return _verdict(out, changes)


def apply_to_database(settings: "Settings | None" = None, *, dry_run: bool) -> list["SchemaChange"]:
    """What ``schema apply`` does."""
    from tasks.schema import apply_schema  # noqa: PLC0415

    with database("schema apply", settings) as conn:
        return apply_schema(conn, dry_run=dry_run)


def _verdict(out: Output, changes: list["SchemaChange"]) -> int:
    """Shows what is left to a person; gives the exit code."""
    from tasks.schema import Outcome  # noqa: PLC0415

    left = [each for each in changes if each.outcome in (Outcome.REFUSED, Outcome.FAILED)]
    planned = sum(each.outcome is Outcome.PLANNED for each in changes)
    for change in left:
        if change.status.statement:
            out.say(f"\nFor a person to run, for {change.status.name}:\n{change.status.statement}")
    if planned:
        out.say(f"\nNothing was done yet. Next: edgekeeper schema apply   ({planned} to do)")
    elif not left:
        out.say("\nAll is there.")
    return 1 if left else 0


@contextmanager
def database(purpose: str, settings: "Settings | None" = None) -> Iterator["Connection"]:
    """A connection for batch work, closed at the end; secrets are masked from here on."""
    from tasks import log  # noqa: PLC0415
    from tasks.database import connect  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = settings or load_settings()
    log.protect(settings)
    with connect(settings.batch_database_url, purpose=f"edgekeeper {purpose}") as conn:
        yield conn
