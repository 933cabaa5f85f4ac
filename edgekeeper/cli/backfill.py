# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper backfill``: the edges of memories that are older than the ledger."""

from typing import Annotated, Any

import typer

from edgekeeper.cli.audit import check_budget
from edgekeeper.cli.command import command
from edgekeeper.cli.engine import running
from edgekeeper.cli.output import Output


@command
def backfill(
    out: Output,
    hash_content: Annotated[
        bool,
        typer.Option("--hash/--no-hash", help="Download and hash the files while at it."),
    ] = False,
    hash_budget: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGET",
            help="With --hash: bytes to read, such as 500MB or 20GB; what is left the nightly "
            "audits hash. Default: all.",
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, max=100_000, help="Edges in one transaction.")
    ] = 5_000,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again instead of where the last one ended.")
    ] = False,
) -> int:
    """Create the ledger's rows for all memories that existed before it.

    Safe on a live database: short transactions, no lock on the app's tables; a row that is there
    is left as it is. Interrupted, it goes on where it was. `edgekeeper revert` takes it back.

    Example: edgekeeper backfill

    Example: edgekeeper backfill --hash --hash-budget 20GB

    Exit codes: 0 done; 1 done, and files are lost that no store holds; 2 usage or settings; 3 a
    store could not be reached; 4 another run holds the lock; 5 internal error; 130 interrupted.
    """
    check_budget("--hash-budget", hash_budget)
    record = run_backfill(
        out, hash_content=hash_content, hash_budget=hash_budget, batch=batch, restart=restart
    )
    return finish(out, record)


def run_backfill(out: Output, **parameters: Any) -> dict[str, Any]:
    """Runs the back-fill's flow and gives its record."""
    with running(out) as run:
        from flows.backfill import backfill as backfill_flow  # noqa: PLC0415 - imports Prefect

        return run(backfill_flow, **parameters)


def finish(out: Output, record: dict[str, Any]) -> int:
    """Tells the outcome, and gives the exit code."""
    from checks.model import RunStatus  # noqa: PLC0415
    from checks.run import RunRecord, exit_code  # noqa: PLC0415

    out.json(record)
    run = RunRecord.model_validate(record)
    if run.status is RunStatus.INCONCLUSIVE:
        out.say("Not conclusive: " + "; ".join(run.inconclusive), "warning")
    out.say(f"The ledger has {run.edges.total:,} edges.")
    done = [f"{name}: {n:,}" for name, n in run.limits.items() if isinstance(n, int) and n]
    if done:
        out.say(" · ".join(done))
    if run.legacy:
        out.table(
            ("rows", "what", "for example", "what to do"),
            [(f"{each.count:,}", each.meaning, next(iter(each.samples), None), each.next_step)
             for each in run.legacy],
        )  # fmt: skip
    if run.counts:
        out.table(("finding", "count"), sorted(run.counts.items()))
    if run.report:
        out.say(f"Report: {run.report}")
    out.say("Next: edgekeeper audit")
    return exit_code(run)
