"""A line of assets: its rows come in their order, and each file of them is read once."""

import weakref
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from checks.describe import plain_records
from tasks import rolling
from tasks.partitions import partition_path, read_partition
from tasks.read_so_far import ReadSoFar
from tasks.resolve import Workspace
from tasks.settings import ALL_BYTES

FILES = [40, 0, 31, 1, 28]
ASSETS = sum(FILES)
NEAR = 7


class Line:
    """A line in an order of chance; asset n is of n bytes, the first one and the last of none."""

    def __init__(self, directory: Path) -> None:
        self.workspace = Workspace(directory, len(FILES))
        self.rows = [self._row(number) for number in range(ASSETS)]
        starts = np.cumsum([0, *FILES])
        (directory / "to-read").mkdir(parents=True)
        for number, (start, end) in enumerate(pairwise(starts)):
            rows = pa.Table.from_pylist(self.rows[start:end], rolling._TARGET)
            pq.write_table(rows, partition_path(directory / "to-read", number))
        self.order = np.random.default_rng(1).permutation(ASSETS)
        sizes = np.array([self.rows[each]["object_size"] or 0 for each in self.order], float)
        self.line = rolling._Line(
            self.workspace, self.order, sizes, starts.tolist(), int(sizes.sum()), assured=2
        )

    def _row(self, number: int) -> dict[str, Any]:
        return {
            "key_hi": 2**64 - 1 - number, "key_lo": 2**63 + number, "memory_id": f"m{number}",
            "memory_type": "image", "backend": "vercel-blob", "content_hash": None,
            "object_location": f"ä/{number}", "object_size": number if 0 < number < 99 else None,
            "object_version": "v" if number % 2 else None, "verified_sha256": None,
        }  # fmt: skip

    def in_order(self, turns: Any) -> list[dict[str, Any]]:
        return [self.rows[place] for place in self.order[turns]]


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(rolling, "_NEAR", NEAR)
    return Line(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each of the files was read in which the rows lie."""
    times: Counter[int] = Counter()

    def counted(directory: Path, number: int) -> Any:
        times[number] += 1
        return read_partition(directory, number)

    monkeypatch.setattr(rolling, "read_partition", counted)
    return times


@pytest.mark.parametrize("budget", [-5, 0, 1, 100, 2_000, ALL_BYTES])
def test_all_rows_come_in_their_order_whatever_the_budget(budget: int, line: Line) -> None:
    assert list(line.line.targets(budget)) == line.in_order(np.arange(ASSETS))


@pytest.mark.parametrize("budget", [2_000, ALL_BYTES])
def test_what_a_budget_is_for_takes_one_reading_of_every_file(
    budget: int, line: Line, read: Counter[int]
) -> None:
    number = line.line.first(np.arange(ASSETS), budget, 0)
    assert number > 3 * NEAR
    rows = line.line.targets(budget)
    assert [next(rows) for _ in range(number)] == line.in_order(np.arange(number))
    assert set(read.values()) == {1}


def test_each_share_has_the_rows_of_its_turns_and_no_others(line: Line, read: Counter[int]) -> None:
    turns = np.arange(3, 93, 2)
    shares = line.line.dealt(turns, 0, 4, assured=2, began=datetime.now(UTC), until=None, portion=0)
    assert set(read.values()) == {1}
    for place, share in enumerate(shares):
        own = turns[place::4]
        assert np.load(share.turns(line.workspace)).tolist() == own.tolist()
        frames = list(rolling._rows(share.rows(line.workspace)))
        assert [len(each) for each in frames] == [NEAR] * (len(own) // NEAR) + [len(own) % NEAR]
        rows = [row for frame in frames for row in plain_records(frame)]
        assert rows == line.in_order(own)


def test_more_shares_than_turns_are_not_made(line: Line) -> None:
    deal: Callable[[Any], list[rolling.Share]] = lambda turns: line.line.dealt(  # noqa: E731
        np.array(turns, np.intp), 0, 4, assured=0, began=datetime.now(UTC), until=None, portion=0
    )
    assert [len(deal(each)) for each in ([], [5], [5, 8])] == [0, 1, 2]


def test_the_line_is_ordered_when_what_it_was_gathered_from_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Line(tmp_path / "other").rows[:60]
    known = {"known_version": None, "known_outcome": None, "known_size": np.nan}
    frame = pd.DataFrame(rows).assign(
        **known, read_at=pd.date_range("2026-01-01", periods=60, tz="UTC")[::-1]
    )
    frame = frame.astype({"object_size": "Int64", "key_hi": "uint64", "key_lo": "uint64"})
    monkeypatch.setattr(rolling, "_targets", lambda *of: frame.iloc[20 * of[2] : 20 * of[2] + 20])
    parts: list[weakref.ref[Any]] = []
    moments, order = rolling.rolling.moments, rolling.rolling.line

    def noted(read_at: pd.Series) -> Any:
        found = moments(read_at)
        parts.append(weakref.ref(found))
        return found

    def ordered(*of: Any) -> Any:
        assert [part() is None for part in parts] == [True] * 3
        return order(*of)

    monkeypatch.setattr(rolling.rolling, "moments", noted)
    monkeypatch.setattr(rolling.rolling, "line", ordered)
    workspace, nothing = Workspace(tmp_path, 3), cast("Any", None)
    done = ReadSoFar.of(workspace).replicas()
    line = rolling._Line.of(nothing, workspace, nothing, done)
    assert line.starts == [0, 20, 40, 60]
    assert list(line.targets(ALL_BYTES)) == rows[::-1]
