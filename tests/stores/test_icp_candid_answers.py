"""The Candid decoder says what ic-py says, is faster, and survives what is no Candid."""

import time
import uuid
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ic.candid import Types, decode, encode
from ic.canister import Canister as IcPyCanister
from ic.principal import Principal
from icp_process import inline, new_memory

from checks.errors import MalformedAnswerError
from sandbox.icp import views
from sandbox.icp.interface import methods, source
from tasks.stores.icp import candid as c
from tasks.stores.icp import canister, interface
from tasks.stores.icp.candid import Blob, Decoder, Enumeration, Opt, Record, Variant, Vec

# Types at random: (ours, ic-py's, values as (what ic-py encodes, what we decode)) ------------------

same = {
    "bool": (c.BOOL, Types.Bool, st.booleans()),
    "nat": (c.NAT, Types.Nat, st.integers(0, 2**200)),
    "int": (c.INT, Types.Int, st.integers(-(2**200), 2**200)),
    "nat8": (c.NAT8, Types.Nat8, st.integers(0, 2**8 - 1)),
    "nat16": (c.NAT16, Types.Nat16, st.integers(0, 2**16 - 1)),
    "nat32": (c.NAT32, Types.Nat32, st.integers(0, 2**32 - 1)),
    "nat64": (c.NAT64, Types.Nat64, st.integers(0, 2**64 - 1)),
    "int8": (c.INT8, Types.Int8, st.integers(-(2**7), 2**7 - 1)),
    "int64": (c.INT64, Types.Int64, st.integers(-(2**63), 2**63 - 1)),
    "float64": (c.FLOAT64, Types.Float64, st.floats(allow_nan=False)),
    "text": (c.TEXT, Types.Text, st.text(max_size=200)),
}


def primitive(name: str) -> Any:
    ours, theirs, values = same[name]
    return ours, theirs, values.map(lambda value: (value, value))


def opt(item: Any) -> Any:
    ours, theirs, values = item
    there = values.map(lambda pair: ([pair[0]], pair[1]))
    return Opt(ours), Types.Opt(theirs), st.one_of(st.just(([], None)), there)


def vec(item: Any) -> Any:
    ours, theirs, values = item
    lists = st.lists(values, max_size=4)
    return Vec(ours), Types.Vec(theirs), lists.map(lambda pairs: tuple(map(list, unzip(pairs))))


def unzip(pairs: list[Any]) -> Any:
    return zip(*pairs, strict=True) if pairs else ([], [])


def record(fields: dict[str, Any]) -> Any:
    ours = Record({name: field[0] for name, field in fields.items()})
    theirs = Types.Record({name: field[1] for name, field in fields.items()})
    values = st.fixed_dictionaries({name: field[2] for name, field in fields.items()})
    split = values.map(lambda v: ({n: p[0] for n, p in v.items()}, {n: p[1] for n, p in v.items()}))
    return ours, theirs, split


def variant(cases: dict[str, Any]) -> Any:
    ours = Variant({name: case[0] for name, case in cases.items()})
    theirs = Types.Variant({name: case[1] for name, case in cases.items()})
    one = [case[2].map(lambda p, n=name: ({n: p[0]}, (n, p[1]))) for name, case in cases.items()]
    return ours, theirs, st.one_of(one)


names = st.text("abcdefghij", min_size=1, max_size=6)
types = st.recursive(
    st.sampled_from(sorted(same)).map(primitive),
    lambda inner: st.one_of(
        inner.map(opt),
        inner.map(vec),
        st.dictionaries(names, inner, min_size=1, max_size=4).map(record),
        st.dictionaries(names, inner, min_size=1, max_size=4).map(variant),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(types, st.data())
def test_it_decodes_what_ic_py_encodes(typed: Any, data: st.DataObject) -> None:
    ours, theirs, values = typed
    sent, expected = data.draw(values)
    message = encode([{"type": theirs, "value": sent}])
    assert Decoder(ours, "a test").decode(message) == expected


@settings(max_examples=200, deadline=None)
@given(types, types, st.data())
def test_a_field_that_is_not_expected_is_stepped_over(
    wanted: Any, further: Any, data: st.DataObject
) -> None:
    fields = {"a": further, "b": wanted, "c": further, "d": further, "kept": primitive("text")}
    _, theirs, values = record(fields)
    sent, expected = data.draw(values)
    message = encode([{"type": theirs, "value": sent}])
    decoder = Decoder(Record({"b": wanted[0], "kept": c.TEXT}), "a test")
    assert decoder.decode(message) == {"b": expected["b"], "kept": expected["kept"]}


@settings(max_examples=200, deadline=None)
@given(types, st.data(), st.integers(0, 500), st.integers(0, 255))
def test_a_damaged_message_is_decoded_or_malformed_and_nothing_else(
    typed: Any, data: st.DataObject, position: int, byte: int
) -> None:
    ours, theirs, values = typed
    sent, _ = data.draw(values)
    message = bytearray(encode([{"type": theirs, "value": sent}]))
    message[position % len(message)] = byte
    for damaged in (bytes(message), bytes(message[: position % len(message)])):
        with suppress(MalformedAnswerError):
            Decoder(ours, "a test").decode(damaged)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_malformed(tail: bytes) -> None:
    for decoder in (canister.MEMORIES_LIST.decoder, canister.MEMORIES_READ.decoder):
        with pytest.raises(MalformedAnswerError):
            decoder.decode(b"DIDL" + tail)


# The canister's own messages ---------------------------------------------------------------------


def page(count: int) -> bytes:
    memories = [
        new_memory("capsule-1", inline(10)[0], tags=("lake", "summer"), description="x" * 40)
        for _ in range(count)
    ]
    items = [views.memory_header(memory) for memory in memories]
    return methods()["memories_list"].write(("Ok", {"items": items, "next_cursor": "100"}))


def ic_py_types(method: str) -> Any:
    return IcPyCanister(None, "aaaaa-aa", source()).actor["methods"][method].retTypes


def test_a_page_of_memories_is_what_ic_py_makes_of_it() -> None:
    message = page(7)
    theirs = decode(message, ic_py_types("memories_list"))[0]["value"]["Ok"]
    outcome, ours = canister.MEMORIES_LIST.decoder.decode(message)
    assert outcome == "Ok"
    assert [ours["next_cursor"]] == theirs["next_cursor"]
    for mine, other in zip(ours["items"], theirs["items"], strict=True):
        assert mine["id"] == other["id"]
        assert {mine["memory_type"]: None} == other["memory_type"]
        original = other["assets"]["original"][0]
        assert mine["assets"]["original"]["bytes"] == original["bytes"][0]
        assert mine["assets"]["original"]["etag"] == original["etag"][0]
        assert mine["updated_at"] == other["updated_at"]


def test_it_is_several_times_as_fast_as_ic_py() -> None:
    message = page(100)
    types_ = ic_py_types("memories_list")
    ours = cost(lambda: canister.MEMORIES_LIST.decoder.decode(message), 20)
    theirs = cost(lambda: decode(message, types_), 2)
    assert ours * 3 < theirs


def cost(act: Any, times: int) -> float:
    act()
    started = time.process_time()
    for _ in range(times):
        act()
    return (time.process_time() - started) / times


def test_every_result_of_the_canister_may_be_an_error() -> None:
    for name in ("memories_list", "memories_read", "blob_get_meta", "galleries_read"):
        message = methods()[name].write(("Err", ("InvalidArgument", "no")))
        decoder = getattr(canister, name.upper()).decoder
        assert decoder.decode(message) == ("Err", ("InvalidArgument", "no"))


# Subtyping ---------------------------------------------------------------------------------------


def message_of(kind: Any, value: Any) -> bytes:
    return encode([{"type": kind, "value": value}])


def test_a_missing_field_is_none_where_it_is_optional() -> None:
    message = message_of(Types.Record({"a": Types.Text}), {"a": "x"})
    expected = Record({"a": c.TEXT, "b": Opt(c.NAT64)})
    assert Decoder(expected, "a test").decode(message) == {"a": "x", "b": None}


def test_a_missing_field_that_is_not_optional_is_named() -> None:
    message = message_of(Types.Record({"a": Types.Text}), {"a": "x"})
    with pytest.raises(MalformedAnswerError, match="no field b"):
        Decoder(Record({"a": c.TEXT, "b": c.NAT64}), "a test").decode(message)


def test_a_value_may_stand_where_an_optional_one_is_expected() -> None:
    assert Decoder(Opt(c.TEXT), "a test").decode(message_of(Types.Text, "x")) == "x"
    assert Decoder(Opt(c.TEXT), "a test").decode(message_of(Types.Null, None)) is None


def test_a_field_of_another_type_is_named_rather_than_none() -> None:
    message = message_of(Types.Record({"a": Types.Opt(Types.Nat)}), {"a": [3]})
    with pytest.raises(MalformedAnswerError, match=r"\.a is of type nat, not nat64"):
        Decoder(Record({"a": Opt(c.NAT64)}), "a test").decode(message)


def test_an_alternative_that_is_not_known_is_an_error() -> None:
    message = message_of(Types.Variant({"Hologram": Types.Null}), {"Hologram": None})
    with pytest.raises(MalformedAnswerError, match="does not know"):
        Decoder(interface.MEMORY_TYPE, "a test").decode(message)


def test_a_natural_number_is_an_integer_too() -> None:
    assert Decoder(c.INT, "a test").decode(message_of(Types.Nat, 2**70)) == 2**70


def test_further_values_of_a_message_are_ignored() -> None:
    message = encode(
        [{"type": Types.Text, "value": "x"}, {"type": Types.Vec(Types.Text), "value": ["y", "z"]}]
    )
    assert Decoder(c.TEXT, "a test").decode(message) == "x"


def test_a_principal_is_a_text_and_a_blob_is_bytes() -> None:
    text = Principal.self_authenticating(b"key").to_str()
    assert Decoder(c.PRINCIPAL, "a test").decode(message_of(Types.Principal, text)) == text
    assert (
        Decoder(Blob(), "a test").decode(message_of(Types.Vec(Types.Nat8), [1, 2])) == b"\x01\x02"
    )


def test_a_tuple_is_a_record_of_numbers() -> None:
    message = message_of(Types.Tuple(Types.Text, Types.Nat8), ("x", 3))
    assert Decoder(Record({"0": c.TEXT, "1": c.NAT8}), "a test").decode(message) == {
        "0": "x",
        "1": 3,
    }


def test_two_senders_with_different_types_are_understood_by_turns() -> None:
    decoder = Decoder(Record({"a": c.TEXT}), "a test")
    for _ in range(3):
        for further in ("b", "zz"):
            kind = Types.Record({"a": Types.Text, further: Types.Nat64})
            assert decoder.decode(message_of(kind, {"a": "x", further: 1})) == {"a": "x"}
    assert len(decoder._known) == 2


def test_not_more_type_tables_are_kept_than_make_sense() -> None:
    decoder = Decoder(Record({"a": c.TEXT}), "a test")
    for _ in range(50):
        kind = Types.Record({"a": Types.Text, uuid.uuid4().hex: Types.Nat64})
        value = {name: 1 if name != "a" else "x" for name in kind._fields}
        assert decoder.decode(message_of(kind, value)) == {"a": "x"}
    assert len(decoder._known) <= 16


# Harm --------------------------------------------------------------------------------------------

RECORD, VEC, OPT, VARIANT = b"\x6c", b"\x6d", b"\x6e", b"\x6b"
NULL, TEXT, NAT8 = b"\x7f", b"\x71", b"\x7b"
MANY = b"\xff\xff\xff\xff\x0f"  # 2**32 - 1
ZEROES = RECORD + b"\x01\x00"  # record { 0 : …


def doubling(levels: int, leaf: bytes) -> bytes:
    """Types of which each is a record of twice the next one."""
    table = b"".join(
        RECORD + b"\x02\x00" + bytes([i + 1]) + b"\x01" + bytes([i + 1]) for i in range(levels)
    )
    return b"DIDL" + bytes([levels + 1]) + table + RECORD + b"\x01\x00" + leaf


BOMBS = {
    "a list of billions of nothing": b"DIDL\x01" + VEC + NULL + b"\x01\x00" + MANY,
    "a list of billions of empty records": b"DIDL\x02"
    + VEC
    + b"\x01"
    + RECORD
    + b"\x00\x01\x00"
    + MANY,
    "a list longer than the message": b"DIDL\x01" + VEC + TEXT + b"\x01\x00" + MANY + b"\x00" * 9,
    "a blob longer than the message": b"DIDL\x01" + VEC + NAT8 + b"\x01\x00" + MANY,
    "a record in itself": b"DIDL\x01" + ZEROES + b"\x00\x01\x00",
    "records that double": doubling(60, NAT8) + b"\x01\x00",
    "texts that double": doubling(60, TEXT) + b"\x01\x00" + b"\x00" * 1000,
    "options without end": b"DIDL\x01" + OPT + b"\x00\x01\x00" + b"\x01" * 100_000,
    "a table longer than any": b"DIDL" + MANY + (OPT + NULL) * 100_000,
    "a table that ends early": b"DIDL\x7f" + OPT,
    "a type that there is not": b"DIDL\x01" + OPT + b"\x05\x01\x00\x00",
    "a primitive in the table": b"DIDL\x01" + TEXT + b"\x01\x00\x00",
    "a kind that there is not": b"DIDL\x01\x40\x01\x00\x00",
    "no value": b"DIDL\x00\x00",
    "nothing": b"",
    "something else": b"<html>",
    "fields out of order": b"DIDL\x01" + RECORD + b"\x02\x01" + TEXT + b"\x00" + TEXT + b"\x01\x00",
    "a text that is not UTF-8": b"DIDL\x00\x01" + TEXT + b"\x01\xff",
    "a text longer than the message": b"DIDL\x00\x01" + TEXT + b"\x7f" + b"x",
    "bytes after the end": b"DIDL\x00\x01" + TEXT + b"\x01xx",
    "a length without end": b"DIDL\x00\x01" + TEXT + b"\xff" * 1000,
    "a value of the empty type": b"DIDL\x00\x01\x6f",
}
EXPECTED = (
    c.TEXT, Blob(), Vec(c.TEXT), Vec(Record({"x": Opt(c.TEXT)})), Vec(Opt(c.TEXT)),
    Opt(c.TEXT), Record({"x": Opt(c.TEXT)}), Enumeration(("A",)), c.PRINCIPAL,
)  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_message_that_is_meant_to_do_harm_is_malformed_at_once(name: str) -> None:
    started = time.process_time()
    for expected in EXPECTED:
        with pytest.raises(MalformedAnswerError):
            Decoder(expected, "a test").decode(BOMBS[name])
    assert time.process_time() - started < 2


def test_a_number_of_a_million_digits_is_malformed() -> None:
    with pytest.raises(MalformedAnswerError, match="too large"):
        Decoder(c.NAT, "a test").decode(b"DIDL\x00\x01\x7d" + b"\xff" * 1_000_000 + b"\x01")


SKIPPED = {
    "a list of billions of nothing": ([VEC + NULL], MANY),
    "a list longer than the message": ([VEC + TEXT], MANY + b"\x00" * 9),
    "a blob longer than the message": ([VEC + NAT8], MANY),
    "a record in itself": ([ZEROES + b"\x00"], b""),
    "options without end": ([OPT + b"\x00"], b"\x01" * 100_000),
    "alternatives without end": ([VARIANT + b"\x01\x00\x00"], b"\x00" * 100_000),
    "lists without end": ([VEC + b"\x00"], b"\x01" * 100_000),
    "an alternative that there is not": ([VARIANT + b"\x01\x00" + TEXT], b"\x05"),
    "a value that is neither there nor not": ([OPT + TEXT], b"\x02"),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_harm_in_a_field_that_is_stepped_over_is_done_with_at_once(name: str) -> None:
    entries, values = SKIPPED[name]
    outer = RECORD + b"\x01\x05\x00"
    count = len(entries)
    message = b"DIDL" + bytes([count + 1]) + b"".join(entries) + outer + b"\x01" + bytes([count])
    decoder = Decoder(Record({"x": Opt(c.TEXT)}), "a test")
    started = time.process_time()
    if name == "a list of billions of nothing":
        assert decoder.decode(message + values) == {"x": None}
    else:
        with pytest.raises(MalformedAnswerError):
            decoder.decode(message + values)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("length", [2**31, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize(("kind", "code"), [(c.NAT64, b"\x78"), (c.TEXT, TEXT), (c.NAT, b"\x7d")])
def test_what_follows_a_text_of_impossible_length_is_malformed(
    kind: Any, code: bytes, length: int
) -> None:
    number = bytes(length >> 7 * place & 0x7F | 0x80 for place in range(9)) + bytes([length >> 63])
    message = b"DIDL\x01" + RECORD + b"\x02\x00" + TEXT + b"\x01" + code + b"\x01\x00" + number
    for fields in ({"0": c.TEXT, "1": kind}, {"1": kind}):
        with pytest.raises(MalformedAnswerError, match="in the middle"):
            Decoder(Record(fields), "a test").decode(message + b"x" * 20)
