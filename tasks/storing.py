"""Store Forever: one memory's artifacts copied to the canister, and what the ledger says of it.

Metadata and asset are two edges: each goes into ``migrating`` before anything is sent, and out of
it once the canister has given back what it was given. Where one can't be stored the other still is,
and the next run does what is left. Whatever was done before a run was killed is found again: the
memory by its id, the upload by what is remembered of it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import structlog

from checks.errors import LeaseLostError, MalformedAnswerError, StoreError, StoreUnreachableError
from checks.model import Artifact, Backend, SyncState
from checks.normal import icp_capsule_id, icp_location
from tasks import edge_states
from tasks.audit import STORE_FOREVER
from tasks.copying import CanisterTarget, Copied, Uploaded, upload_name
from tasks.edge_states import Begun, Copy, End, RowGoneError
from tasks.lease import Fence
from tasks.replacing import Replacing
from tasks.serial_connection import SerialConnection
from tasks.sources import Shelves, Source, location_in, verified_source
from tasks.stores.icp.memory import Memory, moment
from tasks.subjects import Subject

_log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of one artifact."""

    STORED = "stored"
    ALREADY = "already stored"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(slots=True)
class Stored:
    """What became of one memory.

    Attributes:
        subject: the memory as it was before.
        outcomes: by artifact.
        reasons: by artifact, why it failed or was skipped.
        copied: what was read back of the asset, None where nothing was.
        location: where the memory is in the canister, None where it is not, or not known.
        unreachable: whether it failed since a store did not answer.
    """

    subject: Subject
    outcomes: dict[Artifact, Outcome] = field(default_factory=dict)
    reasons: dict[Artifact, str] = field(default_factory=dict)
    copied: Copied | None = None
    location: str | None = None
    unreachable: bool = False

    def all(self, outcome: Outcome, reason: str) -> "Stored":
        """The same for both artifacts."""
        self.outcomes = dict.fromkeys(Artifact, outcome)
        self.reasons = dict.fromkeys(Artifact, reason)
        return self

    def fail(self, artifact: Artifact, error: Exception) -> None:
        """Says that an artifact failed, and why."""
        self.outcomes[artifact] = Outcome.FAILED
        self.reasons[artifact] = str(error)
        self.unreachable |= isinstance(error, StoreUnreachableError)


@dataclass(frozen=True, slots=True)
class Storing:
    """What storing needs.

    Attributes:
        fence: the lease under which the ledger is written.
        database: Neon.
        shelves: what is read from.
        target: the canister.
        replacing: replaces what is there.
        capsule_id: where memories go that are not in the canister yet.
        stuck_before: a copy that was begun before is dead, whoever began it.
    """

    fence: Fence
    database: SerialConnection
    shelves: Shelves
    target: CanisterTarget
    replacing: Replacing
    capsule_id: str
    stuck_before: datetime

    async def store(self, subject: Subject) -> Stored:
        """Stores what is not stored yet of a memory.

        What goes wrong with it is in the outcome. Raises LeaseLostError where another run has taken
        over: then nothing more may be written.
        """
        result = Stored(subject)
        if not subject.there:
            return result.all(Outcome.FAILED, f"Neon has no {subject}")
        if self._in_flight(subject):
            return result.all(Outcome.SKIPPED, "the app is copying it just now")
        try:
            seen = await self.target.store.memory(location_in(subject, Backend.ICP) or "")
            left = await left_to_do(subject, seen, self.target)
        except StoreError as error:
            for artifact in Artifact:
                result.fail(artifact, error)
            return result
        result.location = _location(seen)
        result.outcomes = {each: Outcome.ALREADY for each in Artifact if each not in left}
        if left:
            await self._copy(result, seen, left)
        return result

    def _in_flight(self, subject: Subject) -> bool:
        """Whether somebody else's copy is under way."""
        return any(
            edge.sync_state is SyncState.MIGRATING
            and not subject.abandoned
            and edge.touched_at is not None
            and edge.touched_at.replace(tzinfo=UTC) > self.stuck_before
            for edge in (subject.edge(artifact, Backend.ICP) for artifact in Artifact)
            if edge is not None
        )

    async def _copy(self, result: Stored, seen: Memory | None, left: list[Artifact]) -> None:
        """Puts the edges into ``migrating``, copies, and takes them out of it again."""
        subject = result.subject
        copy = Copy(subject.memory_id, subject.memory_type, Backend.ICP, STORE_FOREVER)
        edges = {each: subject.edge(each, Backend.ICP) for each in left}
        beginning = asyncio.ensure_future(
            self.database.run(edge_states.begin, self.fence, copy, edges, take_over=True)
        )
        try:
            begun = await asyncio.shield(beginning)
        except asyncio.CancelledError:  # what it has begun is not left as if it went on
            await self._interrupted(copy, await beginning)
            raise
        except RowGoneError:
            result.all(Outcome.SKIPPED, "it was deleted meanwhile")
            return
        except LeaseLostError:
            raise
        except StoreError as error:
            for artifact in left:
                result.fail(artifact, error)
            return
        for artifact in set(left) - set(begun):
            result.outcomes[artifact] = Outcome.SKIPPED
            result.reasons[artifact] = "its edge was written meanwhile"
        try:
            await self._bring(result, copy, seen, begun)
        except asyncio.CancelledError:
            await self._interrupted(copy, begun)
            raise
        await self._finish(result, copy, begun)

    async def _bring(
        self, result: Stored, copy: Copy, seen: Memory | None, begun: Mapping[Artifact, Begun]
    ) -> None:
        """Brings the artifacts into the canister; ``result`` says what came of it."""
        async with AsyncExitStack() as stack:
            source = uploaded = None
            memory = seen
            if Artifact.ASSET in begun:
                try:
                    source = await stack.enter_async_context(self._source(result.subject))
                    memory, uploaded = await self.brought(result.subject, seen, source)
                except StoreError as error:
                    result.fail(Artifact.ASSET, error)
                    source = uploaded = None
            try:
                memory = await self.made(result.subject, copy, memory, uploaded)
            except (StoreError, RowGoneError) as error:
                for artifact in begun:
                    result.outcomes.setdefault(artifact, Outcome.FAILED)
                    result.reasons.setdefault(artifact, str(error))
                result.unreachable |= isinstance(error, StoreUnreachableError)
                return
            result.location = _location(memory)
            if Artifact.METADATA in begun:
                result.outcomes[Artifact.METADATA] = Outcome.STORED
            if source is not None:
                await self._read_back(result, memory, source)

    def _source(self, subject: Subject) -> Any:
        """The asset's verified bytes."""
        origin = Backend.NEON if subject.is_note else Backend.BLOB
        recorded = subject.recorded_hashes(without=Backend.ICP)
        return verified_source(self.shelves, subject, [origin], recorded, strict=False)

    async def brought(
        self, subject: Subject, seen: Memory | None, source: Source, *, rotten: bool = False
    ) -> tuple[Memory | None, Uploaded | None]:
        """The memory as it is by then, and what was uploaded; None: it has the asset already.

        What is there and is other bytes than the source is replaced where it is an older copy, or
        known to be ``rotten``; else nobody knows which of the two is right.

        Raises StoreError.
        """
        if seen is not None and seen.original is not None:
            read = await self.target.store.read(icp_location(seen.capsule_id, seen.id))
            if read is not None and read.sha256 == source.sha256:
                return seen, None
            written = source.written_at
            outdated = written is not None and written > moment(seen.updated_at)
            if read is not None and not (rotten or outdated):
                raise StoreError(
                    f"the canister has other bytes of {subject} than {source.backend}; "
                    "edgekeeper audit --verify all says which are right"
                )
            if subject.described is None:
                raise StoreError(f"the row of {subject} is gone")
            replaced = await self.replacing.replace(subject, seen, source, subject.described)
            return replaced, None
        capsule = seen.capsule_id if seen else self.capsule_of(subject)
        blob_id = await self.target.upload(subject, source, capsule)
        return seen, Uploaded(blob_id, source.size, source.sha256, source.content_type)

    def capsule_of(self, subject: Subject) -> str:
        """Where a memory goes that is not in the canister: where the ledger says, else the own."""
        capsule = icp_capsule_id(location_in(subject, Backend.ICP)) or self.capsule_id
        if not capsule:
            raise StoreError(f"nothing says which capsule {subject} goes to")
        return capsule

    async def made(
        self, subject: Subject, copy: Copy, seen: Memory | None, uploaded: Uploaded | None
    ) -> Memory:
        """The memory in the canister, made where it is not there, with what was uploaded.

        Raises StoreError, and RowGoneError where the memory was deleted meanwhile.
        """
        described = subject.described
        if described is None or not await self.database.run(edge_states.row_is_there, copy):
            raise RowGoneError(f"{subject} was deleted meanwhile; nothing was made of it")
        capsule_id = self.capsule_of(subject)
        memory = seen
        if memory is None:
            memory = await self.replacing.finish(icp_location(capsule_id, subject.memory_id))
        if memory is None:
            memory = await self.target.create(subject, described, capsule_id, uploaded)
        if uploaded is not None and memory.original is None:
            memory = await self.target.add(memory, described, uploaded)
        if memory.memory_type != subject.memory_type:
            raise MalformedAnswerError(
                f"the canister has {subject.memory_id} as a {memory.memory_type}, Neon as a "
                f"{subject.memory_type}"
            )
        return memory

    async def _read_back(self, result: Stored, memory: Memory, source: Source) -> None:
        """Reads the asset back: only then it is stored."""
        try:
            result.copied = await self.target.read_back(memory, source)
            result.outcomes[Artifact.ASSET] = Outcome.STORED
            await self.forget_upload(result.subject, memory, source)
        except MalformedAnswerError as error:  # what was uploaded is of no use
            result.fail(Artifact.ASSET, error)
            await self.forget_upload(result.subject, memory, source)
        except StoreError as error:
            result.fail(Artifact.ASSET, error)

    async def forget_upload(self, subject: Subject, memory: Memory, source: Source) -> None:
        """The upload has come to its end: nobody need go on with it."""
        name = upload_name(subject, source.sha256)
        await self.target.memo(memory.capsule_id, name).forget()

    async def _finish(self, result: Stored, copy: Copy, begun: Mapping[Artifact, Begun]) -> None:
        """Writes down what became of the artifacts."""
        ends = [End(begun[each], self._values(result, each)) for each in begun]
        try:
            written = await self.database.run(edge_states.finish, self.fence, copy, ends)
        except StoreError as error:
            for artifact in begun:
                result.fail(artifact, error)
            return
        for artifact in set(begun) - written:
            result.outcomes[artifact] = Outcome.SKIPPED
            result.reasons[artifact] = "its edge was written while it was copied"

    async def _interrupted(self, copy: Copy, begun: Mapping[Artifact, Begun]) -> None:
        """Leaves edges that say so: the next run goes on."""
        values = edge_states.failed("interrupted; run store-forever again", self.fence.run_id)
        ends = [End(each, values) for each in begun.values()]
        try:
            await self.database.run(edge_states.finish, self.fence, copy, ends)
        except (StoreError, LeaseLostError) as error:
            _log.warning("interrupted_edges_left", memory=copy.memory_id, reason=str(error))

    def _values(self, result: Stored, artifact: Artifact) -> dict[str, Any]:
        """The columns of an edge at the end of its copy."""
        if result.outcomes[artifact] is not Outcome.STORED:
            return edge_states.failed(result.reasons[artifact], self.fence.run_id)
        return edge_states.stored(artifact, result.location, result.copied)


async def left_to_do(
    subject: Subject, seen: Memory | None, target: CanisterTarget
) -> list[Artifact]:
    """The artifacts that are not stored, or that the ledger does not say so of.

    Asks for the asset's true size; what its bytes are is not asked of what the ledger says is there
    with the source's hash.
    """
    metadata = subject.edge(Artifact.METADATA, Backend.ICP)
    asset = subject.edge(Artifact.ASSET, Backend.ICP)
    location = _location(seen)
    left = []
    if seen is None or metadata is None or not (metadata.settled and metadata.location == location):
        left.append(Artifact.METADATA)
    original = seen.original if seen else None
    recorded = subject.recorded_hashes(without=Backend.ICP)
    done = (
        original is not None
        and asset is not None
        and asset.settled
        and asset.location == location
        and asset.content_hash is not None
        and recorded <= {asset.content_hash}
        and asset.size_bytes == await target.store.true_size(original)
    )
    return left if done else [*left, Artifact.ASSET]


def _location(memory: Memory | None) -> str | None:
    return None if memory is None else icp_location(memory.capsule_id, memory.id)
