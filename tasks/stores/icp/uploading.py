"""Bringing bytes into the canister: one upload session, gone on with after an interruption.

A session is remembered before its first chunk is sent, so that whoever comes after a kill finishes
that one instead of leaving a second blob behind. What arrived of a chunk whose answer got lost
can't be asked; the canister compares hash and length at the end, and where they are not right the
session is given up and begun once more.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, Protocol

from checks.errors import MalformedAnswerError
from tasks.stores.icp.canister import CanisterRefusalError
from tasks.stores.icp.updates import Updates


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session as it is remembered.

    Attributes:
        number: what the canister calls it.
        chunk_bytes: the length of its chunks but the last.
        sent: chunks that arrived for certain.
        blob_id: what it ended with, None while it has not.
    """

    number: int
    chunk_bytes: int
    sent: int = 0
    blob_id: str | None = None


class Memo(Protocol):
    """Remembers the session of one upload, across runs."""

    async def kept(self) -> Session | None:
        """The session, None where there is none to go on with."""
        ...

    async def keep(self, session: Session) -> None:
        """Remembers the session in place of the one before."""
        ...

    async def forget(self) -> None:
        """Remembers none any more."""
        ...


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to be uploaded.

    Attributes:
        capsule_id: where to.
        body: the bytes, from the file's beginning.
        size: their number.
        sha256: their hash, in hex.
        idem: names the upload: the same for the same bytes of the same memory.
    """

    capsule_id: str
    body: IO[bytes]
    size: int
    sha256: str
    idem: str

    def chunks(self, chunk_bytes: int) -> int:
        """How many chunks it takes; an empty one where there are no bytes."""
        return max(1, -(-self.size // chunk_bytes))

    def chunk(self, index: int, chunk_bytes: int) -> bytes:
        """One chunk."""
        self.body.seek(index * chunk_bytes)
        return self.body.read(chunk_bytes)


async def upload(
    updates: Updates,
    wanted: Upload,
    chunk_bytes: int,
    memo: Memo,
    progress: Callable[[int], None] = lambda _bytes: None,
) -> str:
    """Uploads and gives the blob's id; the canister has compared its hash and its length.

    Args:
        updates: of the canister.
        wanted: what to upload.
        chunk_bytes: what ``upload_config`` says.
        memo: remembers the session.
        progress: called with the bytes of each chunk that arrived.

    Raises StoreError; the session is remembered then, and the next upload goes on with it.
    """
    session = await memo.kept()
    if session is not None:
        done = await _finished(updates, wanted, session, memo)
        if done is not None:
            progress(wanted.size)
            return done
        session = await _to_go_on_with(updates, session, chunk_bytes, memo)
    if session is None:
        session = await _begun(updates, wanted, chunk_bytes, memo)
    progress(min(session.sent * chunk_bytes, wanted.size))
    for attempt in range(_ATTEMPTS):
        try:
            return await _sent(updates, wanted, session, memo, progress)
        except CanisterRefusalError as error:
            # Of a session that was gone on with other bytes may have arrived than are sent now.
            await updates.abort(session.number)
            await memo.forget()
            if error.kind not in _NOT_AS_SENT or attempt + 1 == _ATTEMPTS:
                raise
        session = await _begun(updates, wanted, chunk_bytes, memo)
        progress = _untold  # every byte is told of once
    raise AssertionError("the last attempt neither returned nor raised")


def _untold(_bytes: int) -> None:
    """Tells nobody."""


_ATTEMPTS = 2
#: What the canister says of a session that is not there, or not what was sent.
_NOT_AS_SENT = ("InvalidArgument", "NotFound", "Conflict")


async def _begun(updates: Updates, wanted: Upload, chunk_bytes: int, memo: Memo) -> Session:
    number = await updates.begin(wanted.capsule_id, wanted.chunks(chunk_bytes), wanted.idem)
    session = Session(number, chunk_bytes)
    await memo.keep(session)
    return session


async def _to_go_on_with(
    updates: Updates, session: Session, chunk_bytes: int, memo: Memo
) -> Session | None:
    """The session, if its chunks are what they would be now and something of it arrived."""
    if session.sent and session.chunk_bytes == chunk_bytes and session.blob_id is None:
        return session
    await updates.abort(session.number)
    await memo.forget()
    return None


async def _finished(updates: Updates, wanted: Upload, session: Session, memo: Memo) -> str | None:
    """The blob of a session all of whose chunks arrived before the interruption."""
    try:
        made = await updates.finish(session.number, wanted.sha256, wanted.size)
    except CanisterRefusalError as error:
        if error.kind not in _NOT_AS_SENT:
            raise
        # A finished session is forgotten by the canister after hours, what it made is not.
        kept = session.blob_id and await updates.canister.blob_meta(session.blob_id)
        return session.blob_id if kept and kept.size == wanted.size else None
    return await _checked(wanted, made.blob_id, made.size, made.sha256, session, memo)


async def _sent(
    updates: Updates,
    wanted: Upload,
    session: Session,
    memo: Memo,
    progress: Callable[[int], None],
) -> str:
    """Sends what is left of a session, in order, and ends it."""
    for index in range(session.sent, wanted.chunks(session.chunk_bytes)):
        data = wanted.chunk(index, session.chunk_bytes)
        await updates.put_chunk(session.number, index, data)
        session = replace(session, sent=index + 1)
        await memo.keep(session)
        progress(len(data))
    made = await updates.finish(session.number, wanted.sha256, wanted.size)
    return await _checked(wanted, made.blob_id, made.size, made.sha256, session, memo)


async def _checked(
    wanted: Upload, blob_id: str, size: int, sha256: str | None, session: Session, memo: Memo
) -> str:
    if size != wanted.size or sha256 not in (None, wanted.sha256):
        raise MalformedAnswerError(
            f"uploads_finish gave a blob of {size} bytes and hash {sha256} for {wanted.size} bytes "
            f"of {wanted.sha256}"
        )
    await memo.keep(replace(session, blob_id=blob_id))
    return blob_id
