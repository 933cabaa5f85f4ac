"""Reading a Candid message as the types the receiver expects, by the subtyping rules.

A client may be older or newer than the interface: records with extra fields or without optional
ones are accepted, and an ``opt`` whose content doesn't fit is taken for an absent one.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.icp.candid import (
    BLOB,
    FIXED_WIDTH,
    FUNC,
    MAGIC,
    OPCODES,
    OPT,
    RECORD,
    SERVICE,
    VARIANT,
    VEC,
    CandidError,
    Opt,
    Primitive,
    Record,
    Type,
    Variant,
    Vec,
)

MAX_VALUES: Final = 2_000_000  # a vector of empty things must not cost more than the message
MAX_DEPTH: Final = 64
MAX_NUMBER_BITS: Final = 1_000
MAX_TYPES: Final = 10_000
PRINCIPAL_BYTES: Final = 29

_NAMES: Final = {opcode: name for name, opcode in OPCODES.items()}
_ABSENT: Final = (Primitive("null"), Primitive("reserved"))


@dataclass(frozen=True, slots=True)
class _WireType:
    """A compound type as the sender describes it; parts are opcodes or numbers in its table."""

    opcode: int
    inner: int = 0
    fields: tuple[tuple[int, int], ...] = field(default=())


def decode(types: Sequence[Type], message: bytes) -> list[Any]:
    """The message's values as ``types``; missing optional arguments are None, further ones ignored.

    Raises CandidError where the message is malformed or doesn't have these types.
    """
    reader = _Reader(message)
    sent = reader.header()
    values = []
    for position, expected in enumerate(types):
        if position < len(sent):
            values.append(reader.value(expected, sent[position]))
        elif isinstance(expected, Opt) or expected in _ABSENT:
            values.append(None)
        else:
            raise CandidError(f"argument {position} is missing")
    for wire in sent[len(types) :]:
        reader.skip(wire)
    if reader.position != len(message):
        raise CandidError(f"{len(message) - reader.position} bytes follow the last value")
    return values


class _Reader:
    """A position in a message and the type table that stands in front of it."""

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.position = 0
        self._table: list[_WireType] = []
        self._depth = 0
        self._values = 0

    # Bytes ---------------------------------------------------------------------------------------

    def take(self, size: int) -> bytes:
        stop = self.position + size
        if stop > len(self.message):
            raise CandidError(f"the message ends where {size} bytes should follow")
        data = self.message[self.position : stop]
        self.position = stop
        return data

    def unsigned(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
                return number
            shift += 7
            self._check_shift(shift)

    def signed(self) -> int:
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
                return number - (1 << shift) if byte & 0x40 else number
            self._check_shift(shift)

    def _check_shift(self, shift: int) -> None:
        if shift > MAX_NUMBER_BITS:
            raise CandidError(f"a number of more than {MAX_NUMBER_BITS} bits")

    # Header --------------------------------------------------------------------------------------

    def header(self) -> list[int]:
        """Read the type table and give the types of the arguments."""
        if self.take(4) != MAGIC:
            raise CandidError("no Candid message: it does not begin with DIDL")
        count = self._count(MAX_TYPES, "types")
        self._table = [self._wire_type() for _ in range(count)]
        for entry in self._table:
            for part in (entry.inner, *(kind for _, kind in entry.fields)):
                self._check_reference(part)
        arguments = [self.signed() for _ in range(self._count(MAX_TYPES, "arguments"))]
        for argument in arguments:
            self._check_reference(argument)
        return arguments

    def _count(self, limit: int, what: str) -> int:
        count = self.unsigned()
        if count > limit:
            raise CandidError(f"{count} {what} are too many")
        return count

    def _check_reference(self, reference: int) -> None:
        if reference >= len(self._table) or (reference < 0 and reference not in _NAMES):
            raise CandidError(f"no type {reference}")

    def _wire_type(self) -> _WireType:
        opcode = self.signed()
        if opcode in (OPT, VEC):
            return _WireType(opcode, self.signed())
        if opcode in (RECORD, VARIANT):
            count = self._count(MAX_TYPES, "fields")
            fields = tuple((self.unsigned(), self.signed()) for _ in range(count))
            numbers = [number for number, _ in fields]
            if numbers != sorted(set(numbers)):
                raise CandidError("a record's fields are not in the order of their hashes")
            return _WireType(opcode, -1, fields)
        if opcode in (FUNC, SERVICE) or opcode >= -len(OPCODES) - 6:
            raise CandidError(f"type {opcode} is nothing this canister takes")
        self.take(self.unsigned())  # a type of some future version describes its own length
        return _WireType(opcode, -1)

    # Values --------------------------------------------------------------------------------------

    def value(self, expected: Type, wire: int) -> Any:
        """The next value, sent as ``wire`` and wanted as ``expected``."""
        self._enter()
        try:
            if isinstance(expected, Opt):
                return self._opt(expected, wire)
            if isinstance(expected, Primitive):
                return self._primitive(expected.name, wire)
            entry = self._entry(wire)
            if isinstance(expected, Vec) and entry.opcode == VEC:
                return self._vec(expected, entry)
            if isinstance(expected, Record) and entry.opcode == RECORD:
                return self._record(expected, entry)
            if isinstance(expected, Variant) and entry.opcode == VARIANT:
                return self._variant(expected, entry)
            raise CandidError(f"type {entry.opcode} was sent for a {_kind(expected)}")
        finally:
            self._depth -= 1

    def _enter(self) -> None:
        self._depth += 1
        self._values += 1
        if self._depth > MAX_DEPTH:
            raise CandidError(f"values are nested deeper than {MAX_DEPTH}")
        if self._values > MAX_VALUES:
            raise CandidError(f"the message holds more than {MAX_VALUES} values")

    def _entry(self, wire: int) -> _WireType:
        return self._table[wire] if wire >= 0 else _WireType(wire)

    def _opt(self, expected: Opt, wire: int) -> Any:
        entry = self._entry(wire)
        if wire < 0 and _NAMES[wire] in ("null", "reserved"):
            return None
        if entry.opcode == OPT:
            if not self._flag("opt"):
                return None
            wire = entry.inner
        start = self.position
        try:
            return self.value(expected.inner, wire)
        except CandidError:
            self.position = start
            self.skip(wire)
            return None

    def _flag(self, what: str) -> bool:
        byte = self.take(1)[0]
        if byte > 1:
            raise CandidError(f"{byte} is no {what}")
        return byte == 1

    def _primitive(self, expected: str, wire: int) -> Any:
        if expected == "reserved":
            self.skip(wire)
            return None
        sent = _NAMES.get(wire, "compound type")
        if sent != expected and (expected, sent) != ("int", "nat"):
            raise CandidError(f"{sent} was sent for {expected}")
        return self._read(sent)

    def _read(self, name: str) -> Any:
        if name in FIXED_WIDTH:
            layout = FIXED_WIDTH[name]
            return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        if name == "text":
            try:
                return self.take(self.unsigned()).decode()
            except UnicodeDecodeError as error:
                raise CandidError(f"a text is no UTF-8: {error}") from error
        if name == "principal":
            return self._principal()
        if name == "empty":
            raise CandidError("a value of type empty")
        if name == "bool":
            return self._flag("bool")
        readers = {"nat": self.unsigned, "int": self.signed}
        return readers[name]() if name in readers else None

    def _principal(self) -> bytes:
        if not self._flag("principal"):
            raise CandidError("an opaque reference instead of a principal")
        size = self.unsigned()
        if size > PRINCIPAL_BYTES:
            raise CandidError(f"a principal of {size} bytes")
        return self.take(size)

    def _vec(self, expected: Vec, entry: _WireType) -> Any:
        size = self.unsigned()
        if expected == BLOB and entry.inner == OPCODES["nat8"]:
            return self.take(size)
        items = [self.value(expected.inner, entry.inner) for _ in range(self._bounded(size))]
        return bytes(items) if expected == BLOB else items

    def _bounded(self, size: int) -> int:
        if size > MAX_VALUES:
            raise CandidError(f"a vector of {size} values")
        return size

    def _record(self, expected: Record, entry: _WireType) -> dict[str, Any]:
        wanted = {number: (name, kind) for number, name, kind in expected.fields}
        value: dict[str, Any] = {}
        for number, wire in entry.fields:
            if number in wanted:
                name, kind = wanted.pop(number)
                value[name] = self.value(kind, wire)
            else:
                self.skip(wire)
        for name, kind in wanted.values():
            if not isinstance(kind, Opt) and kind not in _ABSENT:
                raise CandidError(f"field {name} is missing")
            value[name] = None
        return value

    def _variant(self, expected: Variant, entry: _WireType) -> tuple[str, Any]:
        number, wire = self._tag(entry)
        for known, name, kind in expected.fields:
            if known == number:
                return name, self.value(kind, wire)
        raise CandidError(f"tag {number} is none of the variant's")

    def _tag(self, entry: _WireType) -> tuple[int, int]:
        position = self.unsigned()
        if position >= len(entry.fields):
            raise CandidError(f"tag number {position} of a variant with {len(entry.fields)}")
        return entry.fields[position]

    def skip(self, wire: int) -> None:
        """Read past a value that nobody wants."""
        self._enter()
        try:
            self._skip(self._entry(wire))
        finally:
            self._depth -= 1

    def _skip(self, entry: _WireType) -> None:
        if entry.opcode in _NAMES:
            self._read(_NAMES[entry.opcode])
        elif entry.opcode == OPT:
            if self._flag("opt"):
                self.skip(entry.inner)
        elif entry.opcode == VEC:
            self._skip_vec(entry.inner)
        elif entry.opcode == RECORD:
            for _, wire in entry.fields:
                self.skip(wire)
        elif entry.opcode == VARIANT:
            self.skip(self._tag(entry)[1])
        else:
            size = self.unsigned()
            if self.unsigned():
                raise CandidError("a value of a future type refers to others")
            self.take(size)

    def _skip_vec(self, inner: int) -> None:
        size = self.unsigned()
        if inner == OPCODES["nat8"]:
            self.take(size)
            return
        for _ in range(self._bounded(size)):
            self.skip(inner)


def _kind(expected: Type) -> str:
    return expected.name if isinstance(expected, Primitive) else type(expected).__name__.lower()
