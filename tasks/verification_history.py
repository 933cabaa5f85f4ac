"""When each replica's bytes were last read: ``audit.verification``, one row per replica."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
from psycopg import sql

from tasks.app_tables import find_app_tables
from tasks.copy_out import copy_table
from tasks.database import Connection, transaction
from tasks.partitions import partition_files
from tasks.queries import query

_READINGS = pa.schema(
    [
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("read_at", pa.timestamp("us", tz="UTC")),
        ("known_version", pa.string()),
        ("known_outcome", pa.string()),
        ("verified_sha256", pa.string()),
    ]
)
_BATCH = 5_000
_COLUMNS = {
    "memory_id": "memory_id", "memory_type": "memory_type", "backend": "backend",
    "size_bytes": "read_size", "sha256": "sha256", "md5": "md5", "version": "read_version",
    "outcome": "outcome",
}  # fmt: skip


def readings(conn: Connection, memory_ids: Collection[str] | None = None) -> pd.DataFrame:
    """The last reading of every replica that was ever read, or of some memories' replicas.

    Columns: ``memory_id, memory_type, backend, read_at`` (UTC), ``known_version`` (the store's
    version then), ``known_outcome`` (``read``; ``differed`` from the ledger; ``gone``, ``changed``,
    ``failed``) and ``verified_sha256``, the hash that was last seen to be the ledger's.
    """
    with transaction(conn, snapshot=True):
        statement = query("queries/verification", "readings")
        if memory_ids is not None:
            ids = sql.Literal(list(memory_ids))
            statement = query("queries/verification", "readings_of", ids=ids)
        frame: pd.DataFrame = copy_table(conn, statement, _READINGS).to_pandas()
    return frame


def coverage(conn: Connection) -> tuple[int, datetime | None]:
    """How many of the ledger's replicas were ever verified, and the oldest verification."""
    with transaction(conn, snapshot=True):
        edges = find_app_tables(conn).ledger().identifier
        row = conn.execute(query("queries/verification", "coverage", edges=edges)).fetchone()
    return (int(row[0]), row[1]) if row else (0, None)


def record(conn: Connection, hashes: Path, run_id: str, at: datetime) -> None:
    """Keeps what a run read: the spool of ``verification.HASHES`` in ``hashes``."""
    for path in partition_files(hashes):
        frame = pd.read_parquet(path).astype(object)
        frame = frame.where(frame.notna(), None)
        expected = frame["expected_sha256"]
        differed = (frame["outcome"] == "read") & expected.notna() & (expected != frame["sha256"])
        frame["outcome"] = frame["outcome"].mask(differed, "differed")
        for start in range(0, len(frame), _BATCH):
            batch = frame.iloc[start : start + _BATCH]
            values = {name: batch[column].tolist() for name, column in _COLUMNS.items()}
            with transaction(conn):
                statement = query("queries/verification", "record")
                conn.execute(statement, values | {"at": at, "run_id": run_id})
