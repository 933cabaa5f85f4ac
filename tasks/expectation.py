"""How many objects a store should be found to hold, by all that is known without asking it.

The ledger, the memory rows and former runs say it roughly. That is enough to notice a listing that
has no end, and one that is suddenly half as long.
"""

from collections.abc import Mapping
from typing import Any

from checks.errors import UsageError
from checks.model import Backend, StoreState
from checks.run import RunRecord, StoreSummary
from tasks.audit import VERIFY_GALLERY, AuditRun
from tasks.run_directory import RunDirectory, run_ids
from tasks.stores.protocol import ListingReport

#: Former runs that are looked through for one that listed a store whole.
RUNS_BACK = 30
#: A listing with less than this share of what the last whole one had is looked at twice.
SHRUNK_BELOW = 0.5
#: Of fewer objects than this any share may go from one night to the next.
WORTH_COMPARING = 20


def expected_objects(backend: Backend, facts: Mapping[str, Any]) -> int:
    """About how many objects ``backend`` should hold, rather too many than too few.

    ``facts`` are those of the snapshot: edges and memory rows as they were then.
    """
    former = known_before(facts, backend)
    return max(
        int(facts["present"].get(backend.value, 0)),
        int(facts["neon"]["objects"]),
        former.objects if former else 0,
    )


def last_listings(run: AuditRun) -> dict[str, Any]:
    """What :func:`last_whole` gives of each store, as facts of the snapshot.

    Only the run's own process has the former runs.
    """
    found = {backend.value: last_whole(run, backend) for backend in (Backend.BLOB, Backend.ICP)}
    return {name: store.model_dump(mode="json") for name, store in found.items() if store}


def known_before(facts: Mapping[str, Any], backend: Backend) -> StoreSummary | None:
    """What :func:`last_listings` gave of one store."""
    store = facts.get("last_listings", {}).get(backend.value)
    return None if store is None else StoreSummary.model_validate(store)


def last_whole(run: AuditRun, backend: Backend) -> StoreSummary | None:
    """How the last listing of ``backend`` went that is believed, None where none is known.

    None too where the last one that came to its end was doubted for being so short: what two runs
    saw in the same way is what there is.
    """
    for run_id in run_ids(run.directory.home)[:RUNS_BACK]:
        record = _record(run, run_id)
        store = record.stores.get(backend.value) if record else None
        if store is not None and store.shrunk_from is not None:
            return None
        if store is not None and store.state is StoreState.COMPLETE:
            return store
    return None


def _record(run: AuditRun, run_id: str) -> RunRecord | None:
    """The record of a former run that listed whole stores, None where it is no such run."""
    if run_id == run.run_id:
        return None
    try:
        record = RunDirectory(run.directory.home, run_id).read_run(findings=False)
    except (UsageError, OSError):
        return None
    return None if record.flow == VERIFY_GALLERY else record


def judge_shrinkage(report: ListingReport, backend: Backend, before: StoreSummary | None) -> None:
    """A listing that is suddenly half as long proves no absence until a second run sees the same.

    Names in the report how many objects there were, so that the next run knows.
    """
    if before is None or before.objects < WORTH_COMPARING:
        return
    if report.state == StoreState.COMPLETE and report.objects < SHRUNK_BELOW * before.objects:
        report.state, report.doubted = StoreState.INCOMPLETE, True
        report.shrunk_from = before.objects
        report.detail = (
            f"{backend} listed {report.objects} objects, and {before.objects} when it was last "
            "listed whole: before anything is called missing a second run has to see as few. If "
            "nobody has cleared it out, check that the credentials still see all of it"
        )
