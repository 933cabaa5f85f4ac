"""Partitioned Parquet: one file per partition, written side by side while rows stream in.

A row lies in partition ``key_lo % partitions``, so that equal keys of two directories with the same
number of partitions meet in files of the same number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_PARTITION = 250_000
#: Rows that wait in memory until they are written, those of all partitions together; and how many
#: of one are worth writing at once.
_BUFFERED_ROWS, _FEWEST_ROWS = 131_072, 1_024
#: As small as snappy, and read in half the time.
_COMPRESSION = "lz4"
#: Few values, often repeated: worth a dictionary in the file.
DICTIONARY = ("memory_type", "artifact", "backend", "sync_state", "source", "capsule_id", "kind")


def partitions_for(rows: int) -> int:
    """How many partitions keep each near 250,000 rows."""
    return max(1, -(-rows // ROWS_PER_PARTITION))


def partition_path(directory: Path, partition: int) -> Path:
    """Where a partition's file lies."""
    return directory / f"part-{partition:05d}.parquet"


def read_partition(directory: Path, partition: int, columns: Sequence[str] | None = None) -> Any:
    """One partition as a pyarrow table, with all its columns or only some."""
    wanted = None if columns is None else list(columns)
    table = pq.read_table(partition_path(directory, partition), columns=wanted, partitioning=None)
    if table.num_rows:
        return table
    # A column without any chunk can't be joined by pandas.
    return pa.table([pa.array([], field.type) for field in table.schema], schema=table.schema)


def partition_files(directory: Path) -> list[Path]:
    """The files of all partitions, in order."""
    return sorted(directory.glob("part-*.parquet"))


def rows_in(directory: Path, partitions: int) -> int | None:
    """The rows of all partitions of a directory; None where one of them is not there."""
    paths = [partition_path(directory, number) for number in range(partitions)]
    try:
        return sum(int(pq.read_metadata(path).num_rows) for path in paths)
    except (OSError, pa.ArrowInvalid):
        return None


def merge(directories: Sequence[Path], into: Path, partitions: int) -> None:
    """Makes a directory of what several hold that have as many partitions each.

    Whoever was thought dead and still writes to it fails at its end.
    """
    into.mkdir(parents=True, exist_ok=True)
    for left in into.glob("part-*.unfinished"):
        left.unlink(missing_ok=True)
    for number in range(partitions):
        parts = [read_partition(each, number) for each in directories]
        dictionary = [name for name in DICTIONARY if name in parts[0].column_names]
        with whole(partition_path(into, number)) as path:
            pq.write_table(
                pa.concat_tables(parts), path, use_dictionary=dictionary, compression=_COMPRESSION
            )


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write under; what was written takes its place once it is whole.

    No other writer has that name: a task that is done twice, since a worker was thought dead,
    leaves one file or the other, and never a mixture.
    """
    unfinished = path.with_name(f"{path.stem}.{token_hex(4)}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


class PartitionWriter:
    """Spreads tables of one schema over the files of a directory; memory stays flat.

    Every partition gets its file, also an empty one. A file has its final name only once it is
    whole: what was left by a killed run can't be taken for a listing. Who writes to the same
    directory later takes the files of who did before, finished or not: whoever was thought dead and
    goes on writing there fails at its end.
    """

    def __init__(self, directory: Path, schema: Any, partitions: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for left in [*directory.glob("part-*.parquet"), *directory.glob("part-*.unfinished")]:
            left.unlink(missing_ok=True)
        self._directory = directory
        self._own = token_hex(4)
        self._schema = schema
        self._buffers: list[list[Any]] = [[] for _ in range(partitions)]
        self._rows = [0] * partitions
        self._most = max(_FEWEST_ROWS, _BUFFERED_ROWS // partitions)
        dictionary = [name for name in DICTIONARY if name in schema.names]
        self._writers = [
            pq.ParquetWriter(
                self._unfinished(number),
                schema,
                use_dictionary=dictionary,
                compression=_COMPRESSION,
            )
            for number in range(partitions)
        ]

    def write(self, table: Any) -> None:
        """Adds rows: a pyarrow table with the columns of the schema."""
        table = table.select(self._schema.names).cast(self._schema)
        if len(self._writers) == 1:
            self._add(0, table)
            return
        part = table.column("key_lo").to_numpy() % np.uint64(len(self._writers))
        order = np.argsort(part, kind="stable")
        ordered = table.take(pa.array(order))
        ends = np.searchsorted(part[order], np.arange(len(self._writers)), side="right")
        start = 0
        for number, end in enumerate(ends):
            if end > start:
                self._add(number, ordered.slice(start, end - start))
            start = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, writer in enumerate(self._writers):
            if kind is None:
                self._flush(number)
            writer.close()
            unfinished = self._unfinished(number)
            if kind is None:
                unfinished.rename(partition_path(self._directory, number))
            else:
                unfinished.unlink(missing_ok=True)

    def _unfinished(self, number: int) -> Path:
        return self._directory / f"part-{number:05d}.{self._own}.unfinished"

    def _add(self, number: int, table: Any) -> None:
        self._buffers[number].append(table)
        self._rows[number] += table.num_rows
        if self._rows[number] >= self._most:
            self._flush(number)

    def _flush(self, number: int) -> None:
        if self._rows[number]:
            self._writers[number].write_table(pa.concat_tables(self._buffers[number]))
        self._buffers[number], self._rows[number] = [], 0
