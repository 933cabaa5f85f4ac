"""The canister's interface, read from ``service.did``: one text for the code and for clients."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.icp.candid import (
    OPCODES,
    CandidError,
    Encoder,
    Opt,
    Primitive,
    Record,
    Type,
    Variant,
    Vec,
    fields_by_hash,
)
from sandbox.icp.candid_decoder import decode

_TOKEN = re.compile(r'\s+|//[^\n]*|"([^"\\]*)"|->|[A-Za-z_]\w*|[{}():;,=]')
_SOURCE = Path(__file__).with_name("service.did")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the service, able to read its arguments and to write its results."""

    name: str
    arguments: tuple[Type, ...]
    is_query: bool
    results: Encoder

    def read(self, message: bytes) -> list[Any]:
        """The arguments; CandidError where they are not of the method's types."""
        return decode(self.arguments, message)

    def write(self, value: Any) -> bytes:
        """The reply with the method's one result."""
        return self.results.encode([value])


@cache
def source() -> str:
    """The interface's text, as published under ``candid:service``."""
    return _SOURCE.read_text()


@cache
def methods() -> Mapping[str, Method]:
    """The service's methods by name."""
    return _Parser(source()).service()


class _Parser:
    """Reads the part of the interface language that the canister's interface is written in."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._types: dict[str, Type] = {}

    def service(self) -> dict[str, Method]:
        while self._accept("type"):
            name = self._take()
            self._expect("=")
            self._types[name] = self._type()
            self._expect(";")
        self._expect("service", ":", "{")
        found = {}
        while not self._accept("}"):
            method = self._method()
            found[method.name] = method
        return found

    def _method(self) -> Method:
        name = self._take()
        self._expect(":")
        arguments = self._tuple()
        self._expect("->")
        results = self._tuple()
        is_query = self._accept("query")
        self._expect(";")
        return Method(name, arguments, is_query, Encoder(results))

    def _tuple(self) -> tuple[Type, ...]:
        self._expect("(")
        kinds = []
        while not self._accept(")"):
            if self._peek(1) == ":":
                self._take()
                self._expect(":")
            kinds.append(self._type())
            self._accept(",")
        return tuple(kinds)

    def _type(self) -> Type:
        name = self._take()
        if name in self._types:
            return self._types[name]
        if name in OPCODES:
            return Primitive(name)
        if name == "blob":
            return Vec(Primitive("nat8"))
        if name in ("opt", "vec"):
            inner = self._type()
            return Opt(inner) if name == "opt" else Vec(inner)
        if name in ("record", "variant"):
            fields = fields_by_hash(self._fields(tagged=name == "variant"))
            return Record(fields) if name == "record" else Variant(fields)
        raise CandidError(f"no type {name!r} in the interface")

    def _fields(self, *, tagged: bool) -> Iterator[tuple[str, Type]]:
        """Fields with names; a record's without have their number for one, a variant's no value."""
        self._expect("{")
        position = 0
        while not self._accept("}"):
            if self._peek(1) == ":":
                name = self._take()
                self._expect(":")
                yield name, self._type()
            elif tagged:
                yield self._take(), Primitive("null")
            else:
                yield str(position), self._type()
            position += 1
            self._accept(";")

    def _peek(self, ahead: int) -> str:
        return self._tokens[ahead] if ahead < len(self._tokens) else ""

    def _take(self) -> str:
        if not self._tokens:
            raise CandidError("the interface ends in the middle of a definition")
        return self._tokens.pop(0)

    def _accept(self, token: str) -> bool:
        found = self._peek(0) == token
        if found:
            self._take()
        return found

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            found = self._take()
            if found != token:
                raise CandidError(f"the interface has {found!r} where {token!r} should be")


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise CandidError(
                f"the interface has an unknown sign: {text[position : position + 20]!r}"
            )
        token = match.group()
        if not token.isspace() and not token.startswith("//"):
            yield token.strip('"')
        position = match.end()
