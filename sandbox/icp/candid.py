"""Candid types and a compiled encoder for them, written from the specification.

It shares nothing with the library the clients use, so that a mistake in one is seen by the other.
Values are plain Python: a record is a dict (absent ``opt`` fields may be left out), a variant the
pair (tag, value), a principal its bytes, ``blob`` bytes, a missing ``opt`` None.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

MAGIC: Final = b"DIDL"

OPCODES: Final[Mapping[str, int]] = {
    "null": -1,
    "bool": -2,
    "nat": -3,
    "int": -4,
    "nat8": -5,
    "nat16": -6,
    "nat32": -7,
    "nat64": -8,
    "int8": -9,
    "int16": -10,
    "int32": -11,
    "int64": -12,
    "float32": -13,
    "float64": -14,
    "text": -15,
    "reserved": -16,
    "empty": -17,
    "principal": -24,
}
_SEVEN_BITS: Final = 0x7F
_ONE_BYTE: Final = [bytes([number]) for number in range(_SEVEN_BITS + 1)]
_SIGNED_SEVEN_BITS: Final = range(-0x40, 0x40)

OPT, VEC, RECORD, VARIANT, FUNC, SERVICE = -18, -19, -20, -21, -22, -23

FIXED_WIDTH: Final[Mapping[str, str]] = {
    "nat8": "<B",
    "nat16": "<H",
    "nat32": "<I",
    "nat64": "<Q",
    "int8": "<b",
    "int16": "<h",
    "int32": "<i",
    "int64": "<q",
    "float32": "<f",
    "float64": "<d",
}


class CandidError(ValueError):
    """The bytes are no Candid message of the expected types, or a value is not of its type."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A type without parts, by its name in an interface description."""

    name: str


@dataclass(frozen=True, slots=True)
class Opt:
    """A value or nothing."""

    inner: "Type"


@dataclass(frozen=True, slots=True)
class Vec:
    """Any number of values of one type."""

    inner: "Type"


@dataclass(frozen=True, slots=True)
class Record:
    """Named values; ``fields`` are (hash, name, type) ordered by hash."""

    fields: "tuple[Field, ...]"


@dataclass(frozen=True, slots=True)
class Variant:
    """One of several named values; ``fields`` are (hash, name, type) ordered by hash."""

    fields: "tuple[Field, ...]"


Type = Primitive | Opt | Vec | Record | Variant
Field = tuple[int, str, Type]
Writer = Callable[[bytearray, Any], None]

BLOB: Final = Vec(Primitive("nat8"))


def field_hash(name: str) -> int:
    """What stands for a field's name on the wire; a positional field's name is its number."""
    if name.isdigit():
        return int(name)
    total = 0
    for byte in name.encode():
        total = (total * 223 + byte) & 0xFFFFFFFF
    return total


def fields_by_hash(fields: Iterable[tuple[str, Type]]) -> tuple[Field, ...]:
    """Fields in the order the wire wants them; CandidError where two have the same hash."""
    hashed = ((field_hash(name), name, kind) for name, kind in fields)
    ordered = tuple(sorted(hashed, key=itemgetter(0)))
    if len({number for number, _, _ in ordered}) != len(ordered):
        names = ", ".join(name for _, name, _ in ordered)
        raise CandidError(f"two of these fields have one name or hash: {names}")
    return ordered


def unsigned(number: int) -> bytes:
    """LEB128 of a natural number."""
    if number <= _SEVEN_BITS:
        return _ONE_BYTE[number]
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def signed(number: int) -> bytes:
    """Signed LEB128."""
    out = bytearray()
    while number not in _SIGNED_SEVEN_BITS:
        out.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    out.append(number & _SEVEN_BITS)
    return bytes(out)


class Encoder:
    """Encodes values of one sequence of types; everything the types decide is done once."""

    def __init__(self, types: Sequence[Type]) -> None:
        table = _TypeTable()
        references = [table.reference(kind) for kind in types]
        self._head = b"".join([MAGIC, table.encoded(), unsigned(len(types)), *references])
        self._writers = [_writer(kind) for kind in types]

    def encode(self, values: Sequence[Any]) -> bytes:
        """The message; CandidError or an error of Python's own where a value is not of its type."""
        out = bytearray(self._head)
        for write, value in zip(self._writers, values, strict=True):
            write(out, value)
        return bytes(out)


class _TypeTable:
    """The table in front of a message: every compound type once, parts before wholes."""

    def __init__(self) -> None:
        self._numbers: dict[Type, int] = {}
        self._entries: list[bytes] = []

    def reference(self, kind: Type) -> bytes:
        """The type's opcode, or its number in the table, which gets it if need be."""
        if isinstance(kind, Primitive):
            return signed(OPCODES[kind.name])
        if kind not in self._numbers:
            entry = self._entry(kind)
            self._numbers[kind] = len(self._entries)
            self._entries.append(entry)
        return signed(self._numbers[kind])

    def encoded(self) -> bytes:
        return unsigned(len(self._entries)) + b"".join(self._entries)

    def _entry(self, kind: Opt | Vec | Record | Variant) -> bytes:
        if isinstance(kind, Opt | Vec):
            return signed(OPT if isinstance(kind, Opt) else VEC) + self.reference(kind.inner)
        parts = [signed(RECORD if isinstance(kind, Record) else VARIANT)]
        parts.append(unsigned(len(kind.fields)))
        parts += [unsigned(number) + self.reference(inner) for number, _, inner in kind.fields]
        return b"".join(parts)


def _writer(kind: Type) -> Writer:
    if isinstance(kind, Primitive):
        return _primitive_writer(kind.name)
    if kind == BLOB:
        return _write_bytes
    if isinstance(kind, Opt):
        return _opt_writer(kind)
    if isinstance(kind, Vec):
        return _vec_writer(kind)
    return _record_writer(kind) if isinstance(kind, Record) else _variant_writer(kind)


def _record_writer(kind: Record) -> Writer:
    writers = [(name, _writer(inner)) for _, name, inner in kind.fields]

    def write(out: bytearray, value: Any) -> None:
        get = value.get
        for name, write_field in writers:
            write_field(out, get(name))

    return write


def _variant_writer(kind: Variant) -> Writer:
    writers = {
        name: (unsigned(position), _writer(inner))
        for position, (_, name, inner) in enumerate(kind.fields)
    }

    def write(out: bytearray, value: Any) -> None:
        tag, inner = value
        head, write_inner = writers[tag]
        out += head
        write_inner(out, inner)

    return write


def _opt_writer(kind: Opt) -> Writer:
    write_inner = _writer(kind.inner)

    def write(out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
        else:
            out.append(1)
            write_inner(out, value)

    return write


def _vec_writer(kind: Vec) -> Writer:
    write_inner = _writer(kind.inner)

    def write(out: bytearray, value: Any) -> None:
        out += unsigned(len(value))
        for item in value:
            write_inner(out, item)

    return write


def _write_bytes(out: bytearray, value: Any) -> None:
    out += unsigned(len(value))
    out += value


def _write_text(out: bytearray, value: Any) -> None:
    data = value.encode()
    size = len(data)
    if size <= _SEVEN_BITS:
        out.append(size)
    else:
        out += unsigned(size)
    out += data


def _write_principal(out: bytearray, value: Any) -> None:
    out.append(1)
    _write_bytes(out, value)


def _write_nothing(out: bytearray, value: Any) -> None:
    del out, value


def _write_empty(out: bytearray, value: Any) -> None:
    raise CandidError(f"the type empty has no values, not even {value!r} ({len(out)} bytes in)")


def _write_bool(out: bytearray, value: Any) -> None:
    out.append(1 if value else 0)


def _write_nat(out: bytearray, value: Any) -> None:
    if value < 0:
        raise CandidError(f"{value} is no nat")
    out += unsigned(value)


def _write_int(out: bytearray, value: Any) -> None:
    out += signed(value)


def _primitive_writer(name: str) -> Writer:
    if name in FIXED_WIDTH:
        return _fixed_writer(FIXED_WIDTH[name])
    special: dict[str, Writer] = {
        "text": _write_text,
        "bool": _write_bool,
        "nat": _write_nat,
        "int": _write_int,
        "principal": _write_principal,
        "null": _write_nothing,
        "reserved": _write_nothing,
        "empty": _write_empty,
    }
    return special[name]


def _fixed_writer(layout: str) -> Writer:
    pack = struct.Struct(layout).pack

    def write(out: bytearray, value: Any) -> None:
        try:
            out += pack(value)
        except struct.error as error:
            raise CandidError(f"{value!r} does not fit: {error}") from error

    return write
