"""Small true tables, spooled as a run spools them, for tests that damage one thing in them."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from checks.columns import CHECKED, RUN_MEASURES
from checks.normal import key_of_memory_id, key_of_text
from checks.run_measures import DRIFT, GAP, UNVERIFIED
from tasks.partitions import PartitionWriter, partition_path

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
_LONG_AGO = NOW - timedelta(days=40)
IDS = [f"{number:08x}-0000-4000-8000-{number:012x}" for number in range(0xABC1, 0xABC9)]
Rows = list[dict[str, Any]]


def true_rows(table: str) -> Rows:
    """Rows of ``table`` in which nothing is wrong but what is drift: that is for the findings."""
    make = {
        "ledger": _edges, "neon-db": _memories, "vercel-blob": _blobs, "icp-canister": _icp,
        "gallery-items": _items, "stored-copies": _copies,
    }  # fmt: skip
    if table == "run":
        return _measures()
    return [row for memory_id in IDS for row in make[table](memory_id)]


def spool(table: str, rows: Rows, directory: Path, *, partitions: int = 2) -> Path:
    """Writes ``rows`` as the pipeline does, in partitions by key."""
    schema = CHECKED[table]
    if "key_lo" not in schema.names:
        directory.mkdir(parents=True)
        for number in range(partitions):
            part = pa.Table.from_pylist(rows[number::partitions], schema=schema)
            pq.write_table(part, partition_path(directory, number))
        return directory
    keyed = [dict(zip(("key_hi", "key_lo"), _key(table, row), strict=True)) | row for row in rows]
    with PartitionWriter(directory, schema, partitions) as writer:
        writer.write(pa.Table.from_pylist(keyed, schema=schema))
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


def _items(memory_id: str) -> Rows:
    return [
        {
            "gallery_id": "0000abc0-0000-4000-8000-000000000000", "memory_id": memory_id,
            "memory_type": "image", "due": True, "tracked": True,
        }
    ]  # fmt: skip


def _copies(memory_id: str) -> Rows:
    return [
        {
            "memory_id": memory_id, "memory_type": "image", "backend": backend,
            "verified_at": _LONG_AGO if backend == "vercel-blob" else None,
        }
        for backend in ("vercel-blob", "icp-canister")
    ]  # fmt: skip


def _measures() -> Rows:
    measures = [
        (DRIFT, "all kinds", 9.0, 8.0, 24.0), (DRIFT, "missing", 9.0, 8.0, 24.0),
        (UNVERIFIED, "vercel-blob", 11.2, 10.0, 15.0), (UNVERIFIED, "icp-canister", 50.0, 50.0, 55.0),
        (GAP, "20261122T031500Z-7426", 23.9, 24.0, 72.0), (GAP, "20261122T031500Z-7427", 0.0, None, 48.0),
    ]  # fmt: skip
    return [dict(zip(RUN_MEASURES.names, each, strict=True)) for each in measures]
