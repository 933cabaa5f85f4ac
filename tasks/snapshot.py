"""One consistent read of the ledger, the memory tables and the references, spooled as Parquet.

Everything of a snapshot is read in one ``REPEATABLE READ`` transaction, streamed, and the
transaction ends before any other store is listed.
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from checks.columns import BLOB_REFERENCES, LEDGER, NEON_INVENTORY
from checks.model import Backend, MemoryType, StoreState
from checks.normal import BlobAddress, LocationProblem, is_uuid
from tasks.app_tables import AppTables, find_app_tables
from tasks.blob_names import pathnames
from tasks.copy_out import copy_table, copy_tables
from tasks.database import READ_TIMEOUT, Connection, transaction
from tasks.join_keys import text_keys, unkeyed, with_memory_keys
from tasks.missing_tables import edges_by_type, unknown_types
from tasks.partitions import PartitionWriter, partitions_for
from tasks.queries import query
from tasks.stores.protocol import ListingReport
from tasks.tracked_items import read_items

LEDGER_DIRECTORY = "ledger"
NEON_DIRECTORY = "inventory/neon-db"
REFERENCES_DIRECTORY = "references/neon"
ITEMS_DIRECTORY = "gallery-items"
_REREAD_BATCH = 20_000
#: Of a memory that is stored forever, as most are: its metadata and its asset, each in two stores.
_EDGES_PER_MEMORY = 4
_INVENTORIES = 3


@dataclass(frozen=True, slots=True)
class EdgeStatistics:
    """How many edges a backend has, and how many of them say that the artifact is there."""

    edges: int
    present: int


@dataclass(slots=True)
class Snapshot:
    """What a snapshot read, and where it lies.

    Attributes:
        directory: holds ``ledger/``, ``inventory/neon-db/``, ``references/neon/`` and, where the
            items of galleries can be read, ``gallery-items/``.
        partitions: how many files each of them has.
        edges: rows of the ledger.
        references: rows of ``references/neon/``.
        neon: how the reading of the memory tables went; its ``unknown_parts`` are memory types.
        statistics: per backend, what the breaker measures against.
        tables: the app's tables as they were found.
    """

    directory: Path
    partitions: int
    edges: int
    references: int
    neon: ListingReport
    tables: AppTables
    statistics: dict[str, EdgeStatistics] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reread:
    """Rows that were read again: frames with the columns of ``LEDGER`` and ``NEON_INVENTORY``."""

    ledger: pd.DataFrame
    memories: pd.DataFrame


def take_snapshot(
    conn: Connection,
    directory: Path,
    partitions: int | None = None,
    *,
    address: BlobAddress | None = None,
    hash_notes: bool = False,
) -> Snapshot:
    """Reads ledger, memory tables, references and gallery items as of one moment.

    Args:
        conn: a connection that is not in a transaction.
        directory: gets one directory per kind of rows.
        partitions: how many; by default so many that each holds near 250,000 rows, edges that are
            yet to be made included.
        address: which URLs are the blob store's; without it no references are read.
        hash_notes: whether Postgres hashes the notes' texts.

    Raises SchemaError where there is no ledger, and StoreError where the reading breaks off.
    """
    with (
        ExitStack() as later,
        transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT),
    ):
        tables = find_app_tables(conn)
        statistics = edge_statistics(conn, tables)
        if partitions is None:
            partitions = partitions_for(_rows_expected(conn, tables, statistics))
        edges = read_ledger(conn, directory / LEDGER_DIRECTORY, partitions, tables, later)
        neon = read_memories(
            conn, directory / NEON_DIRECTORY, partitions,
            hash_notes=hash_notes, tables=tables, later=later,
        )  # fmt: skip
        references = read_blob_references(
            conn, address, directory / REFERENCES_DIRECTORY, partitions, tables, later
        )
        read_items(conn, directory / ITEMS_DIRECTORY, partitions, tables, later)
    return Snapshot(directory, partitions, edges, references, neon, tables, statistics)


def _rows_expected(
    conn: Connection, tables: AppTables, statistics: dict[str, EdgeStatistics]
) -> int:
    """How many rows about memories there are, in the ledger and in the three inventories.

    Edges count as if every memory had those that it should have: before the back-fill the ledger is
    empty, and nearly every object becomes a finding.
    """
    memories = 0
    for table in tables.memories.values():
        row = conn.execute(query("queries/memories", "count", table=table.identifier)).fetchone()
        memories += row[0] if row else 0
    edges = sum(each.edges for each in statistics.values())
    return max(edges, _EDGES_PER_MEMORY * memories) + _INVENTORIES * memories


def read_ledger(
    conn: Connection,
    directory: Path,
    partitions: int,
    tables: AppTables | None = None,
    later: ExitStack | None = None,
) -> int:
    """Spools every edge, partitioned by memory key; returns how many there are.

    Shape: the columns of ``checks.columns.LEDGER``. ``conn`` is in a transaction made by
    :func:`tasks.database.transaction`; ``later``: see :class:`tasks.partitions.PartitionWriter`.
    """
    tables = tables or find_app_tables(conn)
    edges = 0
    with PartitionWriter(directory, LEDGER, partitions, later) as writer:
        for table in copy_tables(conn, tables.ledger_query(), unkeyed(LEDGER)):
            writer.write(with_memory_keys(table, LEDGER))
            edges += table.num_rows
    return edges


def read_memories(
    conn: Connection,
    directory: Path,
    partitions: int,
    *,
    hash_notes: bool,
    tables: AppTables | None = None,
    later: ExitStack | None = None,
) -> ListingReport:
    """Spools the rows of all memory tables, partitioned by memory key, and says how it went.

    Shape: the columns of ``checks.columns.NEON_INVENTORY``. A table that can't be seen makes its
    memory type an unknown part where the ledger has edges of that type, or where the table is there
    and only we can't read it; else there are no such memories.
    """
    tables = tables or find_app_tables(conn)
    started = time.monotonic()
    report = ListingReport(StoreState.COMPLETE)
    with PartitionWriter(directory, NEON_INVENTORY, partitions, later) as writer:
        for memory_type in tables.memories:
            select = tables.inventory_query(memory_type, hash_notes=hash_notes)
            for table in copy_tables(conn, select, unkeyed(NEON_INVENTORY)):
                writer.write(with_memory_keys(table, NEON_INVENTORY))
                report.objects += table.num_rows
                report.bytes += pa.compute.sum(table.column("content_size")).as_py() or 0
            report.requests += 1
    _judge(conn, tables, report)
    report.seconds = time.monotonic() - started
    return report


def read_blob_references(
    conn: Connection,
    address: BlobAddress | None,
    directory: Path,
    partitions: int,
    tables: AppTables | None = None,
    later: ExitStack | None = None,
) -> int:
    """Spools what the app's rows name in the blob store, partitioned by the pathname's key.

    Shape: the columns of ``checks.columns.BLOB_REFERENCES``; returns how many rows. URLs that name
    nothing in this store are left out: they are findings of their rows. Edges' locations are not
    among them.
    """
    tables = tables or find_app_tables(conn)
    written = 0
    with PartitionWriter(directory, BLOB_REFERENCES, partitions, later) as writer:
        if address is None:
            return 0
        for select in tables.reference_queries():
            for table in copy_tables(conn, select, NAMED):
                references = named_in(address, table)
                writer.write(references)
                written += references.num_rows
    return written


def reread(
    conn: Connection, memories: Iterable[tuple[str, str]], *, hash_notes: bool = False
) -> Reread:
    """The rows of some memories and of their edges as they are now, as of one moment.

    Args:
        conn: a connection that is not in a transaction.
        memories: pairs of memory id and memory type. A pair that has no row has none in the result.
        hash_notes: whether Postgres hashes the notes' texts.
    """
    with transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        tables = find_app_tables(conn)
        ledger, rows = read_some(conn, tables, memories, hash_notes=hash_notes)
    return Reread(ledger.to_pandas(), rows.to_pandas())


def read_some(
    conn: Connection,
    tables: AppTables,
    memories: Iterable[tuple[str, str]],
    *,
    hash_notes: bool = False,
) -> tuple[Any, Any]:
    """The edges (``LEDGER``) and the rows (``NEON_INVENTORY``) of some memories, as tables.

    ``conn`` is in a transaction made by :func:`tasks.database.transaction`; the rest as above.
    """
    by_type: dict[str, set[str]] = {}
    for memory_id, memory_type in memories:
        by_type.setdefault(memory_type, set()).add(memory_id)
    everything = sorted(set().union(*by_type.values()))
    edges, rows = [LEDGER.empty_table()], [NEON_INVENTORY.empty_table()]
    id_type = tables.ledger().type_of("memory_id")
    for ids in _batches(everything, only_uuids=id_type == "uuid"):
        found = copy_table(conn, tables.ledger_query(ids), unkeyed(LEDGER))
        edges.append(with_memory_keys(found, LEDGER))
    for memory_type, table in tables.memories.items():
        wanted = sorted(by_type.get(memory_type.value, ()))
        for ids in _batches(wanted, only_uuids=table.type_of("id") == "uuid"):
            select = tables.inventory_query(memory_type, hash_notes=hash_notes, ids=ids)
            found = copy_table(conn, select, unkeyed(NEON_INVENTORY))
            rows.append(with_memory_keys(found, NEON_INVENTORY))
    ledger = pa.concat_tables(edges)
    asked = pd.MultiIndex.from_tuples(
        [(i.lower(), t) for t, ids in by_type.items() for i in ids] or [("", "")]
    )
    pairs = pd.MultiIndex.from_arrays(
        [ledger["memory_id"].to_pandas().str.lower(), ledger["memory_type"].to_pandas()]
    )
    return ledger.filter(pa.array(pairs.isin(asked), pa.bool_())), pa.concat_tables(rows)


def count_edges(conn: Connection) -> int:
    """How many edges the ledger has."""
    return sum(each.edges for each in edge_statistics(conn).values())


def edge_statistics(conn: Connection, tables: AppTables | None = None) -> dict[str, EdgeStatistics]:
    """Per backend that has edges: how many, and how many with present=true."""
    tables = tables or find_app_tables(conn)
    select = query("queries/edges", "statistics", table=tables.ledger().identifier)
    return {
        backend: EdgeStatistics(edges, present)
        for backend, edges, present in conn.execute(select).fetchall()
    }


#: What a row names, as ``AppTables.reference_queries`` give it: a URL or a JSON text with URLs.
NAMED = pa.schema([("reference", pa.string()), ("source", pa.string())])


def named_in(address: BlobAddress, table: Any) -> Any:
    """What rows of ``NAMED`` name in the store, with the columns of ``BLOB_REFERENCES``."""
    texts = table.column("reference").to_pylist()
    sources = table.column("source").to_pylist()
    if sources and sources[0] == "metadata":
        texts, sources = [_thumbnail(text) for text in texts], ["thumbnail"] * len(texts)
    named = [
        (name, source)
        for name, source in zip(pathnames(address, texts), sources, strict=True)
        if not isinstance(name, LocationProblem)
    ]
    locations = [name for name, _ in named]
    high, low = text_keys(locations)
    columns = [high, low, locations, [source for _, source in named]]
    return pa.Table.from_arrays(
        [pa.array(c, f.type) for c, f in zip(columns, BLOB_REFERENCES, strict=True)],
        schema=BLOB_REFERENCES,
    )


def _thumbnail(metadata: str | None) -> str | None:
    """The thumbnail that a JSON text names, also one encoded twice; None where it names none."""
    try:
        value = json.loads(metadata or "")
        if isinstance(value, str):
            value = json.loads(value)
    except (ValueError, RecursionError):
        return None
    thumbnail = value.get("thumbnail") if isinstance(value, dict) else None
    return thumbnail if isinstance(thumbnail, str) else None


def _judge(conn: Connection, tables: AppTables, report: ListingReport) -> None:
    """Says which memory types are unknown, and whether the reading proves any absence."""
    edges = edges_by_type(conn, tables)
    report.unknown_parts = {t.value: why for t, why in unknown_types(tables, edges).items()}
    if report.unknown_parts:
        report.state = StoreState.INCOMPLETE
        report.detail = "; ".join(f"{t}: {why}" for t, why in report.unknown_parts.items())
    elif report.objects == 0 and edges:
        report.state = StoreState.INCOMPLETE
        report.unknown_parts = {t.value: "all memory tables are empty" for t in MemoryType}
        report.detail = (
            f"All memory tables are empty, but the ledger has {sum(edges.values())} edges. "
            f"Check that DATABASE_URL leads to the right database ({Backend.NEON})."
        )


def _batches(ids: list[str], *, only_uuids: bool) -> Iterator[list[str]]:
    """Ids in batches; a uuid column can't hold, and so need not be asked for, anything else."""
    wanted = [text for text in ids if is_uuid(text)] if only_uuids else ids
    for start in range(0, len(wanted), _REREAD_BATCH):
        yield wanted[start : start + _REREAD_BATCH]


__all__ = [
    "NAMED",
    "EdgeStatistics",
    "Reread",
    "Snapshot",
    "count_edges",
    "edge_statistics",
    "named_in",
    "read_blob_references",
    "read_ledger",
    "read_memories",
    "reread",
    "take_snapshot",
]
