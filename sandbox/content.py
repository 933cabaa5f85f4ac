"""Bytes that are computed instead of stored, so that a million memories need no disk.

A :class:`Generated` body is a pure function of its key and length: a 32-byte digest of the key,
then one fixed pseudo-random pool, entered where the digest says and repeated as often as needed.
Any range is computed without what lies before it, at the speed of a memory copy. Damage is part of
the description: a shorter length is a truncated file, ``flips`` are the bit offsets (0 is the least
significant bit of the first byte) whose bits are turned over, and of a body that can't be read to
its end no more than ``readable`` bytes come, whatever its length is said to be.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

POOL_BYTES = 4 * 1024 * 1024
HEAD_BYTES = 32


@cache
def _pool() -> memoryview:
    """The pool written twice in a row, so that a slice of up to ``POOL_BYTES`` never wraps."""
    pool = hashlib.shake_128(b"edgekeeper sandbox pool").digest(POOL_BYTES)
    return memoryview(pool + pool)


@lru_cache(maxsize=4096)
def _head(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=HEAD_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Generated:
    """A body of ``length`` bytes computed from ``key``, with the bits at ``flips`` turned over."""

    key: str
    length: int
    flips: tuple[int, ...] = ()
    readable: int | None = None

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop`` (default: the end), both cut to the length."""
        end = self.length if self.readable is None else min(self.readable, self.length)
        stop = end if stop is None else min(stop, end)
        if start >= stop:
            return b""
        data = bytearray(_head(self.key)[start:stop])
        while start + len(data) < stop:
            data += self._pool_slice(start + len(data), stop)
        for bit in self.flips:
            if start <= bit // 8 < stop:
                data[bit // 8 - start] ^= 1 << (bit % 8)
        return bytes(data)

    def _pool_slice(self, start: int, stop: int) -> memoryview:
        offset = (int.from_bytes(_head(self.key)[:8]) + start) % POOL_BYTES
        return _pool()[offset : offset + min(stop - start, POOL_BYTES)]

    def chunks(self, size: int = 1024 * 1024) -> Iterator[bytes]:
        """The whole body in pieces of ``size`` bytes, the last one shorter."""
        for start in range(0, self.length, size):
            yield self.read(start, start + size)

    def sha256(self) -> str:
        """Lower-case hex SHA-256 of the body."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def md5(self) -> str:
        """Lower-case hex MD5 of the body: what Vercel Blob shows as an etag."""
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()

    def describe(self) -> str:
        """One line of text from which :func:`parse` makes the same body again."""
        flips = ",".join(map(str, self.flips))
        readable = "" if self.readable is None else f"<{self.readable}"
        return f"{self.length}{readable}:{flips}:{self.key}"


def parse(description: str) -> Generated:
    """The body that :meth:`Generated.describe` wrote.

    Raises ValueError where the text is not such a description.
    """
    lengths, flips, key = description.split(":", 2)
    length, _, readable = lengths.partition("<")
    bits = tuple(int(bit) for bit in flips.split(",") if bit)
    return Generated(key, int(length), bits, int(readable) if readable else None)
