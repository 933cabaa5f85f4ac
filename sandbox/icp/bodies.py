"""The bytes behind a blob: computed ones, and uploaded ones kept as files named by their hash."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from sandbox.content import Generated, parse

RAW: Final = "raw:"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Bodies:
    """Reads any part of a body by its description, and stores uploaded ones in ``directory``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def length(self, description: str) -> int:
        """The true length; FileNotFoundError where an uploaded body's file is gone."""
        if description.startswith(RAW):
            return self._path(description).stat().st_size
        return _generated(description).length

    def read(self, description: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop`` (default: the end)."""
        if not description.startswith(RAW):
            return _generated(description).read(start, stop)
        with self._path(description).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(max(0, stop - start))

    def store(self, chunks: Iterable[bytes]) -> str:
        """Keep the bytes and give their description."""
        digest = hashlib.sha256()
        unfinished = self._directory / "unfinished"
        with unfinished.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        description = RAW + digest.hexdigest()
        path = self._path(description)
        path.parent.mkdir(exist_ok=True)
        unfinished.rename(path)
        return description

    def _path(self, description: str) -> Path:
        digest = description.removeprefix(RAW)
        if not _DIGEST.fullmatch(digest):
            raise ValueError(f"{description!r} describes no body")
        return self._directory / digest[:2] / digest


@lru_cache(maxsize=4096)
def _generated(description: str) -> Generated:
    return parse(description)
