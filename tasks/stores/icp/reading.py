"""Reading an asset's bytes and hashing them, with a few chunks in memory at any time."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator

from checks.errors import MalformedAnswerError, StoreUnreachableError
from tasks.pace import paced
from tasks.stores.icp.canister import Canister
from tasks.stores.icp.memory import BlobMeta
from tasks.stores.protocol import Sink

#: Hashing less than this is over before a thread has started.
_WORTH_A_THREAD = 128 * 1024


#: Bytes a second that reading one asset must reach on the whole, beside ``PATIENCE_SECONDS``. Many
#: are read at once, and a blob may be cut into any number of chunks, each a request of its own.
LOWEST_SPEED = 16 * 1024
PATIENCE_SECONDS = 120.0


class Digests:
    """SHA-256 and MD5 of the same bytes, in one pass."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    async def update(self, data: bytes) -> None:
        """Takes the next bytes; other tasks go on meanwhile."""
        if len(data) >= _WORTH_A_THREAD:
            await asyncio.to_thread(self._update, data)
        else:
            self._update(data)

    def _update(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)
        self._md5.update(data)

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """In hex."""
        return self._md5.hexdigest()


async def hash_blob(
    canister: Canister, locator: str, meta: BlobMeta, *, ahead: int, into: Sink | None = None
) -> Digests:
    """Reads a blob from its first to its last chunk; the bytes are written to ``into`` too.

    Raises MalformedAnswerError where the chunks are not the blob that ``meta`` describes: a short
    read is an error, never the end of the file. Raises StoreUnreachableError where they come too
    slowly to wait for, whatever their number is said to be.
    """
    digests = Digests()
    try:
        async with paced(PATIENCE_SECONDS, LOWEST_SPEED) as arrived:
            async for chunk in _chunks(canister, locator, meta, ahead):
                arrived(len(chunk))
                if digests.size + len(chunk) > meta.size:
                    raise MalformedAnswerError(
                        f"the chunks of blob {locator} have more than the {meta.size} bytes that "
                        "blob_get_meta says"
                    )
                await digests.update(chunk)
                if into is not None:
                    into.write(chunk)
    except TimeoutError:
        raise StoreUnreachableError(
            f"the {meta.chunk_count} chunks of blob {locator} came at less than "
            f"{LOWEST_SPEED // 1024} kB a second; it was given up, so that one asset can't hold up "
            "all others: check the network, and try again later"
        ) from None
    if digests.size != meta.size:
        raise MalformedAnswerError(
            f"the chunks of blob {locator} have {digests.size} bytes; blob_get_meta says "
            f"{meta.size}"
        )
    return digests


async def _chunks(
    canister: Canister, locator: str, meta: BlobMeta, ahead: int
) -> AsyncIterator[bytes]:
    """The chunks in order, of which up to ``ahead`` are fetched at the same time."""
    if meta.chunk_count > meta.size:
        raise MalformedAnswerError(
            f"blob_get_meta says that blob {locator} has {meta.size} bytes in {meta.chunk_count} "
            "chunks"
        )
    fetching: deque[asyncio.Task[bytes]] = deque()
    following = 0
    try:
        while following < meta.chunk_count or fetching:
            while following < meta.chunk_count and len(fetching) < ahead:
                fetching.append(asyncio.create_task(_chunk(canister, locator, following, meta)))
                following += 1
            yield await fetching[0]
            fetching.popleft()
    finally:
        for task in fetching:
            task.cancel()
        await asyncio.gather(*fetching, return_exceptions=True)


async def _chunk(canister: Canister, locator: str, index: int, meta: BlobMeta) -> bytes:
    chunk = await canister.blob_chunk(locator, index)
    if not chunk:
        raise MalformedAnswerError(
            f"chunk {index} of {meta.chunk_count} of blob {locator} is not there, or is empty"
        )
    if len(chunk) > meta.size - (meta.chunk_count - 1):  # the others have a byte each at least
        raise MalformedAnswerError(
            f"chunk {index} of blob {locator} has {len(chunk)} bytes: more than is left of the "
            f"{meta.size} that blob_get_meta says, for {meta.chunk_count} chunks"
        )
    return chunk
