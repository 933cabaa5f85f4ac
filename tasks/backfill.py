"""The ledger's first rows: an edge for everything that was observed of the memories there are.

Two passes over the spooled inventories, partition by partition, so that memory stays flat. The
first goes by memory: its row, a note's text, and what the canister has of it; on the way the
pathnames that the rows' URLs name are spread by the pathname's key. The second meets these with the
blob inventory. Edges are inserted where there are none and nothing else is written: interrupted and
run again, it goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa

from checks.legacy import SAMPLES, URL_KINDS, LegacyFact
from checks.model import Artifact, Backend, MemoryType
from checks.normal import BlobAddress, LocationProblem, icp_location, is_uuid
from tasks.app_tables import AppTables, find_app_tables
from tasks.blob_names import pathnames
from tasks.database import Connector, translated
from tasks.edge_writer import BATCH, EDGE, EdgeWriter, Told, in_order
from tasks.join_keys import canonical_uuids, text_keys
from tasks.lease import Fence
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition

_KEY = ["key_hi", "key_lo"]
_MEMORY = ["row_id", "memory_id", "memory_type"]
#: Of one asset's bytes, null where they were not read; ``read_size`` in bytes.
_READING = [("outcome", pa.string()), ("sha256", pa.string()), ("read_size", pa.int64())]
_READ_OF = ["canonical_id", "memory_type", "backend"]
#: What the second pass needs of a memory whose URL names a blob, and of that blob's bytes.
_NAMED = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64())]
    + [(name, pa.string()) for name in (*_MEMORY, "location")]
    + [("on_icp", pa.bool_()), ("young", pa.bool_())]
    + _READING
)
#: What reading the bytes gave, by the keys of the memories' ids; ``outcome``: ``read`` or ``gone``.
READ = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64())]
    + [(name, pa.string()) for name in ("memory_id", "memory_type", "backend")]
    + _READING
)
#: Assets that were promised by their row's URL and that no store holds.
LOST = ["memory_id", "memory_type", "location"]
#: Which of some pathnames a direct look found: True there, False not there; left out: no answer.
LookUp = Callable[[Sequence[str]], Mapping[str, bool]]


@dataclass(frozen=True, slots=True)
class Inventories:
    """What was observed, as directories of partitioned Parquet (see ``checks.columns``).

    Attributes:
        neon: ``NEON_INVENTORY``.
        blob: ``BLOB_INVENTORY``; None where the store is not configured.
        icp: ``ICP_INVENTORY``, with as many partitions as ``neon``; None where not configured.
        address: which URLs are the blob store's own.
        blob_complete: whether the listing of the blob store proves absence.
        icp_complete: whether it is known of every memory whether the canister holds it.
        hashes: ``READ``, with as many partitions as ``neon``, what counts before what does not;
            None where nothing was read.
        look_up: asks the blob store about files that its listing lacks; None: it is believed.
        grace_after: rows written later than this may still be waiting for their file.
    """

    neon: Path
    blob: Path | None = None
    icp: Path | None = None
    address: BlobAddress | None = None
    blob_complete: bool = False
    icp_complete: bool = False
    hashes: Path | None = None
    look_up: LookUp | None = None
    grace_after: datetime | None = None


@dataclass(slots=True)
class BackfillReport:
    """What the legacy data holds, and what became of it.

    Attributes:
        memories: rows that were looked at.
        inserted: edges made in all of the run, by artifact and backend.
        already_there: edges that were there before (or whose memory went away meanwhile).
        legacy: what was odd about the rows, by the kinds of ``checks.legacy.LEGACY``.
        lost: frame with the columns ``LOST``.
    """

    memories: int = 0
    inserted: Counter[str] = field(default_factory=Counter)
    already_there: int = 0
    legacy: dict[str, LegacyFact] = field(default_factory=dict)
    lost: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=LOST))

    def note(self, kind: str, rows: pd.DataFrame) -> None:
        """Counts ``rows`` (``row_id``, ``memory_type``) as one kind of dirt."""
        if not rows.empty:
            some = rows.head(SAMPLES)
            names = (some["memory_type"] + " " + some["row_id"]).tolist()
            self.legacy.setdefault(kind, LegacyFact()).add(len(rows), names)

    def count(self, kind: str) -> int:
        """How many rows are of one kind."""
        return self.legacy[kind].count if kind in self.legacy else 0


def backfill_edges(
    connect: Connector,
    fence: Fence,
    inventories: Inventories,
    work: Path,
    *,
    batch: int = BATCH,
    told: Told = lambda _edges: None,
) -> BackfillReport:
    """Makes the edges of all observed memories; those that are there are never touched.

    Args:
        connect: opens a connection; a few are used at the same time.
        fence: the lease under which it is written; the run under which it is journaled, and whose
            marks say where a killed one was.
        inventories: what was observed.
        work: a directory for what goes from the first pass to the second; it may be deleted after.
        batch: edges per transaction, or a few more, since a memory's edges stay together.
        told: called with how many edges were dealt with.
    """
    with connect() as conn, translated():
        tables = find_app_tables(conn)
    report = BackfillReport()
    with EdgeWriter(connect, fence, tables, batch=batch, told=told) as writer:
        _fill_by_memory(inventories, work, tables, writer, report)
        _fill_by_file(inventories, work, writer, report)
        writer.finish()
    for mark in writer.marks.values():
        report.inserted.update(mark.inserted)
        report.already_there += mark.already_there
    return report


def _fill_by_memory(
    inventories: Inventories,
    work: Path,
    tables: AppTables,
    writer: EdgeWriter,
    report: BackfillReport,
) -> None:
    """The first pass: rows, notes and copies; the pathnames that the rows name go to ``work``."""
    blobs = len(partition_files(inventories.blob)) if inventories.blob else 1
    with PartitionWriter(work, _NAMED, blobs) as named:
        for number in range(len(partition_files(inventories.neon))):
            rows = _memories(inventories, number, tables, report)
            on_icp = _icp_edges(rows, inventories, number, report)
            read = _read(inventories, number)
            edges = _with_readings(pd.concat([_memory_edges(rows), on_icp]), read)
            writer.write(f"memories/{number}", _to_write(edges))
            if inventories.address is not None:
                found = _name_blobs(rows, on_icp, inventories, report)
                found = _with_readings(found.assign(backend=Backend.BLOB.value), read)
                named.write(pa.Table.from_pandas(found[_NAMED.names], _NAMED, preserve_index=False))


def _fill_by_file(
    inventories: Inventories, work: Path, writer: EdgeWriter, report: BackfillReport
) -> None:
    """The second pass: files, and what is lost."""
    if inventories.blob is None:
        return
    lost = []
    for number in range(len(partition_files(inventories.blob))):
        edges = _to_write(_blob_edges(inventories, work, number, report))
        writer.write(f"blobs/{number}", edges)
        lost.append(_lost(edges, inventories))
    report.lost = pd.concat(lost, ignore_index=True)


def _memories(
    inventories: Inventories, number: int, tables: AppTables, report: BackfillReport
) -> pd.DataFrame:
    """The rows of one partition that the ledger can hold, with their ids in canonical form."""
    rows = _frame(inventories.neon, number).rename(columns={"memory_id": "row_id"})
    report.memories += len(rows)
    rows["memory_id"] = rows["row_id"]
    if tables.ledger().type_of("memory_id") == "uuid":
        good = rows["row_id"].map(is_uuid).astype(bool)
        report.note("id_not_uuid", rows[~good])
        rows = rows[good].copy()
        rows["memory_id"] = rows["row_id"].str.lower()
        report.note("id_not_canonical", rows[rows["memory_id"] != rows["row_id"]])
    report.note("no_time", rows[rows["created_at"].isna()])
    return rows


def _memory_edges(rows: pd.DataFrame) -> pd.DataFrame:
    """(metadata, neon-db) of every memory, and (asset, neon-db) of every note that has a text."""
    metadata = rows[_MEMORY].assign(
        artifact=Artifact.METADATA.value, backend=Backend.NEON.value, present=True
    )
    notes = rows[(rows["memory_type"] == MemoryType.NOTE.value) & rows["content_size"].notna()]
    texts = notes[_MEMORY].assign(
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
        return rows[_MEMORY].iloc[:0].assign(artifact=None)
    seen = _frame(inventories.icp, number).drop(columns=["created_at", "version"])
    seen = seen.sort_values("asset_there", ascending=False).drop_duplicates(_KEY)
    both = rows.merge(seen, on=_KEY, suffixes=("", "_there"))
    alike = both["memory_type"] == both["memory_type_there"]
    report.note("type_mismatch", both[~alike])
    both = both[alike]
    capsules, ids = (both[name].tolist() for name in ("capsule_id", "memory_id_there"))
    metadata = both[_MEMORY].assign(
        artifact=Artifact.METADATA.value,
        backend=Backend.ICP.value,
        present=True,
        location=list(map(icp_location, capsules, ids)),
        last_synced_at=both["written_at_there"],
    )
    assets = metadata.assign(artifact=Artifact.ASSET.value, size_bytes=both["size"])
    return pd.concat([metadata, assets[both["asset_there"].fillna(value=False).astype(bool)]])


def _name_blobs(
    rows: pd.DataFrame,
    on_icp: pd.DataFrame,
    inventories: Inventories,
    report: BackfillReport,
) -> pd.DataFrame:
    """The rows by the pathnames that their URLs name; notes those that name none."""
    assert inventories.address is not None  # noqa: S101 - only called with one
    rows = rows[rows["memory_type"] != MemoryType.NOTE.value]
    urls = rows["url"].astype(object).where(rows["url"].notna(), None)
    names = pathnames(inventories.address, urls.tolist())
    good = [not isinstance(name, LocationProblem) for name in names]
    _note_urls(rows, urls, names, report)
    locations = [str(name) for name, usable in zip(names, good, strict=True) if usable]
    high, low = text_keys(locations)
    usable = rows.loc[good]
    held = on_icp.loc[on_icp["artifact"] == Artifact.ASSET.value, "memory_id"]
    since = inventories.grace_after
    young = usable["written_at"] > pd.Timestamp(since) if since else False
    return usable[_MEMORY].assign(
        location=locations, key_hi=high, key_lo=low,
        on_icp=usable["memory_id"].isin(held), young=young,
    )  # fmt: skip


def _note_urls(
    rows: pd.DataFrame,
    urls: "pd.Series[Any]",
    names: Sequence[str | LocationProblem],
    report: BackfillReport,
) -> None:
    """Notes what is odd about the rows' URLs."""
    found = pd.Series(
        [URL_KINDS[name] if isinstance(name, LocationProblem) else None for name in names],
        index=rows.index, dtype=object,
    )  # fmt: skip
    found = found.mask((found == "url_null") & urls.notna(), "url_empty")
    for kind, some in rows.groupby(found):
        report.note(str(kind), some)
    text = urls[found.isna()].astype(str)
    plain = rows.loc[text.index]
    report.note("url_with_query", plain[text.str.contains(r"[?#]", regex=True)])
    report.note("url_percent_encoded", plain[text.str.contains("%", regex=False)])


def _blob_edges(
    inventories: Inventories, work: Path, number: int, report: BackfillReport
) -> pd.DataFrame:
    """(asset, vercel-blob) of every memory whose URL names a blob, there or gone."""
    assert inventories.blob is not None  # noqa: S101 - only called with one
    rows = _frame(work, number)
    seen = _frame(inventories.blob, number)[[*_KEY, "size", "written_at"]].drop_duplicates(_KEY)
    met = rows.merge(seen, on=_KEY, how="left", indicator="there")
    met["present"] = met["there"] == "both"
    met = met.rename(columns={"size": "size_bytes", "written_at": "last_synced_at"})
    shared = met["location"].duplicated(keep=False)
    report.note("blob_shared", met[shared].drop_duplicates("location"))
    met = _without_doubt(met, inventories, report)
    return met.assign(artifact=Artifact.ASSET.value, backend=Backend.BLOB.value)


def _without_doubt(
    met: pd.DataFrame, inventories: Inventories, report: BackfillReport
) -> pd.DataFrame:
    """Without those whose absence is not certain: of these no edge is made."""
    absent = met[~met["present"]]
    if inventories.blob_complete and inventories.look_up is not None and not absent.empty:
        answers = inventories.look_up(absent["location"].unique().tolist())
    else:
        answers = dict.fromkeys(absent["location"], False) if inventories.blob_complete else {}
    gone = absent["location"].map(lambda name: answers.get(name) is False).astype(bool)
    young = absent["young"].astype(bool)
    report.note("blob_unknown", absent[~gone])
    report.note("blob_in_flight", absent[gone & young])
    report.note("blob_gone", absent[gone & ~young])
    return met.drop(index=absent.index[~gone | young])


def _lost(edges: pd.DataFrame, inventories: Inventories) -> pd.DataFrame:
    """The assets that were promised and that no store holds."""
    if inventories.icp is not None and not inventories.icp_complete:
        return edges.iloc[:0][LOST]
    return edges[~edges["present"].astype(bool) & ~edges["on_icp"].astype(bool)][LOST]


def _read(inventories: Inventories, number: int) -> pd.DataFrame | None:
    """What reading gave of one partition's memories, once of each asset; None: nothing was read."""
    if inventories.hashes is None:
        return None
    read = _frame(inventories.hashes, number).rename(columns={"memory_id": "canonical_id"})
    return read[[*_READ_OF, *(name for name, _ in _READING)]].drop_duplicates(_READ_OF)


def _with_readings(edges: pd.DataFrame, read: pd.DataFrame | None) -> pd.DataFrame:
    """``edges`` with what reading the bytes gave of each one's memory in its store."""
    if read is None or read.empty or edges.empty:
        return edges.assign(**dict.fromkeys(name for name, _ in _READING))
    # a ledger of texts holds an id as the app writes it
    lower = edges["memory_id"].str.lower()
    of_uuid = canonical_uuids(pa.array(lower, pa.string()))
    edges = edges.assign(canonical_id=lower.where(of_uuid, edges["memory_id"]))
    return edges.merge(read, on=_READ_OF, how="left")


def _to_write(edges: pd.DataFrame) -> pd.DataFrame:
    """The edges in their order, corrected by what reading the bytes gave.

    Bytes that were read count, not what a listing or an uploader said of them. A blob that was
    gone is marked so; of an asset that the canister only claims to have no edge is made.
    """
    kept = [name for name in (*dict(_READING), "on_icp", "young") if name in edges]
    edges = in_order(edges.reindex(columns=["memory_type", *EDGE, *kept]))
    if edges["outcome"].isna().all():
        return edges
    assets = (edges["artifact"] == Artifact.ASSET.value) & edges["present"].astype(bool)
    for column, read in (("content_hash", "sha256"), ("size_bytes", "read_size")):
        better = edges[read].astype(object)
        use = assets & (edges["outcome"] == "read") & better.notna()
        edges[column] = better.where(use, edges[column].astype(object))
    gone = assets & (edges["outcome"] == "gone")
    edges.loc[gone, "present"] = False
    edges.loc[gone, ["content_hash", "size_bytes", "last_synced_at"]] = None
    return edges[~(gone & (edges["backend"] == Backend.ICP.value))]


def _frame(directory: Path, number: int) -> pd.DataFrame:
    """One partition as a frame; integers that may be null keep their type."""
    if not partition_path(directory, number).exists():
        raise FileNotFoundError(f"{directory} has no partition {number}; list the store again")
    nullable = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    table = read_partition(directory, number)
    return cast("pd.DataFrame", table.to_pandas(types_mapper=nullable.get))


def units(inventories: Inventories) -> Iterator[str]:
    """The names of all units in the order in which they are done."""
    yield from (f"memories/{n}" for n in range(len(partition_files(inventories.neon))))
    if inventories.blob is not None:
        yield from (f"blobs/{n}" for n in range(len(partition_files(inventories.blob))))
