"""The canister's updates, typed: upload sessions, and memories made of what was uploaded.

An update is answered with a certificate that is verified. ``ResourceExhausted`` passes by itself:
it is waited out, for minutes. Every other error of the canister is raised, ``NotFound`` too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.retries import retrying
from tasks.stores.icp import interface
from tasks.stores.icp.candid import BLOB, BOOL, NAT32, NAT64, TEXT, Decoder, Type, Vec
from tasks.stores.icp.candid_encode import encoded
from tasks.stores.icp.canister import Canister, CanisterRefusalError, Method, outcome
from tasks.stores.icp.written import (
    BLOB_ASSET,
    UPLOADED,
    WHOLE_MEMORY,
    WHOLE_MEMORY_METADATA,
)

EXHAUSTED_ATTEMPTS = 60
EXHAUSTED_SECONDS = 600.0


@dataclass(frozen=True)
class Update(Method):
    """A method whose arguments are of our own types."""

    def encode(self, values: Sequence[Any]) -> bytes:
        """The argument, in Candid."""
        return encoded(self.arguments, values)


def _update(name: str, arguments: tuple[Type, ...], answer: Type | None) -> Update:
    return Update(name, arguments, Decoder(interface.result(answer), name), is_result=True)


BEGIN = _update("uploads_begin", (TEXT, NAT32, TEXT), NAT64)
PUT_CHUNK = _update("uploads_put_chunk", (NAT64, NAT32, BLOB), None)
FINISH = _update("uploads_finish", (NAT64, BLOB, NAT64), UPLOADED)
ABORT = _update("uploads_abort", (NAT64,), None)
CREATE = _update(
    "memories_create_with_internal_blobs",
    (TEXT, WHOLE_MEMORY_METADATA, Vec(BLOB_ASSET), TEXT), TEXT,
)  # fmt: skip
ADD_ASSET = _update("memories_add_asset", (TEXT, BLOB_ASSET, TEXT), TEXT)
DELETE = _update("memories_delete", (TEXT, BOOL), None)
READ_WHOLE = _update("memories_read", (TEXT,), WHOLE_MEMORY)

#: What copying to a canister calls besides what an audit does.
NEEDED_TO_WRITE = (BEGIN, PUT_CHUNK, FINISH, ABORT, CREATE, ADD_ASSET, DELETE)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A blob that an upload session ended with; ``sha256`` where the canister says it."""

    blob_id: str
    size: int
    sha256: str | None


class Updates:
    """What one identity may change in the canister. Every method may raise a StoreError.

    ``calls`` counts what was sent so far.
    """

    def __init__(self, canister: Canister) -> None:
        self.canister = canister
        self.calls = 0

    async def begin(self, capsule_id: str, chunks: int, idem: str) -> int:
        """A session for an upload of so many chunks: the same one while it is unfinished."""
        return int(await self._call(BEGIN, capsule_id, chunks, idem))

    async def put_chunk(self, session: int, index: int, data: bytes) -> None:
        """Sends one chunk; the session hashes them in the order in which they arrive."""
        await self._call(PUT_CHUNK, session, index, data)

    async def finish(self, session: int, sha256: str, size: int) -> Uploaded:
        """Makes a blob of what arrived, if it is what it should be; again, it gives the same."""
        made = await self._call(FINISH, session, bytes.fromhex(sha256), size)
        digest = made["checksum_sha256"]
        return Uploaded(made["blob_id"], made["size"], digest.hex() if digest else None)

    async def abort(self, session: int) -> None:
        """Ends a session and drops what arrived; of no effect where there is none any more."""
        try:
            await self._call(ABORT, session)
        except CanisterRefusalError as error:
            if error.kind != "NotFound":
                raise

    async def create(
        self,
        capsule_id: str,
        metadata: Mapping[str, Any],
        assets: Sequence[Mapping[str, Any]],
        idem: str,
    ) -> str:
        """Makes a memory over uploaded blobs and gives its id; the same ``idem``, the same one."""
        return str(await self._call(CREATE, capsule_id, metadata, assets, idem))

    async def add_asset(self, memory_id: str, asset: Mapping[str, Any], idem: str) -> str:
        """Adds an asset over an uploaded blob to a memory and gives the asset's id."""
        return str(await self._call(ADD_ASSET, memory_id, asset, idem))

    async def delete(self, memory_id: str, *, delete_assets: bool) -> None:
        """Deletes a memory, with its blobs where it is said so."""
        await self._call(DELETE, memory_id, delete_assets)

    async def whole(self, memory_id: str) -> dict[str, Any]:
        """A memory as it would have to be written to be made again; inline bytes are left out.

        Raises CanisterRefusalError where it is not there.
        """
        argument = READ_WHOLE.encode([memory_id])
        reply = await self.canister.agent.query(READ_WHOLE.name, argument)
        return dict(outcome(READ_WHOLE, [memory_id], reply))

    async def _call(self, method: Update, *values: Any) -> Any:
        argument = method.encode(values)

        async def attempt() -> Any:
            self.calls += 1
            certified = await self.canister.agent.call(method.name, argument)
            return outcome(method, values, certified.reply)

        return await retrying(
            attempt, is_transient=_is_exhausted,
            attempts=EXHAUSTED_ATTEMPTS, total_seconds=EXHAUSTED_SECONDS,
        )  # fmt: skip


def _is_exhausted(error: Exception) -> bool:
    return isinstance(error, CanisterRefusalError) and error.kind == "ResourceExhausted"
