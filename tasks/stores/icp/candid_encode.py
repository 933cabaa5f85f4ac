"""Encoding by the types that are decoded by: ic-py does it, once our types are said in its words.

ic-py takes a list for an ``opt``, a dict for a ``variant`` and a list of numbers for a ``blob``;
the values here are those that :mod:`tasks.stores.icp.candid` gives.
"""

from collections.abc import Sequence
from typing import Any

import leb128
from ic.candid import Types, VecClass, encode

from tasks.stores.icp.candid import (
    BOOL,
    FLOAT32,
    NAT,
    NAT8,
    NAT32,
    NAT64,
    TEXT,
    Blob,
    Enumeration,
    Opt,
    Primitive,
    Record,
    Type,
    Variant,
    Vec,
)

_PRIMITIVES = {
    BOOL: Types.Bool, FLOAT32: Types.Float32, NAT: Types.Nat, NAT8: Types.Nat8,
    NAT32: Types.Nat32, NAT64: Types.Nat64, TEXT: Types.Text,
}  # fmt: skip


class _Bytes(VecClass):  # type: ignore[misc] # ic-py has no types
    """``vec nat8`` as bytes: number by number, a chunk would take a second of work."""

    def __init__(self) -> None:
        super().__init__(Types.Nat8)

    def covariant(self, value: Any) -> bool:
        return isinstance(value, bytes)

    def encodeValue(self, value: bytes) -> bytes:  # noqa: N802 - ic-py calls it so
        return bytes(leb128.u.encode(len(value))) + value


def encoded(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """A message of ``values``. Raises ValueError or TypeError where one is not of its type."""
    pairs = zip(types, values, strict=True)
    return bytes(encode([{"type": _named(kind), "value": _said(kind, v)} for kind, v in pairs]))


def _named(kind: Type) -> Any:  # noqa: PLR0911 - one for each kind of type
    """A type in ic-py's words."""
    match kind:
        case Primitive():
            return _PRIMITIVES[kind]
        case Blob():
            return _Bytes()
        case Vec(item):
            return Types.Vec(_named(item))
        case Opt(item):
            return Types.Opt(_named(item))
        case Record(fields):
            return Types.Record({name: _named(each) for name, each in fields.items()})
        case Variant(cases):
            return Types.Variant(
                {name: Types.Null if each is None else _named(each) for name, each in cases.items()}
            )
        case Enumeration(names):
            return Types.Variant(dict.fromkeys(names, Types.Null))


def _said(kind: Type, value: Any) -> Any:
    """A value in ic-py's words."""
    match kind:
        case Vec(item):
            return [_said(item, each) for each in value]
        case Opt(item):
            return [] if value is None else [_said(item, value)]
        case Record(fields):
            return {name: _said(each, value[name]) for name, each in fields.items()}
        case Variant(cases):
            name, content = value
            inner = cases[name]
            return {name: None if inner is None else _said(inner, content)}
        case Enumeration(names):
            if value not in names:
                raise ValueError(f"{value!r} is none of {', '.join(names)}")
            return {value: None}
        case _:
            return value
