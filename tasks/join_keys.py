"""Join keys for whole columns: what :mod:`checks.normal` says of one id, for a million at once."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from checks.normal import digest_of_text, key_of_memory_id

Keys = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
_UUID_LENGTH = 36
_DASHES = (8, 13, 18, 23)
_DIGITS = [place for place in range(_UUID_LENGTH) if place not in _DASHES]
_CANONICAL = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_NOT_HEX = 255
_NIBBLES = np.full(256, _NOT_HEX, dtype=np.uint8)
_NIBBLES[list(b"0123456789abcdef")] = range(16)
_NIBBLES[list(b"ABCDEF")] = range(10, 16)


def memory_keys(ids: Any) -> Keys:
    """The keys of memory ids as found: ``key_of_memory_id`` of each, vectorised for UUIDs.

    Args:
        ids: a pyarrow array (or chunked array) of strings without nulls.

    Returns:
        The high and the low halves, as uint64.
    """
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    if len(ids) == 0:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    looks = pc.equal(pc.binary_length(ids), _UUID_LENGTH)
    if pc.all(looks).as_py():
        high, low, good = _uuid_keys(ids)
    else:
        high, low = (np.zeros(len(ids), np.uint64) for _ in range(2))
        good = looks.to_numpy(zero_copy_only=False).copy()
        places = np.flatnonzero(good)
        high[places], low[places], good[places] = _uuid_keys(ids.filter(looks))
    for place in np.flatnonzero(~good):
        high[place], low[place] = key_of_memory_id(ids[int(place)].as_py())
    return high, low


def canonical_uuids(ids: Any) -> npt.NDArray[np.bool_]:
    """``is_canonical_uuid`` of each of a pyarrow array of strings; False of null."""
    canonical = pc.fill_null(pc.match_substring_regex(ids, _CANONICAL), fill_value=False)
    found: npt.NDArray[np.bool_] = canonical.to_numpy(zero_copy_only=False)
    return found


def unkeyed(schema: pa.Schema) -> pa.Schema:
    """The columns of a keyed table that come from elsewhere; the keys are computed here."""
    return pa.schema([field for field in schema if field.name not in ("key_hi", "key_lo")])


def with_memory_keys(table: Any, schema: pa.Schema) -> Any:
    """A table that has ``memory_id`` with its keys, in the order of the keyed ``schema``."""
    high, low = memory_keys(table.column("memory_id"))
    keyed = table.append_column("key_hi", pa.array(high)).append_column("key_lo", pa.array(low))
    return keyed.select(schema.names)


def text_keys(texts: Iterable[str]) -> Keys:
    """The keys of pathnames and other texts: ``key_of_text`` of each."""
    return _halves(np.frombuffer(b"".join(map(digest_of_text, texts)), np.uint8))


def _uuid_keys(ids: Any) -> tuple[Any, Any, npt.NDArray[np.bool_]]:
    """Halves of texts of 36 bytes, and which of them are UUIDs at all."""
    fixed = ids.cast(pa.binary()).cast(pa.binary(_UUID_LENGTH))
    start = fixed.offset * _UUID_LENGTH
    data = np.frombuffer(fixed.buffers()[1], np.uint8)[start : start + len(fixed) * _UUID_LENGTH]
    text = data.reshape(-1, _UUID_LENGTH)
    nibbles = _NIBBLES[text[:, _DIGITS]]
    good = (nibbles != _NOT_HEX).all(axis=1) & (text[:, _DASHES] == ord("-")).all(axis=1)
    octets = np.bitwise_or(nibbles[:, 0::2] << 4, nibbles[:, 1::2] & 15, dtype=np.uint8)
    return *_halves(octets), good


def _halves(octets: npt.NDArray[np.uint8]) -> Keys:
    """Numbers of 16 octets each as their high and low halves."""
    halves = np.ascontiguousarray(octets).view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])
