"""Bringing ledger, rows and inventories under one key: the memory's.

Blobs are named by pathname and canister memories by their own id; both may differ from the memory
id that the ledger uses. So each is matched under its natural key first, partition by partition,
and what was found is spooled again under the memory's key (two shuffles, as in a distributed hash
join). What no memory expects is left over: those are the candidates for orphans.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checks import columns
from checks.cases import Partition
from checks.model import Artifact, Backend, MemoryType
from checks.normal import (
    BlobAddress,
    LocationProblem,
    is_ignored,
    is_uuid,
    leading_segment,
)
from checks.row_values import displaced, row_problems
from tasks.blob_names import icp_memory_id_column, leading_segments, pathname_column
from tasks.join_keys import canonical_uuids, memory_keys, text_keys
from tasks.partitions import PartitionWriter, partition_files, partition_path, read_partition

_KEY = ["key_hi", "key_lo"]
_MEMORY = {"memory_hi": pa.uint64(), "memory_lo": pa.uint64()}
#: Of an edge, what says which object it is about.
_EXPECTING = (
    *_KEY, "memory_id", "memory_type", "artifact", "backend", "present", "location"
)  # fmt: skip
_EXPECTED_BLOB = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64()), *_MEMORY.items(),
     ("memory_type", pa.string()), ("artifact", pa.string()), ("location", pa.string()),
     ("deleted", pa.bool_()), ("of_row", pa.bool_())]
)  # fmt: skip
_EXPECTED_REPLICA = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64()), *_MEMORY.items(),
     ("memory_type", pa.string()), ("owner_id", pa.string())]
)  # fmt: skip
_SEEN_BLOB = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64()), ("memory_type", pa.string()),
     ("artifact", pa.string()), ("of_row", pa.bool_()), ("object_location", pa.string()),
     ("object_size", pa.int64()), ("object_version", pa.string()),
     ("object_written_at", pa.timestamp("us", tz="UTC"))]
)  # fmt: skip
_SEEN_REPLICA = columns.ICP_INVENTORY.append(pa.field("owner_id", pa.string()))
#: An object that nothing refers to.
LEFT_OVER = pa.schema(
    [("object_location", pa.string()), ("object_size", pa.int64()),
     ("object_version", pa.string()), ("object_written_at", pa.timestamp("us", tz="UTC"))]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where the spools of one run lie, all with the same number of partitions."""

    directory: Path
    partitions: int

    @property
    def ledger(self) -> Path:
        """``columns.LEDGER`` by memory."""
        return self.directory / "ledger"

    def inventory(self, backend: Backend) -> Path:
        """A store's inventory by its natural key."""
        return self.directory / "inventory" / backend.value

    @property
    def references(self) -> Path:
        """``columns.BLOB_REFERENCES`` from Neon by pathname."""
        return self.directory / "references" / "neon"

    def expected(self, backend: Backend) -> Path:
        """What the ledger and the rows expect of a store, by the store's natural key."""
        return self.directory / "expected" / backend.value

    def seen(self, backend: Backend) -> Path:
        """What of it was seen, by memory."""
        return self.directory / "seen" / backend.value

    @property
    def gallery_items(self) -> Path:
        """``columns.GALLERY_ITEMS`` by memory; not there where they could not be read."""
        return self.directory / "gallery-items"

    @property
    def stored_copies(self) -> Path:
        """``columns.STORED_COPIES``: the copies of assets that were seen, by memory."""
        return self.directory / "quality" / "stored-copies"

    @property
    def left_over(self) -> Path:
        """Objects that nothing refers to, by pathname."""
        return self.directory / "seen" / "left-over"

    @property
    def left_over_by_size(self) -> Path:
        """The same by their size, in as many partitions as they need."""
        return self.directory / "seen" / "left-over-by-size"

    @property
    def readings(self) -> Path:
        """When replicas were last read in former runs, by memory."""
        return self.directory / "readings"

    @property
    def read(self) -> Path:
        """What was read in this run, in the order in which it was."""
        return self.directory / "read"

    @property
    def hashes(self) -> Path:
        """What was read in this run, by memory."""
        return self.directory / "hashes"


def ledger_part(
    workspace: Workspace,
    partition: int,
    address: BlobAddress | None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One partition of the ledger with its locations read.

    Adds ``named`` (the blob pathname or canister memory id that the location names, else null),
    ``location_problem`` and ``malformed``.
    """
    edges = read_partition(workspace.ledger, partition, columns).combine_chunks()
    locations, backends, present = (
        edges[name].combine_chunks() for name in ("location", "backend", "present")
    )
    on_icp = pc.and_(_is(backends, Backend.ICP), locations.is_valid())
    ids = icp_memory_id_column(locations.filter(on_icp))
    named = pc.replace_with_mask(pa.nulls(len(edges), pa.string()), on_icp, ids)
    unnamed = pc.and_(on_icp, named.is_null())
    problems = dict.fromkeys(np.flatnonzero(unnamed).tolist(), LocationProblem.UNPARSEABLE)
    if address is not None:
        in_blob = _is(backends, Backend.BLOB)
        names, odd = pathname_column(address, locations.filter(in_blob), bare=True)
        named = pc.replace_with_mask(named, in_blob, names)
        places = np.flatnonzero(in_blob)
        claimed = pc.fill_null(present, fill_value=False)
        for number, problem in odd.items():
            place = int(places[number])
            if problem is not LocationProblem.NULL or claimed[place].as_py():
                problems[place] = problem
    found: pd.DataFrame = (
        edges.append_column("named", named)
        .append_column("location_problem", _told(problems, len(edges)))
        .to_pandas()
    )
    return found.assign(malformed=found["location_problem"].notna())


def _is(backends: Any, backend: Backend) -> Any:
    """Which of a pyarrow array are one backend."""
    return pc.fill_null(pc.equal(backends, backend.value), fill_value=False)


def _told(problems: Mapping[int, LocationProblem], length: int) -> Any:
    """A pyarrow array of so many texts: what is wrong with some places, null elsewhere."""
    told = np.full(length, None, dtype=object)
    for place, problem in problems.items():
        told[place] = problem.value
    return pa.array(told, pa.string())


def rows_part(workspace: Workspace, partition: int, address: BlobAddress | None) -> pd.DataFrame:
    """One partition of the memory rows, with ``pathname`` and ``url_problem``.

    A note has no URL, and nothing is wrong with that.
    """
    rows = read_partition(workspace.inventory(Backend.NEON), partition)
    named, problems = pa.nulls(len(rows), pa.string()), {}
    if address is not None:
        kinds = rows["memory_type"].combine_chunks()
        has_file = pc.fill_null(pc.not_equal(kinds, MemoryType.NOTE.value), fill_value=True)
        urls = rows["url"].combine_chunks().filter(has_file)
        names, odd = pathname_column(address, urls)
        named = pc.replace_with_mask(named, has_file, names)
        places = np.flatnonzero(has_file)
        problems = {int(places[number]): problem for number, problem in odd.items()}
    found: pd.DataFrame = (
        rows.append_column("pathname", named)
        .append_column("url_problem", _told(problems, len(rows)))
        .to_pandas()
    )
    return found


def expect(workspace: Workspace, address: BlobAddress | None) -> None:
    """Spools what the ledger and the rows expect of the blob store and of the canister."""
    blob = workspace.expected(Backend.BLOB)
    icp = workspace.expected(Backend.ICP)
    with (
        PartitionWriter(blob, _EXPECTED_BLOB, workspace.partitions) as blobs,
        PartitionWriter(icp, _EXPECTED_REPLICA, workspace.partitions) as replicas,
    ):
        for partition in range(workspace.partitions):
            edges = ledger_part(workspace, partition, address, _EXPECTING)
            rows = rows_part(workspace, partition, address)
            _write(blobs, _expected_blobs(edges, rows), "location")
            _write(replicas, _expected_replicas(edges), "named")


def _write(writer: PartitionWriter, frame: pd.DataFrame, natural_key: str) -> None:
    """Spools ``frame`` under the key of its column ``natural_key``; its own keys are kept aside."""
    names = pa.array(frame[natural_key], pa.string())
    as_ids = natural_key == "named"
    high, low = memory_keys(names) if as_ids else text_keys(names.to_pylist())
    frame = frame.rename(columns={"key_hi": "memory_hi", "key_lo": "memory_lo"})
    writer.write(pa.Table.from_pandas(frame.assign(key_hi=high, key_lo=low), preserve_index=False))


def _expected_blobs(edges: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Which pathname each memory's blob should have: the edge's own, else the row's.

    Where both name one and they differ, the row's too, marked ``of_row``.
    """
    by = [*_KEY, "memory_type"]
    paths = rows.loc[rows["pathname"].notna(), [*by, "pathname"]]
    blob = edges.loc[edges["backend"] == Backend.BLOB, [*by, "artifact", "named"]]
    if blob.empty and paths.empty:  # two columns of texts without any chunk can't be joined
        return pd.DataFrame(columns=[*by, "artifact", "location", "deleted", "of_row"])
    blob = blob.merge(paths, "outer", by)
    blob["artifact"] = blob["artifact"].fillna(Artifact.ASSET.value)
    blob["location"] = blob["named"].fillna(blob["pathname"])
    differs = blob["pathname"].notna() & (blob["pathname"] != blob["location"])
    other = blob[differs & (blob["artifact"] == Artifact.ASSET.value)]
    other = other.assign(location=other["pathname"], of_row=True)
    blob = pd.concat([blob.assign(of_row=False), other], ignore_index=True)
    blob = blob[blob["location"].notna()].merge(known_deleted(edges, rows), "left", by)
    blob["deleted"] = blob["deleted"].notna()
    return blob[[*by, "artifact", "location", "deleted", "of_row"]]


def known_deleted(edges: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Memories without a row whose Neon edges all say so: they no longer refer to an object."""
    by = [*_KEY, "memory_type"]
    neon = edges[edges["backend"] == Backend.NEON]
    claimed = neon.loc[neon["present"].fillna(value=True).astype(bool), by].drop_duplicates()
    neon = neon[by].drop_duplicates().merge(claimed, "left", by, indicator="claim")
    neon = neon.loc[neon["claim"] == "left_only", by]
    gone = neon.merge(rows[by].drop_duplicates(), "left", by, indicator="row")
    left: pd.DataFrame = gone.loc[gone["row"] == "left_only", by]
    return left.assign(deleted=True)


def _expected_replicas(edges: pd.DataFrame) -> pd.DataFrame:
    """Which canister memory each memory of the ledger is, where the location names one."""
    icp = edges[(edges["backend"] == Backend.ICP) & edges["named"].notna()]
    icp = icp[[*_KEY, "memory_type", "memory_id", "named"]].drop_duplicates()
    return icp.rename(columns={"memory_id": "owner_id"})


def match_replicas(workspace: Workspace) -> None:
    """Spools the canister's memories under the memory that each belongs to."""
    with PartitionWriter(
        workspace.seen(Backend.ICP), _SEEN_REPLICA, workspace.partitions
    ) as writer:
        for partition in range(workspace.partitions):
            seen = read_partition(workspace.inventory(Backend.ICP), partition).to_pandas()
            expected = read_partition(workspace.expected(Backend.ICP), partition).to_pandas()
            # Nullable: a join that finds nothing would turn plain integers into rounded floats.
            expected = expected.astype({"memory_hi": "UInt64", "memory_lo": "UInt64"})
            matched = seen.merge(expected.drop(columns="memory_type"), "left", _KEY)
            matched = matched.drop_duplicates([*_KEY, "memory_hi", "memory_lo"])
            owned = matched["owner_id"].notna()
            for column, memory in (("key_hi", "memory_hi"), ("key_lo", "memory_lo")):
                matched[column] = matched[memory].where(owned, matched[column]).astype("uint64")
            writer.write(pa.Table.from_pandas(matched[_SEEN_REPLICA.names], preserve_index=False))


@dataclass(slots=True)
class LeftOver:
    """What matching the blobs left over.

    Attributes:
        segments: leading path segments under which something is referred to.
        objects: objects that nothing refers to.
    """

    segments: set[str]
    objects: int


def match_blobs(workspace: Workspace) -> LeftOver:
    """Spools the blobs under the memory that expects each, and aside what nothing refers to."""
    result = LeftOver(set(), 0)
    seen = workspace.seen(Backend.BLOB)
    workspace.left_over.mkdir(parents=True, exist_ok=True)
    with PartitionWriter(seen, _SEEN_BLOB, workspace.partitions) as writer:
        for partition in range(workspace.partitions):
            inventory = read_partition(workspace.inventory(Backend.BLOB), partition)
            expected = read_partition(workspace.expected(Backend.BLOB), partition)
            inventory = inventory.rename_columns(
                [name if name in _KEY else f"object_{name}" for name in inventory.column_names]
            )
            names = inventory["object_location"]
            referred = pc.is_in(names, _referred(workspace, partition, expected))
            result.segments |= leading_segments(names.filter(referred))
            left_over = inventory.filter(pc.invert(referred)).select(LEFT_OVER.names)
            result.objects += len(left_over)
            matched = expected.drop_columns("location").to_pandas()
            matched = matched.merge(inventory.to_pandas(), "inner", _KEY)
            matched["key_hi"], matched["key_lo"] = matched["memory_hi"], matched["memory_lo"]
            writer.write(pa.Table.from_pandas(matched[_SEEN_BLOB.names], preserve_index=False))
            pq.write_table(left_over, partition_path(workspace.left_over, partition))
    return result


def _referred(workspace: Workspace, partition: int, expected: Any) -> Any:
    """The pathnames of a partition that something refers to, as a pyarrow array."""
    owned = expected["location"].filter(pc.invert(expected["deleted"]))
    named = read_partition(workspace.references, partition)["location"]
    return pa.chunked_array([*owned.chunks, *named.chunks], pa.string()).combine_chunks()


def load_partition(
    workspace: Workspace, partition: int, address: BlobAddress | None
) -> tuple[Partition, pd.DataFrame]:
    """Everything about the memories of one partition, and the rows that can't be compared.

    The second frame has ``key_hi, key_lo, memory_id, memory_type, artifact, backend, kind,
    row_problem`` of rows whose id is no canonical UUID (``invalid_id``; where it is a UUID in other
    writing the memory is compared all the same) and of edges that have no place beside the others
    (``invalid_row``).
    """
    edges = ledger_part(workspace, partition, address)
    edges = edges.assign(row_problem=pd.array(row_problems(edges), dtype="str"))
    rows = rows_part(workspace, partition, address)
    replicas = read_partition(workspace.seen(Backend.ICP), partition).to_pandas()
    blobs = read_partition(workspace.seen(Backend.BLOB), partition).to_pandas()
    odd: list[pd.DataFrame] = []
    edges = _without_displaced(edges, odd)
    edges = _set_aside(edges, odd, edges["artifact"], edges["backend"])
    rows = _set_aside(rows, odd, None, Backend.NEON.value)
    foreign = replicas["owner_id"].notna() & (replicas["owner_id"] != replicas["memory_id"])
    strange = ~_canonical(replicas["memory_id"])
    odd.append(_odd(replicas[foreign | strange], None, Backend.ICP.value))
    replicas = replicas[~strange | replicas["owner_id"].notna()]
    frames = Partition(
        edges, rows, blobs, replicas,
        hashes=_if_there(partition_path(workspace.hashes, partition)),
        remembered=_if_there(partition_path(workspace.readings, partition)),
    )  # fmt: skip
    return frames, pd.concat(odd, ignore_index=True)


def _if_there(path: Path) -> pd.DataFrame | None:
    """A spool's partition, None where no stage has written it."""
    return pd.read_parquet(path) if path.exists() else None


def _without_displaced(edges: pd.DataFrame, odd: list[pd.DataFrame]) -> pd.DataFrame:
    """``edges`` without those that have no place beside the others; these are added to ``odd``."""
    problems = displaced(edges)
    aside = edges[problems.notna()]
    if aside.empty:
        return edges
    found = _odd(aside, aside["artifact"], aside["backend"])
    odd.append(found.assign(kind="invalid_row", row_problem=problems[problems.notna()]))
    return edges[problems.isna()].reset_index(drop=True)


def _set_aside(
    frame: pd.DataFrame,
    odd: list[pd.DataFrame],
    artifact: pd.Series | None,
    backend: pd.Series | str,
) -> pd.DataFrame:
    """``frame`` without the rows whose id is no UUID, the other ids in canonical form.

    Every row whose id is not canonical is added to ``odd`` as it was found.
    """
    good = _canonical(frame["memory_id"])
    if good.all():
        return frame
    part = artifact[~good] if artifact is not None else None
    store = backend if isinstance(backend, str) else backend[~good]
    odd.append(_odd(frame[~good], part, store))
    comparable = frame[frame["memory_id"].map(is_uuid).astype(bool)]
    return comparable.assign(memory_id=comparable["memory_id"].str.lower()).reset_index(drop=True)


def _canonical(ids: pd.Series) -> pd.Series:
    """Which ids are canonical UUIDs."""
    return pd.Series(canonical_uuids(pa.array(ids, pa.string())), index=ids.index, dtype=bool)


def _odd(frame: pd.DataFrame, artifact: pd.Series | None, backend: pd.Series | str) -> pd.DataFrame:
    ids = frame[[*_KEY, "memory_id", "memory_type"]]
    return ids.assign(artifact=artifact, backend=backend, kind="invalid_id", row_problem=None)


def left_over(
    workspace: Workspace,
    segments: set[str],
    ignored: Sequence[str] = (),
    moved: Collection[str] = (),
) -> pd.DataFrame:
    """The objects that nothing refers to, with ``kind``: beside others in use, or elsewhere.

    Without those under the path prefixes ``ignored``, which are no memories, and without those that
    a memory's file was ``moved`` to.
    """
    files = partition_files(workspace.left_over)
    frames = [pd.read_parquet(path) for path in files]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    if frame.empty:
        return frame
    apart = frame["object_location"].map(lambda name: is_ignored(name, ignored)).astype(bool)
    apart |= frame["object_location"].isin(moved)
    frame = frame[~apart].reset_index(drop=True)
    known = frame["object_location"].map(leading_segment).isin(segments)
    return frame.assign(
        backend=Backend.BLOB.value, kind=np.where(known, "orphaned", "unclassified")
    )
