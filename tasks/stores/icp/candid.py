"""Decoding Candid by the type that is expected, fast and without trust in the sender.

A message carries its own types. For each pair of an expected type and a message's type a chain of
small functions is put together once and kept by the bytes of the message's type table: a canister
sends the same table with every page, so that the work per page is reading values alone. What the
expected type does not name is stepped over without being decoded. Encoding is ic-py's business.

Expected types may say less than the canister sends: further fields of a record are ignored, and a
missing field that is ``opt`` is None. A value of another type, or an alternative that is not
expected, is an error rather than None: silence would look like absence.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checks.errors import MalformedAnswerError
from tasks.stores.icp.candid_read import PRIMITIVES, Reader, read_blob, read_nat, read_nothing
from tasks.stores.icp.candid_skip import Skipper, Skippers, skip_all
from tasks.stores.icp.candid_wire import (
    CandidError,
    Kind,
    Members,
    TypeTable,
    field_hash,
    read_leb128,
    read_type_table,
)

_MAX_KEPT_TABLES = 16
_MORE = 0x80


@dataclass(frozen=True)
class Primitive:
    """A number, ``bool``, ``text`` or ``principal`` (as text)."""

    kind: Kind


@dataclass(frozen=True)
class Blob:
    """``blob``, that is ``vec nat8``, as bytes."""


@dataclass(frozen=True)
class Vec:
    """``vec``, as a list."""

    item: "Type"


@dataclass(frozen=True)
class Opt:
    """``opt``, as the value or None."""

    item: "Type"


@dataclass(frozen=True)
class Record:
    """``record``, as a dict of the fields named here; a field's name may be its number."""

    fields: "Mapping[str, Type]"


@dataclass(frozen=True)
class Variant:
    """``variant``, as (name, value); None stands for the type of an alternative without value."""

    cases: "Mapping[str, Type | None]"


@dataclass(frozen=True)
class Enumeration:
    """A ``variant`` of which only the alternative's name is wanted."""

    names: tuple[str, ...]


Type = Primitive | Blob | Vec | Opt | Record | Variant | Enumeration

BLOB = Blob()
BOOL, NAT, INT, TEXT, PRINCIPAL, FLOAT32, FLOAT64 = map(
    Primitive,
    (Kind.BOOL, Kind.NAT, Kind.INT, Kind.TEXT, Kind.PRINCIPAL, Kind.FLOAT32, Kind.FLOAT64),
)
NAT8, NAT16, NAT32, NAT64 = map(Primitive, (Kind.NAT8, Kind.NAT16, Kind.NAT32, Kind.NAT64))
INT8, INT16, INT32, INT64 = map(Primitive, (Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64))


class Decoder:
    """Decodes messages whose first value is expected to be of one type."""

    def __init__(self, expected: Type, what: str) -> None:
        """``what`` names the message in errors, such as a canister's method."""
        self._expected = expected
        self._what = what
        self._known: dict[bytes, tuple[Reader, Skipper]] = {}

    def decode(self, message: bytes) -> Any:
        """The first value of a message. Raises MalformedAnswerError where there is none."""
        try:
            return self._decode(message)
        except (IndexError, OverflowError, struct.error):  # by a length of any size at all
            reason = "it ends in the middle of a value"
        except UnicodeDecodeError:
            reason = "a text in it is not UTF-8"
        except RecursionError:
            reason = "its values are nested too deep"
        except CandidError as error:
            reason = str(error)
        raise MalformedAnswerError(f"the answer to {self._what} could not be decoded: {reason}")

    def _decode(self, message: bytes) -> Any:
        head = next(filter(message.startswith, self._known), None)
        if head is None:
            head = self._compile(message)
        read, skip_rest = self._known[head]
        value, position = read(message, len(head))
        if skip_rest(message, position) != len(message):
            raise CandidError("its length is not that of its values")
        return value

    def _compile(self, message: bytes) -> bytes:
        """Makes the reader for a message's type table; the table with what precedes it."""
        table, kinds, position = read_type_table(message)
        if not kinds:
            raise CandidError("it holds no value")
        skippers = Skippers(table)
        read = _Compiler(table, skippers).reader(self._expected, kinds[0], "the answer")
        skip_rest = skip_all([skippers.skipper(kind) for kind in kinds[1:]])
        if len(self._known) >= _MAX_KEPT_TABLES:
            self._known.clear()
        head = message[:position]
        self._known[head] = (read, skip_rest)
        return head


class _Compiler:
    """Puts together readers for the types of one table. ``path`` says in errors what of."""

    def __init__(self, table: TypeTable, skippers: Skippers) -> None:
        self._table = table
        self._skippers = skippers

    def reader(  # noqa: PLR0911 - one line for each kind of type
        self, expected: Type, wire: int, path: str
    ) -> Reader:
        """What reads an ``expected`` from a value of the table's type ``wire``."""
        kind = self._table.kind(wire)
        match expected:
            case Opt(item):
                return self._opt(item, wire, path)
            case Primitive(wanted) if kind is wanted:
                return PRIMITIVES[wanted]
            case Primitive(Kind.INT) if kind is Kind.NAT:
                return read_nat
            case Blob() if kind is Kind.VEC and self._table.item(wire) == Kind.NAT8:
                return read_blob
            case Vec(item) if kind is Kind.VEC:
                return self._vec(item, self._table.item(wire), path)
            case Record(fields) if kind is Kind.RECORD:
                return self._record(fields, self._table.members(wire), path)
            case Variant(cases) if kind is Kind.VARIANT:
                return self._variant(cases, self._table.members(wire), path)
            case Enumeration(names) if kind is Kind.VARIANT:
                return self._enumeration(names, self._table.members(wire), path)
        wanted_name = type(expected).__name__
        if isinstance(expected, Primitive):
            wanted_name = expected.kind.name
        raise CandidError(f"{path} is of type {kind.name.lower()}, not {wanted_name.lower()}")

    def _opt(self, item: Type, wire: int, path: str) -> Reader:
        kind = self._table.kind(wire)
        if kind in (Kind.NULL, Kind.RESERVED):
            return read_nothing
        if kind is not Kind.OPT:  # a value that has become optional since
            return self.reader(item, wire, path)
        read_item = self.reader(item, self._table.item(wire), path)

        def read(data: bytes, position: int) -> tuple[Any, int]:
            flag = data[position]
            if flag == 0:
                return None, position + 1
            if flag == 1:
                return read_item(data, position + 1)
            raise CandidError(f"{path} is neither there nor not there")

        return read

    def _vec(self, item: Type, wire: int, path: str) -> Reader:
        read_item = self.reader(item, wire, f"{path}[]")
        # What differs in length takes a byte at least; of what takes none a few bytes could claim
        # billions.
        size = self._table.fixed_size(wire)
        size = 1 if size is None else size

        def read(data: bytes, position: int) -> tuple[list[Any], int]:
            count, position = read_leb128(data, position)
            if count and (size == 0 or count * size > len(data) - position):
                raise CandidError(f"{path} claims {count} items, for which there is no room")
            items = []
            for _ in range(count):
                value, position = read_item(data, position)
                items.append(value)
            return items, position

        return read

    def _record(self, fields: Mapping[str, Type], members: Members, path: str) -> Reader:
        names = {field_hash(name): name for name in fields}
        steps: list[tuple[str | None, Any]] = []
        skipped: list[int] = []
        for label, wire in members:
            name = names.pop(label, None)
            if name is None:
                skipped.append(wire)
                continue
            if skipped:
                steps.append((None, self._skippers.of_sequence(skipped)))
                skipped = []
            steps.append((name, self.reader(fields[name], wire, f"{path}.{name}")))
        if skipped:
            steps.append((None, self._skippers.of_sequence(skipped)))
        for name in names.values():
            if not isinstance(fields[name], Opt):
                raise CandidError(f"{path} has no field {name}")
        missing = dict.fromkeys(names.values())

        def read(data: bytes, position: int) -> tuple[dict[str, Any], int]:
            record: dict[str, Any] = missing.copy()
            for name, step in steps:
                if name is None:
                    position = step(data, position)
                else:
                    record[name], position = step(data, position)
            return record, position

        return read

    def _variant(self, cases: Mapping[str, Type | None], members: Members, path: str) -> Reader:
        names = {field_hash(name): name for name in cases}
        readers: list[tuple[str, Reader] | None] = []
        for label, wire in members:
            name = names.get(label)
            if name is None:
                readers.append(None)
                continue
            expected = cases[name]
            if expected is None:
                readers.append((name, self._ignored(wire)))
            else:
                readers.append((name, self.reader(expected, wire, f"{path}.{name}")))

        def read(data: bytes, position: int) -> tuple[tuple[str, Any], int]:
            index, position = read_leb128(data, position)
            case = readers[index] if index < len(readers) else None
            if case is None:
                raise CandidError(f"{path} has an alternative that this version does not know")
            name, read_value = case
            value, position = read_value(data, position)
            return (name, value), position

        return read

    def _enumeration(self, names: tuple[str, ...], members: Members, path: str) -> Reader:
        read_case = self._variant(dict.fromkeys(names), members, path)

        def read(data: bytes, position: int) -> tuple[str, int]:
            (name, _), position = read_case(data, position)
            return name, position

        hashes = {field_hash(name): name for name in names}
        if any(self._table.fixed_size(wire) != 0 for _, wire in members) or len(members) >= _MORE:
            return read
        known = {
            index: hashes[label] for index, (label, _) in enumerate(members) if label in hashes
        }

        def read_plain(data: bytes, position: int) -> tuple[str, int]:
            name = known.get(data[position])
            return read(data, position) if name is None else (name, position + 1)

        return read_plain

    def _ignored(self, wire: int) -> Reader:
        skip = self._skippers.skipper(wire)

        def read(data: bytes, position: int) -> tuple[None, int]:
            return None, skip(data, position)

        return read
