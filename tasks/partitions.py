"""Partitioned Parquet: one file per partition, written side by side while rows stream in.

A row lies in partition ``key_lo % partitions``, so that equal keys of two directories with the same
number of partitions meet in files of the same number.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_PARTITION = 250_000
#: Where its number stands in the name of a partition's file.
_NUMBER = slice(5, 10)
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


def partition_path(directory: Path, partition: int, share: str = "") -> Path:
    """Where a partition's file lies; ``share``: the one that somebody of this name wrote."""
    return directory / f"part-{partition:05d}{share and f'-{share}'}.parquet"


def read_partition(directory: Path, partition: int, columns: Sequence[str] | None = None) -> Any:
    """One partition as a pyarrow table, with all its columns or only some.

    Where several wrote to the directory, each its share, what all of them wrote. Raises
    FileNotFoundError where nobody did.
    """
    wanted = None if columns is None else list(columns)
    files = sorted(directory.glob(f"{partition_path(directory, partition).stem}*.parquet"))
    if not files:
        raise FileNotFoundError(f"{directory} has no partition {partition}; list the store again")
    table = pa.concat_tables(
        [pq.read_table(path, columns=wanted, partitioning=None) for path in files]
    )
    if table.num_rows:
        return table
    # A column without any chunk can't be joined by pandas.
    return pa.table([pa.array([], field.type) for field in table.schema], schema=table.schema)


def partition_files(directory: Path) -> list[Path]:
    """The files of all partitions, in order."""
    return sorted(directory.glob("part-*.parquet"))


def files_by_partition(directory: Path) -> list[list[Path]]:
    """The same, each partition's together: there are several where several wrote a share."""
    grouped = groupby(partition_files(directory), key=lambda path: path.name[_NUMBER])
    return [list(files) for _, files in grouped]


def keep_shares(directory: Path, shares: Collection[str]) -> None:
    """Deletes what was written by anybody else than ``shares``: by an attempt that was given up."""
    for path in partition_files(directory):
        if path.stem[_NUMBER.stop :].removeprefix("-") not in shares:
            path.unlink(missing_ok=True)


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
    directory later takes the files of who did before, finished or not; where several write to it
    side by side, each a ``share``, those that have the same name.
    """

    def __init__(self, directory: Path, schema: Any, partitions: int, share: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        whose = f"?????-{share}" if share else "*"
        for left in (
            *directory.glob(f"part-{whose}.parquet"), *directory.glob(f"part-{whose}.unfinished")
        ):  # fmt: skip
            left.unlink(missing_ok=True)
        self._directory = directory
        self._share = share
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
                unfinished.rename(partition_path(self._directory, number, self._share))
            else:
                unfinished.unlink(missing_ok=True)

    def _unfinished(self, number: int) -> Path:
        path = partition_path(self._directory, number, self._share)
        return path.with_name(f"{path.stem}.{self._own}.unfinished")

    def _add(self, number: int, table: Any) -> None:
        self._buffers[number].append(table)
        self._rows[number] += table.num_rows
        if self._rows[number] >= self._most:
            self._flush(number)

    def _flush(self, number: int) -> None:
        if self._rows[number]:
            self._writers[number].write_table(pa.concat_tables(self._buffers[number]))
        self._buffers[number], self._rows[number] = [], 0
