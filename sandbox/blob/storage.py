"""The objects of the stand-in, in a directory that outlives its server.

Rows are in SQLite, uploaded bytes in files beside it. Nothing is cached, so that another process
(the seeder, the drift tool) may write while a server reads. Times are milliseconds since 1970.
"""

import itertools
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from operator import attrgetter
from pathlib import Path

from sandbox.blob.bodies import Body, BodyFiles, Received

DEFAULT_MAX_AGE = 30 * 24 * 60 * 60
BATCH = 10_000
KEEP_FORMER_MS = 60 * 60 * 1000
ABANDONED_SECONDS = 24 * 60 * 60
FIRST_SURROGATE, LAST_SURROGATE = 0xD800, 0xDFFF  # not in UTF-8
UNBOUNDED = b""  # SQLite sorts every blob after every text


class AlreadyExistsError(Exception):
    """An object has this pathname, and it was not to be overwritten."""


class EtagMismatchError(Exception):
    """The object is not, or no longer, the version that the condition names."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of the store.

    ``pathname`` is decoded and has no leading slash, ``etag`` has no quotes, ``body`` is
    ``Generated.describe()`` or ``raw:<sha256 hex>``.
    """

    pathname: str
    size: int
    etag: str
    uploaded_at: int
    content_type: str
    body: str
    access: str = "public"
    cache_control_max_age: int = DEFAULT_MAX_AGE
    content_disposition: str | None = None


_row = attrgetter(*(field.name for field in fields(StoredObject)))  # in the order of the columns


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing; ``following`` is the ``start`` of the next page, None after the last."""

    objects: list[StoredObject]
    folders: list[str]
    following: str | None


class BlobStorage:
    """One directory of objects. Safe to share between threads and between processes."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.bodies = BodyFiles(directory / "raw")
        self.bodies.discard_incoming(time.time() - ABANDONED_SECONDS)
        self._reader = _connect(directory / "objects.sqlite")
        self._writer = _connect(directory / "objects.sqlite")
        self._write_lock = threading.Lock()
        self._writer.executescript(_statements()["schema"])

    def close(self) -> None:
        """Let go of the files."""
        self._reader.close()
        self._writer.close()

    def insert(self, objects: Iterable[StoredObject]) -> int:
        """Write many objects in place of those with their pathnames; returns how many."""
        written = 0
        remaining = iter(objects)
        while batch := [_row(obj) for obj in itertools.islice(remaining, BATCH)]:
            with self._transaction() as db:
                db.executemany(_statements()["upsert"], batch)
            written += len(batch)
        return written

    def replace(self, obj: StoredObject) -> None:
        """Write one object exactly as given: damage keeps etag and time."""
        self.insert([obj])

    def get(self, pathname: str) -> StoredObject | None:
        """The object with this pathname."""
        row = self._reader.execute(_statements()["get"], (pathname,)).fetchone()
        return StoredObject(*row) if row else None

    def count(self) -> int:
        """How many objects there are."""
        (count,) = self._reader.execute("SELECT count(*) FROM object").fetchone()
        return int(count)

    def open(self, obj: StoredObject) -> Body:
        """The object's bytes, as ``BodyFiles.open``."""
        return self.bodies.open(obj.body)

    def put(
        self, obj: StoredObject, *, allow_overwrite: bool = False, if_match: str | None = None
    ) -> None:
        """Write one object if the condition still holds: ``if_match`` is an etag without quotes.

        Raises AlreadyExistsError or EtagMismatchError, and writes nothing then.
        """
        with self._transaction() as db:
            row = db.execute(_statements()["get"], (obj.pathname,)).fetchone()
            current = StoredObject(*row) if row else None
            check_overwrite(current, allow_overwrite=allow_overwrite, if_match=if_match)
            if current is not None:
                # Etag and time together are the version: the same bytes again are a newer one.
                newer = max(obj.uploaded_at, current.uploaded_at + 1)
                obj = replace(obj, uploaded_at=newer)
                _retire(db, [obj.pathname])
            db.execute(_statements()["upsert"], _row(obj))

    def delete(self, pathnames: Iterable[str], *, if_match: str | None = None) -> int:
        """Delete objects, those that are missing passed over; returns how many there were.

        Raises EtagMismatchError where ``if_match`` is given and one is not this version.
        """
        names = list(pathnames)
        with self._transaction() as db:
            if if_match is not None:
                for row in (db.execute(_statements()["get"], (name,)).fetchone() for name in names):
                    if row is None or StoredObject(*row).etag != if_match:
                        raise EtagMismatchError
            _retire(db, names)
            return db.executemany(_statements()["delete"], [(name,) for name in names]).rowcount

    def page(
        self,
        *,
        limit: int,
        prefix: str = "",
        start: str = "",
        folded: bool = False,
        as_of: int | None = None,
    ) -> Page:
        """Up to ``limit`` objects that begin with ``prefix``, from pathname ``start`` on, in order.

        ``folded``: what has a further slash after the prefix is summed up as one folder, which
        counts as one. ``as_of``: the listing as it was then (at most an hour ago).
        """
        low = max(prefix, start)
        high = after_prefix(prefix)
        if not folded:
            objects = self._range(low, high, limit + 1, as_of)
            more = len(objects) > limit
            following = successor(objects[limit - 1].pathname) if more else None
            return Page(objects[:limit], [], following)
        return self._folded_page(prefix, low, high, limit, as_of)

    def _folded_page(
        self, prefix: str, low: str, high: str | bytes, limit: int, as_of: int | None
    ) -> Page:
        objects: list[StoredObject] = []
        folders: list[str] = []
        while found := self._range(low, high, limit + 1, as_of):
            for obj in found:
                if obj.pathname < low:
                    continue  # in the folder before
                if len(objects) + len(folders) == limit:
                    return Page(objects, folders, low)
                folder, slash, _ = obj.pathname[len(prefix) :].partition("/")
                if slash:
                    folders.append(f"{prefix}{folder}/")
                    beyond = after_prefix(folders[-1])
                    if not isinstance(beyond, str):
                        return Page(objects, folders, None)
                    low = beyond
                else:
                    objects.append(obj)
                    low = successor(obj.pathname)
        return Page(objects, folders, None)

    def _range(
        self, low: str, high: str | bytes, limit: int, as_of: int | None
    ) -> list[StoredObject]:
        statement = _statements()["page" if as_of is None else "page_as_of"]
        bounds = {"low": low, "high": high, "limit": limit, "as_of": as_of}
        return [StoredObject(*row) for row in self._reader.execute(statement, bounds)]

    def begin_upload(self, upload_id: str, pathname: str, options: str) -> None:
        """Remember an upload in parts and what was said when it began."""
        with self._transaction() as db:
            row = (upload_id, pathname, options, now_ms())
            db.execute(_statements()["begin_upload"], row)

    def upload_options(self, upload_id: str, pathname: str) -> str | None:
        """What ``begin_upload`` was given, None for an unknown or completed upload."""
        row = self._reader.execute(_statements()["get_upload"], (upload_id, pathname)).fetchone()
        return str(row[0]) if row else None

    def put_part(self, upload_id: str, number: int, part: Received) -> None:
        """Remember one part of an upload."""
        with self._transaction() as db:
            row = (upload_id, number, part.size, part.md5, part.body)
            db.execute(_statements()["put_part"], row)

    def parts(self, upload_id: str) -> dict[int, Received]:
        """The parts that arrived, by number."""
        rows = self._reader.execute(_statements()["get_parts"], (upload_id,))
        return {number: Received(body, size, md5) for number, size, md5, body in rows}

    def end_upload(self, upload_id: str) -> None:
        """Forget an upload in parts."""
        with self._transaction() as db:
            db.execute(_statements()["end_upload"], (upload_id,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")


def check_overwrite(
    current: StoredObject | None, *, allow_overwrite: bool, if_match: str | None
) -> None:
    """Whether an object may be written where ``current`` is.

    A matching ``if_match`` allows by itself: it names the version to be overwritten.
    Raises AlreadyExistsError or EtagMismatchError.
    """
    if if_match is not None:
        if current is None or current.etag != if_match:
            raise EtagMismatchError
    elif current is not None and not allow_overwrite:
        raise AlreadyExistsError


def now_ms() -> int:
    """The time, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def successor(pathname: str) -> str:
    """The first string after this one, in the order of the listing."""
    return pathname + "\0"


def after_prefix(prefix: str) -> str | bytes:
    """The first key after all strings that begin with ``prefix``."""
    while prefix:
        following = ord(prefix[-1]) + 1
        if following == FIRST_SURROGATE:
            following = LAST_SURROGATE + 1
        if following <= sys.maxunicode:
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return UNBOUNDED


def _retire(db: sqlite3.Connection, pathnames: list[str]) -> None:
    now = now_ms()
    db.execute(_statements()["forget"], (now - KEEP_FORMER_MS,))
    db.executemany(_statements()["retire"], [(now, pathname) for pathname in pathnames])


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


@cache
def _statements() -> dict[str, str]:
    text = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    _, *named = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(named[::2], named[1::2], strict=True))
