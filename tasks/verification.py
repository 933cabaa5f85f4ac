"""Reading bytes: which assets are read in a run, in which order, and what became of each.

Never verified first, then the one whose verification is oldest, until the budget of bytes is spent.
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
from checks.model import Backend
from tasks.partitions import PartitionWriter
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
    """The targets that are read: never verified, then stalest, while the budget lasts.

    Args:
        targets: ``verified_at`` (UTC or null) and ``object_size`` (bytes; unknown counts as 0).
        budget: bytes.
    """
    ordered = targets.sort_values("verified_at", na_position="first", kind="stable")
    spent = ordered["object_size"].fillna(0).astype("int64").cumsum()
    return ordered[spent <= budget]


async def read_assets(
    targets: pd.DataFrame,
    stores: Mapping[Backend, Store],
    writer: PartitionWriter,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> Reading:
    """Reads and hashes the assets of ``targets`` and spools the outcomes (columns ``HASHES``).

    Args:
        targets: columns of ``Cases.frame``; all in stores that can be read.
        stores: the stores by backend.
        writer: for the schema ``HASHES``.
        progress: called with the bytes of each asset read.
    """
    result = Reading()
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(target: dict[str, Any]) -> dict[str, Any] | None:
        async with gate:
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


def note_hashes(rows: pd.DataFrame) -> pa.Table:
    """The notes' hashes, which Postgres computed from their texts, as rows of ``HASHES``.

    Args:
        rows: columns of ``columns.NEON_INVENTORY``.
    """
    notes = rows[rows["content_sha256"].notna()]
    frame = pd.DataFrame(
        {
            **{name: notes[name] for name in ("key_hi", "key_lo", "memory_id", "memory_type")},
            "backend": Backend.NEON.value,
            "outcome": "read",
            "read_size": notes["content_size"],
            "sha256": notes["content_sha256"],
            "md5": None,
            "read_version": notes["version"],
            "read_detail": None,
        }
    )
    return pa.Table.from_pandas(frame, HASHES, preserve_index=False)


def open_spool(directory: Path, partitions: int) -> PartitionWriter:
    """A writer for what :func:`read_assets` and :func:`note_hashes` give."""
    return PartitionWriter(directory, HASHES, partitions)


def readable(backends: Iterable[Backend]) -> list[Backend]:
    """Of ``backends`` those whose bytes are read object by object; Postgres hashes its own."""
    return [backend for backend in backends if backend is not Backend.NEON]
