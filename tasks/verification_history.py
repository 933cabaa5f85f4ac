"""When each replica's bytes were last read: ``audit.verification``, one row per replica."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from tasks.copy_out import copy_tables
from tasks.database import READ_TIMEOUT, Connection, transaction
from tasks.join_keys import unkeyed, with_memory_keys
from tasks.partitions import PartitionWriter
from tasks.queries import query

READINGS = pa.schema(
    [
        ("key_hi", pa.uint64()),
        ("key_lo", pa.uint64()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("read_at", pa.timestamp("us", tz="UTC")),
        ("verified_at", pa.timestamp("us", tz="UTC")),
        ("known_version", pa.string()),
        ("known_size", pa.int64()),
        ("known_outcome", pa.string()),
        ("verified_sha256", pa.string()),
        ("verified_version", pa.string()),
    ]
)
_BATCH = 5_000
_COLUMNS = {
    "memory_id": "memory_id", "memory_type": "memory_type", "backend": "backend",
    "size_bytes": "read_size", "sha256": "sha256", "md5": "md5", "version": "read_version",
    "outcome": "outcome",
}  # fmt: skip


def spool_readings(
    conn: Connection, directory: Path, partitions: int, memory_ids: Collection[str] | None = None
) -> None:
    """Spools the last reading of every replica, or of some memories' replicas, by memory.

    Columns: the memory's key, ``memory_id, memory_type, backend``, ``read_at`` (the last attempt,
    UTC), ``known_outcome`` of it (``read``; ``differed`` from the ledger; ``gone``, ``changed``,
    ``failed``), ``known_version`` and ``known_size`` of what was last read, ``verified_at``,
    ``verified_sha256`` and ``verified_version`` of when it was last what the ledger says.
    """
    statement = query("queries/verification", "readings")
    if memory_ids is not None:
        ids = sql.Literal(list(memory_ids))
        statement = query("queries/verification", "readings_of", ids=ids)
    with (
        PartitionWriter(directory, READINGS, partitions) as writer,
        transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT),
    ):
        for table in copy_tables(conn, statement, unkeyed(READINGS)):
            writer.write(with_memory_keys(table, READINGS))


def record(conn: Connection, hashes: pa.Table, run_id: str, at: datetime) -> None:
    """Keeps what a run read: rows of ``verification.HASHES``; the same rows again are no harm."""
    expected, found = hashes["expected_sha256"], hashes["sha256"]
    differs = pc.fill_null(pc.not_equal(expected, found), fill_value=False)
    differs = pc.and_(pc.equal(hashes["outcome"], "read"), differs)
    outcome = pc.if_else(differs, "differed", hashes["outcome"])
    kept = hashes.set_column(hashes.schema.get_field_index("outcome"), "outcome", outcome)
    for start in range(0, kept.num_rows, _BATCH):
        batch = kept.slice(start, _BATCH)
        values = {name: batch[column].to_pylist() for name, column in _COLUMNS.items()}
        with transaction(conn):
            statement = query("queries/verification", "record")
            conn.execute(statement, values | {"at": at, "run_id": run_id})
