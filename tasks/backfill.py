"""The ledger's first rows: an edge for everything that was observed of the memories there are.

Two passes over the spooled inventories, partition by partition, so that memory stays flat. The
first goes by memory: its row, a note's text, and what the canister has of it; on the way the
pathnames that the rows' URLs name are spread by the pathname's key. The second meets these with the
blob inventory. Every batch is a short transaction that inserts what is not there yet and nothing
else: interrupted and run again, it goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from checks.model import Artifact, Backend, MemoryType
from checks.normal import BlobAddress, LocationProblem, icp_location, is_uuid
from tasks.app_tables import AppTables, find_app_tables
from tasks.blob_names import pathnames
from tasks.database import Connection, transaction, translated
from tasks.join_keys import text_keys
from tasks.lease import Fence, check_fence
from tasks.ledger import ledger_parts
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition
from tasks.queries import query

BATCH = 10_000
_KEY = ["key_hi", "key_lo"]
_EDGE = ["row_id", "memory_id", "artifact", "backend", "present", "location", "content_hash",
         "size_bytes", "last_synced_at"]  # fmt: skip
_TYPES = {"present": pa.bool_(), "size_bytes": pa.int64(), "last_synced_at": pa.timestamp("us")}
#: What the second pass needs of a memory whose URL names a blob.
_NAMED = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64())]
    + [(name, pa.string()) for name in ("row_id", "memory_id", "memory_type", "location")]
)


@dataclass(frozen=True, slots=True)
class Inventories:
    """What was observed, as directories of partitioned Parquet (see ``checks.columns``).

    Attributes:
        neon: ``NEON_INVENTORY``.
        blob: ``BLOB_INVENTORY``; None where the store is not configured.
        icp: ``ICP_INVENTORY``, with as many partitions as ``neon``; None where not configured.
        address: which URLs are the blob store's own.
        blob_complete: whether the listing of the blob store proves absence.
        hashes: what reading the bytes gave, with the columns ``memory_id``, ``memory_type``,
            ``backend``, ``outcome`` (``read`` or ``gone``), ``sha256`` and ``read_size`` (bytes);
            a frame or None.
    """

    neon: Path
    blob: Path | None = None
    icp: Path | None = None
    address: BlobAddress | None = None
    blob_complete: bool = False
    hashes: pd.DataFrame | None = None


@dataclass(slots=True)
class BackfillReport:
    """What the legacy data holds, and what became of it.

    Attributes:
        memories: rows that were looked at.
        inserted: edges made, by (artifact, backend).
        already_there: edges that were there before (or whose memory went away meanwhile).
        unusable_urls: rows whose URL names nothing in the store, by problem.
        blob_gone: rows whose blob is not in the store; their edge says so.
        blob_unknown: rows whose blob was not seen by a listing that proves no absence: no edge.
        invalid_ids: rows whose id is no UUID, which the ledger can't hold.
        type_mismatches: memories that the canister has under another type: no canister edges.
    """

    memories: int = 0
    inserted: Counter[tuple[str, str]] = field(default_factory=Counter)
    already_there: int = 0
    unusable_urls: Counter[LocationProblem] = field(default_factory=Counter)
    blob_gone: int = 0
    blob_unknown: int = 0
    invalid_ids: int = 0
    type_mismatches: int = 0


Progress = Callable[[str, BackfillReport], None]


def backfill_edges(
    conn: Connection,
    fence: Fence,
    inventories: Inventories,
    work: Path,
    *,
    batch: int = BATCH,
    progress: Progress = lambda _unit, _report: None,
    done: Collection[str] = (),
) -> BackfillReport:
    """Makes the edges of all observed memories; those that are there are never touched.

    Args:
        conn: a connection that is not in a transaction.
        fence: the lease under which it is written; the run under which it is journaled.
        inventories: what was observed.
        work: a directory for what goes from the first pass to the second; it may be deleted after.
        batch: edges per transaction.
        progress: called after each unit (``memories/<n>`` or ``blobs/<n>``) with its name.
        done: units that an interrupted run finished: their edges are not sent again.
    """
    with translated():
        tables = find_app_tables(conn)
    report = BackfillReport()
    writer = _EdgeWriter(conn, fence, tables, report, hashes=inventories.hashes, batch=batch)
    neon = partition_files(inventories.neon)
    blobs = len(partition_files(inventories.blob)) if inventories.blob else 1
    with PartitionWriter(work, _NAMED, blobs) as named:
        for number in range(len(neon)):
            unit = f"memories/{number}"
            rows = _memories(inventories, number, tables, report)
            if unit not in done:
                writer.write(_memory_edges(rows))
                writer.write(_icp_edges(rows, inventories, number, report))
            if inventories.address is not None:
                _name_blobs(rows, inventories.address, named, report)
            progress(unit, report)
    for number in range(blobs if inventories.blob else 0):
        unit = f"blobs/{number}"
        edges = _blob_edges(inventories, work, number, report)
        if unit not in done:
            writer.write(edges)
        progress(unit, report)
    return report


def _memories(
    inventories: Inventories, number: int, tables: AppTables, report: BackfillReport
) -> pd.DataFrame:
    """The rows of one partition that the ledger can hold, with their ids in canonical form."""
    rows = _frame(inventories.neon, number).rename(columns={"memory_id": "row_id"})
    report.memories += len(rows)
    rows["memory_id"] = rows["row_id"]
    if tables.ledger().type_of("memory_id") == "uuid":
        good = rows["row_id"].map(is_uuid).astype(bool)
        report.invalid_ids += int((~good).sum())
        rows = rows[good].copy()
        rows["memory_id"] = rows["row_id"].str.lower()
    return rows.sort_values("memory_id")  # neighbours share index pages


def _memory_edges(rows: pd.DataFrame) -> pd.DataFrame:
    """(metadata, neon-db) of every memory, and (asset, neon-db) of every note that has a text."""
    metadata = rows[["row_id", "memory_id", "memory_type"]].assign(
        artifact=Artifact.METADATA.value, backend=Backend.NEON.value, present=True
    )
    notes = rows[(rows["memory_type"] == MemoryType.NOTE.value) & rows["content_size"].notna()]
    texts = notes[["row_id", "memory_id", "memory_type"]].assign(
        artifact=Artifact.ASSET.value,
        backend=Backend.NEON.value,
        present=True,
        content_hash=notes["content_sha256"],
        size_bytes=notes["content_size"],
    )
    return pd.concat([metadata, texts])


def _icp_edges(
    rows: pd.DataFrame, inventories: Inventories, number: int, report: BackfillReport
) -> pd.DataFrame:
    """(metadata, icp-canister), and (asset, icp-canister) where the canister has the asset."""
    if inventories.icp is None:
        return rows.iloc[:0]
    seen = _frame(inventories.icp, number).drop(columns=["created_at", "version"])
    seen = seen.sort_values("asset_there", ascending=False).drop_duplicates(_KEY)
    both = rows.merge(seen, on=_KEY, suffixes=("", "_there"))
    report.type_mismatches += int((both["memory_type"] != both["memory_type_there"]).sum())
    both = both[both["memory_type"] == both["memory_type_there"]]
    places = zip(both["capsule_id"], both["memory_id_there"], strict=True)
    metadata = both[["row_id", "memory_id", "memory_type"]].assign(
        artifact=Artifact.METADATA.value,
        backend=Backend.ICP.value,
        present=True,
        location=[icp_location(capsule, memory) for capsule, memory in places],
        last_synced_at=both["written_at_there"],
    )
    assets = metadata.assign(artifact=Artifact.ASSET.value, size_bytes=both["size"])
    return pd.concat([metadata, assets[both["asset_there"].fillna(value=False).astype(bool)]])


def _name_blobs(
    rows: pd.DataFrame, address: BlobAddress, named: PartitionWriter, report: BackfillReport
) -> None:
    """Spreads the rows by the pathnames that their URLs name; counts those that name none."""
    rows = rows[rows["memory_type"] != MemoryType.NOTE.value]
    urls = rows["url"].astype(object).where(rows["url"].notna(), None)
    names = pathnames(address, urls.tolist())
    report.unusable_urls.update(name for name in names if isinstance(name, LocationProblem))
    good = [not isinstance(name, LocationProblem) for name in names]
    locations = [str(name) for name, usable in zip(names, good, strict=True) if usable]
    high, low = text_keys(locations)
    columns = rows.loc[good, ["row_id", "memory_id", "memory_type"]]
    frame = columns.assign(location=locations, key_hi=high, key_lo=low)
    named.write(pa.Table.from_pandas(frame[_NAMED.names], schema=_NAMED, preserve_index=False))


def _blob_edges(
    inventories: Inventories, work: Path, number: int, report: BackfillReport
) -> pd.DataFrame:
    """(asset, vercel-blob) of every memory whose URL names a blob, there or gone."""
    assert inventories.blob is not None  # noqa: S101 - only called with one
    rows = _frame(work, number)
    seen = _frame(inventories.blob, number)[[*_KEY, "size", "written_at"]].drop_duplicates(_KEY)
    met = rows.merge(seen, on=_KEY, how="left", indicator="there").sort_values("memory_id")
    met["present"] = met["there"] == "both"
    absent = int((~met["present"]).sum())
    if inventories.blob_complete:
        report.blob_gone += absent
    else:
        report.blob_unknown += absent
        met = met[met["present"]]
    met = met.rename(columns={"size": "size_bytes", "written_at": "last_synced_at"})
    return met.assign(artifact=Artifact.ASSET.value, backend=Backend.BLOB.value)


def _frame(directory: Path, number: int) -> pd.DataFrame:
    """One partition as a frame; integers that may be null keep their type."""
    if not partition_path(directory, number).exists():
        raise FileNotFoundError(f"{directory} has no partition {number}; list the store again")
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    table = read_partition(directory, number)
    return cast("pd.DataFrame", table.to_pandas(types_mapper=nullable.get))


class _EdgeWriter:
    """Sends frames of edges to Postgres in batches and counts what became of them."""

    def __init__(
        self,
        conn: Connection,
        fence: Fence,
        tables: AppTables,
        report: BackfillReport,
        *,
        hashes: pd.DataFrame | None,
        batch: int,
    ) -> None:
        self._conn = conn
        self._fence = fence
        self._tables = tables
        self._hashes = hashes
        self._batch = batch
        self._report = report

    def write(self, edges: pd.DataFrame) -> None:
        """Inserts the edges that are not there yet."""
        for memory_type, group in self._read(edges).groupby("memory_type"):
            for start in range(0, len(group), self._batch):
                self._insert(str(memory_type), group.iloc[start : start + self._batch])

    def _read(self, edges: pd.DataFrame) -> pd.DataFrame:
        """The edges, corrected by what reading the bytes gave.

        Bytes that were read count, not what a listing or an uploader said of them. A blob that was
        gone is marked so; of an asset that the canister only claims to have no edge is made.
        """
        edges = edges.reindex(columns=["memory_type", *_EDGE])
        if self._hashes is None or self._hashes.empty or edges.empty:
            return edges
        key = ["memory_id", "memory_type", "backend"]
        known = self._hashes[[*key, "outcome", "sha256", "read_size"]].drop_duplicates(key)
        merged = edges.merge(known, on=key, how="left")
        assets = (merged["artifact"] == Artifact.ASSET.value) & merged["present"].astype(bool)
        for column, read in (("content_hash", "sha256"), ("size_bytes", "read_size")):
            better = merged[read].astype(object)
            use = assets & (merged["outcome"] == "read") & better.notna()
            merged[column] = better.where(use, merged[column].astype(object))
        gone = assets & (merged["outcome"] == "gone")
        merged.loc[gone, "present"] = False
        merged.loc[gone, ["content_hash", "size_bytes", "last_synced_at"]] = None
        return merged[~(gone & (merged["backend"] == Backend.ICP.value))]

    def _insert(self, memory_type: str, edges: pd.DataFrame) -> None:
        """One short transaction."""
        memories = self._tables.memories[MemoryType(memory_type)]
        id_column = memories.required_column("id")
        parts: dict[str, sql.Composable] = {
            **ledger_parts(self._tables.ledger()),
            "memories": memories.identifier,
            "memory_type": sql.Literal(memory_type),
            "id": sql.Identifier(id_column),
            "row_id_type": sql.SQL(memories.columns[id_column]),
        }
        with transaction(self._conn):
            check_fence(self._conn, self._fence)
            self._conn.execute(query("queries/backfill", "batch", **parts))
            with self._conn.cursor() as cursor:
                with cursor.copy(query("queries/backfill", "fill")) as copy:
                    copy.write(_as_csv(edges))
                insert = query("queries/backfill", "insert", **parts)
                made = cursor.execute(insert, {"run_id": self._fence.run_id}).fetchall()
        for artifact, backend, count in made:
            self._report.inserted[artifact, backend] += count
        self._report.already_there += len(edges) - sum(count for _, _, count in made)


def _as_csv(edges: pd.DataFrame) -> memoryview:
    """Edges as COPY takes them: nothing for null, a quoted text for a text."""
    arrays = [_column(edges[name], _TYPES.get(name, pa.string())) for name in _EDGE]
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.table(arrays, names=_EDGE), sink, csv.WriteOptions(include_header=False))
    return memoryview(sink.getvalue())


def _column(values: "pd.Series[Any]", kind: Any) -> Any:
    """A column of a frame as an array; times lose their zone, which is UTC."""
    if pa.types.is_timestamp(kind):
        values = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    return pa.Array.from_pandas(values, type=kind)


def units(inventories: Inventories) -> Iterator[str]:
    """The names of all units in the order in which they are done."""
    yield from (f"memories/{n}" for n in range(len(partition_files(inventories.neon))))
    if inventories.blob is not None:
        yield from (f"blobs/{n}" for n in range(len(partition_files(inventories.blob))))
