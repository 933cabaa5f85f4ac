"""What was verified is told as it is: by store, by age, and never more than was read."""

from datetime import timedelta

import pytest
from partition_samples import BLOB, HASH, ICP, NOW, OTHER_HASH, VERIFIED, Sample, changed, sound

from checks.coverage import covered, full_cycle, stored_copies, together


def of(sample: Sample, backend: str = BLOB.value) -> dict[str, object]:
    return covered(stored_copies(sample.cases(), NOW), NOW)[backend]


def within(sample: Sample, backend: str = BLOB.value) -> list[str]:
    """The windows in which the one copy counts as verified."""
    verified = of(sample, backend)["verified"]
    assert isinstance(verified, dict)
    return [name for name, part in verified.items() if part["assets"]]


def test_what_was_never_read_is_verified_in_no_window() -> None:
    assert within(sound()) == []
    assert of(sound())["oldest"] is None
    assert (of(sound())["assets"], of(sound())["bytes"]) == (1, 10)


def test_what_was_read_in_this_run_is_verified_now() -> None:
    read = sound().read(BLOB)
    assert within(read) == ["7d", "30d", "90d", "ever"]
    assert of(read)["oldest"] == NOW.isoformat()
    assert within(read, ICP.value) == []


def test_what_was_read_ten_days_ago_is_verified_within_thirty_and_no_less() -> None:
    before = sound().verified(BLOB)
    assert within(before) == ["30d", "90d", "ever"]
    assert of(before)["oldest"] == VERIFIED.isoformat()
    long_ago = sound().verified(BLOB, verified_at=NOW - timedelta(days=91))
    assert within(long_ago) == ["ever"]


def test_what_was_written_since_is_not_verified_any_more() -> None:
    assert within(sound().verified(BLOB, version="e0")) == []


def test_bytes_that_are_not_what_the_ledger_says_are_not_verified() -> None:
    assert within(sound().read(BLOB, OTHER_HASH)) == []
    assert within(changed(sound(), "asset", BLOB, content_hash=None).read(BLOB, OTHER_HASH))


@pytest.mark.parametrize("outcome", ["failed", "changed"])
def test_a_reading_that_came_to_no_end_is_unverifiable(outcome: str) -> None:
    failed = sound().verified(BLOB).read(BLOB, None, None, outcome=outcome)  # type: ignore[arg-type]
    assert of(failed)["unverifiable"] == 1
    assert within(failed) == ["30d", "90d", "ever"], "it was good when it was last read"
    assert of(sound().verified(BLOB, known_outcome="silent"))["unverifiable"] == 1
    assert of(sound().verified(BLOB))["unverifiable"] == 0


def test_partitions_add_up_and_the_oldest_is_the_oldest_of_all() -> None:
    older = sound().verified(BLOB, HASH, verified_at=VERIFIED - timedelta(days=1))
    whole = together(
        covered(stored_copies(each.cases(), NOW), NOW) for each in (sound().verified(BLOB), older)
    )
    assert (whole[BLOB]["assets"], whole[BLOB]["bytes"]) == (2, 20)
    assert whole[BLOB]["verified"]["30d"] == {"assets": 2, "bytes": 20}
    assert whole[BLOB]["oldest"] == (VERIFIED - timedelta(days=1)).isoformat()
    assert together([]) == {}


@pytest.mark.parametrize(
    ("total", "budget", "read", "left", "runs"),
    [
        (100, 30, 30, 9, 4),
        (100, 100, 100, 0, 1),
        (100, 10_000, 10, 9, 10),  # the time was over first
        (100, 0, 0, 9, None),
        (100, 10_000, 0, 9, None),
        (0, 10, 0, 0, 1),
    ],
)
def test_a_full_round_takes_as_many_runs_as_the_budget_or_the_time_allows(
    total: int, budget: int, read: int, left: int, runs: int | None
) -> None:
    assert full_cycle(total, budget, read, left=left) == runs
