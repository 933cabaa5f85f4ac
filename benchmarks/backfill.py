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
from tasks.lease import acquire
from tasks.partitions import PartitionWriter
from tasks.resolve import Workspace
from tasks.schema import apply_schema, ensure_audit_schema
from tasks.snapshot import take_snapshot

_INVENTORIES = {Backend.BLOB: BLOB_INVENTORY, Backend.ICP: ICP_INVENTORY}
_EDGE = ("memory_id, memory_type, artifact, backend, present, location, content_hash, size_bytes, "
         "last_synced_at")  # fmt: skip


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A database with the memories' rows and an empty ledger, and the spooled inventories."""
    with empty_sandbox() as sandbox, tempfile.TemporaryDirectory() as spools:
        url = SandboxDirectory.of(sandbox).database_url
        with connect(url) as conn:
            apply_schema(conn)
            ensure_audit_schema(conn)
            _fill_memories(conn, scale.memories)
            observe(conn, Path(spools), scale.memories)
        yield lambda: _round(sandbox, url, Path(spools), scale.memories)


def _fill_memories(conn: Connection, number: int) -> None:
    """The app's rows."""
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
    """The back-fill, its edges kept aside, and the same rows inserted by the peer."""
    case = f"{number:,} memories"
    with psycopg.connect(url, autocommit=True) as conn:
        _empty_ledger(conn)
        used = postgres_cpu(sandbox)
        ours = module("benchmarks.backfill", url, spools)
        ours_served = postgres_cpu(sandbox) - used
        made = conn.execute(
            "SELECT count(*), pg_total_relation_size('storage_edges') FROM storage_edges"
        ).fetchone()
        assert made is not None
        assert ours.found == made[0] > 0
        conn.execute("DROP TABLE IF EXISTS benchmark_edges")
        conn.execute(f"CREATE TABLE benchmark_edges AS SELECT {_EDGE} FROM storage_edges")  # noqa: S608
        _empty_ledger(conn)
        used = postgres_cpu(sandbox)
        peer = took(
            lambda: conn.execute(
                f"INSERT INTO storage_edges ({_EDGE}) SELECT {_EDGE} FROM benchmark_edges"  # noqa: S608
            )
        )
        peer_served = postgres_cpu(sandbox) - used
    edges = int(made[0])
    return [
        Measurement(case, OURS, ours.seconds, ours.cpu, ours_served, edges, ours.peak_mb),
        Measurement(case, "INSERT … SELECT", peer.seconds, peer.cpu, peer_served, edges),
    ]


def _empty_ledger(conn: "psycopg.Connection[tuple[object, ...]]") -> None:
    """A ledger without rows, and nothing left for Postgres to do from before."""
    conn.execute("TRUNCATE storage_edges, audit.repair, audit.checkpoint")
    conn.execute("CHECKPOINT")


def main() -> None:
    """Back-fills the database at a URL from spools, and tells what that took."""
    url, spools = sys.argv[1], Path(sys.argv[2])
    workspace = Workspace(spools, 0)
    neon, blob, icp = (workspace.inventory(backend) for backend in Backend)
    inventories = Inventories(
        neon, blob, icp, ADDRESS, blob_complete=True, icp_complete=True
    )  # fmt: skip
    with connect(url) as conn, tempfile.TemporaryDirectory() as work:
        lease = acquire(connector(url), uuid4().hex, flow="backfill", policy="ledger")

        def fill() -> int:
            report = backfill_edges(connector(url), lease.fence, inventories, Path(work))
            return report.inserted.total()

        with lease:
            tell(fill)
            lease.release(conn, "completed")


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
