# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper store-forever``: copy a gallery's memories to the canister."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.errors import UsageError
from edgekeeper.cli.command import command
from edgekeeper.cli.engine import running
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from checks.run import RunRecord, StoreForever

_ROWS = 200

Galleries = Annotated[
    list[str] | None,
    typer.Option("--gallery", metavar="ID", help="All memories of this gallery; repeatable."),
]
Memories = Annotated[
    list[str] | None,
    typer.Option("--memory", metavar="TYPE:ID", help="One memory; repeatable."),
]


@command
def store_forever(
    out: Output,
    galleries: Galleries = None,
    memories: Memories = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what would be copied, how much it is and how long it takes."
        ),
    ] = False,
) -> int:
    """Copy memories to the canister, read back what was written, and record it in the ledger.

    Only what is not there yet is copied; the file is verified against the ledger's hash first.
    Interrupted or failed, the same command goes on with what is left. `edgekeeper revert` takes
    back what the ledger says, not the copies.

    Example: edgekeeper store-forever --gallery 5d3c1e0a-8f57-4a0e-9a39-6d1f1a2b3c4d --dry-run

    Example: edgekeeper store-forever --memory image:3f2a0c1e-5b7d-4e8f-9a6b-1c2d3e4f5a6b

    Exit codes: 0 all of it is stored; 1 something could not be stored; 2 usage or settings; 3 a
    store did not answer, or the app was writing; 4 another run holds the lock; 5 internal error;
    130 interrupted: run it again.
    """
    if not galleries and not memories:
        raise UsageError("Name what to store: --gallery ID, or --memory TYPE:ID. Nothing was done.")
    with running(out) as run:
        from flows.store_forever import store_forever as flow  # noqa: PLC0415 - imports Prefect

        record = run(flow, galleries=galleries, memories=memories, dry_run=dry_run)
    return finish(out, record)


def finish(out: Output, record: dict[str, Any]) -> int:
    """Tells what became of the memories, and gives the exit code."""
    from checks.run import RunRecord, exit_code  # noqa: PLC0415 - --help does without

    out.json(record)
    run = RunRecord.model_validate(record)
    if run.store_forever is not None:
        _print(out, run, run.store_forever)
    for reason in run.inconclusive:
        out.notice(f"Not conclusive: {reason}.")
    return exit_code(run)


def _print(out: Output, run: "RunRecord", outcome: "StoreForever") -> None:
    """A row per memory, then what it amounts to."""
    from tasks.wording import duration, size  # noqa: PLC0415

    rows = [
        (f"{m.memory_type} {m.memory_id}", m.metadata, m.asset, m.bytes or None, m.reason)
        for m in outcome.memories
    ]
    out.table(("memory", "metadata", "asset", "bytes", "why"), rows[:_ROWS])
    if (more := len(rows) - _ROWS) > 0:
        out.say(f"… and {more:,} more, in {run.report}")
    failed = sum("failed" in (m.metadata, m.asset) for m in outcome.memories)
    if outcome.dry_run:
        seconds = duration(outcome.seconds_expected or 0.0)
        out.say(
            f"Would copy {size(outcome.bytes)} in {outcome.update_calls:,} update calls, about "
            f"{seconds} on the mainnet, to capsule {outcome.capsule_id}."
        )
    else:
        out.say(
            f"{len(rows) - failed:,} of {len(rows):,} memories went well, {size(outcome.bytes)} "
            f"copied in {outcome.update_calls:,} update calls.",
            "warning" if failed else "good",
        )
    if failed:
        out.notice(f"{failed:,} memories can't be stored; the reasons are in {run.report}")
