"""A run beside those before it: what is far more than usual, less than before, or long ago."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.model import StoreState
from checks.run import Amount, Coverage, Edges, RunRecord, StoreCoverage, StoreSummary
from checks.run_measures import DRIFT, GAP, UNVERIFIED, Measured, measured, rows

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
BLOB, ICP = "vercel-blob", "icp-canister"


def night(
    days_ago: float = 0,
    *,
    compared: int = 10_000,
    verified: int = 0,
    state: StoreState = StoreState.COMPLETE,
    **counts: int,
) -> RunRecord:
    """An audit that took six minutes; ``verified`` of 200 copies in the blob store were read."""
    started = NOW - timedelta(days=days_ago)
    covered = StoreCoverage(assets=200, verified={"ever": Amount(assets=verified)})
    return RunRecord(
        run_id=f"{started:%Y%m%dT%H%M%SZ}-7f3a", flow="nightly-audit", started_at=started,
        finished_at=started + timedelta(minutes=6), counts=counts,
        edges=Edges(total=compared, compared=compared), coverage=Coverage(stores={BLOB: covered}),
        stores={BLOB: StoreSummary(state=state), ICP: StoreSummary(state=StoreState.COMPLETE)},
    )  # fmt: skip


def judged(run: RunRecord, *former: RunRecord) -> dict[str, list[dict[str, Any]]]:
    """The rows by measure; ``former`` are the nights before, the newest first."""
    found = rows(run, [measured(each) for each in former], [each.run_id for each in former])
    names = (DRIFT, UNVERIFIED, GAP)
    return {name: [row for row in found if row["measure"] == name] for name in names}


def over(found: list[dict[str, Any]]) -> list[str]:
    return [row["of"] for row in found if row["value"] > row["limit"]]


USUAL = [night(days, missing=4, hash_unknown=20) for days in (1, 2, 3, 4)]


def test_of_a_first_run_nothing_can_be_judged() -> None:
    assert judged(night(missing=5_000)) == {DRIFT: [], UNVERIFIED: [], GAP: []}


def test_two_runs_do_not_say_what_is_usual() -> None:
    found = judged(night(missing=5_000), *USUAL[:2])
    assert found[DRIFT] == found[GAP] == []


def test_a_night_like_the_others_is_within_its_limits() -> None:
    found = judged(night(missing=6, hash_unknown=25), *USUAL)
    assert [row["of"] for row in found[DRIFT]] == ["all kinds", "missing", "hash_unknown"]
    assert over(found[DRIFT]) == over(found[GAP]) == []
    assert found[DRIFT][1] == {
        "measure": DRIFT, "of": "missing", "value": 6, "usual": 4, "limit": 14
    }  # fmt: skip


def test_a_kind_of_which_there_is_far_more_is_named() -> None:
    found = judged(night(missing=15, hash_unknown=20), *USUAL)
    assert over(found[DRIFT]) == ["missing"]
    assert over(judged(night(orphaned=11), *USUAL)[DRIFT]) == ["orphaned"]


def test_more_is_usual_in_a_ledger_that_has_grown() -> None:
    assert over(judged(night(compared=100_000, missing=60), *USUAL)[DRIFT]) == []


def test_one_bad_night_among_the_former_does_not_become_usual() -> None:
    bad = night(1, missing=9_000)
    assert over(judged(night(missing=15), bad, *USUAL)[DRIFT]) == ["missing"]


def test_nights_that_did_not_see_every_store_say_nothing_of_what_is_usual() -> None:
    blind = [night(each, state=StoreState.UNREACHABLE) for each in (1, 2, 3)]
    assert judged(night(missing=5_000), *blind)[DRIFT] == []
    assert judged(night(compared=0), *USUAL)[DRIFT] == []


@pytest.mark.parametrize(("before", "now", "fell"), [(100, 95, False), (100, 89, True)])
def test_coverage_that_falls_is_named_with_its_store(before: int, now: int, *, fell: bool) -> None:
    found = judged(night(verified=now), night(1, verified=before))[UNVERIFIED]
    assert [row["usual"] for row in found] == [50]
    assert over(found) == ([BLOB] if fell else [])


def test_there_is_no_coverage_to_keep_where_nothing_was_verified_or_the_store_was_not_seen() -> (
    None
):
    assert judged(night(verified=0), night(1, verified=0))[UNVERIFIED] == []
    unseen = night(verified=0, state=StoreState.INCOMPLETE)
    assert judged(unseen, night(1, verified=100))[UNVERIFIED] == []


def test_a_gap_is_measured_by_the_usual_rhythm_and_two_days_at_least() -> None:
    assert over(judged(night(), *(night(each) for each in (2.5, 3.5, 4.5, 5.5)))[GAP]) == []
    late = [night(each) for each in (4, 5, 6, 7)]
    assert over(judged(night(), *late)[GAP]) == [late[0].run_id]
    weekly = [night(each) for each in (8, 15, 22, 29)]
    assert over(judged(night(), *weekly)[GAP]) == []


def test_what_is_measured_is_plain_json() -> None:
    kept: Measured = measured(night(verified=50, missing=2))
    assert kept["counts"] == {"missing": 2}
    assert kept["unverified"] == {BLOB: 75}
    assert kept["whole"] is True
