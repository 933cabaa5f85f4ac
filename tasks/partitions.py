"""Partitioned Parquet: one file per partition, written side by side while rows stream in.

A row lies in partition ``key_lo % partitions``, so that equal keys of two directories with the same
number of partitions meet in files of the same number.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_PARTITION = 250_000
#: Files that are written side by side. With more of them each gets its rows in pieces so small that
#: writing them, and keeping account of them, takes more than spreading the rows twice.
FAN_OUT = 32
#: What waits in memory until it is written, for all partitions together.
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 131_072, 2**26
#: As small as snappy, and read in half the time.
_COMPRESSION = "lz4"
#: Few values, often repeated: worth a dictionary in the file.
DICTIONARY = ("memory_type", "artifact", "backend", "sync_state", "source", "capsule_id", "kind")

_NAME = re.compile(r"part-(?P<number>[0-9]+)(?:-.+)?\.parquet")


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
    """The files of all partitions, in the order of their numbers; what has no number is none."""
    files = (path for path in directory.glob("part-*.parquet") if _NAME.fullmatch(path.name))
    return sorted(files, key=lambda path: (partition_number(path), path.name))


def partition_number(path: Path) -> int:
    """The number in a file's name, of five digits or more. Raises ValueError where it has none."""
    found = _NAME.fullmatch(path.name)
    if found is None:
        raise ValueError(f"{path.name} is no name of a partition's file")
    return int(found["number"])


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
        with whole(partition_path(into, number)) as path:
            pq.write_table(pa.concat_tables(parts), path, **_parquet_options(parts[0].schema))


def _parquet_options(schema: Any) -> dict[str, Any]:
    """How a partition's file of a pyarrow schema is written."""
    dictionary = [name for name in DICTIONARY if name in schema.names]
    return {"use_dictionary": dictionary, "compression": _COMPRESSION}


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

    Where there are more partitions than files are worth having open, whole ranges of them are
    spread first, into Arrow streams, and each range is then spread again: the passes of a hash join
    in parts (Kitsuregawa et al., "Application of Hash to Data Base Machine and Its Architecture",
    1983; DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984).

    Every partition gets its file, also an empty one. A file has its final name only once it is
    whole: what was left by a killed run can't be taken for a listing. Who writes to the same
    directory later takes the files of who did before, finished or not: whoever was thought dead and
    goes on writing there fails at its end.
    """

    def __init__(
        self,
        directory: Path,
        schema: Any,
        partitions: int,
        later: ExitStack | None = None,
        *,
        by: str = "key_lo",
    ) -> None:
        """Takes the directory over.

        Args:
            directory: made where missing.
            schema: of the tables, a pyarrow schema with the column ``by``.
            partitions: how many.
            later: all passes but the first are made when this ends, and files get their final names
                then: the rows may come out of a transaction, which must not lie idle so long.
            by: the column of uint64 whose remainder says in which partition a row lies.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for left in [*directory.glob("part-*.parquet"), *directory.glob("part-*.unfinished")]:
            left.unlink(missing_ok=True)
        self._directory, self._schema, self._partitions = directory, schema, partitions
        self._own, self._later, self._by = token_hex(4), later, by
        try:
            self._first = self._over(range(partitions))
        except BaseException:
            self._remove_unfinished()
            raise

    def write(self, table: Any) -> None:
        """Adds rows: a pyarrow table with the columns of the schema."""
        self._first.write(table.select(self._schema.names).cast(self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._first.close(keep=kind is None)
        except BaseException as failure:
            self._complete(type(failure))
            raise
        if kind is None and self._later is not None:
            self._later.push(self._complete)
        else:
            self._complete(kind)

    def _complete(self, kind: type[BaseException] | None, *_: object) -> None:
        """Does what remains after the first pass, or removes what was written."""
        try:
            if kind is None:
                self._finish(self._first)
        finally:
            self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        for left in self._directory.glob(f"part-*.{self._own}.unfinished"):
            left.unlink(missing_ok=True)

    def _finish(self, spread: "_Spread") -> None:
        """Gives partitions their final names, and spreads ranges of them again."""
        for partitions in spread.ranges:
            path = self._unfinished(partitions)
            if len(partitions) == 1:
                path.rename(partition_path(self._directory, partitions[0]))
                continue
            again = self._over(partitions)
            try:
                with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
                    for batch in stream:
                        again.write(pa.Table.from_batches([batch]))
            except BaseException:
                again.close(keep=False)
                raise
            again.close()
            path.unlink()
            self._finish(again)

    def _over(self, partitions: range) -> "_Spread":
        return _Spread(partitions, self._partitions, self._by, self._open)

    def _open(self, partitions: range, files: ExitStack) -> Any:
        """What writes tables: to the file of a partition, or to a stream for a range of them."""
        path = str(self._unfinished(partitions))
        if len(partitions) > 1:
            file = files.enter_context(pa.OSFile(path, "wb"))
            lz4 = pa.ipc.IpcWriteOptions(compression=_COMPRESSION)
            return files.enter_context(pa.ipc.new_stream(file, self._schema, options=lz4))
        options = _parquet_options(self._schema)
        return files.enter_context(pq.ParquetWriter(path, self._schema, **options))

    def _unfinished(self, partitions: range) -> Path:
        last = "" if len(partitions) == 1 else f"-{partitions[-1]:05d}"
        return self._directory / f"part-{partitions[0]:05d}{last}.{self._own}.unfinished"


class _Spread:
    """One pass over rows: each goes to the file of the range in which its partition is.

    Rows wait until so many are there that each file gets a piece that is worth writing.
    """

    def __init__(
        self, partitions: range, of: int, by: str, open_file: Callable[[range, ExitStack], Any]
    ) -> None:
        """Opens the files.

        Args:
            partitions: to which the rows belong.
            of: how many partitions there are in all.
            by: see :class:`PartitionWriter`.
            open_file: gives what writes the tables of a range, and is closed with the stack.
        """
        self._width = -(-len(partitions) // FAN_OUT)
        starts = range(0, len(partitions), self._width)
        self.ranges = [partitions[start : start + self._width] for start in starts]
        self._start, self._of, self._by = partitions[0], of, by
        self._waiting: list[Any] = []
        self._rows = self._bytes = 0
        with ExitStack() as files:
            self._files = [open_file(each, files) for each in self.ranges]
            self._opened = files.pop_all()

    def write(self, table: Any) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _ROWS_AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self._flush()

    def close(self, *, keep: bool = True) -> None:
        """Closes the files; ``keep``: with what waits in them."""
        with self._opened:
            if keep:
                self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables(self._waiting) if self._rows else None
        self._waiting, self._rows, self._bytes = [], 0, 0
        if table is None:
            return
        if len(self._files) == 1:
            self._files[0].write_table(table)
            return
        partition = table.column(self._by).to_numpy() % np.uint64(self._of)
        # Small integers: numpy sorts them by their digits, in linear time.
        place = ((partition - np.uint64(self._start)) // np.uint64(self._width)).astype(np.uint16)
        order = np.argsort(place, kind="stable")
        table = table.take(pa.array(order))
        ends = np.searchsorted(place[order], np.arange(len(self._files)), side="right")
        start = 0
        for file, end in zip(self._files, ends.tolist(), strict=True):
            if end > start:
                file.write_table(table.slice(start, end - start))
            start = end
