"""The breaker: percent are percent, few are always allowed, and one store does not pay for another."""

import pytest

from checks.breaker import FLOOR, tripped


@pytest.mark.parametrize(
    ("taken", "present", "percent", "trips"),
    [
        (9, 1_000, 1.0, False),  # 0.9 %
        (10, 1_000, 1.0, False),  # the limit itself is allowed
        (11, 1_000, 1.0, True),  # 1.1 %
        (11, 1_000, 1.1, False),
        (3, 4, 1.0, False),  # the floor
        (4, 4, 1.0, True),
        (4, 400, 1.0, False),
        (4, 399, 1.0, True),
        (4, 0, 1.0, True),
        (4, 4, 100.0, False),
        (9, 4, 100.0, False),  # deleted rows may be more than the present ones
        (9, 4, 99.9, True),
        (4, 4, 0.0, True),
        (3, 4, 0.0, False),
    ],
)
def test_it_trips_above_the_percentage_and_above_the_floor(
    taken: int, present: int, percent: float, *, trips: bool
) -> None:
    found = tripped({"vercel-blob": {"missing": taken}}, {"vercel-blob": present}, percent)
    assert bool(found) == trips


def test_one_percent_is_no_fraction() -> None:
    assert FLOOR < 50
    half, two = {"x": {"missing": 50}}, {"x": {"missing": 200}}
    assert not tripped(half, {"x": 10_000}, 1.0)  # as a fraction it would trip
    assert tripped(two, {"x": 10_000}, 1.0)  # as a fraction it never would


def test_each_store_has_its_own() -> None:
    taken = {"a": {"missing": 30, "dangling_edge": 20}, "b": {"missing": 1}, "c": {}}
    found = tripped(taken, {"a": 100, "b": 100, "c": 0}, 1.0)
    assert set(found) == {"a"}
    said = str(found["a"])
    assert "50 of 100" in said
    assert "50.00 %" in said
    assert "30 missing, 20 dangling_edge" in said
    assert "edgekeeper findings --kind missing" in said
    assert "--allow-percent 51" in said


@pytest.mark.parametrize("taken", [4, 11, 45, 999, 1_000])
def test_the_limit_that_it_names_is_enough(taken: int) -> None:
    kinds = {"x": {"missing": taken}}
    said = str(tripped(kinds, {"x": 1_000}, 0.1)["x"])
    percent = float(said.rpartition("--allow-percent ")[2].rstrip("`."))
    assert not tripped(kinds, {"x": 1_000}, percent)
