"""Comparing the ledger with what the stores hold: edgekeeper, reladiff and rclone check.

Of every thousand edges one drifted, see ``benchmarks.drift``. The listings lie ready for all: as
spooled Parquet, as a table of the same database, as directories.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import psycopg
from psycopg import sql

from benchmarks import rclone, reladiff
from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Rounds, Scale, missing
from benchmarks.collection import ADDRESS, NOW, PLACES, memories, rows
from benchmarks.drift import in_ledger, in_store, in_stores, with_drift
from benchmarks.loading import EDGE, copy_in, load_ledger
from benchmarks.peers import ledger_copied
from benchmarks.processes import module, tell
from benchmarks.sandboxes import empty_sandbox, postgres_cpu
from benchmarks.tables import middle, number, side_by_side
from checks.cases import View, build
from checks.columns import BLOB_REFERENCES, CHECKED, LEDGER
from checks.judge import judge
from checks.model import Backend, StoreState
from sandbox.directory import SandboxDirectory
from tasks.database import Connection, connect, transaction
from tasks.partitions import PartitionWriter, partitions_for
from tasks.resolve import Workspace, expect, left_over, load_partition, match_blobs, match_replicas
from tasks.snapshot import read_ledger

#: Above so many memories no directories are made for rclone.
_MOST_FILES = 300_000
_KEY = ["memory_id", "memory_type", "artifact", "backend"]
_COMPARED = ["present", "location", "size_bytes", "sync_state"]
#: The ledger and what it should say, as reladiff takes them.
_AS_TEXTS = ("ledger_as_texts", "inventory_as_texts")


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A ledger that drifted, and what the stores hold in the form that each way takes."""
    with empty_sandbox() as sandbox, tempfile.TemporaryDirectory() as temporary:
        spools, trees = Path(temporary) / "spools", Path(temporary) / "trees"
        url = SandboxDirectory.of(sandbox).database_url
        with connect(url) as conn:
            load(conn, scale.memories)
        partitions = spool(spools, scale.memories)
        if scale.memories <= _MOST_FILES and rclone.installed():
            _make_trees(trees, scale.memories)
        yield lambda: _round(sandbox, url, spools, partitions, trees)


def load(conn: Connection, number: int) -> None:
    """The ledger, and what reladiff compares: a copy of it and what it should hold."""
    load_ledger(conn, map(in_ledger, _edges(number)))
    conn.execute("CREATE TABLE inventory (LIKE storage_edges INCLUDING DEFAULTS)")
    for edges in map(in_stores, _edges(number)):
        copy_in(conn, "inventory", edges[EDGE])
    for table, copied in zip(_AS_TEXTS, ("storage_edges", "inventory"), strict=True):
        conn.execute(_as_texts(table, copied))
        conn.execute(f"CREATE UNIQUE INDEX ON {table} ({', '.join(_KEY)})")
        conn.execute(f"VACUUM ANALYZE {table}")
    conn.execute("DROP TABLE inventory")


def _edges(number: int) -> Iterator[pd.DataFrame]:
    """The edges of the memories, with the drift of their memory."""
    for frame in _frames(number):
        edges = rows("ledger", frame, LEDGER).to_pandas()
        yield edges.assign(drift=frame["drift"].tolist() * len(PLACES))


def _as_texts(made: str, table: str) -> sql.Composed:
    """A copy of a table for reladiff, which takes no enum in a key."""
    enums = ("memory_type", "artifact", "backend", "sync_state")
    columns = [
        sql.SQL("{}::text" if name in enums else "{}").format(sql.Identifier(name))
        for name in (*_KEY, *_COMPARED)
    ]
    return sql.SQL("CREATE TABLE {} AS SELECT {} FROM {}").format(
        sql.Identifier(made), sql.SQL(", ").join(columns), sql.Identifier(table)
    )


def _frames(number: int) -> Iterator[pd.DataFrame]:
    """The memories with their drift."""
    start = 0
    for frame in memories(number):
        yield with_drift(frame, start)
        start += len(frame)


def spool(directory: Path, number: int) -> int:
    """The stores' inventories as listing them leaves them; in how many partitions."""
    partitions = partitions_for((len(PLACES) + len(Backend)) * number)
    workspace = Workspace(directory, partitions)
    with ExitStack() as stack:
        writers = {
            backend: stack.enter_context(
                PartitionWriter(workspace.inventory(backend), CHECKED[backend.value], partitions)
            )
            for backend in Backend
        }
        stack.enter_context(PartitionWriter(workspace.references, BLOB_REFERENCES, partitions))
        for frame in _frames(number):
            for backend, writer in writers.items():
                held = in_store(frame, backend.value)
                writer.write(rows(backend.value, held, CHECKED[backend.value]))
    return partitions


def _make_trees(directory: Path, number: int) -> None:
    """A tree of what the ledger says of blobs and one of the blobs, files of the right lengths."""
    for place, frame in enumerate(_frames(number)):
        ledger = frame[frame["drift"] != "no edge"]
        for name, some in (("ledger", ledger), ("blobs", in_store(frame, "vercel-blob"))):
            wrong = (some["drift"] == "other size") & (name == "ledger")
            for shelf in range(100):
                (directory / name / f"{place:03d}" / f"{shelf:02d}").mkdir(parents=True)
            for file, size in zip(some["pathname"], some["size"] + wrong, strict=True):
                shelf = int(file[7:9], 16) % 100
                path = directory / name / f"{place:03d}" / f"{shelf:02d}" / file.rpartition("/")[2]
                with path.open("wb") as made:
                    made.truncate(size)


def _round(
    sandbox: Path, url: str, spools: Path, partitions: int, trees: Path
) -> list[Measurement]:
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute("SELECT count(*) FROM storage_edges").fetchone()
        conn.execute("CHECKPOINT")
    edges = int(row[0]) if row else 0
    case = f"{edges:,} edges"
    used = postgres_cpu(sandbox)
    ours = module("benchmarks.compare", url, spools, partitions)
    served = postgres_cpu(sandbox) - used
    found = ours.found
    measured = [
        Measurement(case, OURS, ours.seconds, ours.cpu, served, edges, ours.peak_mb,
                    found["stages"] | {"findings": found["findings"]})
    ]  # fmt: skip
    measured.append(_copy(sandbox, url, case, edges))
    for way, options in (
        ("reladiff, JOIN in the database", ("-a", "joindiff", "--assume-unique-key")),
        ("reladiff, checksums", ("-a", "hashdiff", "-j", "2")),
    ):
        if reladiff.installed() is None:
            measured.append(missing(case, way))
            continue
        used = postgres_cpu(sandbox)
        peer = reladiff.diff(url, _AS_TEXTS, _KEY, _COMPARED, *options)
        served = postgres_cpu(sandbox) - used
        also = {"findings": float(peer.found)}
        measured.append(
            Measurement(case, way, peer.seconds, peer.cpu, served, edges, peer.peak_mb, also)
        )
    measured.append(_rclone(case, trees))
    return measured


def _copy(sandbox: Path, url: str, case: str, edges: int) -> Measurement:
    way = "COPY of the ledger, thrown away"
    used = postgres_cpu(sandbox)
    took = module("benchmarks.compare", url)
    served = postgres_cpu(sandbox) - used
    return Measurement(case, way, took.seconds, took.cpu, served, edges, took.peak_mb)


def _rclone(case: str, trees: Path) -> Measurement:
    way = "rclone check, files by length"
    if rclone.installed() is None:
        return missing(case, way)
    if not trees.exists():
        return missing(case, way, "left out: too many files")
    peer = rclone.check(trees / "ledger", trees / "blobs")
    files = sum(1 for _ in (trees / "ledger").rglob("*.jpg"))
    also = {"findings": float(peer.found)}
    return Measurement(case, way, peer.seconds, peer.cpu, 0, files, peer.peak_mb, also)


def compared(url: str, workspace: Workspace) -> dict[str, Any]:
    """What an audit does between its listings and its looks: reading, matching, judging."""
    stages: dict[str, float] = {}

    def stage(name: str, began: float) -> float:
        stages[name] = monotonic() - began
        return monotonic()

    began = monotonic()
    with connect(url) as conn, transaction(conn, snapshot=True):
        edges = read_ledger(conn, workspace.ledger, workspace.partitions)
    began = stage("reading the ledger", began)
    expect(workspace, ADDRESS)
    match_replicas(workspace)
    orphans = match_blobs(workspace)
    began = stage("matching", began)
    findings = len(left_over(workspace, orphans.segments))
    for partition in range(workspace.partitions):
        frames, odd = load_partition(workspace, partition, ADDRESS)
        findings += len(odd) + len(judge(build(frames, view()), view()).findings)
    stage("judging", began)
    return {"edges": edges, "findings": findings, "stages": stages}


def view() -> View:
    """Every store seen whole."""
    stores = dict.fromkeys(Backend, StoreState.COMPLETE)
    return View(stores, NOW, NOW - timedelta(minutes=30), NOW - timedelta(hours=1))


def table(rounds: Rounds) -> str:
    """All ways side by side, edgekeeper's stages, and how many differences were found."""
    stages = ", ".join(f"{name} {number(middle([each[0] for each in rounds], name), 1)} s"
                       for name in rounds[0][0].also if name != "findings")  # fmt: skip
    found = ", ".join(f"{one.also['findings']:,.0f} by {one.way}" for one in rounds[0]
                      if "findings" in one.also and one.rows == rounds[0][0].rows)  # fmt: skip
    beside = f"Differences found: {found}."
    return f"{side_by_side('edges')(rounds)}\nOf edgekeeper's time: {stages}. {beside}\n"


def main() -> None:
    """Compares the ledger at a URL with spooled inventories, and tells what that took.

    Without inventories the ledger is only fetched.
    """
    url, *inventories = sys.argv[1:]
    if not inventories:
        tell(lambda: ledger_copied(url))
        return
    spools, partitions = inventories
    workspace = Workspace(Path(spools), int(partitions))
    tell(lambda: compared(url, workspace))


BENCHMARK = Benchmark(
    "compare",
    "Comparing",
    "A ledger in Postgres held against what the stores hold; one edge of a thousand drifted, in "
    "ten ways. *edgekeeper* reads the ledger, spools it by key, joins it with the three spooled "
    "inventories and classifies every artifact in every store (what an audit does between listing "
    "and looking directly), in one process. *COPY* takes the ledger's rows out of Postgres with "
    "psycopg and forgets them: what reading alone costs, before anything is compared. "
    "*reladiff* compares a copy of the ledger, its enums as texts since it takes no others, "
    "with a table of the same database that says what the stores hold, eight columns of each: "
    "nothing is joined by URL, nothing has to be matched with the app's rows, and rows that "
    "differ are listed, not told apart by what is wrong. *rclone check --size-only* compares "
    "two local directories, the blobs as the ledger has them and as they are; its rows are "
    "files, a quarter of the edges.",
    prepared,
    table,
)

if __name__ == "__main__":
    main()
