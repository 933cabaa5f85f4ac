"""The commands, put together in the order in which a person meets them."""

from typing import Annotated

import typer

import edgekeeper
from edgekeeper.cli import (
    ack,
    audit,
    backfill,
    demo,
    doctor,
    findings,
    plan,
    presence,
    prune,
    quarantine,
    report,
    resolve,
    revert,
    sandbox,
    schema,
    serve,
    store_forever,
    verify,
)

_EPILOG = (
    "Exit codes: 0 done, nothing open · 1 findings remain open · 2 usage or settings · "
    "3 not conclusive · 4 another run holds the lock · 5 internal error · 130 interrupted"
)

app = typer.Typer(
    name="edgekeeper",
    help="Keeps the ledger storage_edges true: lists what is in Neon, Vercel Blob and the "
    "canister, compares, explains, repairs, reports.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if value:
        typer.echo(f"edgekeeper {edgekeeper.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


_DAILY, _APP, _ONCE, _TRY = "Every day", "For the web app", "Setting up", "Trying it out"
app.command("audit", rich_help_panel=_DAILY)(audit.audit)
app.command("verify", rich_help_panel=_DAILY)(verify.verify)
app.command("store-forever", rich_help_panel=_DAILY)(store_forever.store_forever)
app.command("findings", rich_help_panel=_DAILY)(findings.findings)
app.command("ack", rich_help_panel=_DAILY)(ack.ack)
app.command("resolve", rich_help_panel=_DAILY)(resolve.resolve)
app.command("report", rich_help_panel=_DAILY)(report.report)
app.command("revert", rich_help_panel=_DAILY)(revert.revert)
app.add_typer(presence.app, name="presence", rich_help_panel=_APP)
app.command("serve", rich_help_panel=_APP)(serve.serve)
app.add_typer(quarantine.app, name="quarantine", rich_help_panel=_DAILY)
app.command("plan", rich_help_panel=_DAILY)(plan.plan)
app.command("prune", rich_help_panel=_DAILY)(prune.prune)
app.command("doctor", rich_help_panel=_ONCE)(doctor.doctor)
app.add_typer(schema.app, name="schema", rich_help_panel=_ONCE)
app.command("backfill", rich_help_panel=_ONCE)(backfill.backfill)
app.command("demo", rich_help_panel=_TRY)(demo.demo)
app.add_typer(sandbox.app, name="sandbox", rich_help_panel=_TRY)
