"""What "not found" rests on: capsules are asked as rarely as that allows, and never too rarely."""

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from icp_process import PEM, STRANGER_PEM, IcpProcess, inline, principal_of

from checks.errors import AccessRefusedError, StoreError
from checks.model import Backend, StoreState
from checks.normal import icp_location
from tasks import observe, run_directory
from tasks.audit import AuditOptions, AuditRun
from tasks.comparison import Concluded
from tasks.observe import Seen
from tasks.stores.icp import IcpStore
from tasks.stores.icp.memory import Memory, MemoryPage
from tasks.stores.icp.readability import Proofs
from tasks.stores.protocol import ListingReport

pytestmark = pytest.mark.usefixtures("no_waiting")


class Clock:
    """A clock that goes on by so many seconds for each capsule that is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.by_question = 1_000.0, 0.0
        for module in ("store", "readability"):
            monkeypatch.setattr(f"tasks.stores.icp.{module}.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def questions(store: IcpStore, clock: Clock | None = None, *, answered_to: int = 1) -> Counter[str]:
    """Counts how often each capsule is asked from now on whether it can be read.

    Answers come once so many looks have found nothing, each time.
    """
    asked: Counter[str] = Counter()
    page, memory = store.canister.memories_page, store.canister.memory
    looks, enough = 0, asyncio.Event()

    async def counted(capsule_id: str, cursor: str | None = None, limit: int = 100) -> MemoryPage:
        asked[capsule_id] += 1
        await enough.wait()
        if clock is not None:
            clock.now += clock.by_question
        return await page(capsule_id, cursor, limit)  # type: ignore[return-value]

    async def looked(memory_id: str) -> Memory | None:
        nonlocal looks
        found = await memory(memory_id)
        looks += 1
        (enough.clear if looks % answered_to else enough.set)()
        return found

    store.canister.memories_page = counted  # type: ignore[method-assign,assignment]
    store.canister.memory = looked  # type: ignore[method-assign]
    return asked


@asynccontextmanager
async def opened(icp: IcpProcess, known: list[str], attempt: str | None) -> AsyncIterator[IcpStore]:
    store = IcpStore.from_settings(icp.settings(), known_capsules=known, attempt=attempt)
    try:
        yield store
    finally:
        await store.aclose()


async def look_for_nothing(store: IcpStore, times: int = 1) -> None:
    """So many looks at once for memories that no capsule has."""
    found = await asyncio.gather(*(store.look_up(str(uuid.uuid4())) for _ in range(times)))
    assert found == [None] * times


async def test_looks_at_the_same_time_ask_each_capsule_once(icp: IcpProcess) -> None:
    known = [icp.capsule() for _ in range(23)]
    async with opened(icp, known, None) as store:
        asked = questions(store)
        await look_for_nothing(store, 16)
        await look_for_nothing(store, 16)
    assert asked == dict.fromkeys(known, 1)


async def test_capsules_are_asked_side_by_side(icp: IcpProcess) -> None:
    known = [icp.capsule() for _ in range(20)]
    async with opened(icp, known, None) as store:
        under_way, most = 0, 0
        page = store.canister.memories_page

        async def watched(capsule_id: str, limit: int) -> MemoryPage | None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            try:
                return await page(capsule_id, limit=limit)
            finally:
                under_way -= 1

        store.canister.memories_page = watched  # type: ignore[method-assign,assignment]
        await look_for_nothing(store)
    assert most == icp.settings().ic_rate


async def test_a_look_asks_again_after_a_minute(icp: IcpProcess, clock: Clock) -> None:
    known = [icp.capsule() for _ in range(3)]
    async with opened(icp, known, None) as store:
        asked = questions(store)
        await look_for_nothing(store)
        clock.now += 59
        await look_for_nothing(store)
        assert asked == dict.fromkeys(known, 1)
        clock.now += 2
        await look_for_nothing(store)
    assert asked == dict.fromkeys(known, 2)


async def test_capsules_that_take_more_than_a_minute_are_not_asked_for_each_look(
    icp: IcpProcess, clock: Clock
) -> None:
    known = [icp.capsule() for _ in range(23)]
    clock.by_question = 10
    async with opened(icp, known, None) as store:
        asked = questions(store, clock, answered_to=16)
        await look_for_nothing(store, 16)
    assert asked == dict.fromkeys(known, 1)


async def test_stores_of_one_attempt_share_what_they_found_out(icp: IcpProcess) -> None:
    known = [icp.capsule() for _ in range(5)]
    counts = []
    for attempt in ("one", "one", "another", None, None):
        async with opened(icp, known, f"{known[0]}-{attempt}" if attempt else None) as store:
            asked = questions(store)
            await look_for_nothing(store)
            counts.append(asked.total())
    assert counts == [5, 0, 5, 5, 5]


async def test_what_they_share_holds_no_longer_than_a_minute(icp: IcpProcess, clock: Clock) -> None:
    capsule = icp.capsule()
    there = icp.memory(capsule, inline()[0])
    async with opened(icp, [capsule], f"attempt-{capsule}") as store:
        await look_for_nothing(store)
    take_away(icp, capsule)
    clock.now += 61
    async with opened(icp, [capsule], f"attempt-{capsule}") as store:
        for name in (there.id, icp_location(capsule, there.id)):
            with pytest.raises(AccessRefusedError, match="may not read capsule"):
                await store.look_up(name)


def take_away(icp: IcpProcess, capsule: str) -> None:
    """Gives a capsule to somebody else."""
    with icp.storage.transaction():
        icp.storage.database.execute(
            "UPDATE capsule SET subject = replace(subject, ?, ?),"
            " owners = replace(owners, ?, ?) WHERE id = ?",
            (*(principal_of(PEM), principal_of(STRANGER_PEM)) * 2, capsule),
        )


async def test_a_refusal_is_told_to_all_who_wait_and_asked_for_again_later(
    icp: IcpProcess,
) -> None:
    mine, theirs = icp.capsule(), icp.capsule(pem=STRANGER_PEM)
    async with opened(icp, [mine, theirs], None) as store:
        asked = questions(store, answered_to=16)
        for round_ in (1, 2):
            looks = [store.look_up(str(uuid.uuid4())) for _ in range(16)]
            outcomes = await asyncio.gather(*looks, return_exceptions=True)
            assert [type(each) for each in outcomes] == [AccessRefusedError] * 16
            assert asked == {mine: 1, theirs: round_}


async def test_of_several_refusals_the_first_capsules_is_told(icp: IcpProcess) -> None:
    known = [icp.capsule(pem=STRANGER_PEM) for _ in range(8)]
    async with opened(icp, known, None) as store:
        with pytest.raises(AccessRefusedError, match=min(known)):
            await store.look_up(str(uuid.uuid4()))


@pytest.mark.parametrize("attempts", [1, 2])
def test_the_partitions_that_an_attempt_compares_share_what_was_found_out(
    icp: IcpProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    known = [icp.capsule() for _ in range(5)]
    directory = run_directory.create(tmp_path, "20261123T031500Z-7f3a")
    now = datetime.now(UTC)
    runs = [AuditRun(icp.settings(), AuditOptions(), directory, now) for _ in range(attempts)]
    reports = {
        backend: ListingReport(
            StoreState.COMPLETE if backend is Backend.ICP else StoreState.NOT_CONFIGURED
        )
        for backend in Backend
    }
    seen = Seen({"partitions": 4, "capsules": known, "at": now.isoformat()}, reports)
    asked = []

    async def look(*_: Any, stores: Any, **__: Any) -> Concluded:
        counted = questions(stores[Backend.ICP])
        await look_for_nothing(stores[Backend.ICP])
        asked.append(counted.total())
        return Concluded()

    monkeypatch.setattr("tasks.comparison.conclude", look)
    for partition in range(4):
        observe.conclude(runs[partition % attempts], partition, seen)
    assert asked == [5] * attempts + [0] * (4 - attempts)


async def test_who_waits_for_a_question_that_was_given_up_asks_it() -> None:
    proofs, asked, never = Proofs(), [], asyncio.Event()

    async def given_up() -> None:
        asked.append("given up")
        await never.wait()

    async def answered() -> None:
        asked.append("answered")

    first = asyncio.ensure_future(proofs.prove("capsule", 0.0, given_up))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(proofs.prove("capsule", 0.0, answered))
    await asyncio.sleep(0)
    third = asyncio.ensure_future(proofs.prove("capsule", 0.0, answered))
    await asyncio.sleep(0)
    third.cancel()  # who gives up waiting takes nothing from the others
    first.cancel()
    await second
    assert first.cancelled()
    assert asked == ["given up", "answered"]


@pytest.mark.parametrize("refused", [False, True])
def test_threads_share_a_question(*, refused: bool) -> None:
    proofs, asked = Proofs(), []
    waiting = threading.Barrier(4)

    def prove(outcomes: list[str], ask_long: Callable[[], None]) -> None:
        async def ask() -> None:
            asked.append(1)
            await asyncio.to_thread(ask_long)
            if refused:
                raise StoreError("no")

        async def prove_all() -> None:
            waiting.wait(10)
            try:
                await proofs.prove("capsule", 0.0, ask)
                outcomes.append("proven")
            except StoreError as error:
                outcomes.append(str(error))

        asyncio.run(prove_all())

    outcomes: list[str] = []
    enough = threading.Event()
    threads = [
        threading.Thread(target=prove, args=(outcomes, lambda: enough.wait(10))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    threading.Timer(0.3, enough.set).start()
    for thread in threads:
        thread.join(20)
    assert len(asked) == 1
    assert outcomes == ["no" if refused else "proven"] * 4
