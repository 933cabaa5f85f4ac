"""The back-fill: observe the stores, then make the edges of the memories the ledger lacks."""

from collections.abc import Mapping
from typing import Any

from checks.errors import StoreError
from checks.model import Backend, RepairPolicy
from checks.run import RunRecord
from flows import clusters
from flows.engine import flow, name_run, task
from flows.spread import listings, spread_over
from tasks import audit, filling, observe, publish, rolling
from tasks.lease import Fence
from tasks.settings import byte_budget, load_settings

snapshot = task(observe.snapshot)
resolve = task(observe.resolve)
hash_assets = task(rolling.verify, name="hash")
fill = task(filling.fill)
close = task(filling.close, name="report")


@flow("backfill", spreads=True)
def backfill(
    hash_content: bool = False,  # noqa: FBT001, FBT002 - a deployment's parameter
    batch: int = 5_000,
    restart: bool = False,  # noqa: FBT001, FBT002
    hash_budget: str | None = None,
) -> dict[str, Any]:
    """Makes the ledger's rows for all memories that existed before it.

    Args:
        hash_content: download and hash the objects while at it.
        batch: edges in one transaction.
        restart: begin again instead of going on with a run that was interrupted.
        hash_budget: bytes to download and hash, such as 20GB; default all.

    Returns:
        the run object of the interface's contract.
    """
    settings = load_settings()
    budget = byte_budget(hash_budget or "all") if hash_content else 0
    given = frozenset({"verify_budget"} if hash_content else ())
    options = audit.AuditOptions(RepairPolicy.LEDGER, budget, given=given)
    resume = None if restart else audit.unfinished(settings, audit.BACKFILL)
    with clusters.under_way(settings, options, resume, audit.BACKFILL) as (run, fence):
        name_run(run.run_id)
        try:
            seen, reading = _observed(run)
        except StoreError as error:  # nothing was written yet: there is nothing to go on with
            record = publish.close_inconclusive(run, error)
        else:
            record = _filled(run, fence, seen, reading, batch)
    return record.to_dict()


def _observed(run: audit.AuditRun) -> tuple[observe.Seen, Mapping[str, Any]]:
    """What a back-fill looks at, in its order."""
    facts = snapshot(run)
    reports = {Backend.NEON: observe.neon_report(facts), **listings(run, facts)}
    resolve(run, facts)
    reading = hash_assets(run, facts, reports, None, spread_over(run))
    return observe.Seen(facts, observe.after_reading(reports, reading)), reading


def _filled(
    run: audit.AuditRun,
    fence: Fence | None,
    seen: observe.Seen,
    reading: Mapping[str, Any],
    batch: int,
) -> RunRecord:
    """Fills and reports. What fails here leaves a run that failed, and can be resumed."""
    assert fence is not None  # noqa: S101 - a run that repairs holds the lease
    filled = fill(run, seen, fence, batch)
    return close(run, seen, filled, reading)
