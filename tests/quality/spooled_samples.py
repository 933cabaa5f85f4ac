"""Small true tables, spooled as a run spools them, for tests that damage one thing in them."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from checks.columns import BLOB_INVENTORY, ICP_INVENTORY, LEDGER, NEON_INVENTORY
from checks.normal import key_of_memory_id, key_of_text
from tasks.partitions import PartitionWriter

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
_LONG_AGO = NOW - timedelta(days=40)
IDS = [f"{number:08x}-0000-4000-8000-{number:012x}" for number in range(0xABC1, 0xABC9)]
SCHEMAS = {
    "ledger": LEDGER,
    "neon-db": NEON_INVENTORY,
    "vercel-blob": BLOB_INVENTORY,
    "icp-canister": ICP_INVENTORY,
}
Rows = list[dict[str, Any]]


def true_rows(table: str) -> Rows:
    """Rows of ``table`` in which nothing is wrong but what is drift: that is for the findings."""
    make = {"ledger": _edges, "neon-db": _memories, "vercel-blob": _blobs, "icp-canister": _icp}
    return [row for memory_id in IDS for row in make[table](memory_id)]


def spool(table: str, rows: Rows, directory: Path, *, partitions: int = 2) -> Path:
    """Writes ``rows`` as the pipeline does, in partitions by key."""
    keyed = [dict(zip(("key_hi", "key_lo"), _key(table, row), strict=True)) | row for row in rows]
    with PartitionWriter(directory, SCHEMAS[table], partitions) as writer:
        writer.write(pa.Table.from_pylist(keyed, schema=SCHEMAS[table]))
    return directory


def _key(table: str, row: dict[str, Any]) -> tuple[int, int]:
    name = "location" if table == "vercel-blob" else "memory_id"
    key = key_of_text if table == "vercel-blob" else key_of_memory_id
    return key(row[name] or "")


def _edges(memory_id: str) -> Rows:
    sha256 = hashlib.sha256(memory_id.encode()).hexdigest()
    places = [
        ("metadata", "neon-db"),
        ("asset", "vercel-blob"),
        ("metadata", "icp-canister"),
        ("asset", "icp-canister"),
    ]
    return [
        {
            "edge_id": f"{memory_id}/{artifact}/{backend}", "memory_id": memory_id, "memory_type": "image",
            "artifact": artifact, "backend": backend, "present": True, "location": None,
            "content_hash": sha256 if artifact == "asset" else None, "size_bytes": 20_000 if artifact == "asset" else None,
            "sync_state": "idle", "last_synced_at": _LONG_AGO, "sync_error": None,
            "created_at": _LONG_AGO, "updated_at": _LONG_AGO, "version": "771",
        }
        for artifact, backend in places
    ]  # fmt: skip


def _memories(memory_id: str) -> Rows:
    return [
        {
            "memory_id": memory_id, "memory_type": "note", "url": None, "content_size": 12,
            "content_sha256": hashlib.sha256(b"a note").hexdigest(), "created_at": _LONG_AGO,
            "written_at": _LONG_AGO, "version": "771",
        }
    ]  # fmt: skip


def _blobs(memory_id: str) -> Rows:
    return [
        {
            "location": f"images/2024/{memory_id} \u00e4.jpg",
            "size": 20_000,
            "version": "etag",
            "written_at": _LONG_AGO,
        }
    ]


def _icp(memory_id: str) -> Rows:
    return [
        {
            "memory_id": memory_id, "memory_type": "image", "capsule_id": "capsule_1", "asset_there": True, "size": 20_000,
            "declared_sha256": hashlib.sha256(memory_id.encode()).hexdigest(), "version": "17",
            "created_at": _LONG_AGO, "written_at": _LONG_AGO,
        }
    ]  # fmt: skip
