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
        (4, 4, 0.0, True),
        (3, 4, 0.0, False),
    ],
)
def test_it_trips_above_the_percentage_and_above_the_floor(
    taken: int, present: int, percent: float, *, trips: bool
) -> None:
    assert bool(tripped({"vercel-blob": taken}, {"vercel-blob": present}, percent)) == trips


def test_one_percent_is_no_fraction() -> None:
    assert FLOOR < 50
    assert not tripped({"x": 50}, {"x": 10_000}, 1.0)  # half a percent; as a fraction it would trip
    assert tripped({"x": 200}, {"x": 10_000}, 1.0)  # two; as a fraction it never would


def test_each_store_has_its_own() -> None:
    found = tripped({"a": 50, "b": 1, "c": 0}, {"a": 100, "b": 100, "c": 0}, 1.0)
    assert set(found) == {"a"}
    said = str(found["a"])
    assert "50 of 100" in said
    assert "50.00 %" in said
    assert "--allow-percent" in said
