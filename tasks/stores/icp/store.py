"""The Internet Computer as a store: memories in a canister, and the bytes of their assets.

One location, ``icp://<capsule>/<memory>``, stands for two artifacts: the memory itself (its
metadata) and its original asset. :meth:`IcpStore.look_up_memory` and
:meth:`IcpStore.look_up_asset` tell them apart.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    ObjectChangedError,
    SettingsError,
    StoreError,
)
from checks.model import Artifact, Backend
from checks.normal import icp_capsule_id, icp_location, icp_memory_id
from tasks.settings import Settings, is_loopback, missing
from tasks.stores.icp.agent import Agent
from tasks.stores.icp.canister import NEEDED, Canister, Method
from tasks.stores.icp.certificate import root_key_of
from tasks.stores.icp.compatibility import check_interface
from tasks.stores.icp.identity import load_identity, principal_bytes, principal_text
from tasks.stores.icp.listing import Listing, cut
from tasks.stores.icp.memory import (
    Asset,
    AssetKind,
    ExternalLink,
    Memory,
    moment,
    row_of,
)
from tasks.stores.icp.readability import Proofs, proofs_of
from tasks.stores.icp.reading import Digests, hash_blob
from tasks.stores.icp.transport import Transport
from tasks.stores.protocol import HashedObject, ListingReport, Observation, Shard, Sink, emptied

#: Chunks of one asset fetched at the same time, of 2 MB at most: many assets are read at once.
_CHUNKS_AHEAD = 2


class IcpStore:
    """One canister, as one identity sees it. Implements :class:`tasks.stores.protocol.Store`."""

    backend = Backend.ICP

    def __init__(
        self,
        canister: Canister,
        *,
        in_flight: int = 10,
        known_capsules: Collection[str] = (),
        gone_capsules: Collection[str] = (),
        proofs: Proofs | None = None,
    ) -> None:
        """Sends nothing yet.

        Args:
            canister: its agent is closed together with the store.
            in_flight: requests at the same time.
            known_capsules: ids of the capsules that the ledger has edges in. One of them that the
                identity can't see or read is unknown; without knowing of it nobody would miss it.
            gone_capsules: ids of those that a person knows to be gone for good. Where the canister
                certifies it, they hold nothing.
            proofs: which capsules could be read, where other stores of the same canister and
                identity share that.
        """
        self.canister = canister
        self._in_flight = in_flight
        self._known_capsules = frozenset(known_capsules)
        self._gone_capsules = frozenset(gone_capsules)
        self._proofs = proofs or Proofs()

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        known_capsules: Collection[str] = (),
        sharing: int = 1,
        attempt: str | None = None,
    ) -> "IcpStore":
        """The store that the settings name. Raises SettingsError where they don't.

        ``sharing``: so many processes have the requests in flight together. ``attempt``: the stores
        of one attempt at a run, which have the same settings, share which capsules could be read.
        """
        if settings.canister_id is None:
            raise SettingsError(missing("canister_id"))
        try:
            canister_id = principal_bytes(settings.canister_id)
        except ValueError as error:
            raise SettingsError(f"CANISTER_ID_BACKEND is not usable: {error}") from None
        pem = settings.identity_pem
        identity = load_identity(pem.get_secret_value() if pem else None)
        in_flight = max(1, settings.ic_rate // sharing)
        agent = Agent(
            Transport(settings.ic_url, in_flight=in_flight),
            canister_id,
            identity,
            _root_key(settings),
            unsigned_queries=is_loopback(settings.ic_url),
        )
        return cls(
            Canister(agent),
            in_flight=in_flight,
            known_capsules=known_capsules,
            gone_capsules=settings.icp_gone_capsules,
            proofs=None if attempt is None else proofs_of(attempt),
        )

    async def identity(self) -> str:
        """The canister's id, once it has answered as the one that knows this identity."""
        principal = principal_text(self.canister.agent.identity.principal)
        answered = await self.canister.whoami()
        if answered != principal:
            raise MalformedAnswerError(f"whoami answered {answered} to {principal}")
        return principal_text(self.canister.agent.canister_id)

    async def check_interface(self, needed: Sequence[Method] = NEEDED) -> None:
        """Raises SettingsError where the canister lacks a method that is called."""
        check_interface(await self.canister.service_interface(), needed)

    async def shards(self, number: int, expected: int) -> list[Shard]:  # noqa: ARG002
        """Its capsules dealt out, see ``Store.shards``: each says how many memories it has."""
        return await cut(self.canister, number, self._known_capsules)

    def list_batches(
        self, report: ListingReport, shard: Shard | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """All memories in all capsules that the identity sees, or in a shard's, once each.

        The rows have the columns of :data:`checks.columns.ICP_INVENTORY` but for the key. What
        capsules could not be read whole is in ``report.unknown_parts``; memories that came from
        them before that was known are in the batches all the same: they were seen.
        """
        listing = Listing(
            self.canister, report, self._known_capsules, self._in_flight, self._gone_capsules,
            only=frozenset(shard.names) if shard else None,
        )  # fmt: skip
        return listing.batches()

    async def look_up(
        self, location: str, artifact: Artifact = Artifact.ASSET
    ) -> Observation | None:
        """The memory's metadata or its original asset, see the two methods below.

        Raises AccessRefusedError where it may be there for another identity.
        """
        if artifact is Artifact.METADATA:
            return await self.look_up_memory(location)
        return await self.look_up_asset(location)

    async def look_up_memory(self, location: str) -> Observation | None:
        """The memory's metadata at ``location``; of the asset only whether it is but a link."""
        memory = await self.memory(location)
        return None if memory is None else _observation(memory, None, None)

    async def look_up_asset(self, location: str) -> Observation | None:
        """The original asset of the memory at ``location``, with its true size.

        None: no bytes of it are here: no memory, no original, or its blob is gone. An Observation
        with ``is_link``: the bytes are in another store.
        """
        memory = await self.memory(location)
        if memory is None:
            return None
        size = await self.true_size(memory.original)
        if size is None and not memory.is_link:
            return None
        return _observation(memory, memory.original, size)

    async def inventory_row(self, location: str) -> dict[str, Any] | None:
        """The memory at ``location``, or with a bare id, as :meth:`list_batches` would give it.

        None: it is provably not there.
        """
        memory = await self.memory(location)
        return None if memory is None else row_of(memory)

    async def read(self, location: str, into: Sink | None = None) -> HashedObject | None:
        """Reads and hashes the original asset of the memory at ``location``; see ``Store.read``.

        None: its bytes are not here; :meth:`look_up` says whether the memory is a link. Raises
        ObjectChangedError where the memory was written meanwhile.
        """
        memory = await self.memory(location)
        original = memory.original if memory else None
        if memory is None or original is None:
            return None
        try:
            digests = await self.digests(original, into)
        except MalformedAnswerError:
            # Chunks that don't fit together are what a blob looks like that is being replaced.
            await self._check_unchanged(memory)
            raise
        if digests is None:
            return None
        if original.kind is not AssetKind.INLINE:  # those bytes came with the memory itself
            await self._check_unchanged(memory)
        return HashedObject(digests.size, digests.sha256, digests.md5, str(memory.updated_at))

    async def external_links(self, memory_ids: Iterable[str]) -> list[ExternalLink]:
        """Where the memories say that bytes of theirs are which the canister does not hold.

        Each is a reference to an object of another store. A memory that is not there has none; one
        that can't be read is an error.
        """
        places = asyncio.Semaphore(self._in_flight)

        async def links_of(memory_id: str) -> list[ExternalLink]:
            async with places:
                memory = await self.memory(memory_id)
            return [] if memory is None else _links(memory)

        found = await asyncio.gather(*(links_of(memory_id) for memory_id in memory_ids))
        return [link for links in found for link in links]

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.canister.agent.aclose()

    # ---------------------------------------------------------------------------------------------

    async def memory(self, location: str) -> Memory | None:
        """The memory at a location, or with a bare id; None: it is provably not there.

        A memory that the identity may not read answers as if it were not there, so the capsule has
        to prove that it can be read before that counts.
        """
        memory_id = icp_memory_id(location) or location
        if "/" in memory_id:
            raise StoreError(f"{location!r} names no memory of the canister")
        memory = await self.canister.memory(memory_id)
        if memory is None:
            await self._check_readable(icp_capsule_id(location))
        return None if memory is None or memory.deleted else memory

    async def _check_readable(self, capsule_id: str | None) -> None:
        """Raises AccessRefusedError where "not found" may mean "not allowed".

        Without a capsule the memory could be in any that the ledger knows.
        """
        looked = monotonic()
        capsules = self._known_capsules if capsule_id is None else {capsule_id}
        if not capsules and not await self.canister.capsules():
            raise AccessRefusedError("this identity sees no capsule; check IC_IDENTITY_PEM")
        lacking = sorted(each for each in capsules if self._proofs.lacks(each, looked))
        for start in range(0, len(lacking), self._in_flight):
            outcomes = await asyncio.gather(
                *(
                    self._proofs.prove(each, looked, partial(self._read_any, each))
                    for each in lacking[start : start + self._in_flight]
                ),
                return_exceptions=True,  # of several the first by id is told, whenever it came
            )
            for refused in outcomes:
                if refused is not None:
                    raise refused

    async def _read_any(self, capsule_id: str) -> None:
        """Raises AccessRefusedError where a capsule can't be read and is not known to be gone."""
        visible = await self.canister.memories_page(capsule_id, limit=1) is not None
        if not visible and not await self._is_gone(capsule_id):
            raise AccessRefusedError(
                f"this identity may not read capsule {capsule_id}, or it is gone: whether a "
                "memory in it is there is unknown; check IC_IDENTITY_PEM"
            )

    async def _is_gone(self, capsule_id: str) -> bool:
        """Whether a capsule is gone for good, as a person knows and the canister certifies."""
        return capsule_id in self._gone_capsules and await self.canister.is_certified_gone(
            capsule_id
        )

    async def true_size(self, asset: Asset | None) -> int | None:
        """How many bytes are really there; None: none are."""
        if asset is None:
            return None
        if asset.kind is AssetKind.INLINE:
            return len(asset.body or b"")
        meta = await self.canister.blob_meta(asset.locator or "")
        return None if meta is None else meta.size

    async def digests(self, asset: Asset, into: Sink | None = None) -> Digests | None:
        """The hashes of an asset's bytes, which go into ``into`` too; None: they are not here."""
        emptied(into)
        if asset.kind is AssetKind.INLINE:
            digests = Digests()
            await digests.update(asset.body or b"")
            if into is not None:
                into.write(asset.body or b"")
            return digests
        locator = asset.locator or ""
        meta = await self.canister.blob_meta(locator)
        if meta is None:
            return None
        return await hash_blob(self.canister, locator, meta, ahead=_CHUNKS_AHEAD, into=into)

    async def _check_unchanged(self, memory: Memory) -> None:
        now = await self.canister.memory(memory.id)
        if now is None or now.updated_at != memory.updated_at:
            raise ObjectChangedError(
                f"memory {memory.id} was written while its asset was read; read it again"
            )


def _root_key(settings: Settings) -> bytes | None:
    """The root key of the settings; None: the replica itself is to be asked."""
    if settings.ic_root_key == "fetch":  # the settings allow that for this machine only
        return None
    try:
        return root_key_of(settings.ic_root_key)
    except ValueError as error:
        raise SettingsError(f"IC_ROOT_KEY is not usable: {error}") from None


def _observation(memory: Memory, asset: Asset | None, size: int | None) -> Observation:
    return Observation(
        location=icp_location(memory.capsule_id, memory.id),
        size=size,
        version=str(memory.updated_at),
        written_at=moment(memory.updated_at),
        content_type=asset.mime_type if asset else memory.content_type,
        declared_sha256=asset.declared_sha256 if asset else None,
        is_link=memory.is_link,
    )


def _links(memory: Memory) -> list[ExternalLink]:
    return [
        ExternalLink(memory.id, asset.location or "", asset.storage_key or "", asset.url)
        for asset in memory.assets
        if asset.kind is AssetKind.EXTERNAL
    ]
