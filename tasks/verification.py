"""Reading bytes: which assets are read in a run, in which order, and what became of each.

What changed first, then what was never read, then the stalest, until the budget of bytes is spent.
A mismatch is believed only after a second read from scratch. A store that stops answering ends the
reading of that store: what was not read is not verified, and nothing else is concluded.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from checks.describe import plain_records
from checks.errors import ObjectChangedError, StoreError, StoreUnreachableError
from checks.model import Artifact, Backend
from tasks.partitions import PartitionWriter
from tasks.settings import ALL_BYTES
from tasks.stores.protocol import HashedObject, Store

#: What reading one asset gave. ``outcome``: ``read``; ``gone``, no bytes are there; ``changed``
#: while it was read; ``failed`` for another reason, in ``read_detail``.
HASHES = pa.schema(
    [
        ("key_hi", pa.uint64()),
        ("key_lo", pa.uint64()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("outcome", pa.string()),
        ("read_size", pa.int64()),
        ("sha256", pa.string()),
        ("md5", pa.string()),
        ("read_version", pa.string()),
        ("read_detail", pa.string()),
        ("expected_sha256", pa.string()),
        ("verified_sha256", pa.string()),
    ]
)
CONCURRENCY = 16
_BATCH = 2_000


@dataclass(slots=True)
class Reading:
    """How the reading went.

    Attributes:
        read: assets whose bytes were read.
        bytes: read, second reads included.
        unverifiable: assets that were tried and could not be read.
        unknown: stores that stopped answering, with the reason.
    """

    read: int = 0
    bytes: int = 0
    unverifiable: int = 0
    unknown: dict[Backend, str] = field(default_factory=dict)


def within_budget(targets: pd.DataFrame, budget: int) -> pd.DataFrame:
    """The targets that are read, in their order, while the budget lasts.

    First what was written since it was last read, or was not what the ledger says; then what was
    never read; then the stalest. The last one may go over the budget: an object that is larger than
    any night's budget would never be read otherwise.

    Args:
        targets: ``object_size`` (bytes; unknown counts as 0), ``object_version`` and the columns of
            ``verification_history.readings``, null where a target was never read.
        budget: bytes.
    """
    known = targets["known_version"].notna()
    changed = known & (targets["known_version"] != targets["object_version"])
    urgent = changed | (targets["known_outcome"] == "differed")
    ordered = targets.assign(calm=~urgent).sort_values(
        ["calm", "read_at"], na_position="first", kind="stable"
    )
    size = ordered["object_size"].fillna(0).astype("int64")
    return ordered[size.cumsum() - size < budget].drop(columns="calm")


async def read_assets(
    targets: pd.DataFrame,
    stores: Mapping[Backend, Store],
    writer: PartitionWriter,
    progress: Callable[[int], None] = lambda _bytes: None,
    *,
    budget: int = ALL_BYTES,
) -> Reading:
    """Reads and hashes the assets of ``targets`` and spools the outcomes (columns ``HASHES``).

    Args:
        targets: columns of ``Cases.frame``; all in stores that can be read.
        stores: the stores by backend.
        writer: for the schema ``HASHES``.
        progress: called with the bytes of each asset read.
        budget: bytes after which nothing more is begun, whatever the stores said of sizes.
    """
    result = Reading()
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(target: dict[str, Any]) -> dict[str, Any] | None:
        async with gate:
            if result.bytes >= budget:
                return None
            return await _read(target, stores, result, progress)

    for start in range(0, len(targets), _BATCH):
        batch = list(plain_records(targets.iloc[start : start + _BATCH]))
        outcomes = [row for row in await asyncio.gather(*map(one, batch)) if row is not None]
        writer.write(pa.Table.from_pylist(outcomes, HASHES))
    return result


async def _read(
    target: dict[str, Any],
    stores: Mapping[Backend, Store],
    result: Reading,
    progress: Callable[[int], None],
) -> dict[str, Any] | None:
    """What reading one asset gave; None where its store does not answer any more."""
    backend = Backend(target["backend"])
    if backend in result.unknown:
        return None
    row = {name: target[name] for name in HASHES.names if name in target}
    row["expected_sha256"] = target.get("content_hash")
    try:
        hashed = await _believed(stores[backend], target, result, progress)
    except StoreUnreachableError as error:
        result.unknown[backend] = str(error)
        return None
    except StoreError as error:
        result.unverifiable += 1
        changed = isinstance(error, ObjectChangedError)
        return row | {"outcome": "changed" if changed else "failed", "read_detail": str(error)}
    if hashed is None:
        return row | {"outcome": "gone"}
    result.read += 1
    return row | {
        "outcome": "read", "read_size": hashed.size, "sha256": hashed.sha256,
        "md5": hashed.md5, "read_version": hashed.version,
    }  # fmt: skip


async def _believed(
    store: Store, target: dict[str, Any], result: Reading, progress: Callable[[int], None]
) -> HashedObject | None:
    """The asset's hashes; read again from scratch where they are not what the ledger says.

    Raises ObjectChangedError where two reads differ: the object is being written.
    """
    hashed = await _once(store, target, result, progress)
    if hashed is not None and target.get("content_hash") in (None, hashed.sha256):
        return hashed
    again = await _once(store, target, result, progress)
    if (again and again.sha256) != (hashed and hashed.sha256):
        raise ObjectChangedError(
            f"{target['object_location']} in {store.backend} gave different bytes when it was "
            "read twice: it is being written, or the store is not to be trusted with it"
        )
    return again


async def _once(
    store: Store, target: dict[str, Any], result: Reading, progress: Callable[[int], None]
) -> HashedObject | None:
    hashed = await store.read(target["object_location"])
    if hashed is not None:
        result.bytes += hashed.size
        progress(hashed.size)
    return hashed


def note_hashes(rows: pd.DataFrame, edges: pd.DataFrame, readings: pd.DataFrame) -> pa.Table:
    """The notes' hashes, which Postgres computed from their texts, as rows of ``HASHES``.

    Args:
        rows: columns of ``columns.NEON_INVENTORY``.
        edges: columns of ``columns.LEDGER``, of the same partition.
        readings: see ``verification_history.readings``.
    """
    own = (edges["backend"] == Backend.NEON.value) & (edges["artifact"] == Artifact.ASSET.value)
    expected = edges.loc[own, ["memory_id", "memory_type", "content_hash"]]
    verified = readings.loc[
        readings["backend"] == Backend.NEON.value, ["memory_id", "memory_type", "verified_sha256"]
    ]
    by = ["memory_id", "memory_type"]
    notes = rows[rows["content_sha256"].notna()]
    notes = notes.merge(expected, "left", by).merge(verified, "left", by)
    frame = notes.assign(
        backend=Backend.NEON.value, outcome="read", md5=None, read_detail=None
    ).rename(
        columns={"content_size": "read_size", "content_sha256": "sha256",
                 "version": "read_version", "content_hash": "expected_sha256"}
    )  # fmt: skip
    return pa.Table.from_pandas(frame[HASHES.names], HASHES, preserve_index=False)


def open_spool(directory: Path, partitions: int) -> PartitionWriter:
    """A writer for what :func:`read_assets` and :func:`note_hashes` give."""
    return PartitionWriter(directory, HASHES, partitions)


def readable(backends: Iterable[Backend]) -> list[Backend]:
    """Of ``backends`` those whose bytes are read object by object; Postgres hashes its own."""
    return [backend for backend in backends if backend is not Backend.NEON]
