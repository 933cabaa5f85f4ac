"""What an audit will cost follows from what is known before."""

import pytest

from checks.forecast import Before, Holdings, Known, forecast, pages
from checks.run import Forecast, Usage

MB = 1_000_000
KNOWN = Known(
    edges=400_000,
    blob=Holdings(page=1_000, objects=95_273, assets=90_000, bytes=9_000 * MB, open_findings=10),
    icp=Holdings(page=100, objects=100_000, assets=75_000, bytes=3_000 * MB),
    capsules=(60_000, 39_950, 0),
)
LIMITS = {"blob_simple": 1_200, "blob_advanced": 900}


def expected(known: Known = KNOWN, budget: int = 0, **more: object) -> Forecast:
    given = {"minutes": None, "before": None, "per_minute": {}, "quota": None, "used": Usage()}
    return forecast(known, budget=budget, **(given | more))  # type: ignore[arg-type]


def test_pages_follow_from_objects_and_no_capsule_shares_a_page() -> None:
    assert [pages(number, 100) for number in (0, 1, 100, 101)] == [1, 1, 1, 2]
    found = expected()
    assert found.listing.blob_advanced == 96
    # 600 and 400 pages, one of the empty capsule, one of the 50 that the ledger does not know
    assert found.listing.icp_requests == 3 + 600 + 400 + 1 + 1


def test_what_is_not_looked_at_costs_nothing() -> None:
    found = expected(Known(edges=4, blob=None, icp=None), budget=10**12)
    assert found.total == Usage()


def test_a_budget_buys_a_share_of_the_objects_and_no_more_than_all() -> None:
    half, whole, more = (expected(budget=part * MB).total for part in (6_000, 12_000, 10**6))
    assert half.blob_bytes == 4_500 * MB
    assert half.blob_simple == 90_000 + 20  # two for each of 45 000, two looks at ten findings
    assert whole == more
    assert whole.blob_bytes == 9_000 * MB


@pytest.mark.parametrize(
    ("used", "over"), [(1_902, ()), (1_904, ("about 97 advanced operations",))]
)
def test_what_would_pass_the_months_quota_is_said(used: int, over: tuple[str, ...]) -> None:
    found = expected(
        used=Usage(blob_advanced=used, blob_bytes=10**12),
        quota=Usage(blob_advanced=2_000, blob_simple=10_000, blob_bytes=10_000 * MB),
    )
    assert len(found.over) == len(over)
    for said, wanted in zip(found.over, over, strict=True):
        assert wanted in said
        assert "1,904 of the month's 2,000" in said


def test_its_time_is_the_last_ones_grown_with_the_ledger_and_bounded_by_the_plan() -> None:
    last = Before(edges=200_000, seconds=50.0, bytes_per_second=100.0 * MB)
    assert expected(before=last).seconds == 100.0
    assert expected(before=last).from_last_run
    assert expected(before=last, budget=12_000 * MB).seconds == 100.0 + 120.0
    assert expected(before=last, budget=12_000 * MB, minutes=1).seconds == 100.0 + 60.0
    bounded = expected(before=last, budget=12_000 * MB, per_minute=LIMITS)
    assert bounded.seconds == 60 * 180_020 / 1_200
