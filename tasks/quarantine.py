"""Quarantine: bytes kept aside, with a manifest, before anything is removed or replaced.

``$EDGEKEEPER_HOME/quarantine/<run id>/<digest of the location>/`` holds ``manifest.json`` and the
bodies, for their owner's eyes only; ``audit.quarantine`` says what there is and what became of it.
Nothing is removed from a store before its bytes and its manifest are on the disk.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b, sha256
from pathlib import Path
from typing import IO, Any

from psycopg.types.json import Jsonb

from checks.errors import ObjectChangedError, StoreError, StoreUnreachableError
from checks.model import Backend
from tasks.copying import put_into_blob_store
from tasks.database import Connection, Connector, transaction
from tasks.queries import query
from tasks.run_directory import atomic, private_directory, write_text
from tasks.serial_connection import SerialConnection
from tasks.settings import Settings
from tasks.sources import Source
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.written import UNKNOWN_TYPE

SCHEMA = "edgekeeper.quarantine/1"
KEPT_DAYS = 90
BODY = "body"


@dataclass(frozen=True, slots=True)
class Kept:
    """One object in quarantine.

    Attributes:
        run_id: which run put it there.
        backend, location: where it was.
        version: the store's, of what was kept.
        content_type: as the store had it.
        size, sha256: of the body.
        kept_at: the directory that holds it.
        manifest: what else is needed to bring it back.
        taken_at, purged_at, restored_at: when it was kept, removed from the store, brought back.
    """

    run_id: str
    backend: Backend
    location: str
    version: str | None
    content_type: str | None
    size: int
    sha256: str
    kept_at: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    taken_at: datetime | None = None
    purged_at: datetime | None = None
    restored_at: datetime | None = None


def place(home: Path, run_id: str, backend: Backend, location: str) -> Path:
    """The directory for one object, made where it is not there."""
    name = blake2b(f"{backend}/{location}".encode(), digest_size=16).hexdigest()
    return private_directory(home / "quarantine" / run_id / name)


def write_body(directory: Path, body: IO[bytes], name: str = BODY) -> str:
    """Writes a body beside its manifest, flushed to the disk; its SHA-256 in hex."""
    digest = sha256()
    body.seek(0)
    with atomic(directory / name) as file:
        while piece := body.read(1024 * 1024):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def keep(conn: Connection, kept: Kept) -> None:
    """Writes the manifest, and the row that says so. The body is there already.

    ``conn`` is not in a transaction. Again for the same run and object it changes nothing.
    """
    shown = asdict(kept) | {"schema": SCHEMA, "kept_at": str(kept.kept_at)}
    write_text(kept.kept_at / "manifest.json", json.dumps(shown, indent=2, default=str) + "\n")
    with transaction(conn):
        conn.execute(query("queries/quarantine", "keep"), _row(kept))


def removed(conn: Connection, kept: Kept) -> None:
    """Says that the object is gone from its store."""
    with transaction(conn):
        conn.execute(query("queries/quarantine", "removed"), _row(kept))


def brought_back(conn: Connection, kept: Kept) -> None:
    """Says that the object is in its store again."""
    with transaction(conn):
        conn.execute(query("queries/quarantine", "restored"), _row(kept))


def in_quarantine(
    conn: Connection, *, run_id: str | None = None, location: str | None = None
) -> list[Kept]:
    """What is in quarantine, newest first."""
    with transaction(conn, snapshot=True):
        rows = conn.execute(
            query("queries/quarantine", "list"), {"run_id": run_id, "location": location}
        ).fetchall()
    return [
        Kept(run, Backend(backend), where, version, kind, int(size), digest, Path(kept_at),
             manifest or {}, *times)
        for run, backend, where, version, kind, size, digest, kept_at, manifest, *times in rows
    ]  # fmt: skip


@contextmanager
def body_of(kept: Kept, name: str = BODY) -> Iterator[IO[bytes]]:
    """The kept body, verified. Raises StoreError where it is not what was kept."""
    try:
        file = (kept.kept_at / name).open("rb")
    except OSError as error:
        raise StoreError(
            f"what was kept of {kept.location} can't be read: {kept.kept_at / name}: "
            f"{error.strerror}"
        ) from None
    with file:
        digest = sha256()
        while piece := file.read(1024 * 1024):
            digest.update(piece)
        if digest.hexdigest() != kept.sha256:
            raise ObjectChangedError(
                f"{kept.kept_at / name} is not what was kept of {kept.location}; it is not put back"
            )
        yield file


async def put_back(store: BlobStore, database: SerialConnection, kept: Kept) -> bool:
    """Puts a kept file back where it was; False: the same bytes are there already.

    Raises ObjectChangedError where something else is there by now: it is not overwritten.
    """
    there = await store.read(kept.location)
    if there is not None and there.sha256 != kept.sha256:
        raise ObjectChangedError(
            f"{kept.location} holds other bytes by now; it was not overwritten. What was kept: "
            f"{kept.kept_at}"
        )
    if there is None:
        with body_of(kept) as body:
            source = Source(kept.backend, body, kept.size, kept.sha256, kept.content_type)
            kind = kept.content_type or UNKNOWN_TYPE
            await put_into_blob_store(store, source, kept.location, kind, None)
    await database.run(brought_back, kept)
    return there is None


def expire(conn: Connection, home: Path) -> int:
    """Removes what was kept for long enough; how many objects that were."""
    with transaction(conn):
        found = conn.execute(query("queries/quarantine", "expired"), {"days": KEPT_DAYS}).fetchall()
    top = (home / "quarantine").resolve()
    for (kept_at,) in found:
        directory = Path(kept_at or "").resolve()
        if directory.is_relative_to(top) and directory != top:
            shutil.rmtree(directory, ignore_errors=True)
    return len(found)


def _row(kept: Kept) -> dict[str, Any]:
    return {
        "run_id": kept.run_id, "backend": kept.backend.value, "location": kept.location,
        "version": kept.version, "content_type": kept.content_type, "size_bytes": kept.size,
        "sha256": kept.sha256, "kept_at": str(kept.kept_at), "manifest": Jsonb(kept.manifest),
    }  # fmt: skip


async def restore_all(
    settings: Settings, connect: Connector, wanted: Sequence[Kept]
) -> list[tuple[str, str]]:
    """Puts kept files back into the blob store; pairs of location and what became of it."""
    blob = BlobStore(settings)
    database = SerialConnection(connect)
    results = []
    try:
        for kept in wanted:
            if kept.backend is not Backend.BLOB:
                results.append((kept.location, f"not put back by this; it is in {kept.kept_at}"))
                continue
            try:
                made = await put_back(blob, database, kept)
            except StoreUnreachableError:
                raise
            except StoreError as error:
                results.append((kept.location, str(error)))
            else:
                results.append((kept.location, "put back" if made else "there already"))
    finally:
        await blob.aclose()
        await database.aclose()
    return results
