"""The back-fill of spooled inventories, beside one bare INSERT … SELECT of the same rows.

Both write into the same table with the same indexes. The peer's rows lie ready in a table of the
same database, in the order in which the back-fill writes: it neither reads files, nor joins, nor
journals, nor can it be interrupted and go on.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pandas as pd
import psycopg

from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Scale
from benchmarks.collection import ADDRESS, BLOB_URL, memories, rows
from benchmarks.loading import copy_in
from benchmarks.processes import module, tell, took
from benchmarks.sandboxes import empty_sandbox, postgres_cpu
from benchmarks.tables import side_by_side
from checks.columns import BLOB_INVENTORY, ICP_INVENTORY
from checks.model import Backend
from sandbox.directory import SandboxDirectory
from tasks.backfill import Inventories, backfill_edges
from tasks.database import Connection, connect, connector
from tasks.lease import Fence, acquire
from tasks.partitions import PartitionWriter
from tasks.resolve import Workspace
from tasks.schema import apply_schema, ensure_audit_schema
from tasks.snapshot import take_snapshot

_INVENTORIES = {Backend.BLOB: BLOB_INVENTORY, Backend.ICP: ICP_INVENTORY}
Untyped: TypeAlias = "psycopg.Connection[Any]"
_EDGE = ("memory_id, memory_type, artifact, backend, present, location, content_hash, size_bytes, "
         "last_synced_at")  # fmt: skip


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A database with the memories' rows and an empty ledger, and the spooled inventories."""
    with empty_sandbox() as sandbox, tempfile.TemporaryDirectory() as spools:
        url = SandboxDirectory.of(sandbox).database_url
        with connect(url) as conn:
            fill_memories(conn, scale.memories)
            observe(conn, Path(spools), scale.memories)
        yield lambda: _round(sandbox, url, Path(spools), scale.memories)


def fill_memories(conn: Connection, number: int) -> None:
    """The schema, and the app's rows."""
    apply_schema(conn)
    ensure_audit_schema(conn)
    conn.execute("INSERT INTO all_users (type) VALUES ('user')")
    (owner,) = conn.execute("SELECT id::text FROM all_users").fetchone() or ("",)
    for frame in memories(number):
        made = {"id": frame["memory_id"], "url": BLOB_URL + frame["pathname"],
                "created_at": frame["at"], "updated_at": frame["at"]}  # fmt: skip
        images = pd.DataFrame(made).assign(owner_id=owner, owner_secure_code="code")
        copy_in(conn, "images", images)
    conn.execute("VACUUM ANALYZE images")


def observe(conn: Connection, directory: Path, number: int) -> None:
    """Spools what an audit would have observed of so many memories."""
    snapshot = take_snapshot(conn, directory)
    workspace = Workspace(directory, snapshot.partitions)
    for backend, schema in _INVENTORIES.items():
        folder = workspace.inventory(backend)
        with PartitionWriter(folder, schema, snapshot.partitions) as writer:
            for frame in memories(number):
                writer.write(rows(backend.value, frame, schema))


def _round(sandbox: Path, url: str, spools: Path, number: int) -> list[Measurement]:
    """The back-fill, and the rows that it made inserted by the peer."""
    case = f"{number:,} memories"
    with psycopg.connect(url, autocommit=True) as conn:
        empty_ledger(conn)
        used = postgres_cpu(sandbox)
        ours = module("benchmarks.backfill", url, spools)
        ours_served = postgres_cpu(sandbox) - used
        keep_edges(conn)
        empty_ledger(conn)
        used = postgres_cpu(sandbox)
        peer = took(lambda: insert_select(conn))
        peer_served = postgres_cpu(sandbox) - used
    assert ours.found == peer.found > 0
    return [
        Measurement(case, OURS, ours.seconds, ours.cpu, ours_served, ours.found, ours.peak_mb),
        Measurement(case, "INSERT … SELECT", peer.seconds, peer.cpu, peer_served, peer.found),
    ]


def empty_ledger(conn: Untyped) -> None:
    """A ledger without rows, and nothing left for Postgres to do from before."""
    conn.execute("TRUNCATE storage_edges, audit.repair, audit.checkpoint")
    conn.execute("CHECKPOINT")


def keep_edges(conn: Untyped) -> None:
    """Keeps the ledger's edges for :func:`insert_select`, in the order in which they lie."""
    conn.execute("DROP TABLE IF EXISTS kept_edges")
    conn.execute(f"CREATE TABLE kept_edges AS SELECT {_EDGE} FROM storage_edges")  # noqa: S608


def insert_select(conn: Untyped) -> int:
    """Inserts the kept edges; how many there are."""
    statement = f"INSERT INTO storage_edges ({_EDGE}) SELECT {_EDGE} FROM kept_edges"  # noqa: S608
    return conn.execute(statement).rowcount


def back_filled(url: str, fence: Fence, spools: Path) -> int:
    """Back-fills from what :func:`observe` spooled; how many edges were made."""
    neon, blob, icp = (Workspace(spools, 0).inventory(backend) for backend in Backend)
    inventories = Inventories(neon, blob, icp, ADDRESS, blob_complete=True, icp_complete=True)
    with tempfile.TemporaryDirectory() as work:
        return backfill_edges(connector(url), fence, inventories, Path(work)).inserted.total()


@contextmanager
def leased(url: str) -> Iterator[Fence]:
    """The lease under which may be written."""
    with connect(url) as conn:
        lease = acquire(connector(url), uuid4().hex, flow="backfill", policy="ledger")
        with lease:
            yield lease.fence
            lease.release(conn, "completed")


def main() -> None:
    """Back-fills the database at a URL from spools, and tells what that took."""
    url, spools = sys.argv[1], Path(sys.argv[2])
    with leased(url) as fence:
        tell(lambda: back_filled(url, fence, spools))


BENCHMARK = Benchmark(
    "backfill",
    "Back-fill",
    "Edges of memories that are stored forever, made by `tasks.backfill` from spooled inventories "
    "(read, joined by URL and id, journaled, in transactions that a kill can't tear) beside one "
    "`INSERT … SELECT` of the same rows in the same order from a table of the same database, with "
    "the same indexes.",
    prepared,
    side_by_side("edges"),
)

if __name__ == "__main__":
    main()
