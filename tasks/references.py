"""Asking again what refers to an object: the app may have begun to while the stores were listed."""

from collections.abc import Collection

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from checks.normal import BlobAddress, LocationProblem
from tasks.app_tables import AppTables, find_app_tables
from tasks.blob_names import pathnames
from tasks.copy_out import copy_tables
from tasks.database import READ_TIMEOUT, Connection, transaction
from tasks.join_keys import memory_keys
from tasks.resolve import known_deleted
from tasks.snapshot import NAMED, named_in, read_some

_EDGE_LOCATIONS = pa.schema(
    [("memory_id", pa.string()), ("memory_type", pa.string()), ("reference", pa.string())]
)


def still_named(conn: Connection, address: BlobAddress, locations: Collection[str]) -> set[str]:
    """Which of some pathnames Neon names now, as of one moment.

    Memories, thumbnails and users name one, and the edges of all memories but those that the ledger
    knows to be deleted: what these still name has become an orphan. All of them are read, and none
    kept but those asked for.

    Args:
        conn: a connection that is not in a transaction.
        address: which URLs are the blob store's.
        locations: pathnames.
    """
    wanted = set(locations)
    with transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        tables = find_app_tables(conn)
        named = _named_by_rows(conn, tables, address, wanted)
        return named | _named_by_edges(conn, tables, address, wanted)


def _named_by_rows(
    conn: Connection, tables: AppTables, address: BlobAddress, wanted: set[str]
) -> set[str]:
    """Which of some pathnames a memory, its thumbnail or a user names."""
    asked = pa.array(sorted(wanted), pa.string())
    found: set[str] = set()
    for select in tables.reference_queries():
        for table in copy_tables(conn, select, NAMED):
            named = named_in(address, table)["location"]
            found.update(named.filter(pc.is_in(named, value_set=asked)).to_pylist())
    return found


def _named_by_edges(
    conn: Connection, tables: AppTables, address: BlobAddress, wanted: set[str]
) -> set[str]:
    """Which of some pathnames an edge names whose memory is not known to be deleted."""
    by = ["key_hi", "key_lo", "memory_type"]
    found: list[pd.DataFrame] = []
    for table in copy_tables(conn, tables.edge_locations_query(), _EDGE_LOCATIONS):
        texts = table.column("reference").to_pylist()
        names = [
            name if not isinstance(name, LocationProblem) and name in wanted else None
            for name in pathnames(address, texts, bare=True)
        ]
        named = pa.array([name is not None for name in names])
        high, low = memory_keys(table.column("memory_id").filter(named))
        frame = table.filter(named).to_pandas().assign(key_hi=high, key_lo=low)
        found.append(frame.assign(name=[name for name in names if name]))
    naming = pd.concat(found) if found else pd.DataFrame()
    if naming.empty:
        return set()
    memories = naming[["memory_id", "memory_type"]].itertuples(index=False, name=None)
    edges, rows = (each.to_pandas() for each in read_some(conn, tables, memories))
    naming = naming.merge(known_deleted(edges, rows), "left", by)
    return set(naming.loc[naming["deleted"].isna(), "name"])
