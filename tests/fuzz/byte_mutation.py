"""Damage to bytes: one of a dozen small changes at a time, as often as chance has it."""

import random
from collections.abc import Callable, Sequence

MOST_BYTES = 64 * 1024
#: Now and then something swells up: what costs memory or time shows only then.
BOMB_BYTES = 2 * 1024 * 1024
_BOMB_ONE_IN = 400
#: Heads, ends and lengths that parsers of CBOR, Candid, JSON, URLs and settings trip on.
_TOKENS: tuple[bytes, ...] = (
    b"", b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff" * 8, b"\x80" * 10, b"\xff" * 9 + b"\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\x9b" + b"\xff" * 8, b"\x5b" + b"\x7f" * 8,
    b"\x1b" + b"\xff" * 8, b"\x3b" + b"\xff" * 8, b"\xbf", b"\x9f", b"\x5f", b"\xc2\x41\x01",
    b"\xd9\xd9\xf7", b"\xd8\x1d\x00", b"\xf9\x7e\x00", b"\xfb\x7f\xf0" + b"\x00" * 6, b"\xf6",
    b"\x81", b"\x82\x01", b"\xa1", b"DIDL", b"DIDL\x00", b"\x6e", b"\x6d", b"\x6c", b"\x6b", b"\x71",
    b"null", b"true", b"[]", b"{}", b"[[", b'"', b"\\u0000", b"\\ud800", b"\\u202e", b"-1", b"-0",
    b"1e999", b"NaN", b"9223372036854775808", b"18446744073709551616", b"9" * 400, b"0.5",
    b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00+23:59", b"2024-02-30T00:00:00Z",
    b"//", b"/../", b"%", b"%00", b"%2f", b"%ff", b"%zz", b"?", b"#", b"@", b":", b"\\", b"[::1]",
    b"http://", b"https://", b"file:///", b"javascript:", b"icp://", b"W/", b"\xc2\xad",
    b"\r\n", b"\t", b" " * 64, b"/*", b"a" * 64, b"\xe2\x80\xae", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"service : {", b"service:(", b"-----BEGIN PRIVATE KEY-----", b"Bearer ", b"=", b"'", b"%s",
)  # fmt: skip


def mutated(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """``data`` with a few changes; parts of ``others`` may be put into it."""
    for _ in range(min(8, 1 + int(chance.expovariate(0.7)))):
        data = chance.choice(_CHANGES)(data, others, chance)[:MOST_BYTES]
    if chance.randrange(_BOMB_ONE_IN) == 0:
        data = _swollen(data, chance)
    return data


Change = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def _span(data: bytes, chance: random.Random) -> tuple[int, int]:
    """A place in the data and a later one, more often near than far."""
    start = chance.randint(0, len(data))
    return start, min(len(data), start + int(chance.expovariate(1 / 12)))


def _bit(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    if not data:
        return b"\x00"
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def _byte(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, _end = _span(data, chance)
    return data[:start] + bytes([chance.randrange(256)]) + data[start + 1 :]


def _cut(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + data[end:]


def _end_early(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _again(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    times = chance.choice((1, 1, 2, 7, 63, 255))
    return data[:end] + data[start:end] * times + data[end:]


def _token_in(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    end = chance.choice((start, end))
    return data[:start] + chance.choice(_TOKENS) + data[end:]


def _noise(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    return data[:start] + chance.randbytes(chance.randint(1, 16)) + data[end:]


def _from_another(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    other = chance.choice(others) if others else data
    start, end = sorted((chance.randint(0, len(other)), chance.randint(0, len(other))))
    at, until = _span(data, chance)
    return data[:at] + other[start:end] + data[until:]


def _swapped(data: bytes, _: Sequence[bytes], chance: random.Random) -> bytes:
    start, end = _span(data, chance)
    further, last = _span(data[end:], chance)
    parts = data[:start], data[start:end], data[end:][:further], data[end:][further:last]
    return parts[0] + parts[3] + parts[2] + parts[1] + data[end:][last:]


_CHANGES: tuple[Change, ...] = (
    _bit, _bit, _byte, _cut, _end_early, _again, _token_in, _token_in, _noise, _from_another,
    _swapped,
)  # fmt: skip


def _swollen(data: bytes, chance: random.Random) -> bytes:
    """A span, or a token, so often that it makes up to two megabytes."""
    start, end = _span(data, chance)
    unit = data[start:end] or chance.choice(_TOKENS) or b"\x80"
    return data[:start] + unit * (chance.randint(1, BOMB_BYTES) // len(unit)) + data[end:]
