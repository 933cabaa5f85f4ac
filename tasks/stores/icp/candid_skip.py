"""Stepping over Candid values that nobody asked for, as fast as their types allow."""

from collections.abc import Callable, Sequence

from tasks.stores.icp.candid_wire import CandidError, Kind, TypeTable, read_leb128
from tasks.stores.icp.identity import MAX_PRINCIPAL_BYTES

#: From a position to the one after the value. It may lie beyond the end of the message, which the
#: next byte that is read, or else the comparison with the message's length, brings to light.
Skipper = Callable[[bytes, int], int]

_MORE = 0x80


class Skippers:
    """The skippers of one type table, each made once."""

    def __init__(self, table: TypeTable) -> None:
        self._table = table
        self._made: dict[int, Skipper] = {}

    def skipper(self, wire: int) -> Skipper:
        """What steps over a value of type ``wire``."""
        if wire not in self._made:
            # A type may contain itself: while its own skipper is being made, this one stands in.
            self._made[wire] = lambda data, position: self._made[wire](data, position)  # noqa: PLW0108
            self._made[wire] = self._make(wire)
        return self._made[wire]

    def of_sequence(self, wires: Sequence[int]) -> Skipper:
        """What steps over several values; neighbours of fixed length in one step."""
        steps: list[Skipper] = []
        together = 0
        for wire in wires:
            size = self._table.fixed_size(wire)
            if size is not None:
                together += size
                continue
            if together:
                steps.append(_fixed(together))
                together = 0
            steps.append(self.skipper(wire))
        if together:
            steps.append(_fixed(together))
        return skip_all(steps)

    def _make(self, wire: int) -> Skipper:
        size = self._table.fixed_size(wire)
        if size is not None:
            return _fixed(size)
        kind = self._table.kind(wire)
        if kind is Kind.OPT:
            return _opt(self.skipper(self._table.item(wire)))
        if kind is Kind.VEC:
            item = self._table.item(wire)
            size = self._table.fixed_size(item)
            return _vec(self.skipper(item)) if size is None else _fixed_vec(size)
        if kind is Kind.RECORD:
            return self.of_sequence([member for _, member in self._table.members(wire)])
        if kind is Kind.VARIANT:
            return _variant([self.skipper(member) for _, member in self._table.members(wire)])
        return _SIMPLE[kind]


def skip_all(steps: Sequence[Skipper]) -> Skipper:
    """One skipper after the other."""
    if len(steps) == 1:
        return steps[0]

    def skip(data: bytes, position: int) -> int:
        for step in steps:
            position = step(data, position)
        return position

    return skip


def _fixed(size: int) -> Skipper:
    return lambda _, position: position + size


def _opt(skip_item: Skipper) -> Skipper:
    def skip(data: bytes, position: int) -> int:
        flag = data[position]
        if flag == 0:
            return position + 1
        if flag == 1:
            return skip_item(data, position + 1)
        raise CandidError("an opt in it is neither there nor not there")

    return skip


def _fixed_vec(size: int) -> Skipper:
    def skip(data: bytes, position: int) -> int:
        count, position = read_leb128(data, position)
        return position + count * size

    return skip


def _vec(skip_item: Skipper) -> Skipper:
    def skip(data: bytes, position: int) -> int:
        count, position = read_leb128(data, position)
        if count > len(data) - position:
            raise CandidError(f"a vec in it claims {count} items, for which there is no room")
        for _ in range(count):
            position = skip_item(data, position)
        return position

    return skip


def _variant(skippers: Sequence[Skipper]) -> Skipper:
    def skip(data: bytes, position: int) -> int:
        index, position = read_leb128(data, position)
        if index >= len(skippers):
            raise CandidError("a variant in it has an alternative that its type does not have")
        return skippers[index](data, position)

    return skip


def _skip_text(data: bytes, position: int) -> int:
    length = data[position]
    if length < _MORE:
        return position + 1 + length
    length, position = read_leb128(data, position)
    return position + length


def _skip_number(data: bytes, position: int) -> int:
    while data[position] >= _MORE:
        position += 1
    return position + 1


def _skip_principal(data: bytes, position: int) -> int:
    if data[position] != 1 or data[position + 1] > MAX_PRINCIPAL_BYTES:
        raise CandidError("a principal in it is malformed")
    return position + 2 + data[position + 1]


def _skip_function(data: bytes, position: int) -> int:
    if data[position] != 1:
        raise CandidError("a function in it is malformed")
    return _skip_text(data, _skip_principal(data, position + 1))


def _skip_empty(_data: bytes, _position: int) -> int:
    raise CandidError("it has a value of the type that has none")


_SIMPLE: dict[Kind, Skipper] = {
    Kind.TEXT: _skip_text,
    Kind.NAT: _skip_number,
    Kind.INT: _skip_number,
    Kind.PRINCIPAL: _skip_principal,
    Kind.SERVICE: _skip_principal,
    Kind.FUNC: _skip_function,
    Kind.EMPTY: _skip_empty,
}
