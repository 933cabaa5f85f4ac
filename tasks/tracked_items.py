"""Which items of Neon's galleries the ledger knows: spooled with the snapshot, joined later."""

from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from checks.columns import GALLERY_ITEMS, TRACKED_ITEMS
from checks.model import Artifact, Backend
from tasks.app_tables import AppTables
from tasks.collection import item_columns
from tasks.copy_out import copy_tables
from tasks.database import Connection
from tasks.join_keys import unkeyed, with_memory_keys
from tasks.partitions import PartitionWriter, partition_path, read_partition
from tasks.queries import query
from tasks.resolve import Workspace

_KEY = ["key_hi", "key_lo", "memory_type"]


def read_items(
    conn: Connection,
    directory: Path,
    partitions: int,
    tables: AppTables,
    later: ExitStack | None = None,
) -> None:
    """Spools every item of every gallery (columns ``GALLERY_ITEMS``), partitioned by memory key.

    Where the table of items is not there or can't be read whole, nothing is spooled: an empty spool
    would say that there are no items. ``conn`` is in a transaction made by
    :func:`tasks.database.transaction`; ``later``: see :class:`tasks.partitions.PartitionWriter`.
    """
    items = tables.gallery_items
    if items is None or not items.whole:
        return
    select = query("queries/collection", "every_item", **item_columns(items))
    with PartitionWriter(directory, GALLERY_ITEMS, partitions, later) as writer:
        for table in copy_tables(conn, select, unkeyed(GALLERY_ITEMS)):
            writer.write(with_memory_keys(table, GALLERY_ITEMS))


def spool_tracked(workspace: Workspace, directory: Path, grace_after: datetime) -> None:
    """Holds the items against rows and ledger of the same snapshot (columns ``TRACKED_ITEMS``).

    Args:
        workspace: where the snapshot is spooled.
        directory: gets a file per partition; none where no items could be read.
        grace_after: memory rows made since are in flight, and nothing is due of them.
    """
    for partition in range(workspace.partitions):
        if not partition_path(workspace.gallery_items, partition).is_file():
            return
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tracked = _tracked(workspace, partition, grace_after)
        table = pa.Table.from_pandas(tracked, schema=TRACKED_ITEMS, preserve_index=False)
        pq.write_table(table, partition_path(directory, partition))


def _tracked(workspace: Workspace, partition: int, grace_after: datetime) -> pd.DataFrame:
    """One partition's items with ``due`` and ``tracked``."""
    items = _read(workspace.gallery_items, partition)
    rows = _read(workspace.inventory(Backend.NEON), partition, "created_at")
    rows = rows[~(rows["created_at"] > pd.Timestamp(grace_after))]  # undated ones count as old
    edges = _read(workspace.ledger, partition, "artifact", "backend")
    edges = edges[(edges["artifact"] == Artifact.METADATA) & (edges["backend"] == Backend.NEON)]
    own = pd.MultiIndex.from_frame(items[_KEY])
    tracked: pd.DataFrame = items.assign(
        due=own.isin(pd.MultiIndex.from_frame(rows[_KEY])),
        tracked=own.isin(pd.MultiIndex.from_frame(edges[_KEY])),
    )
    return tracked


def _read(directory: Path, partition: int, *more: str) -> Any:
    """One partition's keys and some of its other columns; of items all."""
    columns = [*_KEY, *more] if more else None
    return read_partition(directory, partition, columns).to_pandas()
