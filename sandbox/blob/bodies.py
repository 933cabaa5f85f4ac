"""The bytes of objects: computed ones, and uploaded ones in files named by their SHA-256.

Files of uploaded bytes are never removed: several objects may share one, a reader may be in the
middle of one, and the directory lives no longer than its sandbox.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from sandbox import content

RAW = "raw:"
PIECE_BYTES = 1024 * 1024


class Body(Protocol):
    """Bytes any range of which can be read, without a state to close."""

    @property
    def length(self) -> int:
        """Number of bytes."""

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop`` (default: the end)."""


@dataclass(frozen=True, slots=True)
class FileBody:
    """The bytes of a file, opened anew for each read: cheap, and nothing leaks on a lost client."""

    path: Path
    length: int

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop`` (default: the end)."""
        stop = self.length if stop is None else min(stop, self.length)
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(max(stop - start, 0))


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that arrived whole and are on disk."""

    body: str
    size: int
    md5: str


class Incoming:
    """Bytes on their way to disk, hashed as they come; a context manager that leaves no rest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "incoming" / secrets.token_hex(16)
        self._file = self._path.open("wb")
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append a piece."""
        self._file.write(data)
        self._sha256.update(data)
        self._md5.update(data)
        self._size += len(data)

    def finish(self) -> Received:
        """Move the bytes to where they stay; to be called once, after the last piece."""
        self._file.close()
        sha256 = self._sha256.hexdigest()
        target = _raw_path(self._directory, sha256)
        target.parent.mkdir(exist_ok=True)
        self._path.replace(target)
        return Received(RAW + sha256, self._size, self._md5.hexdigest())


class BodyFiles:
    """The directory of uploaded bytes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "incoming").mkdir(parents=True, exist_ok=True)

    def incoming(self) -> Incoming:
        """A place for bytes that arrive in pieces."""
        return Incoming(self._directory)

    def write(self, pieces: Iterable[bytes]) -> Received:
        """Keep bytes that are at hand."""
        with self.incoming() as incoming:
            for piece in pieces:
                incoming.write(piece)
            return incoming.finish()

    def open(self, description: str) -> Body:
        """The body that a ``StoredObject.body`` describes.

        Raises FileNotFoundError where uploaded bytes are gone, ValueError where the text describes
        no body.
        """
        if not description.startswith(RAW):
            return content.parse(description)
        path = _raw_path(self._directory, description.removeprefix(RAW))
        return FileBody(path, path.stat().st_size)

    def discard_incoming(self, older_than: float) -> None:
        """Remove what a killed server left half received before ``older_than`` (seconds)."""
        for path in (self._directory / "incoming").iterdir():
            try:
                if path.stat().st_mtime < older_than:
                    path.unlink()
            except FileNotFoundError:
                continue


def pieces(body: Body, start: int = 0, stop: int | None = None) -> Iterable[bytes]:
    """A range of a body in pieces of at most :data:`PIECE_BYTES`."""
    stop = body.length if stop is None else min(stop, body.length)
    for position in range(start, stop, PIECE_BYTES):
        yield body.read(position, min(position + PIECE_BYTES, stop))


def _raw_path(directory: Path, sha256: str) -> Path:
    return directory / sha256[:2] / Path(sha256).name
