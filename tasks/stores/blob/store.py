"""The blob store as one of the stores."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from checks.model import Artifact, Backend
from tasks.rates import Operation
from tasks.settings import Settings
from tasks.stores.blob import listing, reading, writing
from tasks.stores.blob.answers import Blob
from tasks.stores.blob.asking import find, list_page
from tasks.stores.blob.connection import BlobConnection, Body
from tasks.stores.blob.writing import Access
from tasks.stores.protocol import HashedObject, ListingReport, Observation, Shard, Sink


class BlobStore:
    """Vercel Blob, as :class:`tasks.stores.protocol.Store`, and writes under conditions.

    Belongs to one event loop; any number of tasks may use it at once. A version is the text of a
    :class:`tasks.stores.blob.answers.BlobVersion`. No URL but the store's own is ever fetched.
    """

    backend = Backend.BLOB

    def __init__(self, settings: Settings, *, sharing: int = 1) -> None:
        """Raises SettingsError where the store is not configured. ``sharing``: see open_store."""
        self._connection = BlobConnection.from_settings(settings, sharing=sharing)
        self._ignored: Sequence[str] = settings.blob_ignore
        self._access: Access | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    @property
    def requests(self) -> int:
        """Requests sent so far, retries included."""
        return self._connection.requests

    @property
    def operations(self) -> Mapping[Operation, int]:
        """Operations so far as the plan counts them."""
        return self._connection.rates.counts

    async def identity(self) -> str:
        """The store's id, after the store has accepted the token that names it.

        Raises AccessRefusedError where it does not.
        """
        await list_page(self._connection, limit=1)
        return self._connection.store_id

    async def shards(self, number: int, expected: int) -> list[Shard]:
        """Its folders dealt out, see ``Store.shards``; how much lies in each is not known."""
        found = await listing.cut(self._connection, expected)
        dealt = [found.names[start::number] for start in range(min(number, len(found.names)))]
        first, *others = dealt
        return [Shard(first, found.levels), *map(Shard, others)] if others else []

    def list_batches(
        self, report: ListingReport, shard: Shard | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Every object, see ``Store.list_batches``: rows of ``BLOB_INVENTORY`` without keys.

        Objects under a prefix of ``EDGEKEEPER_BLOB_IGNORE`` are among them, and counted apart too.
        """
        return listing.list_batches(self._connection, self._ignored, report, shard)

    async def look_up(
        self, location: str, artifact: Artifact = Artifact.ASSET
    ) -> Observation | None:
        """The object named ``location`` as the API knows it now, None where it is not there."""
        del artifact  # an object is one artifact, whichever the ledger calls it
        blob = await find(self._connection, location)
        return None if blob is None else _observation(blob)

    async def read(self, location: str, into: Sink | None = None) -> HashedObject | None:
        """The hashes of all bytes of the object, None where it is not there.

        The bytes themselves go into the file ``into``. Raises ObjectChangedError where only other
        versions' bytes could be had.
        """
        return await reading.read(self._connection, location, into)

    async def put(
        self,
        location: str,
        body: Body,
        *,
        size: int,
        content_type: str,
        access: Access | None = None,
        cache_seconds: int | None = None,
        replaces: str | None = None,
    ) -> Observation:
        """Puts an object where there is none, or in the place of the version ``replaces``.

        ``access`` None means as the store's other objects are; the rest and what is raised:
        :func:`tasks.stores.blob.writing.put`. Read back what was written before relying on it.
        """
        blob = await writing.put(
            self._connection, location, body, size=size, content_type=content_type,
            access=access or await self._access_mode(), cache_seconds=cache_seconds,
            replaces=replaces,
        )  # fmt: skip
        return _observation(blob)

    async def copy(self, source: str, target: str, *, replaces: str | None = None) -> Observation:
        """Copies an object within the store, see :func:`tasks.stores.blob.writing.copy`."""
        blob = await writing.copy(self._connection, source, target, replaces=replaces)
        return _observation(blob)

    async def delete_if_unchanged(self, location: str, version: str) -> bool:
        """Deletes the object if it is still ``version``; False where it was gone already.

        Raises ObjectChangedError where it is another version.
        """
        return await writing.delete_if_unchanged(self._connection, location, version)

    async def aclose(self) -> None:
        """Closes connections."""
        await self._connection.aclose()

    async def _access_mode(self) -> Access:
        if self._access is None:
            self._access = await writing.access_mode(self._connection)
        return self._access


def _observation(blob: Blob) -> Observation:
    return Observation(
        location=blob.pathname,
        size=blob.size,
        version=str(blob.version),
        written_at=blob.uploaded_at,
        content_type=blob.content_type,
    )
