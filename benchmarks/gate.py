"""Ratios that may not get much worse: parts of edgekeeper beside peers, small and in one run.

Compared is processor time, and of several interleaved rounds the least of each side, so that other
work on the machine hardly shows. What the ratios were is recorded by
``python -m benchmarks --record`` and committed.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

import pandas as pd
import psycopg
from psycopg import sql

from benchmarks import backfill, compare, hashing
from benchmarks.collection import ADDRESS
from benchmarks.sandboxes import empty_sandbox, postgres_cpu
from checks.cases import build
from checks.columns import LEDGER
from checks.judge import judge
from checks.model import Backend
from sandbox.content import Generated
from sandbox.directory import DATABASE, SandboxDirectory
from tasks.app_tables import find_app_tables
from tasks.copy_out import copy_tables
from tasks.database import connect, transaction
from tasks.join_keys import unkeyed
from tasks.partitions import partition_files
from tasks.resolve import Workspace, expect, load_partition, match_blobs, match_replicas
from tasks.settings import load_settings
from tasks.snapshot import read_ledger

RECORDED = Path(__file__).with_name("recorded.json")
#: How many times as bad as recorded a ratio may get.
TOLERANCE = 1.5
ROUNDS, MOST_ROUNDS = 3, 9
_MEMORIES = 12_500
_OBJECTS, _BYTES = 4, 8 * hashing.MIB
Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """Something of edgekeeper's, and the least that could do the same.

    Attributes:
        name: of what is done.
        ours, peer: do it.
        before: what has to be in place for either; not measured.
        cpu: the processor seconds that were used so far.
    """

    name: str
    ours: Work
    peer: Work
    before: Work = lambda: None
    cpu: Callable[[], float] = process_time

    def round(self) -> tuple[float, float]:
        """Processor seconds of both, one after the other."""
        return self._used(self.ours), self._used(self.peer)

    def _used(self, work: Work) -> float:
        self.before()
        began = self.cpu()
        work()
        return self.cpu() - began


def ratio(pair: Pair, enough: float = 0.0) -> float:
    """How many times what the peer uses edgekeeper does, at its best.

    ``enough``: a ratio with which further rounds, up to ``MOST_ROUNDS``, are not worth it.
    """
    ours, peer = pair.round()
    for number in range(1, MOST_ROUNDS):
        if number >= ROUNDS and ours / peer <= enough:
            break
        one, other = pair.round()
        ours, peer = min(ours, one), min(peer, other)
    return ours / peer


def limits() -> dict[str, float]:
    """What each ratio may be, by the name of its pair."""
    recorded: dict[str, float] = json.loads(RECORDED.read_bytes())
    return {name: TOLERANCE * value for name, value in recorded.items()}


def record() -> Mapping[str, float]:
    """Measures all ratios and keeps them."""
    with pairs() as some:
        found = {pair.name: round(ratio(pair), 2) for pair in some}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return found


@contextmanager
def pairs() -> Iterator[Sequence[Pair]]:
    """All pairs, over a sandbox of their own."""
    with empty_sandbox() as sandbox, tempfile.TemporaryDirectory() as temporary:
        directory = SandboxDirectory.of(sandbox)
        url = directory.database_url
        other = url.removesuffix(DATABASE) + "back_fill"
        with psycopg.connect(url.removesuffix(DATABASE) + "postgres", autocommit=True) as conn:
            statement = "CREATE DATABASE back_fill TEMPLATE {}"
            conn.execute(sql.SQL(statement).format(sql.Identifier(DATABASE)))
        with (
            _reading(sandbox) as reading,
            _comparing(url, Path(temporary) / "compared") as (copying, comparing),
            _back_filling(sandbox, other, Path(temporary) / "observed") as back_filling,
        ):
            yield [copying, comparing, reading, back_filling]


@contextmanager
def _reading(sandbox: Path) -> Iterator[Pair]:
    """Objects fetched and hashed, beside hashlib over as many bytes in memory."""
    settings = load_settings(sandbox / ".env")
    body = Generated("edgekeeper-benchmark", _BYTES).read()
    with hashing.objects(sandbox, [_BYTES] * _OBJECTS) as names:
        yield Pair(
            "fetching and hashing ÷ hashlib",
            lambda: asyncio.run(hashing.read(settings, names)),
            lambda: hashing.hashed(body, _OBJECTS),
        )


@contextmanager
def _comparing(url: str, spools: Path) -> Iterator[tuple[Pair, Pair]]:
    """The ledger read into Arrow beside COPY alone; one partition judged beside plain merges."""
    partitions = compare.spool(spools, _MEMORIES)
    assert partitions == 1
    workspace = Workspace(spools, partitions)
    with connect(url) as conn, closing(conn):
        compare.load(conn, _MEMORIES)
        with transaction(conn, snapshot=True):
            read_ledger(conn, workspace.ledger, partitions)
            statement = find_app_tables(conn).ledger_query()
        expect(workspace, ADDRESS)
        match_replicas(workspace)
        match_blobs(workspace)

        def copied() -> int:
            return sum(table.num_rows for table in copy_tables(conn, statement, unkeyed(LEDGER)))

        yield (
            Pair("ledger into Arrow ÷ COPY", copied, partial(_copied, conn, statement)),
            Pair("judging ÷ pandas merges", partial(_judged, workspace), partial(_merged, spools)),
        )


def _copied(conn: "psycopg.Connection[tuple[object, ...]]", statement: sql.Composable) -> int:
    """The bytes of the same rows."""
    with conn.cursor() as cursor:
        told = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(statement)
        with cursor.copy(told) as copy:
            return sum(len(row) for row in copy)


def _judged(workspace: Workspace) -> int:
    frames, _ = load_partition(workspace, 0, ADDRESS)
    return len(judge(build(frames, compare.view()), compare.view()).findings)


def _merged(spools: Path) -> int:
    """The ledger's edges of each store merged with what the store holds; how many miss."""
    workspace = Workspace(spools, 1)
    ledger = pd.read_parquet(partition_files(workspace.ledger)[0])
    missing = 0
    for backend, folder in (
        (Backend.NEON, workspace.inventory(Backend.NEON)),
        (Backend.BLOB, workspace.seen(Backend.BLOB)),
        (Backend.ICP, workspace.seen(Backend.ICP)),
    ):
        seen = pd.read_parquet(partition_files(folder)[0])
        edges = ledger[ledger["backend"] == backend.value]
        met = edges.merge(seen, "outer", ["key_hi", "key_lo"], indicator="met")
        missing += int((met["met"] != "both").sum())
    return missing


@contextmanager
def _back_filling(sandbox: Path, url: str, spools: Path) -> Iterator[Pair]:
    """Edges made from spools beside the same rows inserted, on both sides of the connection."""
    number = _MEMORIES // 2
    with connect(url) as conn:
        backfill.fill_memories(conn, number)
        backfill.observe(conn, spools, number)
    with connect(url) as conn, backfill.leased(url) as fence:
        backfill.back_filled(url, fence, spools)
        backfill.keep_edges(conn)
        yield Pair(
            "back-fill ÷ INSERT … SELECT",
            lambda: backfill.back_filled(url, fence, spools),
            lambda: backfill.insert_select(conn),
            lambda: backfill.empty_ledger(conn),
            lambda: process_time() + postgres_cpu(sandbox),
        )
