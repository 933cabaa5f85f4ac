# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper resolve``: a person decides which of a finding's two facts is right."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.errors import UsageError
from checks.model import Accept
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output
from edgekeeper.cli.saying import Fingerprint, reason_of

if TYPE_CHECKING:
    from tasks.deciding import Decision


@command
def resolve(
    out: Output,
    fingerprint: Fingerprint,
    accept: Annotated[
        Accept,
        typer.Option(
            help="observed: the ledger is brought to what the store was seen to hold. ledger: the "
            "ledger stands, and no repair may follow what was observed; the finding stays open "
            "until the bytes are back."
        ),
    ],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why, for whoever reads the report.")
    ] = "decided by hand",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show both facts and what would be written.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask on a terminal before writing.")
    ] = False,
) -> int:
    """Decide a finding that edgekeeper does not decide: is what was observed right, or the ledger?

    Looks at the memory afresh, every byte in every store, and shows both facts before anything is
    written. What can't be meant for a kind is refused with the reason. The write is journaled:
    `edgekeeper revert RUN_ID` takes it back.

    Example: edgekeeper resolve 3f2a0c1e5b7d4e8f --accept observed --dry-run

    Example: edgekeeper resolve 3f2a0c1e5b7d4e8f --accept ledger --reason "overwritten by mistake"

    Exit codes: 0 done; 1 somebody wrote to the row meanwhile, so it was left; 2 no such open
    finding, or it can't be decided so; 3 a store can't be reached; 4 another run holds the lock;
    130 interrupted: nothing was written.
    """
    why = reason_of(reason)
    from tasks.deciding import decide  # noqa: PLC0415 - --help does without all of these
    from tasks.settings import load_settings  # noqa: PLC0415

    def show(decision: "Decision") -> None:
        _show(out, decision, accept)
        asks = not dry_run and not yes and sys.stdin.isatty() and not out.only_json
        if asks and not typer.confirm("Write this?", err=True):
            raise UsageError("Not confirmed: nothing was written.")

    done = decide(load_settings(), fingerprint, accept, reason=why, dry_run=dry_run, show=show)
    out.json(_told(done, accept, dry_run=dry_run))
    if dry_run:
        out.say("Dry run: nothing was written.")
        return 0
    if accept is Accept.LEDGER:
        out.say("The ledger stands: no repair will follow what was observed.")
    else:
        out.say(f"{done.applied:,} edges written.")
    for why in done.left:
        out.say(f"  left: {why}", "warning")
    out.say(f"To take it back: edgekeeper revert {done.run_id}")
    return 1 if done.left else 0


def _show(out: Output, decision: "Decision", accept: Accept) -> None:
    """Both facts, and what is about to be written."""
    finding = decision.finding
    out.say(f"{finding['kind']}, {finding['severity']}: {finding['explanation']}")
    sides = (finding["expected"], finding["observed"])
    names = list(dict.fromkeys(name for side in sides for name in side))
    out.table(
        ("fact", "ledger", "observed"),
        [(name, *(_value(side.get(name)) for side in sides)) for name in names],
    )
    for change in decision.changes:
        values = ", ".join(f"{name} = {_value(value)}" for name, value in change.values.items())
        out.say(f"{change.action} {change.artifact} in {change.backend}: {values or 'the row'}")
    if accept is Accept.LEDGER:
        out.say("nothing is written to the ledger: its fact stands")


def _value(value: Any) -> str | None:
    return None if value is None else str(value)


def _told(done: "Decision", accept: Accept, *, dry_run: bool) -> dict[str, Any]:
    return {
        "run_id": done.run_id, "accept": accept.value, "dry_run": dry_run,
        "finding": dict(done.finding), "applied": done.applied, "left": list(done.left),
        "changes": [
            {"action": each.action, "memory_id": each.memory_id, "memory_type": each.memory_type,
             "artifact": each.artifact, "backend": each.backend, "values": each.values}
            for each in done.changes
        ],
    }  # fmt: skip
