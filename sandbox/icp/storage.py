"""The canister's state in SQLite, open to the server and to the seeder at the same time.

Every process opens its own :class:`CanisterStorage`; what one commits the next query of the others
sees, for nothing is cached but positions in a listing, and those only while the database says that
nobody has written (``PRAGMA data_version``).
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from sandbox.icp.records import (
    StoredAsset,
    StoredCapsule,
    StoredGallery,
    StoredMemory,
    check,
    from_document,
    to_document,
)
from sandbox.icp.refusal import Refusal

__all__ = [
    "CanisterStorage",
    "StoredAsset",
    "StoredCapsule",
    "StoredGallery",
    "StoredMemory",
]

DATABASE = "canister.sqlite3"
SCHEMA_VERSION = 1
BUSY_SECONDS = 30
REMEMBER_SECONDS = 3_600  # how long a stale listing may still show what was deleted
BATCH = 5_000  # rows per commit in bulk, so that the server's own writes get a turn
# The cache (in KiB) is for bulk loads: ids and slots fall all over their indexes.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-65536")
_SCHEMA = Path(__file__).with_name("schema.sql")

_PAGE_FROM = "SELECT slot, number, id, document FROM memory WHERE capsule_id = ? "
_PAGE_AFTER = _PAGE_FROM + "AND (slot, number) > (?, ?) ORDER BY slot, number LIMIT ?"
_PAGE_AT = _PAGE_FROM + "ORDER BY slot, number LIMIT ? OFFSET ?"
_ADD_MEMORY = "INSERT INTO memory (id, capsule_id, slot, stored_at, document) VALUES (?,?,?,?,?)"
_SET_MEMORY = "UPDATE memory SET capsule_id = ?, document = ? WHERE id = ?"
_SET_GALLERY = "UPDATE gallery SET title=?, items=?, created_at=?, updated_at=? WHERE id = ?"
_ROW = "SELECT id, capsule_id, stored_at, document FROM memory WHERE id = ?"
_REMEMBER = "INSERT OR REPLACE INTO removed VALUES (?, ?, ?, ?, ?)"
_REMOVED = "SELECT id, document FROM removed WHERE capsule_id = ? "
_REMOVED_SINCE = _REMOVED + "AND stored_at <= ? AND removed_at > ? ORDER BY id"
_PUT_BLOB = "INSERT OR REPLACE INTO blob (locator, capsule_id, body) VALUES (?, ?, ?)"


def slot_of(memory_id: str) -> int:
    """Where an unordered map keeps the memory: a hash of its id, below 2**63."""
    return int.from_bytes(hashlib.blake2b(memory_id.encode(), digest_size=8).digest()) >> 1


class CanisterStorage:
    """Capsules, memories, galleries and blobs of one canister, kept in ``directory``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.database = sqlite3.connect(
            directory / DATABASE,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        for pragma in _PRAGMAS:
            self.database.execute(f"PRAGMA {pragma}")
        if self.database.execute("PRAGMA user_version").fetchone()[0] != SCHEMA_VERSION:
            self._make_schema()
        self._positions: dict[tuple[str, int], tuple[int, int]] = {}
        self._seen_version = (-1, -1)

    def _make_schema(self) -> None:
        with self.transaction():
            for statement in _SCHEMA.read_text().split(";\n"):
                self.database.execute(statement)
            self.database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the database; the object is of no use afterwards."""
        self.database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction: all of it or, after an exception, nothing."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    # Writing -------------------------------------------------------------------------------------

    def add_capsules(self, capsules: Iterable[StoredCapsule]) -> int:
        """Add capsules and say how many; sqlite3.IntegrityError where an id is there already."""
        rows = [
            (c.id, c.subject, json.dumps(c.owners), json.dumps(c.controllers), *_dates(c))
            for c in capsules
        ]
        with self.transaction():
            self.database.executemany("INSERT INTO capsule VALUES (?,?,?,?,?,?)", rows)
        return len(rows)

    def add_memories(self, memories: Iterable[StoredMemory]) -> int:
        """Add memories and the blobs of their internal assets in bulk, and say how many.

        ValueError for an asset the canister couldn't hold, sqlite3.IntegrityError where an id is
        there already; the batch in which that happens is not written, those before it are.
        """
        added = 0
        remaining = iter(memories)
        while batch := list(islice(remaining, BATCH)):
            with self.transaction():
                self._insert(batch)
            added += len(batch)
        return added

    def add_galleries(self, galleries: Iterable[StoredGallery]) -> int:
        """Add galleries and say how many; sqlite3.IntegrityError where an id is there already."""
        rows = [(g.id, g.capsule_id, g.title, json.dumps(g.items), *_dates(g)) for g in galleries]
        with self.transaction():
            self.database.executemany("INSERT INTO gallery VALUES (?,?,?,?,?,?)", rows)
        return len(rows)

    def replace_gallery(self, gallery: StoredGallery) -> None:
        """Put a gallery in the place of the one with its id."""
        values = (gallery.title, json.dumps(gallery.items), *_dates(gallery), gallery.id)
        with self.transaction():
            self.database.execute(_SET_GALLERY, values)

    def add_memory(self, memory: StoredMemory) -> None:
        """Add one memory inside the caller's own transaction."""
        self._insert([memory])

    def replace_memory(self, memory: StoredMemory) -> None:
        """Put this memory in the place of the one with its id, blobs included, exactly as given.

        KeyError where there is none. A blob the old memory had and this one lacks is removed, as
        is that of an internal asset whose ``body`` is None.
        """
        with self.transaction():
            self.update_memory(memory)

    def update_memory(self, memory: StoredMemory) -> None:
        """What :meth:`replace_memory` does, inside the caller's own transaction."""
        check(memory)
        old = self.memory(memory.id)
        if old is None:
            raise KeyError(memory.id)
        self._remove_blobs(_locators([old, memory]))
        row = (memory.capsule_id, to_document(memory), memory.id)
        self.database.execute(_SET_MEMORY, row)
        self.database.executemany(_PUT_BLOB, _blob_rows([memory]))

    def delete_memories(self, ids: Iterable[str], *, blobs: bool = True) -> int:
        """Remove memories, with their blobs unless told otherwise; say how many there were."""
        deleted = 0
        forgotten = time.time_ns() - REMEMBER_SECONDS * 1_000_000_000
        with self.transaction():
            self.database.execute("DELETE FROM removed WHERE removed_at < ?", (forgotten,))
            for memory_id in ids:
                deleted += self.delete_memory(memory_id, blobs=blobs)
        return deleted

    def delete_memory(self, memory_id: str, *, blobs: bool) -> bool:
        """Remove one memory inside the caller's own transaction; False where there is none."""
        memory = self.memory(memory_id)
        if memory is None:
            return False
        if blobs:
            self._remove_blobs(_locators([memory]))
        row = self.database.execute(_ROW, (memory_id,)).fetchone()
        self.database.execute(_REMEMBER, (*row, time.time_ns()))
        self.database.execute("DELETE FROM memory WHERE id = ?", (memory_id,))
        return True

    def put_blob(self, locator: str, capsule_id: str, body: str) -> None:
        """Store what a locator leads to, inside the caller's own transaction."""
        self.database.execute(_PUT_BLOB, (locator, capsule_id, body))

    def _insert(self, memories: Sequence[StoredMemory]) -> None:
        now = time.time_ns()
        for memory in memories:
            check(memory)
        rows = ((m.id, m.capsule_id, slot_of(m.id), now, to_document(m)) for m in memories)
        self.database.executemany(_ADD_MEMORY, rows)
        self.database.executemany(_PUT_BLOB, _blob_rows(memories))

    def _remove_blobs(self, locators: Iterable[str]) -> None:
        rows = ((locator,) for locator in locators)
        self.database.executemany("DELETE FROM blob WHERE locator = ?", rows)

    # Reading -------------------------------------------------------------------------------------

    def memory(self, memory_id: str) -> StoredMemory | None:
        """The memory with all its assets and their bodies, or None."""
        query = "SELECT capsule_id, document FROM memory WHERE id = ?"
        row = self.database.execute(query, (memory_id,)).fetchone()
        if row is None:
            return None
        capsule_id, document = row
        memory = from_document(memory_id, capsule_id, document)
        blobs = {locator: self.blob(locator) for locator in _locators([memory])}
        bodies = {locator: blob[1] for locator, blob in blobs.items() if blob}
        return from_document(memory_id, capsule_id, document, bodies) if bodies else memory

    def capsule_of(self, memory_id: str) -> str | None:
        """The id of the capsule that holds the memory, or None where there is no such memory."""
        query = "SELECT capsule_id FROM memory WHERE id = ?"
        row = self.database.execute(query, (memory_id,)).fetchone()
        return row[0] if row else None

    def blob(self, locator: str) -> tuple[str, str] | None:
        """The capsule and the body's description of a blob, or None where it is gone."""
        query = "SELECT capsule_id, body FROM blob WHERE locator = ?"
        row: tuple[str, str] | None = self.database.execute(query, (locator,)).fetchone()
        return row

    def capsules(self) -> list[StoredCapsule]:
        """All capsules, ordered by id."""
        rows = self.database.execute("SELECT * FROM capsule ORDER BY id")
        return [_capsule(row) for row in rows]

    def capsule(self, capsule_id: str) -> StoredCapsule | None:
        """One capsule, or None."""
        row = self.database.execute("SELECT * FROM capsule WHERE id = ?", (capsule_id,)).fetchone()
        return _capsule(row) if row else None

    def admit(self, caller: str, capsule_id: str) -> None:
        """Raise Refusal unless the caller may use the capsule.

        One that may not is told what it would be told if there were no such capsule.
        """
        capsule = self.capsule(capsule_id)
        if capsule is None or not capsule.admits(caller):
            raise Refusal("NotFound")

    def galleries(self) -> list[StoredGallery]:
        """All galleries, ordered by id."""
        rows = self.database.execute("SELECT * FROM gallery ORDER BY id")
        return [_gallery(row) for row in rows]

    def gallery(self, gallery_id: str) -> StoredGallery | None:
        """One gallery, or None."""
        row = self.database.execute("SELECT * FROM gallery WHERE id = ?", (gallery_id,)).fetchone()
        return _gallery(row) if row else None

    def count(self, capsule_id: str | None = None) -> int:
        """How many memories there are, in one capsule or in all."""
        query = "SELECT count(*) FROM memory"
        where = " WHERE capsule_id = ?" if capsule_id is not None else ""
        values = (capsule_id,) if capsule_id is not None else ()
        counted: int = self.database.execute(query + where, values).fetchone()[0]
        return counted

    def page(self, capsule_id: str, start: int, limit: int) -> tuple[list[StoredMemory], bool]:
        """Memories number ``start`` and following in the map's own order, and whether more follow.

        The bodies of blobs are not filled in.
        Where the page before this one ended is remembered, so that walking through a million
        memories doesn't count from the beginning for each page.
        """
        positions = self._valid_positions()
        after = positions.get((capsule_id, start))
        if after is not None:
            cursor = self.database.execute(_PAGE_AFTER, (capsule_id, *after, limit + 1))
        else:
            cursor = self.database.execute(_PAGE_AT, (capsule_id, limit + 1, start))
        found = cursor.fetchall()
        rows = found[:limit]
        if rows:
            positions[capsule_id, start + len(rows)] = rows[-1][:2]
        memories = [from_document(memory_id, capsule_id, text) for _, _, memory_id, text in rows]
        return memories, len(found) > limit

    def stored_since(self, capsule_id: str, since: int) -> set[str]:
        """The ids of the capsule's memories that were written after ``since`` (ns)."""
        query = "SELECT id FROM memory WHERE capsule_id = ? AND stored_at > ?"
        return {row[0] for row in self.database.execute(query, (capsule_id, since))}

    def removed_since(self, capsule_id: str, since: int) -> list[StoredMemory]:
        """The capsule's memories that were there at ``since`` (ns) and have been deleted since."""
        rows = self.database.execute(_REMOVED_SINCE, (capsule_id, since, since))
        return [from_document(memory_id, capsule_id, text) for memory_id, text in rows]

    def _valid_positions(self) -> dict[tuple[str, int], tuple[int, int]]:
        others = self.database.execute("PRAGMA data_version").fetchone()[0]
        version = (others, self.database.total_changes)
        if version != self._seen_version:
            self._positions.clear()
            self._seen_version = version
        return self._positions


def _dates(thing: StoredCapsule | StoredGallery) -> tuple[int, int]:
    return thing.created_at, thing.updated_at


def _locators(memories: Iterable[StoredMemory]) -> set[str]:
    assets = (asset for memory in memories for asset in memory.assets)
    return {asset.locator for asset in assets if asset.kind == "internal" and asset.locator}


def _blob_rows(memories: Iterable[StoredMemory]) -> Iterator[tuple[str | None, str, str]]:
    for memory in memories:
        for asset in memory.assets:
            if asset.kind == "internal" and asset.body is not None:
                yield asset.locator, memory.capsule_id, asset.body


def _capsule(row: tuple[str, str, str, str, int, int]) -> StoredCapsule:
    capsule_id, subject, owners, controllers, created_at, updated_at = row
    held_by = tuple(json.loads(owners)), tuple(json.loads(controllers))
    return StoredCapsule(capsule_id, subject, *held_by, created_at, updated_at)


def _gallery(row: tuple[str, str, str | None, str, int, int]) -> StoredGallery:
    gallery_id, capsule_id, title, items, created_at, updated_at = row
    listed = tuple((i, kind, position, caption) for i, kind, position, caption in json.loads(items))
    return StoredGallery(gallery_id, capsule_id, title, listed, created_at, updated_at)
