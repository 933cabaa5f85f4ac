"""Store Forever: copy the memories of a gallery, or some by themselves, to the canister."""

from typing import Any

from checks.errors import StoreError, UsageError
from checks.model import RepairPolicy
from flows.engine import flow, name_run, task
from tasks import audit, publish, store_forever_record
from tasks import store_forever as storing
from tasks.settings import load_settings

choose = task(storing.choose)
store = task(storing.store)
forecast = task(storing.forecast)
close = task(store_forever_record.close, name="report")


@flow("store-forever")
def store_forever(
    galleries: list[str] | None = None,
    memories: list[str] | None = None,
    dry_run: bool = False,  # noqa: FBT001, FBT002 - a deployment's parameter
) -> dict[str, Any]:
    """Stores memories in the canister, as far as they are not there, and reads back what it wrote.

    Args:
        galleries: ids of galleries, all of whose memories are stored.
        memories: memories by themselves, each as TYPE:ID.
        dry_run: only say what would be copied, how much it is and how long it takes.

    Returns:
        the run object of the interface's contract, with ``store_forever``.
    """
    if not galleries and not memories:
        raise UsageError("Name what to store: a gallery, or memories as TYPE:ID. Nothing was done.")
    settings = load_settings()
    policy = RepairPolicy.NONE if dry_run else RepairPolicy.CONTENT
    options = audit.AuditOptions(repair=policy)
    with audit.under_way(settings, options, flow=audit.STORE_FOREVER) as (run, fence):
        name_run(run.run_id)
        try:
            pairs = choose(run, galleries or [], memories or [])
            outcome = store(run, fence, pairs) if fence else forecast(run, pairs)
        except StoreError as error:
            record = publish.close_inconclusive(run, error)
        else:
            record = close(run, outcome)
    return record.to_dict()
