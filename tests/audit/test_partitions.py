"""Spreading rows over partitions: every row in its file, whatever their number and sizes."""

import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks import partitions
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition

SCHEMA = pa.schema([("key_lo", pa.uint64()), ("number", pa.int64()), ("text", pa.string())])


def table(keys: list[int], start: int = 0, text: str = "x") -> Any:
    numbers = range(start, start + len(keys))
    return pa.table([pa.array(keys, pa.uint64()), list(numbers), [text] * len(keys)], schema=SCHEMA)


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


def whole(number: int) -> list[str]:
    return [f"part-{each:05d}.parquet" for each in range(number)]


@pytest.fixture
def in_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven partitions take two passes."""
    monkeypatch.setattr(partitions, "FAN_OUT", 3)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=40), max_size=8),
    number=st.integers(1, 90),
    fan_out=st.integers(2, 5),
    at_once=st.sampled_from([1, 7, 1_000]),
    bytes_at_once=st.sampled_from([1, 2**26]),
)
def test_every_row_is_in_the_file_of_its_partition_in_the_order_in_which_rows_came(
    batches: list[list[int]], number: int, fan_out: int, at_once: int, bytes_at_once: int
) -> None:
    expected: dict[int, list[int]] = {each: [] for each in range(number)}
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as temporary:
        patch.setattr(partitions, "FAN_OUT", fan_out)
        patch.setattr(partitions, "_ROWS_AT_ONCE", at_once)
        patch.setattr(partitions, "_BYTES_AT_ONCE", bytes_at_once)
        directory, start = Path(temporary), 0
        with PartitionWriter(directory, SCHEMA, number) as writer:
            for keys in batches:
                writer.write(table(keys, start))
                for place, key in enumerate(keys):
                    expected[key % number].append(start + place)
                start += len(keys)
        assert names(directory) == whole(number)
        for each, numbers in expected.items():
            found = read_partition(directory, each)
            assert found.schema == SCHEMA
            assert found["number"].to_pylist() == numbers


def test_few_files_are_open_however_many_partitions_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, before, most = psutil.Process(), psutil.Process().num_fds(), 0
    opened = PartitionWriter._open

    def counted(*of: Any) -> Any:
        nonlocal most
        file = opened(*of)
        most = max(most, process.num_fds() - before)
        return file

    monkeypatch.setattr(PartitionWriter, "_open", counted)
    number = 2 * partitions.FAN_OUT**2
    with PartitionWriter(tmp_path, SCHEMA, number) as writer:
        writer.write(table(list(range(number))))
    assert partitions.FAN_OUT <= most <= partitions.FAN_OUT + 2  # what else this process opens
    assert names(tmp_path) == whole(number)
    assert all(pq.read_metadata(each).num_rows == 1 for each in partition_files(tmp_path))


@pytest.mark.usefixtures("in_passes")
def test_the_stream_of_a_range_goes_before_the_next_range_is_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the disk would hold every row twice."""
    over, streams = PartitionWriter._over, []

    def counted(*of: Any) -> Any:
        streams.append(len(list(tmp_path.glob("part-*-*.unfinished"))))
        return over(*of)

    monkeypatch.setattr(PartitionWriter, "_over", counted)
    with PartitionWriter(tmp_path, SCHEMA, 9) as writer:
        writer.write(table(list(range(9))))
    assert streams == [0, 3, 2, 1]


def test_wide_rows_do_not_wait_for_many_others(tmp_path: Path) -> None:
    wide = "x" * 2**20
    with PartitionWriter(tmp_path, SCHEMA, 1) as writer:
        for start in range(100):
            writer.write(table([0], start, wide))
    groups = pq.read_metadata(partition_path(tmp_path, 0))
    assert [groups.row_group(each).num_rows for each in range(2)] == [64, 36]


@pytest.mark.usefixtures("in_passes")
def test_what_is_broken_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with PartitionWriter(tmp_path, SCHEMA, 7) as writer:
            writer.write(table([1, 2, 3]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert names(tmp_path) == []


@pytest.mark.usefixtures("in_passes")
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_to_be_done_later_is_done_then_or_never(tmp_path: Path, *, fails: bool) -> None:
    def fill() -> None:
        with ExitStack() as later:
            for name in "ab":
                with PartitionWriter(tmp_path / name, SCHEMA, 7, later) as writer:
                    writer.write(table(list(range(7))))
                assert partition_files(tmp_path / name) == []
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) if fails else nullcontext():
        fill()
    left = [] if fails else whole(7)
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (left, left)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Has the system refuse to let any file grow larger."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


@pytest.mark.usefixtures("in_passes")
@pytest.mark.parametrize("size", [0, 100, 1_000, 3_000, 5_000])
def test_what_can_not_be_written_leaves_nothing_that_looks_whole_but_is_not(
    tmp_path: Path, size: int
) -> None:
    def fill() -> None:
        with PartitionWriter(tmp_path, SCHEMA, 7) as writer:
            for start in range(0, 700, 7):
                writer.write(table(list(range(7)), start, token_hex(20)))

    with files_of_at_most(size), pytest.raises(OSError, match="File too large"):
        fill()
    left = partition_files(tmp_path)
    assert names(tmp_path) == [each.name for each in left]
    assert len(left) < 7
    assert all(pq.read_metadata(each).num_rows == 100 for each in left)
    fill()
    assert names(tmp_path) == whole(7)


@pytest.mark.usefixtures("in_passes")
@pytest.mark.parametrize("number", [1, 3, 7, 30])
def test_who_was_thought_dead_fails_at_its_end_and_changes_nothing(
    tmp_path: Path, number: int
) -> None:
    late = PartitionWriter(tmp_path, SCHEMA, number)
    late.write(table(list(range(number)), text="late"))
    with PartitionWriter(tmp_path, SCHEMA, number) as writer:
        writer.write(table(list(range(number)), text="own"))
    with pytest.raises(FileNotFoundError):
        late.__exit__(None, None, None)
    assert names(tmp_path) == whole(number)
    assert all(
        pq.read_table(each)["text"].to_pylist() == ["own"] for each in partition_files(tmp_path)
    )
