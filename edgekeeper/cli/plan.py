"""``edgekeeper plan``: what an audit would cost, before it costs anything."""

from typing import TYPE_CHECKING

from edgekeeper.cli.audit import Stores, Verify, VerifyMinutes, check_budget
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from checks.run import Forecast

_EXIT_OVER = 1


@command
def plan(
    out: Output,
    verify: Verify = None,
    verify_minutes: VerifyMinutes = None,
    stores: Stores = None,
) -> int:
    """Forecast what an audit with the same options would cost: operations, transfer, time.

    Rests on the ledger, on the last audit, and on what the runs on record used this month. Asks the
    database alone, and writes nothing.

    Example: edgekeeper plan

    Example: edgekeeper plan --verify 20GB --json -

    Exit codes: 0 it fits; 1 it would pass what the plan includes this month, and audit would ask
    for --over-quota; 2 usage or settings; 3 the database can't be asked; 5 internal error.
    """
    check_budget("--verify", verify)
    from tasks.audit import options_of  # noqa: PLC0415 - --help does without all of these
    from tasks.forecasting import forecast_audit  # noqa: PLC0415
    from tasks.log import protect  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    protect(settings)
    options = options_of(
        settings, verify=verify, verify_minutes=verify_minutes,
        stores=[store.value for store in stores] if stores else None,
    )  # fmt: skip
    expected = forecast_audit(settings, options)
    out.json(expected.model_dump(mode="json"))
    _show(out, expected, settings.blob_plan)
    for each in expected.over:
        out.warn(f"It would pass the month's quota: {each}.")
    if expected.over:
        out.say("Read less with --verify, or allow it: edgekeeper audit --over-quota")
    return _EXIT_OVER if expected.over else 0


def _show(out: Output, expected: "Forecast", blob_plan: str) -> None:
    """A row for each thing that is billed or limited."""
    from tasks.wording import USED, duration, size  # noqa: PLC0415

    def amount(name: str, number: int) -> str | int:
        return size(number) if name.endswith("bytes") else number

    rows = []
    for name, words in USED.items():
        quota = getattr(expected.quota, name, 0) if expected.quota else 0
        used = getattr(expected.used_this_month, name)
        rows.append((
            words, amount(name, getattr(expected.listing, name)),
            amount(name, getattr(expected.total, name)), amount(name, used),
            amount(name, max(quota - used, 0)) if quota else None,
        ))  # fmt: skip
    out.table(("an audit", "listing", "in all", "used this month", "left this month"), rows)
    basis = "as the last one took" if expected.from_last_run else "a guess: there was none so far"
    out.say("")
    out.say(f"Time: about {duration(expected.seconds)} ({basis}). Plan: {blob_plan}.")
