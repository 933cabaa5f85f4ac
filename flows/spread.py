"""The tasks that a cluster's workers do side by side, and gathering what came of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefect import unmapped
from prefect.futures import PrefectFuture

from flows.engine import task
from tasks import rolling, run_checks
from tasks.audit import AuditRun
from tasks.observe import Seen
from tasks.quality import CheckResult

_read_share = task(rolling.read_share, name="read-share")
_check_quality = task(run_checks.check_tables, name="quality-checks")


def spread_over(run: AuditRun) -> rolling.Spread:
    """What has the shares of a line read by the workers of ``run``."""

    def spread(shares: list[rolling.Share], seen: Seen) -> Iterable[Mapping[str, Any]]:
        return _read_share.map(unmapped(run), shares, unmapped(seen)).result()

    return spread


def quality_checks(
    run: AuditRun, facts: Mapping[str, Any]
) -> Sequence[PrefectFuture[list[CheckResult]]]:
    """Begins the checks of everything that was spooled; ``facts`` are those of the snapshot."""
    return [_check_quality.submit(run, facts, part) for part in run_checks.parts(run)]
