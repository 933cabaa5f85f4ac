"""Writing down what a store holds: a listing spooled as Parquet, with its report beside it."""

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa

from checks.errors import StoreError, StoreUnreachableError
from checks.model import Backend, StoreState
from tasks.join_keys import memory_keys, text_keys
from tasks.partitions import PartitionWriter
from tasks.stores.protocol import ListingReport, Shard, Store

Progress = Callable[[int], None]
#: A page may hold a hundred: making a table costs the same for thousands.
_ROWS_AT_ONCE = 5_000


async def spool(
    store: Store,
    schema: pa.Schema,
    directory: Path,
    partitions: int,
    progress: Progress = lambda _objects: None,
    *,
    expected: int = 0,
    shard: Shard | None = None,
) -> ListingReport:
    """Lists ``store``, or a shard of it, into ``directory``; memory stays flat.

    ``expected``: about how many objects there should be in all.

    The inventory's natural key is ``memory_id`` where the schema has it, else ``location``. A
    listing that fails half-way leaves what it saw: seen is there, but not seen is unknown.
    """
    report = ListingReport(StoreState.INCOMPLETE, expected=expected)
    started = monotonic()
    try:
        batches = store.list_batches(report, shard)
        await spool_batches(batches, schema, directory, partitions, progress)
    except StoreError as error:
        break_off(report, error)
    report.seconds = monotonic() - started
    return report


def break_off(report: ListingReport, error: StoreError) -> None:
    """Notes that ``error`` ended a listing: it proves no absence of what was not seen."""
    unreachable = isinstance(error, StoreUnreachableError) and report.objects == 0
    report.state = StoreState.UNREACHABLE if unreachable else StoreState.INCOMPLETE
    report.detail = str(error)
    report.doubted = True


async def spool_batches(
    batches: AsyncIterator[list[dict[str, Any]]],
    schema: pa.Schema,
    directory: Path,
    partitions: int,
    progress: Progress = lambda _objects: None,
) -> None:
    """Writes batches of an inventory's rows down; what came before an error is kept."""
    failure: StoreError | None = None
    rows: list[dict[str, Any]] = []
    with PartitionWriter(directory, schema, partitions) as writer:
        try:
            async for batch in batches:
                rows += batch
                progress(len(batch))
                if len(rows) >= _ROWS_AT_ONCE:
                    writer.write(_table(rows, schema))
                    rows = []
        except StoreError as error:
            failure = error
        if rows:
            writer.write(_table(rows, schema))
    if failure is not None:
        raise failure


def _table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows of an inventory as a table with its key columns."""
    named = [name for name in schema.names if name not in ("key_hi", "key_lo")]
    columns = {
        name: pa.array([row[name] for row in rows], schema.field(name).type) for name in named
    }
    if "memory_id" in columns:
        high, low = memory_keys(columns["memory_id"])
    else:
        high, low = text_keys([row["location"] for row in rows])
    columns |= {"key_hi": pa.array(high), "key_lo": pa.array(low)}
    return pa.table([columns[name] for name in schema.names], schema=schema)


def as_one(reports: Iterable[ListingReport]) -> ListingReport:
    """The report of a listing whose shards have these; what is unknown of one is not of others.

    It is complete where all of them are, and unreachable where all of them were.
    """
    several = list(reports)
    states = {report.state for report in several}
    unknown = {name: why for report in several for name, why in report.unknown_parts.items()}
    details = dict.fromkeys(report.detail for report in several if report.detail)
    return ListingReport(
        states.pop() if len(states) == 1 else StoreState.INCOMPLETE,
        objects=sum(report.objects for report in several),
        bytes=sum(report.bytes for report in several),
        seconds=max(report.seconds for report in several),
        requests=sum(report.requests for report in several),
        detail="; ".join(details) or None,
        unknown_parts=unknown,
        ignored=sum(report.ignored for report in several),
        doubted=any(report.doubted for report in several),
        expected=max(report.expected for report in several),
    )


def judge_emptiness(report: ListingReport, backend: Backend, present: int) -> None:
    """An empty listing of a store that the ledger says holds objects proves nothing."""
    if report.state == StoreState.COMPLETE and report.objects == 0 and present > 0:
        report.state, report.doubted = StoreState.INCOMPLETE, True
        report.detail = (
            f"{backend} listed nothing, while the ledger says it holds {present} artifacts: "
            "check that the credentials belong to the right store"
        )
