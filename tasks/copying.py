"""Copying an asset from a verified source to a store: written, read back and hashed.

Nothing here touches the ledger. Every step can be done again: a memory is created under its own
id, an upload is gone on with, a blob is put only where none is or in the place of the one that was
seen.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from checks.errors import MalformedAnswerError, ObjectChangedError, StoreError
from checks.normal import icp_location
from tasks.serial_connection import SerialConnection
from tasks.sources import Source
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.identity import principal_text
from tasks.stores.icp.memory import Memory
from tasks.stores.icp.store import IcpStore
from tasks.stores.icp.updates import Updates
from tasks.stores.icp.uploading import Upload, upload
from tasks.stores.icp.written import Described
from tasks.subjects import Subject
from tasks.upload_memo import UploadMemo


@dataclass(frozen=True, slots=True)
class Copied:
    """What was read back after a copy: it is what the source was."""

    location: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class CanisterTarget:
    """The canister as something to copy to.

    Attributes:
        store: reads it.
        updates: changes it.
        database: where upload sessions are remembered.
        chunk_bytes: what an upload is cut into.
        progress: called with the bytes that arrived.
    """

    store: IcpStore
    updates: Updates
    database: SerialConnection
    chunk_bytes: int
    progress: Callable[[int], None]

    def memo(self, capsule_id: str, idem: str) -> UploadMemo:
        """What remembers an upload."""
        canister = principal_text(self.store.canister.agent.canister_id)
        return UploadMemo(self.database, canister, capsule_id, idem)

    async def upload(self, subject: Subject, source: Source, capsule_id: str) -> str:
        """Uploads an asset and gives the blob's id; goes on with an upload that broke off."""
        idem = upload_name(subject, source.sha256)
        wanted = Upload(capsule_id, source.body, source.size, source.sha256, idem)
        memo = self.memo(capsule_id, idem)
        return await upload(self.updates, wanted, self.chunk_bytes, memo, self.progress)

    async def create(
        self, subject: Subject, described: Described, capsule_id: str, asset: "Uploaded | None"
    ) -> Memory:
        """Makes the memory under its own id, with the asset where there is one, and reads it back.

        The canister may give it another id; it counts, and the location names it.
        """
        assets = [] if asset is None else [asset.described(described)]
        metadata = described.memory(asset.size if asset else 0, len(assets))
        memory_id = await self.updates.create(capsule_id, metadata, assets, subject.memory_id)
        return await self.present(icp_location(capsule_id, memory_id))

    async def add(self, memory: Memory, described: Described, asset: "Uploaded") -> Memory:
        """Adds the asset to a memory that has none, and reads the memory back."""
        idem = f"{memory.id}/{asset.sha256}"
        await self.updates.add_asset(memory.id, asset.described(described), idem)
        return await self.present(icp_location(memory.capsule_id, memory.id))

    async def present(self, location: str) -> Memory:
        """The memory as it is read back. Raises StoreError where it is not there."""
        memory = await self.store.memory(location)
        if memory is None:
            raise StoreError(f"{location} is not there although the canister said that it was made")
        return memory

    async def read_back(self, memory: Memory, source: Source) -> Copied:
        """The original as it is there: read and hashed. StoreError where it is not the source."""
        location = icp_location(memory.capsule_id, memory.id)
        read = await self.store.read(location)
        if read is None or (read.size, read.sha256) != (source.size, source.sha256):
            found = "nothing" if read is None else f"{read.size} bytes of SHA-256 {read.sha256}"
            raise MalformedAnswerError(
                f"read back from {location}: {found}; {source.size} bytes of {source.sha256} were "
                "written"
            )
        return Copied(location, read.size, read.sha256)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An asset whose bytes are in the canister and that belongs to no memory yet."""

    blob_id: str
    size: int
    sha256: str
    content_type: str | None

    def described(self, memory: Described) -> dict[str, Any]:
        """As the canister takes it."""
        return memory.of_type(self.content_type).original(self.blob_id, self.size, self.sha256)


def upload_name(subject: Subject, sha256: str) -> str:
    """What names an upload: these bytes of this memory."""
    return f"{subject.memory_id}/{sha256}"


async def put_into_blob_store(
    store: BlobStore, source: Source, pathname: str, content_type: str, replaces: str | None
) -> Copied:
    """Puts a file where there is none, or in the place of exactly the version ``replaces``.

    Raises ObjectChangedError where something else is there by now, also once it was written.
    """

    async def pieces():  # type: ignore[no-untyped-def] # noqa: ANN202
        source.body.seek(0)
        while piece := source.body.read(_PIECE):
            yield piece

    await store.put(
        pathname, pieces, size=source.size, content_type=content_type, replaces=replaces
    )
    read = await store.read(pathname)
    if read is None or read.sha256 != source.sha256:
        raise ObjectChangedError(
            f"{pathname} is not what was written to it: somebody else writes there; look at it "
            "again"
        )
    return Copied(pathname, read.size, read.sha256)


_PIECE = 256 * 1024
