"""One partition of the ledger laid beside what the stores hold: a row per artifact and store.

A *memory* is a (memory id, memory type); a *slot* is one of its six (artifact, backend) pairs; a
*case* is one slot of one memory, numbered ``memory * 6 + slot``. States are dense arrays over all
cases of a partition, so that the state table is applied to all of them by one array lookup.
"""

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.model import Artifact, Backend, StoreState
from checks.normal import icp_capsule_id
from checks.states import TABLE, Edge, Memory, Object, Sync, Verdict

#: The six slots of a memory, in the order of their numbers.
SLOTS: tuple[tuple[Artifact, Backend], ...] = tuple(
    (artifact, backend) for artifact in Artifact for backend in Backend
)
SLOT_NUMBER = {slot: number for number, slot in enumerate(SLOTS)}
WIDTH = len(SLOTS)
ASSET_SLOTS = [SLOT_NUMBER[Artifact.ASSET, backend] for backend in Backend]
NEON_SLOTS = [SLOT_NUMBER[artifact, Backend.NEON] for artifact in Artifact]
ICP_SLOTS = [SLOT_NUMBER[artifact, Backend.ICP] for artifact in Artifact]

_KEY = ["key_hi", "key_lo"]
_MEMORY = [*_KEY, "memory_type"]
#: What a store says of an object, joined to its case.
OBJECT_COLUMNS = ["object_location", "object_size", "object_version", "object_written_at"]
#: What former runs found out about an asset's bytes.
REMEMBERED_COLUMNS = ["known_outcome", "verified_sha256", "verified_version", "verified_at"]
_HASH_COLUMNS = ["outcome", "read_size", "sha256", "md5", "read_version", "read_detail"]


@dataclass(frozen=True, slots=True)
class View:
    """What could be looked at, and the moments that ages are measured from.

    Attributes:
        stores: how each backend's listing ended.
        unknown_types: memory types whose table could not be seen.
        unknown_capsules: capsules that could not be read whole.
        now: the moment of the first snapshot.
        stuck_before: a migration not updated since is stuck.
        grace_after: objects and memory rows written since are in flight.
        claimed: memory id, memory type and backend of what a run that is at work is copying: in
            flight, however long it takes.
    """

    stores: dict[Backend, StoreState]
    now: datetime
    stuck_before: datetime
    grace_after: datetime
    unknown_types: frozenset[str] = frozenset()
    unknown_capsules: frozenset[str] = frozenset()
    claimed: frozenset[tuple[str, str, str]] = frozenset()

    def complete(self, backend: Backend) -> bool:
        """Whether what was not seen in ``backend`` is not there."""
        return self.stores.get(backend) == StoreState.COMPLETE

    def configured(self, backend: Backend) -> bool:
        """Whether ``backend`` was asked at all."""
        return self.stores.get(backend, StoreState.NOT_CONFIGURED) != StoreState.NOT_CONFIGURED


@dataclass(slots=True)
class Partition:
    """The frames of one partition, all keyed by memory.

    Attributes:
        edges: columns of ``columns.LEDGER``, ``malformed`` (bool: the location names nothing) and
            ``row_problem`` (text or null: what is wrong with another value).
        rows: columns of ``columns.NEON_INVENTORY``, ``pathname``, ``url_problem`` (text or null).
        blobs: ``key_hi, key_lo, memory_type, artifact`` and the object columns: objects seen;
            ``of_row``: the object that the row's url names where the edge names another.
        replicas: as ``columns.ICP_INVENTORY``, keyed by the memory the canister memory belongs to,
            ``edge_type`` its type in the ledger where an edge's location ties the two together.
        hashes: ``key_hi, key_lo, memory_type, backend, outcome, read_size, sha256, md5``.
        remembered: ``key_hi, key_lo, memory_type, backend`` and ``REMEMBERED_COLUMNS``: what former
            runs read.
    """

    edges: pd.DataFrame
    rows: pd.DataFrame
    blobs: pd.DataFrame
    replicas: pd.DataFrame
    hashes: pd.DataFrame | None = None
    remembered: pd.DataFrame | None = None


@dataclass(slots=True)
class Cases:
    """All cases of a partition.

    Attributes:
        memories: ``key_hi, key_lo, memory_type, memory_id`` and the row's columns, one per memory;
            ``row_object_*`` of the object that its url names where its edge names another.
        memory: state of each memory's row, shape (memories,).
        edge, object, sync, verdict: states, shape (memories, 6).
        edges: the ledger rows, indexed by case.
        objects: what the stores say, indexed by case.
        hashes: what was read in this run, indexed by case.
        remembered: what former runs read, indexed by case.
    """

    memories: pd.DataFrame
    memory: NDArray[np.int8]
    edge: NDArray[np.int8]
    object: NDArray[np.int8]
    sync: NDArray[np.int8]
    verdict: NDArray[np.int8]
    edges: pd.DataFrame
    objects: pd.DataFrame
    hashes: pd.DataFrame
    remembered: pd.DataFrame
    mixed: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def frame(self, case: NDArray[np.intp]) -> pd.DataFrame:
        """Some cases by their numbers, with all that is known of each.

        Columns: ``case``, the memory's columns, ``artifact``, ``backend``, the states, the edge's
        columns, the object's columns and the hash's columns; null where there is none.
        """
        memory, slot = np.divmod(case, WIDTH)
        frame = self.memories.iloc[memory].reset_index(drop=True)
        frame["case"] = case
        frame["artifact"] = np.array([artifact.value for artifact, _ in SLOTS], dtype=object)[slot]
        frame["backend"] = np.array([backend.value for _, backend in SLOTS], dtype=object)[slot]
        frame["memory_state"] = self.memory[memory]
        frame["edge_state"] = self.edge.ravel()[case]
        frame["object_state"] = self.object.ravel()[case]
        frame["ledger_digest"] = self._digests(memory)
        frame["blob_named"] = self._blob_named(memory)
        for part in (self.edges, self.objects, self.hashes):
            frame = pd.concat([frame, part.reindex(case).reset_index(drop=True)], axis=1)
        return frame

    def assets_held(self) -> int:
        """How many assets any store was seen to hold, a copy in each store counted."""
        return int((self.object[:, ASSET_SLOTS] == Object.THERE).sum())

    def readable_assets(self) -> NDArray[np.bool_]:
        """The cases that are assets in a store whose bytes can be read, shape (memories, 6)."""
        readable: NDArray[np.bool_] = self.object == Object.THERE
        readable[:, [slot for slot in range(WIDTH) if slot not in ASSET_SLOTS]] = False
        readable &= (self.memory != Memory.UNKNOWN)[:, None]
        return readable

    def blob_named(self) -> NDArray[np.object_]:
        """The pathname that each memory's blob edge names, or null, shape (memories,)."""
        return self._blob_named(np.arange(len(self.memories)))

    def _blob_named(self, memory: NDArray[np.intp]) -> NDArray[np.object_]:
        """The same of some memories."""
        cases = memory * WIDTH + SLOT_NUMBER[Artifact.ASSET, Backend.BLOB]
        named: NDArray[np.object_] = self.edges["named"].reindex(cases).to_numpy(dtype=object)
        return named

    def url_differs(self) -> NDArray[np.bool_]:
        """The memories whose url names another object than their blob edge, shape (memories,)."""
        named = pd.Series(self.blob_named(), dtype=object)
        url = self.memories["row_pathname"].astype(object)
        differs: NDArray[np.bool_] = (named.notna() & url.notna() & (named != url)).to_numpy(
            dtype=bool
        )
        return differs

    def _digests(self, memory: NDArray[np.intp]) -> NDArray[np.uint64]:
        """The ledger's digest of each of some memories."""
        about = np.isin(self.edges.index.to_numpy() // WIDTH, memory)
        return ledger_digest(self.edges[["version"]][about], len(self.memories))[memory]


def ledger_digest(edges: pd.DataFrame, memories: int) -> NDArray[np.uint64]:
    """A number per memory that changes whenever any of its edges is written, made or deleted.

    Args:
        edges: ledger rows indexed by case; their ``version`` is their ``xmin``.
        memories: how many memories there are.
    """
    memory, slot = np.divmod(edges.index.to_numpy(), WIDTH)
    written = pd.util.hash_array(edges["version"].astype(str).to_numpy(dtype=object))
    digest = np.zeros(memories, dtype=np.uint64)
    with np.errstate(over="ignore"):
        np.add.at(digest, memory, written * (2 * slot.astype(np.uint64) + np.uint64(1)))
    return digest


def build(partition: Partition, view: View) -> Cases:
    """Lays the partition's ledger, rows, objects and hashes beside each other and judges them."""
    replicas = _typed(partition)
    memories = _memories(partition, replicas)
    index = pd.MultiIndex.from_frame(memories[_MEMORY])
    count = len(memories)

    edges = _indexed(partition.edges, index, "artifact", "backend")
    objects = _objects(partition, replicas, index)
    row_at = _positions(partition.rows, index)
    has_row = np.zeros(count, dtype=bool)
    has_row[row_at] = True
    memories = _with_rows(memories, partition.rows, row_at)
    memories = _with_row_objects(memories, partition.blobs, index)

    edge, sync = _edge_states(edges, count, view)
    _in_flight(sync, memories, view)
    hashes = _of_assets(partition.hashes, index, _HASH_COLUMNS)
    obj = _object_states(objects, edges, count, view)
    # Listed, but its bytes are not there: reading or a direct look outweighs the listing.
    obj.reshape(-1)[hashes.index[hashes["outcome"] == "gone"].to_numpy(dtype=np.intp)] = (
        Object.ABSENT
    )
    memory = _memory_states(memories, has_row, edges, count, view)
    verdict = TABLE[memory[:, None], edge, obj, sync]
    verdict.reshape(-1)[_overwritten(hashes, objects)] = Verdict.IN_FLIGHT
    return Cases(
        memories, memory, edge, obj, sync, verdict, edges, objects, hashes,
        _of_assets(partition.remembered, index, REMEMBERED_COLUMNS),
        mixed=memories.duplicated(_KEY, keep=False).to_numpy(),
    )  # fmt: skip


def _typed(partition: Partition) -> pd.DataFrame:
    """The canister's memories under the type that Neon or the ledger knows them by, if any."""
    known = pd.concat(
        [partition.rows[[*_MEMORY, "memory_id"]], partition.edges[[*_MEMORY, "memory_id"]]]
    )
    known = known.drop_duplicates(_MEMORY).drop_duplicates(_KEY, keep=False)
    replicas = partition.replicas.rename(columns={"memory_id": "replica_id"})
    replicas = replicas.merge(known.rename(columns={"memory_type": "known_type"}), "left", _KEY)
    replicas["memory_type"] = replicas["known_type"].fillna(replicas["memory_type"])
    replicas["memory_id"] = replicas["memory_id"].fillna(replicas["replica_id"])
    return replicas.drop(columns="known_type").drop_duplicates(_MEMORY)


def _memories(partition: Partition, replicas: pd.DataFrame) -> pd.DataFrame:
    """Every memory that anything in the partition speaks of, once."""
    columns = [*_MEMORY, "memory_id"]
    parts = [partition.rows[columns], partition.edges[columns], replicas[columns]]
    return pd.concat(parts).drop_duplicates(_MEMORY).reset_index(drop=True)


def _positions(frame: pd.DataFrame, index: pd.MultiIndex) -> NDArray[np.intp]:
    """Where each row's memory stands in ``index``; every row's memory is in it."""
    return index.get_indexer(pd.MultiIndex.from_frame(frame[_MEMORY]))


def _indexed(
    frame: pd.DataFrame, index: pd.MultiIndex, artifact: str, backend: str
) -> pd.DataFrame:
    """``frame`` indexed by case, without its key columns.

    What is about no memory of the partition or about none of the six slots is left out: of an edge
    that was said before (see ``row_values.displaced``).
    """
    slots = pd.MultiIndex.from_tuples([(a.value, b.value) for a, b in SLOTS])
    slot = slots.get_indexer(pd.MultiIndex.from_frame(frame[[artifact, backend]]))
    memory = _positions(frame, index)
    known = np.flatnonzero((memory >= 0) & (slot >= 0))
    case = pd.Index(memory[known] * WIDTH + slot[known])
    first = ~case.duplicated()
    frame = frame.drop(columns=[*_MEMORY, "memory_id", artifact, backend], errors="ignore")
    chosen: pd.DataFrame = frame.iloc[known[first]]
    return chosen.set_axis(case[first])


def _with_rows(
    memories: pd.DataFrame, rows: pd.DataFrame, row_at: NDArray[np.intp]
) -> pd.DataFrame:
    """The memories with the columns of their rows in Neon, null where there is no row."""
    columns = ["url", "pathname", "url_problem", "created_at", "written_at", "version"]
    wanted = rows[columns].set_axis(row_at).add_prefix("row_")
    wanted = wanted[~wanted.index.duplicated()].reindex(range(len(memories)))
    return pd.concat([memories, wanted], axis=1)


def _with_row_objects(
    memories: pd.DataFrame, blobs: pd.DataFrame, index: pd.MultiIndex
) -> pd.DataFrame:
    """The memories with the object that the row's url names, where the edge names another."""
    named = blobs[blobs["of_row"].to_numpy(dtype=bool)]
    wanted = named[OBJECT_COLUMNS].set_axis(_positions(named, index)).add_prefix("row_")
    wanted = wanted[~wanted.index.duplicated()].reindex(range(len(memories)))
    return pd.concat([memories, wanted], axis=1)


def _objects(partition: Partition, replicas: pd.DataFrame, index: pd.MultiIndex) -> pd.DataFrame:
    """What the three stores hold, indexed by case, with the object columns and ``is_link``."""
    rows = partition.rows
    neon = rows[_MEMORY].assign(
        object_location=None, object_size=None, object_version=rows["version"],
        object_written_at=rows["written_at"], is_link=False, backend=Backend.NEON.value,
    )  # fmt: skip
    notes = rows["content_size"].notna().to_numpy()
    contents = neon[notes].assign(
        artifact=Artifact.ASSET.value, object_size=rows["content_size"][notes]
    )
    icp = replicas[_MEMORY].assign(
        object_location="icp://" + replicas["capsule_id"] + "/" + replicas["replica_id"],
        object_size=None, object_version=replicas["version"],
        object_written_at=replicas["written_at"], is_link=False, backend=Backend.ICP.value,
    )  # fmt: skip
    assets = icp.assign(
        artifact=Artifact.ASSET.value, object_size=replicas["size"],
        is_link=~replicas["asset_there"].astype(bool),
        declared_sha256=replicas["declared_sha256"],
    )  # fmt: skip
    blobs = partition.blobs[~partition.blobs["of_row"].to_numpy(dtype=bool)]
    blobs = blobs.drop(columns="of_row").assign(is_link=False, backend=Backend.BLOB.value)
    parts = [
        neon.assign(artifact=Artifact.METADATA.value), contents,
        icp.assign(artifact=Artifact.METADATA.value), assets, blobs,
    ]  # fmt: skip
    parts = [part for part in parts if len(part)] or [blobs]
    frame = pd.concat(parts, ignore_index=True)
    if "declared_sha256" not in frame:
        frame["declared_sha256"] = None
    frame["object_size"] = frame["object_size"].astype("Int64")
    frame["object_written_at"] = pd.to_datetime(frame["object_written_at"], utc=True)
    return _indexed(frame, index, "artifact", "backend")


def _overwritten(hashes: pd.DataFrame, objects: pd.DataFrame) -> NDArray[np.intp]:
    """The cases whose object was written between its listing and its reading: in flight."""
    read = hashes[hashes["outcome"] == "read"]
    listed = objects["object_version"].reindex(read.index)
    other = listed.notna() & read["read_version"].notna() & (listed != read["read_version"])
    return read.index[other.to_numpy(dtype=bool)].to_numpy(dtype=np.intp)


def _of_assets(
    frame: pd.DataFrame | None, index: pd.MultiIndex, columns: list[str]
) -> pd.DataFrame:
    """Some columns of what was read, now or before, indexed by case: always of an asset."""
    if frame is None or frame.empty:
        return pd.DataFrame(columns=columns, dtype=object)
    frame = frame.assign(artifact=Artifact.ASSET.value)
    return _indexed(frame, index, "artifact", "backend").reindex(columns=columns)


def _edge_states(
    edges: pd.DataFrame, count: int, view: View
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """States of edges and of their sync states, each of shape (memories, 6)."""
    edge = np.full(count * WIDTH, Edge.NONE, dtype=np.int8)
    sync = np.full(count * WIDTH, Sync.NONE, dtype=np.int8)
    case = edges.index.to_numpy()
    present = edges["present"].fillna(value=False).to_numpy(dtype=bool)
    malformed = (edges["malformed"] | edges["row_problem"].notna()).to_numpy(dtype=bool)
    edge[case] = np.select([malformed, present], [Edge.MALFORMED, Edge.TRUE], Edge.FALSE)
    state = edges["sync_state"].to_numpy(dtype=object)
    touched = edges["updated_at"].fillna(edges["created_at"])
    old = (touched.isna() | (touched < pd.Timestamp(view.stuck_before))).to_numpy(dtype=bool)
    error = edges["sync_error"].notna().to_numpy(dtype=bool)
    sync[case] = np.select(
        [(state == "migrating") & old, state == "migrating", state == "failed", error],
        [Sync.OLD, Sync.YOUNG, Sync.FAILED, Sync.ERROR],
        Sync.IDLE,
    )
    return edge.reshape(count, WIDTH), sync.reshape(count, WIDTH)


def _in_flight(sync: NDArray[np.int8], memories: pd.DataFrame, view: View) -> None:
    """No copy hangs that a run at work has claimed."""
    for memory_id, memory_type, backend in view.claimed:
        same = (memories["memory_id"] == memory_id) & (memories["memory_type"] == memory_type)
        slots = [number for number, slot in enumerate(SLOTS) if slot[1].value == backend]
        for memory in np.flatnonzero(same.to_numpy(dtype=bool)):
            hanging = sync[memory, slots] == Sync.OLD
            sync[memory, slots] = np.where(hanging, Sync.YOUNG, sync[memory, slots])


def _object_states(
    objects: pd.DataFrame, edges: pd.DataFrame, count: int, view: View
) -> NDArray[np.int8]:
    """States of objects, shape (memories, 6): not seen is absent only where all was seen."""
    states = np.empty((count, WIDTH), dtype=np.int8)
    for number, (_, backend) in enumerate(SLOTS):
        # Neon is judged table by table: what is unknown of it is the memory's state.
        seen = view.complete(backend) or (backend is Backend.NEON and bool(view.unknown_types))
        states[:, number] = Object.ABSENT if seen else Object.UNKNOWN
    if view.complete(Backend.ICP) or view.stores.get(Backend.ICP) == StoreState.INCOMPLETE:
        _unknown_capsules(states, edges, view)
    flat = states.reshape(-1)
    link = objects["is_link"].to_numpy(dtype=bool)
    flat[objects.index.to_numpy()] = np.where(link, Object.LINK, Object.THERE)
    return states


def _unknown_capsules(states: NDArray[np.int8], edges: pd.DataFrame, view: View) -> None:
    """Judges the canister capsule by capsule.

    Where some capsules are unknown, a memory is absent only if its edge names a capsule that was
    read whole; where its edge names none, it might be in any of them.
    """
    if not view.unknown_capsules:
        return
    states[:, ICP_SLOTS] = Object.UNKNOWN
    on_icp = edges[np.isin(edges.index.to_numpy() % WIDTH, ICP_SLOTS)]
    capsules = on_icp["location"].map(icp_capsule_id, na_action="ignore")
    read_whole = capsules.notna() & ~capsules.isin(view.unknown_capsules)
    states.reshape(-1)[on_icp.index[read_whole].to_numpy()] = Object.ABSENT


def _memory_states(
    memories: pd.DataFrame,
    has_row: NDArray[np.bool_],
    edges: pd.DataFrame,
    count: int,
    view: View,
) -> NDArray[np.int8]:
    """States of the memories' rows in Neon, shape (memories,)."""
    memory, slot = np.divmod(edges.index.to_numpy(), WIDTH)
    sign = np.zeros(count, dtype=bool)
    sign[memory[~np.isin(slot, ICP_SLOTS)]] = True
    in_neon = np.isin(slot, NEON_SLOTS)
    known_deleted = np.zeros(count, dtype=bool)
    known_deleted[memory[in_neon]] = True
    # A row that does not say whether it is there is not taken for one that says it is not.
    claimed = edges["present"].fillna(value=True).to_numpy(dtype=bool)
    known_deleted[memory[in_neon & claimed]] = False
    unseen = memories["memory_type"].isin(view.unknown_types).to_numpy(dtype=bool)
    blind = not view.complete(Backend.NEON) and not view.unknown_types
    return np.select(
        [has_row, unseen | blind, known_deleted, sign],
        [Memory.THERE, Memory.UNKNOWN, Memory.DELETED, Memory.GONE],
        Memory.NEVER,
    ).astype(np.int8)
