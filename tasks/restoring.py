"""Content repair: a missing or rotten replica copied from a verified one, in either direction.

Only absence and rot, and only from a replica whose bytes were read now and are what the ledger has
recorded. The source is verified before anything is touched; where it can't be, the finding says why
and the store is left as it is. What happens to the edge is what Store Forever does to one.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from checks.errors import LeaseLostError, ObjectChangedError, StoreError, StoreUnreachableError
from checks.kinds import ROTTEN
from checks.model import Artifact, Backend, RepairState
from checks.normal import icp_location
from tasks import edge_states
from tasks.copying import Copied, put_into_blob_store
from tasks.edge_states import Begun, Copy, End, RowGoneError
from tasks.quarantine import Kept, keep, place, write_body
from tasks.sources import Source, location_in, verified_source
from tasks.stores.blob.store import BlobStore
from tasks.storing import Storing
from tasks.subjects import Subject

#: Kinds whose copy never was: the source need only be what all replicas have in common.
NEVER_THERE = frozenset({"sync_failed", "stuck", "external_only"})
#: Kinds whose edge claims what is not there: it stops claiming it where no copy can be made.
_CLAIMING = frozenset({"missing", "external_only"})
_WITHOUT_BYTES: tuple[Artifact, ...] = (Artifact.METADATA,)
Result = tuple[RepairState, str | None]


@dataclass(frozen=True, slots=True)
class Damage:
    """One finding about a replica: what is to be repaired.

    Attributes:
        kind, fingerprint: of the finding.
        edge_id, version: the edge as it was found; it must still be that.
        seen: the store's version of what was found there, None where nothing was. What is rotten
            is replaced only while it is that: anything newer is somebody's write.
    """

    kind: str
    fingerprint: str
    edge_id: str | None
    version: str | None
    seen: str | None


@dataclass(frozen=True, slots=True)
class Restoring:
    """What content repair needs: what Store Forever needs, and the blob store."""

    storing: Storing
    blob: BlobStore | None

    async def restore(
        self, subject: Subject, backend: Backend, damages: Mapping[Artifact, Damage]
    ) -> dict[Artifact, Result]:
        """Brings a memory's damaged artifacts in one store back; what came of each.

        Raises LeaseLostError where another run has taken over, StoreUnreachableError where a store
        does not answer.
        """
        changed = self._changed(subject, backend, damages)
        if changed is not None:
            return dict.fromkeys(damages, (RepairState.SUPERSEDED, changed))
        async with AsyncExitStack() as stack:
            source = None
            if Artifact.ASSET in damages:
                try:
                    source = await stack.enter_async_context(
                        self._source(subject, backend, damages[Artifact.ASSET])
                    )
                except StoreUnreachableError:
                    raise
                except StoreError as error:
                    return await self._without_source(subject, backend, damages, error)
            return await self._restore(subject, backend, damages, source)

    def _changed(
        self, subject: Subject, backend: Backend, damages: Mapping[Artifact, Damage]
    ) -> str | None:
        """Why nothing is repaired any more, None where all is as it was found."""
        if not subject.there:
            return "the memory was deleted meanwhile"
        for artifact, damage in damages.items():
            edge = subject.edge(artifact, backend)
            if edge is None or (edge.edge_id, edge.version) != (damage.edge_id, damage.version):
                return "the edge was written meanwhile"
        return None

    def _source(self, subject: Subject, backend: Backend, damage: Damage) -> Any:
        """The asset's verified bytes from another store than the damaged one."""
        origin = Backend.NEON if subject.is_note else Backend.BLOB
        others = [each for each in (origin, Backend.ICP) if each is not backend]
        strict = damage.kind not in NEVER_THERE
        without = None if strict else backend
        recorded = subject.recorded_hashes(without=without)
        return verified_source(self.storing.shelves, subject, others, recorded, strict=strict)

    async def _without_source(
        self,
        subject: Subject,
        backend: Backend,
        damages: Mapping[Artifact, Damage],
        error: StoreError,
    ) -> dict[Artifact, Result]:
        """Nothing to copy the asset from: it is left; the memory's metadata need no source."""
        results: dict[Artifact, Result] = {
            Artifact.ASSET: (RepairState.REFUSED, f"not copied: {error}")
        }
        rest = {artifact: each for artifact, each in damages.items() if artifact in _WITHOUT_BYTES}
        if rest:
            results |= await self._restore(subject, backend, rest, None)
        return results

    async def _restore(
        self,
        subject: Subject,
        backend: Backend,
        damages: Mapping[Artifact, Damage],
        source: Source | None,
    ) -> dict[Artifact, Result]:
        kind = next(iter(damages.values())).kind
        copy = Copy(subject.memory_id, subject.memory_type, backend, kind)
        edges = {each: subject.edge(each, backend) for each in damages}
        storing = self.storing
        try:
            begun = await storing.database.run(
                edge_states.begin, storing.fence, copy, edges, take_over=True
            )
        except RowGoneError:
            return dict.fromkeys(damages, (RepairState.SUPERSEDED, "it was deleted meanwhile"))
        results: dict[Artifact, Result] = {
            each: (RepairState.SUPERSEDED, "the edge was written meanwhile")
            for each in damages if each not in begun
        }  # fmt: skip
        done = _Done()
        try:
            rotten = next((each for each in damages.values() if each.kind in ROTTEN), None)
            if backend is Backend.BLOB:
                await self._to_blob(subject, source, done, rotten)
            else:
                await self._to_canister(subject, copy, source, done, rotten)
        except asyncio.CancelledError:
            await self._finish(copy, begun, damages, done.failed("interrupted; audit again"))
            raise
        except (StoreError, RowGoneError) as error:
            if isinstance(error, LeaseLostError):
                raise
            done.failed(str(error))
            done.somebody_wrote = isinstance(error, ObjectChangedError)
        return results | await self._finish(copy, begun, damages, done)

    async def _to_blob(
        self, subject: Subject, source: Source | None, done: "_Done", rotten: Damage | None
    ) -> None:
        """Puts a file back: where there is none, or in the place of the rotten version."""
        blob, pathname = self.blob, subject.pathname
        if blob is None or pathname is None or source is None:
            raise StoreError(f"nothing says where in the blob store the file of {subject} belongs")
        seen = await blob.look_up(pathname)
        if seen is not None:
            if rotten is None:
                raise ObjectChangedError(f"{pathname} is there by now; it was not overwritten")
            _check_seen(rotten, seen.version, pathname)
            await self._keep_rotten(blob, pathname, source)
        described = subject.described
        kind = (seen and seen.content_type) or source.content_type
        if described is not None and kind is None:
            kind = described.content_type
        done.copied = await put_into_blob_store(
            blob, source, pathname, kind or "application/octet-stream",
            seen.version if seen else None,
        )  # fmt: skip
        done.location = done.copied.location

    async def _keep_rotten(self, blob: BlobStore, pathname: str, source: Source) -> None:
        """Keeps aside what is to be overwritten. Raises ObjectChangedError where it is right."""
        run_id, home = self.storing.fence.run_id, self.storing.replacing.home
        directory = place(home, run_id, Backend.BLOB, pathname)
        with (directory / "rotten.part").open("w+b") as body:
            read = await blob.read(pathname, body)
            (directory / "rotten.part").unlink()
            if read is None:
                raise ObjectChangedError(f"{pathname} went away meanwhile")
            if read.sha256 == source.sha256:
                raise ObjectChangedError(f"{pathname} is right by now; it was not overwritten")
            write_body(directory, body)
        kept = Kept(
            run_id, Backend.BLOB, pathname, read.version, None, read.size, read.sha256, directory,
            {"why": "replaced by a verified copy"},
        )  # fmt: skip
        await self.storing.database.run(keep, kept)

    async def _to_canister(
        self,
        subject: Subject,
        copy: Copy,
        source: Source | None,
        done: "_Done",
        rotten: Damage | None,
    ) -> None:
        """Brings memory and asset back into the canister."""
        storing = self.storing
        memory = await storing.target.store.memory(location_in(subject, Backend.ICP) or "")
        uploaded = None
        if source is not None:
            if rotten is not None and memory is not None:
                _check_seen(rotten, str(memory.updated_at), f"{subject} on the canister")
            memory, uploaded = await storing.brought(
                subject, memory, source, rotten=rotten is not None
            )
        memory = await storing.made(subject, copy, memory, uploaded)
        done.location = icp_location(memory.capsule_id, memory.id)
        if source is not None:
            done.copied = await storing.target.read_back(memory, source)
            await storing.forget_upload(subject, memory, source)

    async def _finish(
        self,
        copy: Copy,
        begun: Mapping[Artifact, Begun],
        damages: Mapping[Artifact, Damage],
        done: "_Done",
    ) -> dict[Artifact, Result]:
        """Writes down what became of the artifacts."""
        ends: list[End] = []
        results: dict[Artifact, Result] = {}
        for artifact, edge in begun.items():
            damage = damages[artifact]
            if done.reason is None:
                ends.append(End(edge, done.values(artifact), damage.fingerprint))
                results[artifact] = (RepairState.APPLIED, _said(copy, done))
                continue
            values = edge_states.failed(done.reason, self.storing.fence.run_id)
            if damage.kind in _CLAIMING and not done.somebody_wrote:
                values["present"] = False
            ends.append(End(edge, values))
            state = RepairState.SUPERSEDED if done.somebody_wrote else RepairState.FAILED
            results[artifact] = (state, done.reason)
        storing = self.storing
        written = await storing.database.run(edge_states.finish, storing.fence, copy, ends)
        for artifact in set(begun) - written:
            results[artifact] = (RepairState.SUPERSEDED, "the edge was written while it was copied")
        return results


@dataclass(slots=True)
class _Done:
    """How far one repair came.

    Attributes:
        location: where the artifact is.
        copied: what was read back of the asset.
        reason: why it came to nothing, None where it did not.
        somebody_wrote: whether it did since somebody else wrote there.
    """

    location: str | None = None
    copied: Copied | None = None
    reason: str | None = None
    somebody_wrote: bool = False

    def failed(self, reason: str) -> "_Done":
        """It came to nothing, and why."""
        self.reason = reason
        return self

    def values(self, artifact: Artifact) -> dict[str, Any]:
        """The columns of an edge whose artifact is back."""
        return edge_states.stored(artifact, self.location, self.copied)


def _check_seen(rotten: Damage, version: str | None, what: str) -> None:
    """Raises ObjectChangedError where what is there is not what was found rotten."""
    if version != rotten.seen:
        raise ObjectChangedError(
            f"{what} is version {version}, not {rotten.seen} as it was found: it was written since "
            "and not overwritten"
        )


def _said(copy: Copy, done: _Done) -> str:
    if done.copied is None:
        return f"made again in {copy.backend}"
    return f"{done.copied.size} bytes copied to {copy.backend}, read back and compared"
