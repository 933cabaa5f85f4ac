"""Memories that were never seeded: what all tables say of them, as frames."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa

from checks.normal import BlobAddress
from tasks.join_keys import memory_keys, text_keys

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
#: Memories whose rows are made at once.
_BATCH = 50_000
#: Artifact and backend of the edges of a memory that is stored forever.
PLACES = (("metadata", "neon-db"), ("asset", "vercel-blob"), ("metadata", "icp-canister"),
          ("asset", "icp-canister"))  # fmt: skip
CAPSULE = "capsule_1730000000"
ADDRESS = BlobAddress("benchmark")
BLOB_URL = "https://benchmark.public.blob.vercel-storage.com/"


def memories(number: int, seed: int = 7) -> Iterator[pd.DataFrame]:
    """So many memories, in frames that are not too long.

    Columns: ``memory_id, memory_type, version, sha256, size, at`` (when it was made) and
    ``pathname`` (of its blob).
    """
    chance = np.random.default_rng(seed)
    for start in range(0, number, _BATCH):
        yield _some(chance, min(_BATCH, number - start))


def _some(chance: np.random.Generator, number: int) -> pd.DataFrame:
    octets = chance.bytes(16 * number)
    ids = [str(UUID(bytes=octets[n : n + 16], version=4)) for n in range(0, 16 * number, 16)]
    digests = chance.bytes(32 * number).hex()
    written = NOW - pd.to_timedelta(chance.integers(1, 900, number), unit="D")
    frame = pd.DataFrame(
        {"memory_id": ids, "memory_type": "image", "version": chance.integers(1, 10**6, number),
         "sha256": [digests[n : n + 64] for n in range(0, 64 * number, 64)],
         "size": chance.lognormal(10, 1, number).astype("int64"), "at": written}
    )  # fmt: skip
    return frame.assign(pathname="images/" + frame["memory_id"] + ".jpg")


def rows(table: str, frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The rows of one table of ``checks.columns.CHECKED`` about the memories of ``frame``."""
    made = {"ledger": _edges, "neon-db": _neon, "vercel-blob": _blobs, "icp-canister": _icp}
    found = made[table](frame.assign(created_at=frame["at"], written_at=frame["at"]))
    natural = "location" if table == "vercel-blob" else "memory_id"
    names = pa.array(found[natural], pa.string())
    high, low = text_keys(found[natural]) if natural == "location" else memory_keys(names)
    found = found.assign(key_hi=high, key_lo=low, version=found["version"].astype(str))
    return pa.Table.from_pandas(found[schema.names], schema=schema, preserve_index=False)


def _edges(frame: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for artifact, backend in PLACES:
        asset = artifact == "asset"
        parts.append(
            frame.assign(
                edge_id=frame["memory_id"].str.slice(0, 8) + f"-{artifact}-{backend}",
                artifact=artifact, backend=backend, present=True,
                location=_location(backend, frame),
                content_hash=frame["sha256"] if asset else None,
                size_bytes=frame["size"] if asset else None,
                sync_state="idle", sync_error=None, last_synced_at=frame["at"],
                updated_at=frame["at"],
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _location(backend: str, frame: pd.DataFrame) -> "pd.Series[str] | None":
    """Where an edge says that the artifact lies."""
    if backend == "vercel-blob":
        return frame["pathname"]
    return "icp://" + CAPSULE + "/" + frame["memory_id"] if backend == "icp-canister" else None


def _neon(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(url=BLOB_URL + frame["pathname"], content_size=None, content_sha256=None)


def _blobs(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(location=frame["pathname"])


def _icp(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        capsule_id=CAPSULE, asset_there=True, asset_count=1, declared_sha256=frame["sha256"]
    )
