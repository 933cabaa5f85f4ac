"""Reading Candid values of primitive types, each by a function of its own."""

import struct
from collections.abc import Callable
from typing import Any

from tasks.stores.icp.candid_wire import CandidError, Kind, read_leb128
from tasks.stores.icp.identity import MAX_PRINCIPAL_BYTES, principal_text

#: From a position to the value there and the position after it, which may lie beyond the end of
#: the message like a skipper's.
Reader = Callable[[bytes, int], tuple[Any, int]]

_MAX_NAT_BYTES = 64
_MORE = 0x80


def read_nothing(_: bytes, position: int) -> tuple[None, int]:
    """None, for which nothing is sent."""
    return None, position


def read_text(data: bytes, position: int) -> tuple[str, int]:
    """A ``text``. Raises UnicodeDecodeError."""
    length = data[position]
    if length < _MORE:
        position += 1
    else:
        length, position = read_leb128(data, position)
    end = position + length
    return data[position:end].decode(), end


def read_blob(data: bytes, position: int) -> tuple[bytes, int]:
    """A ``blob``."""
    length, position = read_leb128(data, position)
    return data[position : position + length], position + length


def _read_bool(data: bytes, position: int) -> tuple[bool, int]:
    if data[position] > 1:
        raise CandidError("a bool in it is neither true nor false")
    return data[position] == 1, position + 1


def _big_number_end(data: bytes, position: int) -> int:
    """Where a number of any length ends."""
    start = position
    while data[position] >= _MORE:
        position += 1
        if position - start >= _MAX_NAT_BYTES:
            raise CandidError("a number in it is too large to be meant")
    return position + 1


def read_nat(data: bytes, position: int) -> tuple[int, int]:
    """A number of any size from 0 on."""
    end = _big_number_end(data, position)
    value = 0
    for byte in reversed(data[position:end]):
        value = value << 7 | byte & 0x7F
    return value, end


def _read_int(data: bytes, position: int) -> tuple[int, int]:
    value, end = read_nat(data, position)
    if data[end - 1] & 0x40:
        value -= 1 << 7 * (end - position)
    return value, end


def _read_principal(data: bytes, position: int) -> tuple[str, int]:
    length = data[position + 1]
    if data[position] != 1 or length > MAX_PRINCIPAL_BYTES:
        raise CandidError("a principal in it is malformed")
    end = position + 2 + length
    return principal_text(data[position + 2 : end]), end


def _number_reader(code: str) -> Reader:
    """A reader of numbers of fixed length, by :mod:`struct`'s code for them."""
    form = struct.Struct("<" + code)
    unpack, size = form.unpack_from, form.size

    def read(data: bytes, position: int) -> tuple[Any, int]:
        return unpack(data, position)[0], position + size

    return read


#: How each primitive type is read.
PRIMITIVES: dict[Kind, Reader] = {
    Kind.BOOL: _read_bool,
    Kind.NAT: read_nat,
    Kind.INT: _read_int,
    Kind.TEXT: read_text,
    Kind.PRINCIPAL: _read_principal,
    Kind.NAT8: _number_reader("B"),
    Kind.NAT16: _number_reader("H"),
    Kind.NAT32: _number_reader("I"),
    Kind.NAT64: _number_reader("Q"),
    Kind.INT8: _number_reader("b"),
    Kind.INT16: _number_reader("h"),
    Kind.INT32: _number_reader("i"),
    Kind.INT64: _number_reader("q"),
    Kind.FLOAT32: _number_reader("f"),
    Kind.FLOAT64: _number_reader("d"),
}
