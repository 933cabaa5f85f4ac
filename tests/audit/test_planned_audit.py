"""What an audit will use is said before, and held against what it used."""

from collections.abc import Callable
from pathlib import Path

import pytest
from damaged_sandbox import BLOB, ICP, Box

from checks.errors import UsageError
from checks.run import RunRecord, Usage
from tasks.audit import options_of
from tasks.forecasting import forecast_audit, used_this_month, within_quota
from tasks.settings import ALL_BYTES


@pytest.mark.parametrize("memories", [30, 400, 2_500])
def test_the_operations_of_a_listing_are_known_within_a_tenth(
    memories: int, new_box: Callable[[str], Box], home: Path
) -> None:
    box = new_box(f"planned-{memories}").fill(memories, 4, None)
    settings = box.settings(home)
    before = forecast_audit(settings, options_of(settings)).listing
    done = box.audit(home).record
    box.stop()
    used = {BLOB: done.stores[BLOB].requests, ICP: done.stores[ICP].requests}
    assert before.blob_advanced == pytest.approx(used[BLOB], rel=0.1)
    assert before.icp_requests == pytest.approx(used[ICP], rel=0.1)


def test_the_bytes_and_requests_of_reading_everything_are_known_and_recorded(
    sound: Box, home: Path
) -> None:
    settings = sound.settings(home)
    before = forecast_audit(settings, options_of(settings, verify="all"))
    done = sound.audit(home, verify=ALL_BYTES).record
    assert done.usage is not None
    assert before.total.blob_bytes == done.usage.blob_bytes > 0
    assert before.total.blob_simple == pytest.approx(done.usage.blob_simple, rel=0.1)
    # Small files come with their memory: how many do the ledger does not say.
    assert done.usage.icp_requests <= before.total.icp_requests < 2 * done.usage.icp_requests
    assert used_this_month(home, done.started_at) == done.usage


def test_an_audit_over_the_months_quota_is_refused_unless_it_is_allowed(
    sound: Box, home: Path
) -> None:
    settings = sound.settings(home, EDGEKEEPER_BLOB_PLAN="hobby")
    options = options_of(settings, verify="all")
    assert within_quota(settings, options, over_quota=False) is not None
    done = sound.audit(home).record
    _rewritten(home, done, Usage(blob_bytes=10**10))
    with pytest.raises(UsageError, match="--over-quota"):
        within_quota(settings, options, over_quota=False)
    allowed = within_quota(settings, options, over_quota=True)
    assert allowed is not None
    assert "bytes of transfer" in allowed.over[0]
    assert within_quota(settings, options_of(settings, verify="0"), over_quota=False) is not None


def _rewritten(home: Path, done: RunRecord, usage: Usage) -> None:
    (path,) = home.glob("runs/*/run.json")
    path.write_text(done.model_copy(update={"usage": usage}).to_json(), "utf-8")
