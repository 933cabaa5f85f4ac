"""When each replica's bytes were last read: ``audit.verification``, one row per replica."""

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from tasks.copy_out import copy_table
from tasks.database import Connection, transaction
from tasks.partitions import partition_files
from tasks.queries import query

_VERIFIED_AT = pa.schema(
    [
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("verified_at", pa.timestamp("us", tz="UTC")),
    ]
)
_BATCH = 5_000
_COLUMNS = {
    "memory_id": "memory_id", "memory_type": "memory_type", "backend": "backend",
    "size_bytes": "read_size", "sha256": "sha256", "md5": "md5", "version": "read_version",
    "outcome": "outcome",
}  # fmt: skip


def verified_at(conn: Connection) -> pd.DataFrame:
    """``memory_id, memory_type, backend, verified_at`` of every replica that was ever read."""
    with transaction(conn, snapshot=True):
        statement = query("queries/verification", "verified_at")
        frame: pd.DataFrame = copy_table(conn, statement, _VERIFIED_AT).to_pandas()
    return frame


def coverage(conn: Connection) -> tuple[int, datetime | None]:
    """How many replicas were ever read, and when the one read longest ago was."""
    with transaction(conn, snapshot=True):
        row = conn.execute(query("queries/verification", "coverage")).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def record(conn: Connection, hashes: Path, run_id: str, at: datetime) -> None:
    """Keeps what a run read: the spool of ``verification.HASHES`` in ``hashes``."""
    for path in partition_files(hashes):
        frame = pd.read_parquet(path).astype(object)
        frame = frame.where(frame.notna(), None)
        for start in range(0, len(frame), _BATCH):
            batch = frame.iloc[start : start + _BATCH]
            values = {name: batch[column].tolist() for name, column in _COLUMNS.items()}
            with transaction(conn):
                statement = query("queries/verification", "record")
                conn.execute(statement, values | {"at": at, "run_id": run_id})
