"""Rows brought into a database quickly: COPY, and indexes only when all is there."""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from tasks.database import Connection
from tasks.schema import apply_schema

#: What is loaded of an edge.
EDGE = ["memory_id", "memory_type", "artifact", "backend", "present", "location", "size_bytes",
        "sync_state", "content_hash", "last_synced_at", "created_at", "updated_at"]  # fmt: skip
_INDEXES = ("uq_edge", "ix_edges_memory", "ix_edges_backend_present", "ix_edges_sync_state")


def load_ledger(conn: Connection, frames: Iterable[pd.DataFrame]) -> None:
    """Brings the schema into a sandbox's database, and edges (columns ``EDGE``) into the ledger."""
    apply_schema(conn)
    for name in _INDEXES:
        conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    for frame in frames:
        copy_in(conn, "storage_edges", frame[EDGE])
    apply_schema(conn)
    conn.execute("VACUUM ANALYZE storage_edges")


def copy_in(conn: Connection, table: str, rows: pd.DataFrame) -> None:
    """Copies rows into the columns of a table that have the frame's names; times are in UTC."""
    names = list(map(str, rows.columns))
    arrays = [pa.array(rows[name]) for name in names]
    times = [pa.types.is_timestamp(array.type) for array in arrays]
    plain = [
        array.cast(pa.timestamp("us")) if time else array
        for array, time in zip(arrays, times, strict=True)
    ]
    sink = pa.BufferOutputStream()
    taken = pa.table(plain, names=names)
    csv.write_csv(taken, sink, csv.WriteOptions(include_header=False))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(memoryview(sink.getvalue()))
