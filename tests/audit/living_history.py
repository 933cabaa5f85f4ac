"""Histories: what the app does, what goes wrong, and between which requests of the audit.

A history is drawn as data and played exactly so, therefore hypothesis can make a failing one
smaller. The audit is held up before each statement and before each request that it sends, and
between its stages; there the app makes the steps that are due.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from threading import current_thread
from typing import Any

import httpx
import psycopg
import pytest
from damaged_sandbox import BLOB, ICP, Audited, audited
from hypothesis import strategies as st
from living_app import APP, App, BusyError, Step, World
from living_truth import PLACES, Judge, Key, Truth, is_found, key_of, read_truth, sibling, view_of

from tasks import confirm, observe, publish

LIFE = ("create_file", "create_note", "store_forever", "overwrite", "rename", "delete", "take_back")
ACCIDENTS = (
    "lose_file", "lose_copy", "lose_edge", "unmark", "show_failure", "forget_hash", "lose_row",
    "leave_file", "claim_nothing",
)  # fmt: skip
#: Stages in their order; what is concluded is concluded between the third-last and the second-last.
STAGES = ("snapshot", "list", "resolve", "verify", "conclude", "propose", "mend", "close")
LAG_SECONDS = 60
#: Kinds that the judge here does not know; they are no false finding where anything is amiss.
BEYOND = frozenset({
    "moved", "outdated_replica", "replica_divergence", "location_conflict", "duplicate_content",
    "invalid_row", "gallery_divergence", "dangling_item", "unverifiable", "type_mismatch",
})  # fmt: skip
make_ssl_context = httpx.create_ssl_context


@dataclass(frozen=True, slots=True)
class Errand:
    """Something the app does; ``stops_after`` so many steps it is left half-done."""

    name: str
    memory: int
    variant: int
    stops_after: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """One life of the app.

    Attributes:
        before: what went wrong long ago.
        errands: what the app does.
        moves: after so many moments of the audit, a step of which errand.
        grace: minutes.
        lags: the stores whose listings lag behind.
        reads: whether the live audits read bytes.
        audits: how many there are while the app lives.
    """

    before: tuple[Errand, ...]
    errands: tuple[Errand, ...]
    moves: tuple[tuple[int, int], ...]
    grace: int
    lags: tuple[str, ...]
    reads: bool
    audits: int


def _errands(names: tuple[str, ...]) -> st.SearchStrategy[Errand]:
    return st.builds(
        Errand, st.sampled_from(names), st.integers(0, 40), st.integers(0, 23),
        st.sampled_from((None, None, None, 1, 2, 3, 4)),
    )  # fmt: skip


def histories() -> st.SearchStrategy[History]:
    """All of them; the plainest is one in which nothing happens."""
    return st.builds(
        History,
        before=st.lists(_errands(ACCIDENTS), max_size=5).map(tuple),
        errands=st.lists(_errands(LIFE) | _errands(ACCIDENTS), max_size=7).map(tuple),
        moves=st.lists(
            st.tuples(st.integers(0, 9) | st.integers(0, 80), st.integers(0, 6)),
            max_size=30,
        ).map(tuple),
        grace=st.sampled_from((0, 60)),
        lags=st.sampled_from(((), (), (BLOB,), (ICP,), (BLOB, ICP))),
        reads=st.booleans(),
        audits=st.integers(1, 2),
    )


@dataclass(slots=True)
class Tally:
    """What was played so far."""

    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))


@dataclass(frozen=True, slots=True)
class Write:
    """A write to the ledger or to the app's rows, as the witness noted it."""

    number: int
    who: str
    place: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def edge(self) -> tuple[str, str, str]:
        row = self.after or self.before or {}
        return row["memory_id"], row["artifact"], row["backend"]


class Player:
    """Plays one history, and remembers what was so after each of the app's steps."""

    def __init__(self, world: World, history: History, tally: Tally, home: Path) -> None:
        self.world = world
        self.history = history
        self.tally = tally
        self.home = home
        self.app = App(world)
        self.truths: list[Truth] = []
        self.log: list[str] = []
        self.marks: dict[str, int] = {}
        self._moves = list(history.moves)
        self._running: list[tuple[Errand, list[Step] | None, int]] = []
        self._waited = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=APP)

    # The app's side

    def prepare(self) -> None:
        """The first state, and what went wrong long ago."""
        self.world.set_back()
        for errand in self.history.before:
            for step in self._begun(errand) or ():
                step()
        self.world.forget_the_past()
        self._running = [(errand, None, 0) for errand in self.history.errands]
        self.look()

    def _begun(self, errand: Errand) -> list[Step]:
        memory = self.app.memories[errand.memory % len(self.app.memories)]
        steps: list[Step] = getattr(self.app, errand.name)(memory, errand.variant)
        return steps[: errand.stops_after]

    def moment(self, what: str) -> None:
        """A moment of the audit at which the app may make steps."""
        if current_thread().name.startswith((APP, "lease-heartbeat")):
            return
        while self._moves and self._waited >= self._moves[0][0]:
            _, choice = self._moves.pop(0)
            self._waited = 0
            self._thread.submit(self._step, choice, what).result()
        self._waited += 1

    def _step(self, choice: int, what: str) -> None:
        """One step of one errand that is under way; two about one memory follow each other."""
        if not self._running:
            return
        place = choice % len(self._running)
        errand, steps, done = self._running[place]
        if steps is None:
            steps = self._begun(errand)
        if not steps:
            self._running.pop(place)
            return
        try:
            steps[0]()
        except BusyError:
            self.tally.counts["steps put off by a lock"] += 1
        else:
            steps, done = steps[1:], done + 1
            self.tally.counts["app steps"] += 1
            self.log.append(f"{len(self.truths)}: {errand.name} {done} ({errand}), before {what}")
            self.look()
        self._running[place] = errand, steps, done

    def look(self) -> None:
        self.truths.append(read_truth(self.world))

    # The audit's side

    def audit(self, *, live: bool) -> "Seen":
        """One audit with repairs, with the app alive or at rest."""
        if not live:
            self._moves.clear()
        self.look()  # an audit before this one may have mended something
        began = len(self.truths) - 1
        marks: dict[str, int] = {}

        def hook(stage: str) -> Callable[[], None]:
            def at() -> None:
                self.moment(stage)
                marks[stage] = len(self.truths) - 1
                if stage == "list":
                    numbers["known"] = self._last_write()

            return at

        numbers: dict[str, int] = {}
        grace, stuck = (self.history.grace, 30) if live else (0, 0)
        reads = self.history.reads or not live
        settings = self.world.box.settings(
            self.home, EDGEKEEPER_GRACE_MINUTES=str(grace), EDGEKEEPER_STUCK_MINUTES=str(stuck),
            EDGEKEEPER_IC_RATE="1",
        )  # fmt: skip
        with _held_up(self) as snapshots:
            done = audited(
                settings, repair="ledger", verify="all" if reads else "0",
                before={stage: hook(stage) for stage in STAGES},
            )  # fmt: skip
        at = datetime.fromisoformat(snapshots[0]["at"])
        judge = Judge(self.world, view_of(at, grace=grace, stuck=stuck, reads=reads))
        self.tally.counts["audits"] += 1
        return Seen(done, judge, self.truths, began, marks, numbers["known"], self._witnessed())

    def _last_write(self) -> int:
        last = "SELECT coalesce(max(number), 0) FROM witness"
        return int(self._thread.submit(self.world.sql, last).result()[0][0])

    def _witnessed(self) -> list[Write]:
        every = "SELECT number, who, place, before, after FROM witness ORDER BY number"
        return [Write(*row) for row in self._thread.submit(self.world.sql, every).result()]

    def close(self) -> None:
        self._thread.shutdown()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def _held_up(player: Player) -> Iterator[list[dict[str, Any]]]:
    """An audit that waits for the app at every moment; gives what its snapshot stage gave.

    One request at a time, so that the same moves fall upon the same moments; no pages are written.
    """
    send, execute, snapshot = httpx.AsyncClient.send, psycopg.Connection.execute, observe.snapshot
    snapshots: list[dict[str, Any]] = []

    async def held_send(client: Any, request: httpx.Request, **more: Any) -> httpx.Response:
        player.moment(f"{request.method} {request.url.path}")
        return await send(client, request, **more)

    def held_execute(conn: Any, statement: Any, *more: Any, **named: Any) -> Any:
        player.moment(str(statement)[:60])
        return execute(conn, statement, *more, **named)

    def known_snapshot(run: Any) -> dict[str, Any]:
        snapshots.append(snapshot(run))
        return snapshots[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "send", held_send)
        patch.setattr(psycopg.Connection, "execute", held_execute)
        patch.setattr(observe, "snapshot", known_snapshot)
        patch.setattr(confirm, "CONCURRENCY", 1)
        patch.setattr(publish, "published", lambda _run, record, *_pages, **_more: record)
        patch.setattr(httpx, "create_ssl_context", _ssl_context)
        yield snapshots


@cache
def _ssl_context(**options: Any) -> Any:
    return make_ssl_context(**options)


@dataclass(frozen=True, slots=True)
class Seen:
    """An audit, and what was so while it looked.

    Attributes:
        audited: what it said.
        judge: what it had to say of one truth.
        truths: what was so, after each step of the app.
        began: which of them was so when it began.
        marks: and which when each stage began.
        known: the last write that its snapshot may have seen.
        writes: all writes until it ended.
    """

    audited: Audited
    judge: Judge
    truths: list[Truth]
    began: int
    marks: dict[str, int]
    known: int
    writes: list[Write]

    @property
    def found(self) -> set[Key]:
        return {key_of(each.model_dump()) for each in self.audited.record.findings}

    def told(self, key: Key) -> list[tuple[Any, ...]]:
        """All that was so of what a finding rests on, for whoever reads a failure."""
        every = [truth.around(key[1]) if key[1] else truth.about(key) for truth in self.truths]
        return [
            each for number, each in enumerate(every) if not number or each != every[number - 1]
        ]

    def window(self, first: int, last: int) -> list[Truth]:
        return self.truths[first : last + 1]

    def false_findings(self) -> set[Key]:
        """Findings that were so at no moment while they were concluded."""
        while_concluded = self.window(self.marks["conclude"], self.marks["propose"])
        possible = [self.judge.findings(truth) for truth in while_concluded]
        more: set[Key] = set()
        for truth, said in zip(while_concluded, possible, strict=True):
            more |= {key for key in self.found - said if self._says_more(key, truth, said)}
        false = self.found.difference(*possible) - more
        return {key for key in false if not any(sibling(key) in said for said in possible)}

    def _says_more(self, key: Key, truth: Truth, said: set[Key]) -> bool:
        """Whether a finding is of a kind that this judge does not know, about what is not right."""
        del truth
        if key[0] not in BEYOND:
            return False
        return key[1] is None or any(other[1] == key[1] for other in said)

    def missed(self, *, since: int) -> set[Key]:
        """Drift that stood still all the time, ``since`` a truth before the audit, unmentioned."""
        window = self.window(since, self.marks["propose"])
        standing = set.intersection(*(self.judge.findings(truth) for truth in window))
        found = self.found
        return {
            key for key in standing
            if not is_found(key, found)
            and all(truth.about(key) == window[0].about(key) for truth in window)
        }  # fmt: skip

    def repairs(self) -> list[Write]:
        return [
            write for write in self.writes
            if write.place == "storage_edges" and write.who.endswith(self.audited.record.run_id)
        ]  # fmt: skip

    def repairs_over_newer_writes(self) -> list[tuple[Write, Write]]:
        """Repairs of an edge that the app wrote after the snapshot, with the app's write."""
        return [
            (repair, write) for repair in self.repairs() for write in self.writes
            if write.who == APP and write.place == "storage_edges" and write.edge == repair.edge
            and self.known < write.number < repair.number
        ]  # fmt: skip

    def groundless_repairs(self) -> list[Write]:
        """Repairs that say of something what was so at no moment while repairs were made."""
        window = self.window(self.marks["mend"], self.marks["close"])
        return [
            repair for repair in self.repairs()
            if not any(_has_ground(repair, truth) for truth in window)
        ]  # fmt: skip


def _has_ground(repair: Write, truth: Truth) -> bool:
    memory, artifact, backend = repair.edge
    before, after = repair.before or {"present": False}, repair.after
    place = (artifact, backend)
    if after is None:
        return not any(truth.object(memory, each) for each in PLACES)
    location = after["location"]
    held = truth.object(memory, place)
    if backend == BLOB and location is not None:
        held = truth.files.get(location)
    if after["present"] and not before["present"]:
        return held is not None
    if before["present"] and not after["present"]:
        return held is None
    return True
