"""Histories: what the app does, what goes wrong, and between which requests of the audit.

A history is one life of the app, on a few memories of its own. Many are played side by side in one
*night*, under the same audits: what an audit costs is the same for a few memories and for many. The
audit is held up before each statement and before each request that it sends, and between its
stages; there the app makes the steps that are due.

A night is drawn as data and played exactly so, therefore hypothesis can make a failing one smaller.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import Lock, current_thread
from typing import Any

import httpx
import psycopg
import pyarrow.parquet as pq
import pytest
from damaged_sandbox import BLOB, ICP, Audited, audited
from hypothesis import strategies as st
from living_app import APP, App, BusyError, FailedError, Step, World
from living_truth import (
    Judge,
    Key,
    Truth,
    has_ground,
    is_found,
    key_of,
    read_truth,
    rests_on,
    sibling,
    view_of,
)
from test_store_faults import LIST

from checks.model import StoreState
from checks.run import StoreSummary
from tasks import confirm, publish, run_directory
from tasks.settings import Settings

LIFE = (
    "create_file", "create_note", "store_forever", "overwrite", "rename", "delete", "take_back",
    "write_edge", "write_row",
)  # fmt: skip
ACCIDENTS = (
    "lose_file", "lose_copy", "lose_edge", "unmark", "show_failure", "forget_hash", "lose_row",
    "leave_file", "claim_nothing",
)  # fmt: skip
#: Stages in their order; what is concluded is concluded between the third-last and the second-last.
STAGES = ("snapshot", "list", "resolve", "verify", "conclude", "propose", "mend", "close")
#: Where most that can go wrong goes wrong.
_CLOSE = ("list", "conclude", "conclude", "mend", "mend")
LAG_SECONDS = 60
#: What lags: a listing alone, or the canister's counts with it, as where a whole replica is behind.
#: Where its counts are ahead of its pages a capsule is not seen whole, and the audit says so.
COUNTS = "counts"
LAGGING: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    BLOB: (BLOB, LIST),
    ICP: (ICP, {"canister_method": "memories_list"}),
    COUNTS: (ICP, {"canister_method": "capsules_list"}),
}
make_ssl_context = httpx.create_ssl_context


@dataclass(frozen=True, slots=True)
class Errand:
    """Something the app does; ``stops_after`` so many steps it is left half-done."""

    name: str
    memory: int
    variant: int
    stops_after: int | None = None


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """So many steps of one of the errands under way, at one moment of one stage of one audit.

    A moment that the stage does not have is its end.
    """

    audit: int
    stage: int
    moment: int
    errand: int
    steps: int


@dataclass(frozen=True, slots=True)
class History:
    """One life of the app.

    Attributes:
        before: what went wrong long ago.
        errands: what the app does.
        moves: when it does it.
    """

    before: tuple[Errand, ...]
    errands: tuple[Errand, ...]
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Night:
    """Histories that are played side by side.

    Attributes:
        histories: each has its own memories.
        grace: minutes.
        lags: what lags behind, of ``LAGGING``.
        reads: whether the audits read bytes.
        audits: how many there are while the app lives.
    """

    histories: tuple[History, ...]
    grace: int
    lags: tuple[str, ...]
    reads: bool
    audits: int


def _errands(names: tuple[str, ...]) -> st.SearchStrategy[Errand]:
    return st.builds(
        Errand, st.sampled_from(names), st.integers(0, 40), st.integers(0, 23),
        st.sampled_from((None, None, None, 1, 2, 3, 4)),
    )  # fmt: skip


def _moves() -> st.SearchStrategy[Move]:
    return st.builds(
        Move, st.integers(0, 1),
        st.sampled_from([*range(len(STAGES)), *map(STAGES.index, _CLOSE)]),
        st.integers(0, 9) | st.integers(0, 80) | st.integers(0, 400),
        st.integers(0, 6), st.sampled_from((1, 1, 1, 2, 3, 6)),
    )  # fmt: skip


def histories() -> st.SearchStrategy[History]:
    """All of them, none in which little happens."""
    return st.builds(
        History,
        before=st.lists(_errands(ACCIDENTS), max_size=4).map(tuple),
        errands=st.lists(_errands(LIFE) | _errands(ACCIDENTS), min_size=2, max_size=8).map(tuple),
        moves=st.lists(_moves(), min_size=8, max_size=24).map(tuple),
    )


def nights(most: int) -> st.SearchStrategy[Night]:
    """Nights of so many histories, or with some left out: only so does a failing one shrink."""
    some = st.tuples(st.integers(0, 31), histories())
    left_out = some.map(lambda each: each[1] if each[0] else History((), (), ()))
    return st.builds(
        Night,
        histories=st.lists(left_out, min_size=most, max_size=most).map(tuple),
        grace=st.sampled_from((0, 60)),
        lags=st.sampled_from(((), (), (), (BLOB,), (ICP,), (ICP, COUNTS), (BLOB, ICP, COUNTS))),
        reads=st.sampled_from((False, False, True)),
        audits=st.sampled_from((1, 1, 2)),
    )


@dataclass(slots=True)
class Tally:
    """What was played so far, kept in a file where one is named: a campaign may be ended early."""

    path: str | None = None
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return json.dumps(dict(sorted(self.counts.items())), indent=1)

    def save(self) -> None:
        if self.path:
            Path(self.path).write_text(str(self), "utf-8")


@dataclass(frozen=True, slots=True)
class Write:
    """A write to the ledger or to the app's rows, as the witness noted it.

    ``version``: what the row's ``xmin`` is since then.
    """

    number: int
    who: str
    place: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    version: str

    @property
    def edge(self) -> tuple[str, str, str]:
        row = self.after or self.before or {}
        return row["memory_id"], row["artifact"], row["backend"]


@dataclass(slots=True)
class Life:
    """A history that is being played: its app, and the errands that are under way."""

    history: History
    app: App
    running: list[tuple[Errand, list[Step] | None, int]] = field(default_factory=list)

    def begun(self, errand: Errand) -> list[Step]:
        memory = self.app.memories[errand.memory % len(self.app.memories)]
        steps: list[Step] = getattr(self.app, errand.name)(memory, errand.variant)
        return steps[: errand.stops_after]


class Player:
    """Plays one night, and remembers what was so after each of the app's steps."""

    def __init__(self, world: World, night: Night, tally: Tally, home: Path) -> None:
        self.world = world
        self.night = night
        self.tally = tally
        self.home = home
        shares = world.shared_out(len(night.histories))
        self.lives = [
            Life(history, App(world, memories, number))
            for number, (history, memories) in enumerate(zip(night.histories, shares, strict=True))
        ]
        self.truths: list[Truth] = []
        self.log: list[str] = []
        self._moves = sorted(
            ((move, life) for life in self.lives for move in life.history.moves),
            key=lambda each: each[0],
        )
        self._now = (0, 0, 0)
        self._held = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=APP)

    # The app's side

    def prepare(self) -> None:
        """The first state, and what went wrong long ago."""
        with self.world.patiently():
            self.world.set_back()
            for life in self.lives:
                for errand in life.history.before:
                    for step in life.begun(errand):
                        step()
                life.running = [(errand, None, 0) for errand in life.history.errands]
            self.world.forget_the_past()
        self.look()

    def moment(self, what: str) -> None:
        """A moment of the audit at which the app may make steps."""
        if current_thread().name.startswith((APP, "lease-heartbeat")):
            return
        with self._held:  # Prefect's tasks run side by side
            self._make_what_is_due(what)

    def _make_what_is_due(self, what: str) -> None:
        number, stage, moment = self._now
        while self._moves and (self._moves[0][0].audit, self._moves[0][0].stage,
                               self._moves[0][0].moment) <= self._now:  # fmt: skip
            move, life = self._moves.pop(0)
            self._thread.submit(self._made, life, move, what).result()
        self._now = (number, stage, moment + 1)

    def _made(self, life: Life, move: Move, what: str) -> None:
        for _ in range(move.steps):
            self._step(life, move.errand, what)

    def _step(self, life: Life, choice: int, what: str) -> None:
        """One step of one errand that is under way; two about one memory may mix."""
        if not life.running:
            return
        place = choice % len(life.running)
        errand, steps, done = life.running[place]
        if steps is None:
            steps = life.begun(errand)
        if not steps:
            life.running.pop(place)
            return
        try:
            steps[0]()
        except BusyError:
            self.tally.counts["steps put off by a lock"] += 1
        except FailedError:
            steps = []
        else:
            steps, done = steps[1:], done + 1
            self.tally.counts["moves"] += 1
            at = f"{STAGES[self._now[1]]} {self._now[2]}"
            self.log.append(
                f"{len(self.truths)}: {life.app.number}: {errand.name} {done} of {errand}, at {at}, "
                f"before {what}"
            )
            self.look()
        life.running[place] = errand, steps, done

    def look(self) -> None:
        with self.world.patiently():
            self.truths.append(read_truth(self.world))

    # The audit's side

    def audit(self, number: int, *, live: bool, through: Callable[..., Audited]) -> "Seen":
        """One audit with repairs, with the app alive or at rest."""
        if not live:
            self._moves.clear()
        self.look()  # an audit before this one may have mended something
        began = len(self.truths) - 1
        marks: dict[str, int] = {}

        def hook(stage: str) -> Callable[[], None]:
            def at() -> None:
                self._now = (number, STAGES.index(stage), 0)
                self.moment(stage)
                marks[stage] = len(self.truths) - 1

            return at

        grace, stuck = (self.night.grace, 30) if live else (0, 0)
        reads = self.night.reads
        settings = self.world.box.settings(
            self.home, EDGEKEEPER_GRACE_MINUTES=str(grace), EDGEKEEPER_STUCK_MINUTES=str(stuck),
            EDGEKEEPER_IC_RATE="1",
        )  # fmt: skip
        with _held_up(self):
            done = through(
                settings, repair="ledger", verify="all" if reads else "0",
                before={stage: hook(stage) for stage in STAGES},
            )  # fmt: skip
        directory = run_directory.existing(self.home, done.record.run_id)
        at = datetime.fromisoformat(directory.done_stages()["snapshot"]["at"])
        view = view_of(at, grace=grace, stuck=stuck, reads=reads)
        judge = Judge(self.world, view)
        self.tally.counts["audits"] += 1
        return Seen(
            done, judge, self.truths, began, marks, _versions(directory.path), self._witnessed()
        )

    def _witnessed(self) -> list[Write]:
        every = "SELECT number, who, place, before, after, version FROM witness ORDER BY number"

        def read() -> list[tuple[Any, ...]]:
            with self.world.patiently():
                return self.world.sql(every)

        return [Write(*row) for row in self._thread.submit(read).result()]

    def close(self) -> None:
        self._thread.shutdown()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def _held_up(player: Player) -> Iterator[None]:
    """An audit that waits for the app at every moment, one request at a time."""
    send, execute = httpx.AsyncClient.send, psycopg.Connection.execute
    stores = player.world.box.directory
    origins = {httpx.URL(each).netloc for each in (stores.blob_origin, stores.icp_origin)}

    async def held_send(client: Any, request: httpx.Request, **more: Any) -> httpx.Response:
        if request.url.netloc in origins:  # Prefect talks with its server
            player.moment(f"{request.method} {request.url.path}")
        return await send(client, request, **more)

    def held_execute(conn: Any, statement: Any, *more: Any, **named: Any) -> Any:
        player.moment(str(statement)[:60])
        return execute(conn, statement, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "send", held_send)
        patch.setattr(psycopg.Connection, "execute", held_execute)
        patch.setattr(confirm, "CONCURRENCY", 1)
        patch.setattr(httpx, "create_ssl_context", _ssl_context)
        yield


def in_stages(settings: Settings, **how: Any) -> Audited:
    """An audit stage by stage: the same moves fall upon the same moments. No pages are written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "published", lambda _run, record, *_pages, **_more: record)
        return audited(settings, **how)


@cache
def _ssl_context(**options: Any) -> Any:
    return make_ssl_context(**options)


def _versions(directory: Path) -> dict[tuple[str, str, str], str]:
    """The version of every edge that a run's snapshot saw."""
    columns = ["memory_id", "artifact", "backend", "version"]
    files = sorted((directory / "ledger").glob("part-*.parquet"))
    rows = (row for path in files for row in pq.read_table(path, columns=columns).to_pylist())
    return {(row["memory_id"], row["artifact"], row["backend"]): row["version"] for row in rows}


@dataclass(frozen=True, slots=True)
class Seen:
    """An audit, and what was so while it looked.

    Attributes:
        audited: what it said.
        judge: what it had to say of one truth.
        truths: what was so, after each step of the app.
        began: which of them was so when it began.
        marks: and which when each stage began.
        known: the version of every edge that its snapshot saw.
        writes: all writes until it ended.
    """

    audited: Audited
    judge: Judge
    truths: list[Truth]
    began: int
    marks: dict[str, int]
    known: dict[tuple[str, str, str], str]
    writes: list[Write]

    @property
    def found(self) -> set[Key]:
        return {key_of(each.model_dump()) for each in self.audited.record.findings}

    @property
    def unseen(self) -> set[str]:
        """The stores that the audit says it did not see whole."""
        return {name for name, each in self.stores.items() if each.state != StoreState.COMPLETE}

    @property
    def stores(self) -> Mapping[str, StoreSummary]:
        return self.audited.record.stores

    def told(self, key: Key) -> list[tuple[Any, ...]]:
        """What was found of its memory, and all that was so of what a finding rests on."""
        every = [truth.around(key[1]) if key[1] else truth.about(key) for truth in self.truths]
        so = [each for number, each in enumerate(every) if not number or each != every[number - 1]]
        return [tuple(other for other in self.found if other[1] == key[1]), *so]

    def window(self, first: int, last: int) -> list[Truth]:
        return self.truths[first : last + 1]

    def false_findings(self) -> set[Key]:
        """Findings that were so at no moment while they were concluded."""
        while_concluded = self.window(self.marks["conclude"], self.marks["propose"])
        possible = [self.judge.findings(truth) for truth in while_concluded]
        false = self.found.difference(*possible)
        false = {key for key in false if not any(sibling(key) in said for said in possible)}
        return {
            key for key in false
            if not any(self.judge.may_say(truth, key) for truth in while_concluded)
        }  # fmt: skip

    def missed(self, *, since: int) -> set[Key]:
        """Drift that stood still all the time, ``since`` a truth before the audit, unmentioned.

        What rests on a store that the audit says it did not see whole is unknown, not missed.
        """
        window = self.window(since, self.marks["propose"])
        standing = set.intersection(*(self.judge.findings(truth) for truth in window))
        found = self.found
        return {
            key for key in standing
            if not is_found(key, found)
            and not rests_on(key) & self.unseen
            and all(truth.about(key) == window[0].about(key) for truth in window)
        }  # fmt: skip

    def repairs(self) -> list[Write]:
        return [
            write for write in self.writes
            if write.place == "storage_edges" and write.who.endswith(self.audited.record.run_id)
        ]  # fmt: skip

    def repairs_over_newer_writes(self) -> list[tuple[Write, Write | None]]:
        """Repairs of an edge that was not as the snapshot had seen it, with the write between."""
        over = []
        for repair in self.repairs():
            earlier = [
                write for write in self.writes
                if write.place == repair.place and write.edge == repair.edge
                and write.number < repair.number
            ]  # fmt: skip
            last = earlier[-1] if earlier else None
            seen = self.known.get(repair.edge)
            if repair.before is None:
                newer = seen is not None  # deleted since, and made again by the repair
            else:
                newer = last is not None and last.version != seen
            if newer:
                over.append((repair, last))
        return over

    def groundless_repairs(self) -> list[Write]:
        """Repairs that say what was so at no moment between the last looks and the repair."""
        first = self.marks["mend"]
        return [
            repair for repair in self.repairs()
            if not any(
                has_ground(repair.edge, repair.before, repair.after, truth)
                for truth in self.truths[first:] if truth.number < repair.number
            )
        ]  # fmt: skip

    def tallied(self, counts: Counter[str]) -> None:
        """Adds what this audit did to the figures."""
        record = self.audited.record
        counts["findings"] += len(record.findings)
        counts["audits that did not see all"] += bool(self.unseen)
        counts["in flight"] += record.limits.get("in_flight", 0)
        for name in ("applied", "superseded", "refused", "failed"):
            counts[f"repairs {name}"] += getattr(record.repairs, name)
