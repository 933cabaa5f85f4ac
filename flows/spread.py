"""The tasks that a cluster's workers do side by side, and gathering what came of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from prefect import unmapped
from prefect.futures import PrefectFuture

from checks.model import Backend
from flows.engine import task
from tasks import rolling, run_checks
from tasks.audit import AuditRun
from tasks.listings import list_shard, list_store, listing_shards, put_together
from tasks.observe import Seen
from tasks.quality import CheckResult
from tasks.stores.protocol import ListingReport

_list_store = task(list_store)
_list_shard = task(list_shard)
_read_share = task(rolling.read_share, name="read-share")
_check_quality = task(run_checks.check_tables, name="quality-checks")


def listings(run: AuditRun, facts: Mapping[str, Any]) -> dict[Backend, ListingReport]:
    """Has both object stores listed side by side, on a cluster each by several workers.

    ``facts`` are those of the snapshot.
    """
    begun = {backend: _begun(run, backend, facts) for backend in (Backend.BLOB, Backend.ICP)}
    return {backend: finished() for backend, finished in begun.items()}


def _begun(
    run: AuditRun, backend: Backend, facts: Mapping[str, Any]
) -> Callable[[], ListingReport]:
    """Begins to list a store; gives what waits for its end."""
    shards = listing_shards(run, backend, facts)
    if not shards:
        whole = _list_store.submit(run, backend, facts)
        return lambda: cast("ListingReport", run.received([whole.result()])[0])
    listed = _list_shard.map(
        unmapped(run), unmapped(backend), shards, unmapped(facts), unmapped(len(shards))
    )
    return lambda: put_together(
        run, backend, facts, dict(zip(shards, run.received(listed.result()), strict=True))
    )


def spread_over(run: AuditRun) -> rolling.Spread:
    """What has the shares of a line read by the workers of ``run``."""

    def spread(shares: list[rolling.Share], seen: Seen) -> Iterable[Mapping[str, Any]]:
        return run.received(_read_share.map(unmapped(run), shares, unmapped(seen)).result())

    return spread


def quality_checks(
    run: AuditRun, facts: Mapping[str, Any]
) -> Sequence[PrefectFuture[list[CheckResult]]]:
    """Begins the checks of everything that was spooled; ``facts`` are those of the snapshot."""
    return [_check_quality.submit(run, facts, part) for part in run_checks.parts(run)]
