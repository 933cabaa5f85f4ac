"""What is known of each asset's bytes: by the ledger, by reading now, by what was read before.

Every array has the shape (memories, 3), one column per store in the order of ``Backend``.
"""

import json
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from checks.cases import ASSET_SLOTS, WIDTH, Cases
from checks.model import Backend
from checks.states import Edge, Object

Flags = NDArray[np.bool_]
Texts = NDArray[np.int32]
#: The number of a text that is not known.
UNKNOWN = -1
_STORES = [each.value for each in Backend]


@dataclass(slots=True)
class Replicas:
    """The assets of a partition, store by store; what is not known is -1, NaN or NaT.

    A text (hash, version, location) is its number among ``texts``, so that two are compared as
    integers are.

    Attributes:
        texts: a pyarrow array of every text once.
        there: the store was seen to hold bytes.
        claimed: the ledger says that it does.
        recorded: the edge's hash, whatever the edge claims.
        recorded_size: the edge's size in bytes.
        touched_at: when the edge was last written.
        sha256: of the bytes that were read in this run.
        size: bytes, as read, else as the store says.
        written_at: when the store says that the object was last written.
        version: the store's version of the object.
        location: the object's.
        verified_sha256: the hash that bytes were last seen to have, and to be the ledger's.
        verified_version: the store's version of the object then.
        verified_at: when that was.
        doubted: the last reading of a former run found something else, or nothing.
    """

    texts: Any
    there: Flags
    claimed: Flags
    recorded: Texts
    recorded_size: NDArray[np.float64]
    touched_at: NDArray[np.datetime64]
    sha256: Texts
    size: NDArray[np.float64]
    written_at: NDArray[np.datetime64]
    version: Texts
    location: Texts
    verified_sha256: Texts
    verified_version: Texts
    verified_at: NDArray[np.datetime64]
    doubted: Flags

    @classmethod
    def of(cls, cases: Cases) -> Self:
        """The assets of ``cases``."""
        cells = (np.arange(len(cases.memories))[:, None] * WIDTH + ASSET_SLOTS).ravel()
        edges = cases.edges.reindex(cells)
        objects = cases.objects.reindex(cells)
        hashes = cases.hashes.reindex(cells)
        known = cases.remembered.reindex(cells)
        read = (hashes["outcome"] == "read").to_numpy(dtype=bool)
        touched = edges["updated_at"].fillna(edges["created_at"])
        sizes = _numbers(objects["object_size"])
        sizes[read.reshape(sizes.shape)] = _numbers(hashes["read_size"])[read.reshape(sizes.shape)]
        outcome = known["known_outcome"]
        texts, numbers = _numbered(
            edges["content_hash"], hashes["sha256"].where(read), known["verified_sha256"],
            objects["object_version"], known["verified_version"], objects["object_location"],
        )  # fmt: skip
        recorded, sha256, verified_sha256, version, verified_version, location = numbers
        return cls(
            texts=texts,
            there=cases.object[:, ASSET_SLOTS] == Object.THERE,
            claimed=cases.edge[:, ASSET_SLOTS] == Edge.TRUE,
            recorded=recorded,
            recorded_size=_numbers(edges["size_bytes"]),
            touched_at=_times(touched),
            sha256=sha256,
            size=sizes,
            written_at=_times(objects["object_written_at"]),
            version=version,
            location=location,
            verified_sha256=verified_sha256,
            verified_version=verified_version,
            verified_at=_times(known["verified_at"]),
            doubted=_flags(outcome.isin(["differed", "gone"])),
        )  # fmt: skip

    def of_memories(self, memories: NDArray[np.intp]) -> Self:
        """The same of some memories alone."""
        arrays = [each.name for each in fields(self) if each.name != "texts"]
        return replace(self, **{name: getattr(self, name)[memories] for name in arrays})

    def text(self, number: int) -> str | None:
        """The text of a number, None of -1."""
        return None if number < 0 else str(self.texts[int(number)])

    def read(self) -> Flags:
        """Whose bytes were read in this run."""
        return known(self.sha256)

    def holds(self, sha256: Texts) -> Flags:
        """Which replicas hold the bytes with a hash, as far as reading can tell.

        They were read now, or they were read before and the store's version is what it was then:
        so the answer does not depend on whose turn it was in this run.
        """
        now = same(self.sha256, sha256)
        before = same(self.verified_sha256, sha256) & same(self.verified_version, self.version)
        return self.there & (now | (before & ~self.read() & ~self.doubted))

    def ever_verified(self) -> Flags:
        """Whether the edge's hash was ever seen to be that of bytes, in whatever store."""
        proven = np.zeros(self.there.shape, dtype=bool)
        for hashes in (self.verified_sha256, self.sha256):
            for store in range(len(_STORES)):
                proven |= same(self.recorded, hashes[:, [store]])
        return proven

    def elsewhere(self) -> Flags:
        """Whether another store's replica holds what an edge says, or what its own edge says."""
        held = np.zeros(self.there.shape, dtype=bool)
        for store in range(len(_STORES)):
            own = self.recorded[:, [store]]
            expected = np.where(known(own), own, self.recorded)
            others = self.holds(expected)
            others[:, store] = False
            held[:, store] = others.any(axis=1)
        return held


#: Kinds whose sentence tells of the asset's other replicas.
_TOLD = frozenset({
    "missing", "size_mismatch", "hash_mismatch", "stale_hash", "outdated_replica",
    "replica_divergence", "unverifiable",
})  # fmt: skip


def attach(findings: pd.DataFrame, replicas: Replicas) -> pd.DataFrame:
    """``findings`` (columns of ``Cases.frame``) with what is known of the asset's other replicas.

    Adds, where a finding is about an asset: ``verified_elsewhere`` (another replica holds what the
    ledger says), ``ever_verified`` (the edge's hash was once seen to be that of bytes),
    ``sound_everywhere`` (every replica holds what its own edge says), ``hash_is_safe`` (what was
    read contradicts no other edge) as bool, ``verified_at`` (UTC), and ``others``: a JSON array of
    the replicas in other stores.
    """
    memory, slot = np.divmod(findings["case"].to_numpy(dtype=np.int64), WIDTH)
    about, memory = np.unique(memory, return_inverse=True)
    replicas = replicas.of_memories(about)  # of a night's memories hardly any has a finding
    asset = np.isin(slot, ASSET_SLOTS)
    place = np.where(asset, np.searchsorted(ASSET_SLOTS, slot), 0)
    at = (memory, place)
    verified = pd.Series(replicas.verified_at[at], index=findings.index).dt.tz_localize("UTC")
    told = asset & findings["kind"].isin(_TOLD).to_numpy(dtype=bool)
    return findings.assign(
        verified_elsewhere=asset & replicas.elsewhere()[at],
        ever_verified=asset & replicas.ever_verified()[at],
        sound_everywhere=asset & _sound_everywhere(replicas)[memory],
        hash_is_safe=asset & _hash_is_safe(replicas, memory, place),
        verified_at=verified.where(pd.Series(asset, index=findings.index)),
        others=pd.Series(
            _others(replicas, memory, np.where(told, place, -1)), findings.index, dtype=object
        ),
    )


def _sound_everywhere(replicas: Replicas) -> Flags:
    """Assets of which every replica holds what its own edge says, shape (memories,)."""
    sound = replicas.holds(replicas.recorded) | ~replicas.there
    return np.asarray(sound.all(axis=1), dtype=bool)


def _hash_is_safe(replicas: Replicas, memory: NDArray[np.int64], place: NDArray[np.int64]) -> Flags:
    """Whether bytes were read, and every other edge has no hash, theirs, or bytes like these."""
    seen = replicas.sha256[memory, place][:, None]
    recorded, read = replicas.recorded[memory], replicas.sha256[memory]
    wanted = np.broadcast_to(seen, recorded.shape)
    agrees = ~known(recorded) | same(recorded, wanted)
    agrees |= same(read, wanted) & replicas.there[memory]
    agrees[np.arange(len(place)), place] = True
    safe: Flags = agrees.all(axis=1) & known(seen)[:, 0]
    return safe


def _others(
    replicas: Replicas, memories: NDArray[np.int64], own: NDArray[np.int64]
) -> list[str | None]:
    """The other stores' replicas of some assets as JSON; None for those whose place is -1."""
    holds = replicas.holds(replicas.recorded)
    texts: list[str | None] = [None] * len(own)
    for number in np.flatnonzero(own >= 0).tolist():
        memory = int(memories[number])
        held = np.flatnonzero(replicas.there[memory]).tolist()
        found = [
            _replica(replicas, (memory, place), holds=bool(holds[memory, place]))
            for place in held
            if place != own[number]
        ]
        texts[number] = json.dumps(found) if found else None
    return texts


def _replica(replicas: Replicas, at: tuple[int, int], *, holds: bool) -> dict[str, Any]:
    """One replica; ``holds``: its bytes are known to be what its edge says."""
    return {
        "backend": _STORES[at[1]],
        "location": replicas.text(replicas.location[at]),
        "version": replicas.text(replicas.version[at]),
        "recorded": replicas.text(replicas.recorded[at]),
        "sha256": replicas.text(replicas.sha256[at]),
        "holds": holds,
        "written_at": _moment(replicas.written_at[at]),
        "verified_at": _moment(replicas.verified_at[at]),
    }


def _moment(at: np.datetime64) -> str | None:
    return None if np.isnat(at) else f"{at}Z"


def known(values: NDArray[Any]) -> Flags:
    """Where there is a value: a text's number, or a number of bytes."""
    there: Flags = values >= 0 if values.dtype.kind == "i" else ~np.isnan(values)
    return there


def only(texts: Texts, flags: Flags) -> Texts:
    """The texts where ``flags`` is set, unknown elsewhere."""
    kept = texts.copy()
    kept[~flags] = UNKNOWN
    return kept


def same(left: Texts, right: Texts) -> Flags:
    """Where both texts are known and equal: an unknown one never counts as agreeing."""
    equal: Flags = (left == right) & known(left)
    return equal


def other(left: NDArray[Any], right: NDArray[Any]) -> Flags:
    """Where both values are known and differ: an unknown one never counts as different."""
    differ: Flags = (left != right) & known(left) & known(right)
    return differ


def _flags(values: pd.Series) -> Flags:
    return values.to_numpy(dtype=bool).reshape(-1, len(_STORES))


def _numbered(*columns: pd.Series) -> tuple[Any, Texts]:
    """Every text of some columns once, and the columns as numbers, -1 for null."""
    texts = [pa.array(column, pa.string(), from_pandas=True) for column in columns]
    encoded = pa.chunked_array(texts, pa.string()).combine_chunks().dictionary_encode()
    numbers = encoded.indices.fill_null(UNKNOWN).to_numpy()
    return encoded.dictionary, numbers.reshape(len(columns), -1, len(_STORES))


def _numbers(values: pd.Series) -> NDArray[np.float64]:
    numbers = pd.to_numeric(values).astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array(numbers, dtype=np.float64).reshape(-1, len(_STORES))


def _times(values: pd.Series) -> NDArray[np.datetime64]:
    times = pd.to_datetime(values, utc=True).dt.tz_localize(None)
    return times.to_numpy(dtype="datetime64[us]").reshape(-1, len(_STORES))
