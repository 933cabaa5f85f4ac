"""Where the bytes of a copy come from: read once into a private file, hashed, held to the ledger.

What is written to a store afterwards is that file, so that nothing can change between the look and
the copy. It has no name on the disk: however the program ends, it is gone.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5, sha256
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from checks.errors import ObjectChangedError, StoreError
from checks.model import Artifact, Backend
from tasks.serial_connection import SerialConnection
from tasks.stores.protocol import HashedObject, Store
from tasks.subjects import Subject, read_text

#: Larger bodies are kept on disk.
IN_MEMORY = 2 * 1024 * 1024


class SourceError(StoreError):
    """No replica can be copied from: none is there, or none is known to be right."""


@dataclass(frozen=True, slots=True)
class Source:
    """An asset's bytes, verified.

    Attributes:
        backend: where they were read.
        body: the file that holds them.
        size, sha256: of them.
        content_type: as the store has it, None where it says none.
        written_at: when it was written there, in UTC.
    """

    backend: Backend
    body: IO[bytes]
    size: int
    sha256: str
    content_type: str | None = None
    written_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shelves:
    """What bytes are read from.

    Attributes:
        database: Neon, for notes.
        stores: the object stores.
        directory: for what is too large to be kept in memory.
    """

    database: SerialConnection
    stores: dict[Backend, Store]
    directory: Path


@asynccontextmanager
async def verified_source(
    shelves: Shelves,
    subject: Subject,
    backends: Sequence[Backend],
    recorded: Collection[str],
    *,
    strict: bool,
) -> AsyncIterator[Source]:
    """The bytes of the asset from the first of ``backends`` whose bytes are known to be right.

    Right is the hash that the ledger has ``recorded``. Where it has recorded none, and ``strict``
    is not set, it is what all replicas that there are have in common.

    Raises SourceError, with what is wrong with each, and what the stores raise.
    """
    if len(recorded) > 1:
        raise SourceError(
            f"the ledger's edges of {subject} carry different hashes: which one is right a person "
            "has to say"
        )
    if not recorded and strict:
        raise SourceError(f"the ledger has no hash of {subject} to verify a replica against")
    with cast("IO[bytes]", SpooledTemporaryFile(IN_MEMORY, dir=str(shelves.directory))) as body:
        expected = next(iter(recorded), None)
        reasons = []
        for backend in backends:
            read = await _read(shelves, subject, backend, body)
            problem = _problem(subject, backend, read, expected)
            if read is not None and problem is None:
                if expected is None:
                    await _check_others(shelves, subject, backend, read)
                facts = await _facts(shelves, subject, backend)
                yield Source(backend, body, read.size, read.sha256, *facts)
                return
            reasons.append(problem)
        raise SourceError(
            f"no replica of {subject} can be copied from: {'; '.join(filter(None, reasons))}"
        )


def location_in(subject: Subject, backend: Backend) -> str | None:
    """Where the asset is, or should be, in an object store; None: nothing names a place."""
    if backend is Backend.BLOB:
        return subject.pathname
    edges = (subject.edge(artifact, backend) for artifact in (Artifact.ASSET, Artifact.METADATA))
    return next((edge.location for edge in edges if edge and edge.location), subject.memory_id)


async def _read(
    shelves: Shelves, subject: Subject, backend: Backend, body: IO[bytes]
) -> HashedObject | None:
    """Reads one replica into ``body``; None: it is not there."""
    if backend is Backend.NEON:
        return await _read_note(shelves, subject, body)
    location, store = location_in(subject, backend), shelves.stores.get(backend)
    if location is None or store is None:
        return None
    return await store.read(location, body)


async def _read_note(shelves: Shelves, subject: Subject, body: IO[bytes]) -> HashedObject | None:
    text = await shelves.database.run(read_text, subject.memory_id) if subject.is_note else None
    if text is None:
        return None
    body.seek(0)
    body.truncate()
    body.write(text)
    digest = md5(text, usedforsecurity=False).hexdigest()
    return HashedObject(len(text), sha256(text).hexdigest(), digest, None)


def _problem(
    subject: Subject, backend: Backend, read: HashedObject | None, expected: str | None
) -> str | None:
    """What speaks against a replica, None where nothing does."""
    if read is None:
        return f"{backend} does not have it"
    if expected is None:
        edge = subject.edge(Artifact.ASSET, backend)
        size = edge.size_bytes if edge else None
        if size not in (None, read.size):
            return f"{backend} has {read.size} bytes, the ledger says {size}"
        return None
    if read.sha256 != expected:
        return (
            f"the bytes in {backend} (SHA-256 {read.sha256[:12]}…) are not what the ledger has "
            f"recorded ({expected[:12]}…): run edgekeeper audit --verify all --repair ledger first"
        )
    return None


async def _check_others(
    shelves: Shelves, subject: Subject, chosen: Backend, read: HashedObject
) -> None:
    """Raises SourceError where another replica has other bytes: then nobody knows who is right."""
    for backend in Backend:
        edge = subject.edge(Artifact.ASSET, backend)
        if backend is chosen or edge is None or not edge.present or backend is Backend.NEON:
            continue
        location, store = location_in(subject, backend), shelves.stores.get(backend)
        other = await store.read(location) if store and location else None
        if other is not None and other.sha256 != read.sha256:
            raise SourceError(
                f"{chosen} and {backend} hold different bytes of {subject}, and the ledger has no "
                "hash that says which are right"
            )


async def _facts(
    shelves: Shelves, subject: Subject, backend: Backend
) -> tuple[str | None, datetime | None]:
    """Content type and time of writing, as the store has them."""
    if backend is Backend.NEON:
        written = subject.written_at
        return None, written.replace(tzinfo=UTC) if written and not written.tzinfo else written
    location, store = location_in(subject, backend), shelves.stores.get(backend)
    seen = await store.look_up(location) if store and location else None
    if seen is None:
        raise ObjectChangedError(f"{location} in {backend} went away while it was copied")
    return seen.content_type, seen.written_at
