# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper audit``: the nightly audit, by hand."""

import threading
from typing import Annotated, Any

import typer

from checks.errors import UsageError
from checks.model import Backend, RepairPolicy
from edgekeeper.cli.command import command
from edgekeeper.cli.engine import running
from edgekeeper.cli.output import Output
from edgekeeper.cli.summary import print_run

Repair = Annotated[
    RepairPolicy | None,
    typer.Option(
        help="How far the audit may go: none, the default, writes nothing to the ledger; ledger "
        "mends what the ledger says; content also copies missing and rotten files back from "
        "verified replicas; purge also removes files that nothing has referred to for weeks, after "
        "keeping them aside.",
    ),
]
Verify = Annotated[
    str | None,
    typer.Option(
        metavar="BUDGET",
        help="Bytes to read and hash: 500MB, 5GB, 0 or all. Default: EDGEKEEPER_VERIFY_BUDGET.",
    ),
]
VerifyMinutes = Annotated[
    float | None,
    typer.Option(
        "--verify-minutes", min=0, metavar="N",
        help="Begin to read nothing more after so many minutes; what is left is read in the "
        "nights to come. Default: EDGEKEEPER_VERIFY_MINUTES, else no limit.",
    ),
]  # fmt: skip
Stores = Annotated[
    list[Backend] | None,
    typer.Option(
        "--store",
        metavar="NAME",
        help="Look at this store only: neon-db, vercel-blob or icp-canister; may be repeated.",
    ),
]
AllowPercent = Annotated[
    float | None,
    typer.Option(
        min=0, max=100, metavar="N",
        help="Let repairs take away up to this percent of a store's present edges, this once. "
        "Default: EDGEKEEPER_BREAKER_PERCENT.",
    ),
]  # fmt: skip


@command
def audit(
    out: Output,
    repair: Repair = None,
    verify: Verify = None,
    verify_minutes: VerifyMinutes = None,
    stores: Stores = None,
    allow_percent: AllowPercent = None,
    over_quota: Annotated[
        bool,
        typer.Option(
            "--over-quota",
            help="Go on although the plan's operations or transfer of this month would be passed; "
            "edgekeeper plan shows them.",
        ),
    ] = False,
    accept_new_store: Annotated[
        bool,
        typer.Option(
            "--accept-new-store", help="The stores are not those of former runs, on purpose."
        ),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN_ID", help="Go on with a run interrupted within a day, as it was begun."
        ),
    ] = None,
) -> int:
    """List what is in the stores, compare it with the ledger, explain every difference.

    Writes nothing to the ledger unless told to with --repair. The report and every finding are in
    the run's directory; the last line names the next step.

    Example: edgekeeper audit

    Example: edgekeeper audit --verify 5GB --repair ledger

    Example: edgekeeper audit --store vercel-blob --json -

    Exit codes: 0 nothing open; 1 findings of severity warning or critical are open; 2 usage or
    settings; 3 a store could not be read whole, or the breaker refused; 4 another run holds the
    lock; 5 internal error; 130 interrupted, resumable.
    """
    check_budget("--verify", verify)
    record = run_audit(
        out,
        repair=repair and repair.value,
        verify=verify,
        verify_minutes=verify_minutes,
        stores=[store.value for store in stores] if stores else None,
        allow_percent=allow_percent,
        over_quota=over_quota,
        accept_new_store=accept_new_store,
        resume=resume,
    )
    return finish(out, record)


def check_budget(option: str, budget: str | None) -> None:
    """Refuses what is no number of bytes. Raises UsageError."""
    from tasks.settings import byte_budget  # noqa: PLC0415 - --help does without

    if budget is not None:
        try:
            byte_budget(budget)
        except ValueError as error:
            raise UsageError(f"{option} {budget}: {error}.") from None


def run_audit(out: Output, **parameters: Any) -> dict[str, Any]:
    """Runs the audit's flow and gives its record."""
    with running(out) as run:
        from flows.nightly_audit import nightly_audit  # noqa: PLC0415 - imports Prefect
        from tasks import quality  # noqa: PLC0415

        # Seconds of imports, while this process would only wait for the Prefect server.
        threading.Thread(target=quality.preload, daemon=True).start()
        return run(nightly_audit, **parameters)


def finish(out: Output, record: dict[str, Any]) -> int:
    """Tells the outcome, and gives the exit code."""
    from checks.run import RunRecord, exit_code  # noqa: PLC0415

    out.json(record)
    run = RunRecord.model_validate(record)
    print_run(out, run)
    return exit_code(run)
