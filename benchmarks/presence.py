"""One gallery's presence: through the API's own question, beside the design document's view."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from time import perf_counter, process_time
from uuid import UUID

import pandas as pd
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Rounds, Scale
from benchmarks.collection import memories, rows
from benchmarks.loading import copy_in, load_ledger
from benchmarks.sandboxes import empty_sandbox, postgres_cpu
from benchmarks.tables import markdown, middle, number, ratio
from checks.columns import LEDGER
from sandbox.directory import SandboxDirectory
from tasks.database import Connection, connect
from tasks.presence import Sources, find_sources, gallery_presence

_DESIGN = Path(__file__).with_suffix(".sql")
ITEMS = 40
#: Galleries asked for, each once, and after how many seconds no more of them are.
_GALLERIES, _ENOUGH = 400, 20.0
_FEWEST = 3
Ask = Callable[[str], Awaitable[object]]


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A ledger, galleries that hold every memory once, our views and the document's."""
    with empty_sandbox() as sandbox:
        url = SandboxDirectory.of(sandbox).database_url
        with connect(url) as conn:
            frames = memories(scale.memories)
            load_ledger(conn, (rows("ledger", one, LEDGER).to_pandas() for one in frames))
            galleries = _make_galleries(conn, scale.memories)
            conn.execute(_DESIGN.read_bytes())
            sources = find_sources(conn)
        yield lambda: asyncio.run(_round(sandbox, sources, galleries, scale.memories))


def _make_galleries(conn: Connection, count: int) -> list[str]:
    """Galleries of ``ITEMS`` memories each; their ids."""
    conn.execute("INSERT INTO all_users (type) VALUES ('user')")
    (owner,) = conn.execute("SELECT id::text FROM all_users").fetchone() or ("",)
    chance = random.Random(11)
    galleries = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(count // ITEMS)]
    made = pd.DataFrame({"id": galleries}).assign(owner_id=owner, title="A gallery")
    copy_in(conn, "galleries", made)
    start = 0
    for frame in memories(count):
        places = pd.RangeIndex(start, start + len(frame))
        items = frame[["memory_id", "memory_type"]].assign(
            gallery_id=[galleries[place % len(galleries)] for place in places],
            position=places // len(galleries),
        )
        copy_in(conn, "gallery_items", items)
        start += len(frame)
    conn.execute("VACUUM ANALYZE gallery_items")
    return galleries


async def _round(
    sandbox: Path, sources: Sources, galleries: Sequence[str], count: int
) -> list[Measurement]:
    """The same galleries asked for in both ways, over a connection as the API's."""
    chosen = random.sample(galleries, min(_GALLERIES, len(galleries)))
    opened = await AsyncConnection.connect(
        SandboxDirectory.of(sandbox).database_url,
        autocommit=True,
        prepare_threshold=None,
        row_factory=dict_row,
    )
    async with opened as conn:
        for name in ("storage_edges", "gallery_items"):  # as warm as a database in use is
            await conn.execute(f"SELECT count(*) FROM {name}")  # noqa: S608
        return [
            await _asked(f"{count:,} memories", way, ask, chosen, lambda: postgres_cpu(sandbox))
            for way, ask in _ways(conn, sources)
        ]


def _ways(conn: AsyncConnection[DictRow], sources: Sources) -> Iterator[tuple[str, Ask]]:
    async def of_the_document(gallery: str) -> object:
        statement = "SELECT * FROM design.gallery_presence WHERE gallery_id = %s::uuid"
        row = await (await conn.execute(statement, [gallery])).fetchone()
        assert row is not None
        assert row["total_memories"] == ITEMS
        return row

    async def ours(gallery: str) -> object:
        row = await gallery_presence(conn, sources, gallery)
        assert row["total_memories"] == ITEMS
        return row

    async def nothing(_gallery: str) -> object:
        return await (await conn.execute("SELECT 1")).fetchone()

    yield OURS, ours
    yield "`SELECT 1`, as a measure of the machine", nothing
    yield "the design document's view", of_the_document


async def _asked(
    case: str, way: str, ask: Ask, galleries: Sequence[str], served: Callable[[], float]
) -> Measurement:
    """Asks one after the other, so many as there is time for; seconds are those of one question."""
    took: list[float] = []
    own, others = process_time(), served()
    for gallery in galleries:
        if sum(took) > _ENOUGH and len(took) >= _FEWEST:
            break
        began = perf_counter()
        await ask(gallery)
        took.append(perf_counter() - began)
    marks = quantiles(took, n=20)
    also = {"p50": 1000 * marks[9], "p95": 1000 * marks[18], "asked": float(len(took))}
    own, others = ((process_time() - own) / len(took), (served() - others) / len(took))
    return Measurement(case, way, sum(took) / len(took), own, others, ITEMS, None, also)


def table(rounds: Rounds) -> str:
    """Milliseconds that half, and that all but one of twenty, took no longer than."""
    lines = []
    for place, first in enumerate(rounds[0]):
        some = [each[place] for each in rounds]
        asked = number(middle(some, "asked"))
        times = [number(middle(some, name), 2) for name in ("p50", "p95")]
        longer = 1 / (ratio(rounds, place) or 1)
        beside = "" if first.way == OURS else number(longer, 0 if longer > 1 else 2)
        cpu = number(1000 * (middle(some, "all_cpu") or 0), 2)
        lines.append([first.case, first.way, asked, *times, cpu, beside])
    heads = ["ledger", "by", "asked", "p50 ms", "p95 ms", "CPU ms", "times as long"]
    return markdown(heads, lines)


BENCHMARK = Benchmark(
    "presence",
    "Presence of one gallery",
    f"A gallery of {ITEMS} memories asked for: by the function behind the API "
    "(`tasks.presence.gallery_presence`, from our view, over one connection as the API opens it) "
    "and from the design document's view of the same ledger, corrected only where Postgres refuses "
    "it. Both answers come to the client; the ledger was read once before.",
    prepared,
    table,
)
