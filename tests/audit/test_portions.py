"""Portions of what was read: none takes another one's place, and they stay in their order."""

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from tasks import read_so_far
from tasks.audit import AuditRun
from tasks.partitions import partition_files, partition_path
from tasks.read_so_far import Portions, ReadSoFar, next_number
from tasks.resolve import Workspace
from tasks.verification import Reading

LAST_OF_FIVE_DIGITS = 99_999


class Run:
    """Reads into a directory; its database takes everything."""

    def __init__(self, directory: Path) -> None:
        self.workspace = Workspace(directory, 1)

    def portions(self, share: str | None = None, first: int = 0) -> Portions:
        run: Any = SimpleNamespace(
            connect=nullcontext, run_id="run", put_portion=lambda _share, _path: None
        )
        return Portions(cast("AuditRun", run), self.workspace, datetime.now(UTC), share, first)

    def order(self) -> list[int]:
        """The memories of all portions in their order."""
        files = partition_files(self.workspace.read)
        return [key for path in files for key in pq.read_table(path)["key_lo"].to_pylist()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(read_so_far, "record", lambda *_: None)
    return Run(tmp_path)


def keep(portions: Portions, *keys: int) -> None:
    for key in keys:
        row = {"key_hi": 0, "key_lo": key, "memory_type": "image", "backend": "vercel-blob",
               "outcome": "read"}  # fmt: skip
        asyncio.run(portions.keep(Reading(read=1, bytes=10), [row]))


@pytest.mark.parametrize("share", [None, "verify-0a-1"])
def test_more_portions_than_five_digits_can_number_are_all_there_in_their_order(
    share: str | None, run: Run
) -> None:
    keep(run.portions(share, LAST_OF_FIVE_DIGITS - 1), 0, 1, 2, 3)
    keep(run.portions(share), 4, 5)  # whoever goes on
    keep(run.portions(), 6)
    assert run.order() == list(range(7))
    assert next_number(run.workspace) == LAST_OF_FIVE_DIGITS + 6
    so_far = ReadSoFar.of(run.workspace)
    assert (so_far.number, so_far.reading.read, so_far.reading.bytes) == (7, 7, 70)
    assert sorted(key for _, key, *_ in so_far.replicas()) == list(range(7))


def test_who_was_thought_dead_and_goes_on_replaces_no_portion(run: Run) -> None:
    late, own = run.portions(), run.portions()
    keep(own, 0, 1)
    keep(late, 2)
    keep(own, 3)
    assert sorted(run.order()) == [0, 1, 2, 3]


def test_the_directory_is_not_looked_through_for_every_portion(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    portions, looked, glob = run.portions(), [], Path.glob

    def counted(self: Path, *of: Any) -> Any:
        looked.append(self)
        return glob(self, *of)

    monkeypatch.setattr(Path, "glob", counted)
    keep(portions, *range(20))
    assert looked == []
    assert run.order() == list(range(20))


def test_what_has_no_number_is_no_portion(run: Run) -> None:
    keep(run.portions(), 0)
    partition_path(run.workspace.read, 0).with_name("part-x-verify-0a-1-f.parquet").touch()
    assert run.order() == [0]
    assert next_number(run.workspace) == 1
