"""Rolling verification: what is read in a night, and that in the end everything is."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import rolling

NIGHTS = 100
LONG_AGO, LATELY = (pd.Timestamp(day, tz="UTC") for day in ("2026-01-01", "2026-11-01"))
READ = {"known_version": "e1", "known_size": 1, "known_outcome": "read"}


def targets(*rows: dict[str, object]) -> pd.DataFrame:
    plain = {"object_size": 1, "object_version": "e1", "known_version": None, "read_at": pd.NaT,
             "known_outcome": None, "known_size": None}  # fmt: skip
    frame = pd.DataFrame([plain | row for row in rows])
    return frame.astype({"object_size": "Int64", "known_size": "Int64"})


def names(frame: pd.DataFrame) -> list[str]:
    size = frame["object_size"].fillna(0).to_numpy(dtype="int64")
    order = rolling.line(rolling.urgent(frame), rolling.moments(frame["read_at"]), size)
    return list(frame["name"].iloc[order])


def test_what_changed_is_read_first_then_what_never_was_then_the_stalest() -> None:
    frame = targets(
        READ | {"name": "lately", "read_at": LATELY},
        READ | {"name": "long ago", "read_at": LONG_AGO},
        {"name": "never"},
        READ | {"name": "written", "known_version": "e0", "read_at": LATELY},
    )
    assert names(frame) == ["written", "never", "long ago", "lately"]


@pytest.mark.parametrize(
    ("row", "urgent"),
    [
        ({}, False),
        (READ, False),
        (READ | {"known_version": "e0"}, True),
        (READ | {"object_size": 2}, True),
        (READ | {"known_outcome": "differed"}, True),
        (READ | {"known_outcome": "failed"}, False),
        (READ | {"object_version": None}, False),
        (READ | {"object_size": None}, False),
    ],
)
def test_urgent_is_what_was_written_since_or_was_not_as_the_ledger_says(
    row: dict[str, object], *, urgent: bool
) -> None:
    assert rolling.urgent(targets(row)).tolist() == [urgent]


def test_a_store_that_declares_absurd_sizes_does_not_turn_the_line_around() -> None:
    absurd = 2**63 - 1
    frame = targets(
        {"name": "a", "object_size": absurd}, {"name": "b", "object_size": absurd},
        {"name": "c"}, READ | {"name": "d", "read_at": LONG_AGO, "object_size": absurd},
    )  # fmt: skip
    assert names(frame) == ["d", "a", "b", "c"]  # d: another size than was read


def test_of_what_is_urgent_and_what_is_not_one_each_is_read_whatever_they_cost() -> None:
    assert rolling.assured(np.array([True, True, False])) == 2
    assert rolling.assured(np.array([True])) == rolling.assured(np.array([False])) == 1
    assert rolling.assured(np.zeros(0, dtype=bool)) == 0


@dataclass
class Collection:
    """Assets over the nights, read as the line says until each night's budget is spent."""

    budget: int
    size: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # the night of the last reading; -1: never
    since: list[int] = field(default_factory=list)  # in line since that night
    urgent: list[bool] = field(default_factory=list)
    room: list[float] = field(default_factory=list)  # by night, for what is not urgent
    held: list[int] = field(default_factory=list)  # bytes, by night
    new: list[int] = field(default_factory=list)

    def night(self, added: list[int], written: list[int]) -> None:
        number = len(self.room)
        for size in added:
            self.size.append(size)
            self.read.append(-1)
            self.since.append(number - 1)
            self.urgent.append(False)
        for asset in written:
            if self.read[asset] >= 0:
                self.urgent[asset] = True
        hasty, sizes = np.array(self.urgent, dtype=bool), np.array(self.size)
        largest = max(self.size, default=0)
        waiting = self.budget - int(sizes[hasty].sum())
        self.room.append(max(waiting, (self.budget - largest) / (1 + rolling.URGENT_SHARE), 0))
        self.held.append(sum(self.size))
        self.new.append(sum(added))
        read_at = np.array(self.read, dtype=np.int64)
        spent = 0
        for place, asset in enumerate(rolling.line(hasty, read_at, sizes)):
            if spent >= self.budget and place >= rolling.assured(hasty):
                break
            spent += self.size[asset]
            self.read[asset] = self.since[asset] = number
            self.urgent[asset] = False

    def check(self) -> None:
        """Nothing waits although the nights had room for all that was before it in line."""
        number = len(self.room) - 1
        room = np.concatenate([[0.0], np.cumsum(self.room)])
        new = np.concatenate([[0], np.cumsum(self.new)])
        for asset, since in enumerate(self.since):
            if not self.urgent[asset]:
                first = since + 1
                before = self.held[max(since, 0)] + new[number + 1] - new[min(first, number + 1)]
                assert room[number + 1] - room[first] <= before, (asset, since, number)


@settings(max_examples=12, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 4_000),
    st.integers(0, 12),
    st.integers(0, 8),
)
def test_over_a_hundred_nights_nothing_is_older_than_the_budget_makes_it(
    random: object, budget: int, growth: int, writing: int
) -> None:
    draw: Callable[[int, int], int] = random.randint  # type: ignore[attr-defined]
    collection = Collection(budget)
    for number in range(NIGHTS):
        some = 40 if number == 0 else draw(0, growth)
        written = [draw(0, len(collection.size) - 1) for _ in range(writing if number else 0)]
        collection.night([draw(1, 200) for _ in range(some)], written)
        collection.check()
    for _ in range(4 * len(collection.size)):  # nothing more comes, but the writing goes on
        if min(collection.read) >= 0:
            break
        collection.night([], [draw(0, len(collection.size) - 1) for _ in range(writing)])
    assert min(collection.read) >= 0


def test_a_hundred_nights_of_growth_at_a_tenth_of_the_collection_a_night() -> None:
    collection = Collection(budget=12_000)
    collection.night([100] * 1_000, [])
    for number in range(1, NIGHTS):
        collection.night([100] * 20, [number, number + 500])
        collection.check()
        if number > 9:  # 100 kB at 12 kB a night: the first round
            cycle = collection.held[number] / (12_000 - 2_000 - 200) + 1
            assert number - min(collection.read) <= cycle


def test_where_something_is_written_each_night_the_rest_is_read_all_the_same() -> None:
    collection = Collection(budget=10)
    collection.night([10] * 50, [])
    nights = 0
    while min(collection.read) < 0:
        collection.night([], list(range(50)))
        nights += 1
    assert nights <= 50
