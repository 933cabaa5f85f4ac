"""Store Forever as a run: what was asked for, memory by memory, and the record of it.

Several memories are copied side by side, not more of one capsule than it has room for. A store that
does not answer ends the run: what was not begun is left as it is.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from checks.errors import SettingsError, StoreError, UsageError
from checks.model import Artifact, Backend
from checks.normal import icp_capsule_id
from checks.run import StoredMemory, StoreForever
from tasks.audit import AuditRun
from tasks.chosen import gallery, parse_memory
from tasks.copying import CanisterTarget
from tasks.lease import Fence
from tasks.progress import advance
from tasks.replacing import Replacing
from tasks.serial_connection import SerialConnection
from tasks.sources import Shelves, location_in
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.store import IcpStore
from tasks.stores.icp.updates import NEEDED_TO_WRITE, Updates
from tasks.storing import Outcome, Stored, Storing, left_to_do
from tasks.subjects import Subject, read_subjects

#: Memories copied at once, and of these in one capsule.
AT_ONCE = 8
OF_A_CAPSULE = 4
#: So many memories in a row that failed since a store did not answer end the run.
PATIENCE = 3
#: How long an update call takes on the mainnet until it is certified, by its documentation.
SECONDS_PER_CALL = 2.0
#: What an ingress message may have, less than its other fields need.
_LARGEST_CHUNK = 1_900_000
_BATCH = 50
_BYTES, _MEMORIES = "storing bytes", "storing memories"


def choose(
    run: AuditRun, galleries: Sequence[str], memories: Sequence[str]
) -> list[tuple[str, str]]:
    """The memories that were asked for, each once, as pairs of id and type.

    Raises UsageError where there is no such gallery, or nothing was asked for.
    """
    pairs = [parse_memory(text) for text in memories]
    with run.connect() as conn:
        for gallery_id in galleries:
            chosen = gallery(conn, gallery_id)
            if not chosen.found:
                raise UsageError(f"There is no gallery {gallery_id}. Nothing was done.")
            pairs += chosen.pairs()
    return list(dict.fromkeys(pairs))


def store(run: AuditRun, fence: Fence, pairs: Sequence[tuple[str, str]]) -> StoreForever:
    """Stores the memories and says what became of each."""
    return asyncio.run(_store(run, fence, pairs))


def forecast(run: AuditRun, pairs: Sequence[tuple[str, str]]) -> StoreForever:
    """What storing the memories would do; nothing is written anywhere."""
    return asyncio.run(_forecast(run, pairs))


@dataclass(frozen=True, slots=True)
class Open:
    """What a run has open: Neon, the stores, the canister's upload rules, the own capsule."""

    database: SerialConnection
    shelves: Shelves
    target: CanisterTarget
    capsule_id: str


@asynccontextmanager
async def opened(run: AuditRun, *, to_fill: bool = True) -> AsyncIterator[Open]:
    """Opens all that copying needs; ``to_fill``: new memories go to a capsule of our own."""
    settings = run.settings
    async with AsyncExitStack() as stack:
        icp = IcpStore.from_settings(settings)
        stack.push_async_callback(icp.aclose)
        await icp.check_interface(NEEDED_TO_WRITE)
        await icp.identity()
        database = SerialConnection(run.connect)
        stack.push_async_callback(database.aclose)
        stores: dict[Backend, Any] = {Backend.ICP: icp}
        if settings.blob_token is not None:
            stores[Backend.BLOB] = blob = BlobStore(settings)
            stack.push_async_callback(blob.aclose)
        target = CanisterTarget(
            icp, Updates(icp.canister), database, await _chunk_bytes(icp),
            lambda count: advance(_BYTES, count),
        )  # fmt: skip
        shelves = Shelves(database, stores, run.directory.path)
        yield Open(database, shelves, target, await _own_capsule(run, icp) if to_fill else "")


async def _chunk_bytes(icp: IcpStore) -> int:
    """How long chunks are to be. Raises SettingsError where the canister says something absurd."""
    size = (await icp.canister.upload_config())["chunk_size"]
    if not 0 < size <= _LARGEST_CHUNK:
        raise SettingsError(
            f"the canister asks for chunks of {size} bytes, of which none fits into a message; is "
            "CANISTER_ID_BACKEND right?"
        )
    return size


async def _own_capsule(run: AuditRun, icp: IcpStore) -> str:
    """The capsule that new memories go to. Raises SettingsError where there is none to choose."""
    capsules = await icp.canister.capsules()
    named = run.settings.icp_capsule
    if named is not None:
        if named not in {capsule.id for capsule in capsules}:
            raise SettingsError(
                f"EDGEKEEPER_ICP_CAPSULE is {named}, which IC_IDENTITY_PEM may not use; its "
                "principal must be an owner or controller of the capsule"
            )
        return named
    principal = await icp.canister.whoami()
    own = [capsule.id for capsule in capsules if capsule.subject == principal]
    if len(own) != 1:
        found = f"{len(own)} capsules" if own else "no capsule"
        raise SettingsError(
            f"{found} belong to the identity {principal}: name the one to store in, "
            "EDGEKEEPER_ICP_CAPSULE=…"
        )
    return own[0]


def storing_of(run: AuditRun, fence: Fence, desk: Open) -> Storing:
    """What stores, with all that it needs."""
    stuck_before = datetime.now(UTC) - timedelta(minutes=run.settings.stuck_minutes)
    return Storing(
        fence, desk.database, desk.shelves, desk.target,
        Replacing(desk.target, run.directory.home, fence), desk.capsule_id, stuck_before,
    )  # fmt: skip


async def _store(run: AuditRun, fence: Fence, pairs: Sequence[tuple[str, str]]) -> StoreForever:
    async with opened(run) as desk:
        storing = storing_of(run, fence, desk)
        done = await _Crowd(run, desk, storing, len(pairs)).store_all(pairs)
    return StoreForever(
        dry_run=False, capsule_id=desk.capsule_id,
        bytes=sum(each.copied.size for each in done if each.copied),
        update_calls=desk.target.updates.calls,
        memories=tuple(map(_told, done)),
    )  # fmt: skip


class _Crowd:
    """Memories that are stored side by side."""

    def __init__(self, run: AuditRun, desk: Open, storing: Storing, total: int) -> None:
        self._run = run
        self._desk = desk
        self._storing = storing
        self._total = total
        self._room = asyncio.Semaphore(AT_ONCE)
        self._capsules: dict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(OF_A_CAPSULE)
        )
        self._unreachable = 0

    async def store_all(self, pairs: Sequence[tuple[str, str]]) -> list[Stored]:
        """Stores the memories; each is looked at in Neon shortly before."""
        done: list[Stored] = []
        for start in range(0, len(pairs), _BATCH):
            subjects = await self._desk.database.run(
                read_subjects, pairs[start : start + _BATCH], self._run.settings.blob_address
            )
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._one(each)) for each in subjects]
            except ExceptionGroup as several:  # a lost lease ends them all
                raise several.exceptions[0] from None
            done += [task.result() for task in tasks]
        return done

    async def _one(self, subject: Subject) -> Stored:
        capsule = _capsule_of(subject) or self._desk.capsule_id
        async with self._capsules[capsule], self._room:
            if self._unreachable >= PATIENCE:
                result = Stored(subject).all(Outcome.SKIPPED, "a store does not answer")
            else:
                result = await self._storing.store(subject)
                self._unreachable = self._unreachable + 1 if result.unreachable else 0
        advance(_MEMORIES, 1, self._total)
        return result


async def _forecast(run: AuditRun, pairs: Sequence[tuple[str, str]]) -> StoreForever:
    memories: list[StoredMemory] = []
    async with opened(run) as desk:
        for start in range(0, len(pairs), _BATCH):
            subjects = await desk.database.run(
                read_subjects, pairs[start : start + _BATCH], run.settings.blob_address
            )
            memories += await asyncio.gather(*(_expected(desk, each) for each in subjects))
    calls = [each.update_calls for each in memories]
    longest = max(calls, default=0) * SECONDS_PER_CALL
    return StoreForever(
        dry_run=True, capsule_id=desk.capsule_id, bytes=sum(each.bytes for each in memories),
        update_calls=sum(calls), memories=tuple(memories),
        seconds_expected=max(longest, sum(calls) * SECONDS_PER_CALL / OF_A_CAPSULE),
    )  # fmt: skip


async def _expected(desk: Open, subject: Subject) -> StoredMemory:
    """What storing a memory would take."""
    if not subject.there:
        return _told(Stored(subject).all(Outcome.FAILED, f"Neon has no {subject}"))
    store = desk.target.store
    try:
        seen = await store.memory(location_in(subject, Backend.ICP) or "")
        left = await left_to_do(subject, seen, desk.target)
        there = seen is not None and await store.true_size(seen.original) is not None
        size = 0 if there or Artifact.ASSET not in left else await _size(desk, subject)
    except StoreError as error:
        return _told(Stored(subject).all(Outcome.FAILED, str(error)))
    calls = 0
    if Artifact.ASSET in left and not there:
        calls = 3 + max(1, -(-size // desk.target.chunk_bytes))  # begin, finish, create or add
    elif seen is None:
        calls = 1
    said = {each: "to be stored" if each in left else Outcome.ALREADY.value for each in Artifact}
    return StoredMemory(
        memory_id=subject.memory_id, memory_type=subject.memory_type,
        metadata=said[Artifact.METADATA], asset=said[Artifact.ASSET],
        bytes=size, update_calls=calls,
    )  # fmt: skip


async def _size(desk: Open, subject: Subject) -> int:
    """The asset's bytes, as its source has them."""
    if subject.is_note:
        return subject.text_size or 0
    store = desk.shelves.stores.get(Backend.BLOB)
    seen = await store.look_up(subject.pathname) if store and subject.pathname else None
    if seen is None:
        raise StoreError(f"the blob store does not have the file of {subject}")
    return seen.size or 0


def _capsule_of(subject: Subject) -> str | None:
    """The capsule that the ledger says the memory is in."""
    return icp_capsule_id(location_in(subject, Backend.ICP))


def _told(stored: Stored) -> StoredMemory:
    """What became of a memory, as the record has it."""
    reasons = [f"{artifact}: {why}" for artifact, why in stored.reasons.items()]
    same = len(set(stored.reasons.values())) == 1
    return StoredMemory(
        memory_id=stored.subject.memory_id, memory_type=stored.subject.memory_type,
        metadata=stored.outcomes[Artifact.METADATA].value,
        asset=stored.outcomes[Artifact.ASSET].value,
        location=stored.location, bytes=stored.copied.size if stored.copied else 0,
        reason=next(iter(stored.reasons.values())) if same else "; ".join(reasons) or None,
    )  # fmt: skip
