"""The type table that every Candid message begins with, read without trust in the sender."""

from enum import IntEnum
from functools import cache

from checks.errors import MalformedAnswerError

MAGIC = b"DIDL"
#: The largest table of the canister's interface has 2 kB.
MAX_TABLE_BYTES = 16 * 1024
_MAX_LEB128_BYTES = 10
_MORE = 0x80
_SIGN = 0x40


class Kind(IntEnum):
    """The kinds of types, by their numbers in a type table."""

    NULL = -1
    BOOL = -2
    NAT = -3
    INT = -4
    NAT8 = -5
    NAT16 = -6
    NAT32 = -7
    NAT64 = -8
    INT8 = -9
    INT16 = -10
    INT32 = -11
    INT64 = -12
    FLOAT32 = -13
    FLOAT64 = -14
    TEXT = -15
    RESERVED = -16
    EMPTY = -17
    OPT = -18
    VEC = -19
    RECORD = -20
    VARIANT = -21
    FUNC = -22
    SERVICE = -23
    PRINCIPAL = -24


_FIXED_BYTES = {
    Kind.NULL: 0, Kind.RESERVED: 0, Kind.BOOL: 1,
    Kind.NAT8: 1, Kind.NAT16: 2, Kind.NAT32: 4, Kind.NAT64: 8,
    Kind.INT8: 1, Kind.INT16: 2, Kind.INT32: 4, Kind.INT64: 8,
    Kind.FLOAT32: 4, Kind.FLOAT64: 8,
}  # fmt: skip
_CONSTRUCTED = {Kind.OPT, Kind.VEC, Kind.RECORD, Kind.VARIANT, Kind.FUNC, Kind.SERVICE}

_PRIMITIVES = {int(kind) for kind in Kind} - _CONSTRUCTED

#: Fields of a record or alternatives of a variant: the hashes of their names, and their types.
Members = tuple[tuple[int, int], ...]


class CandidError(MalformedAnswerError):
    """A message is no Candid, or not of the type expected."""


class TypeTable:
    """The types of one message. A type is a number: below 0 a primitive one, else an entry."""

    def __init__(self) -> None:
        self.entries: list[tuple[Kind, int, Members]] = []
        self._sizes: dict[int, int | None] = {}

    def kind(self, wire: int) -> Kind:
        """What kind of type it is."""
        return self.entries[wire][0] if wire >= 0 else Kind(wire)

    def item(self, wire: int) -> int:
        """The type inside an ``opt`` or ``vec``."""
        return self.entries[wire][1]

    def members(self, wire: int) -> Members:
        """The members of a ``record`` or ``variant``."""
        return self.entries[wire][2]

    def fixed_size(self, wire: int) -> int | None:
        """The bytes that each value of the type takes; None where they differ.

        A type whose values differ in length takes at least one byte for each: that is what bounds
        the work on a list. CandidError for a record that contains itself, which has no values.
        """
        if wire < 0:
            return _FIXED_BYTES.get(Kind(wire))
        if self.kind(wire) is not Kind.RECORD:
            return None
        if wire not in self._sizes:
            self._sizes[wire] = -1
            parts = [self.fixed_size(member) for _, member in self.members(wire)]
            sizes = [size for size in parts if size is not None]
            self._sizes[wire] = sum(sizes) if len(sizes) == len(parts) else None
        if self._sizes[wire] == -1:
            raise CandidError("a record in it contains itself")
        return self._sizes[wire]


def read_leb128(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned number of at most 64 bits, and the position after it."""
    value, shift, end = 0, 0, position + _MAX_LEB128_BYTES
    while position < end:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, position
        shift += 7
    raise CandidError("a length or index in it has more than 64 bits")


def _read_type(data: bytes, position: int) -> tuple[int, int]:
    """A signed number, and the position after it."""
    start = position
    value, position = read_leb128(data, position)
    if data[position - 1] & _SIGN:
        value -= 1 << (7 * (position - start))
    return value, position


def read_type_table(message: bytes) -> tuple[TypeTable, list[int], int]:
    """A message's type table, the types of its values, and the position where these begin.

    Raises IndexError where the message ends early and CandidError where it is none.
    """
    if not message.startswith(MAGIC):
        raise CandidError("it does not begin with DIDL")
    data = message[:MAX_TABLE_BYTES]
    table = TypeTable()
    try:
        count, position = read_leb128(data, len(MAGIC))
        for _ in range(count):
            position = _read_entry(data, position, table)
        count, position = read_leb128(data, position)
        values = []
        for _ in range(count):
            wire, position = _read_type(data, position)
            values.append(wire)
    except IndexError:
        if len(message) > MAX_TABLE_BYTES:
            raise CandidError(f"its type table has more than {MAX_TABLE_BYTES} bytes") from None
        raise
    _check_references(table, values)
    return table, values, position


def _read_entry(data: bytes, position: int, table: TypeTable) -> int:
    number, position = _read_type(data, position)
    if number not in _CONSTRUCTED:
        raise CandidError(f"its type table has an entry of unknown kind {number}")
    kind = Kind(number)
    item = 0
    members: Members = ()
    if kind in (Kind.OPT, Kind.VEC):
        item, position = _read_type(data, position)
    elif kind in (Kind.RECORD, Kind.VARIANT):
        members, position = _read_members(data, position)
    elif kind is Kind.FUNC:
        position = _skip_function(data, position)
    else:
        position = _skip_service(data, position)
    table.entries.append((kind, item, members))
    return position


def _read_members(data: bytes, position: int) -> tuple[Members, int]:
    count, position = read_leb128(data, position)
    members = []
    last = -1
    for _ in range(count):
        name, position = read_leb128(data, position)
        if not last < name < 1 << 32:
            raise CandidError("the fields of a type in it are not in ascending order")
        last = name
        wire, position = _read_type(data, position)
        members.append((name, wire))
    return tuple(members), position


def _skip_function(data: bytes, position: int) -> int:
    for _ in ("arguments", "results"):
        count, position = read_leb128(data, position)
        for _ in range(count):
            _, position = _read_type(data, position)
    count, position = read_leb128(data, position)
    return position + count


def _skip_service(data: bytes, position: int) -> int:
    count, position = read_leb128(data, position)
    for _ in range(count):
        length, position = read_leb128(data, position)
        _, position = _read_type(data, position + length)
    return position


def _check_references(table: TypeTable, values: list[int]) -> None:
    used = set(values)
    for kind, item, members in table.entries:
        if kind in (Kind.OPT, Kind.VEC):
            used.add(item)
        used.update(wire for _, wire in members)
    for wire in used:
        primitive = wire in _PRIMITIVES
        if not primitive and not 0 <= wire < len(table.entries):
            raise CandidError(f"a type in it refers to type {wire}, which there is not")


@cache
def field_hash(name: str) -> int:
    """What stands for a field's or alternative's name; a number stands for itself."""
    if name.isdigit():
        return int(name)
    value = 0
    for byte in name.encode():
        value = (value * 223 + byte) % (1 << 32)
    return value
