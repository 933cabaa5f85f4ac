"""The stand-in's own Candid, against the Python agent's and the subtyping rules."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ic.candid import Types, decode, encode

from sandbox.icp.candid import (
    BLOB,
    CandidError,
    Encoder,
    Opt,
    Primitive,
    Record,
    Type,
    Variant,
    Vec,
    field_hash,
    fields_by_hash,
)
from sandbox.icp.candid_decoder import decode as own_decode
from sandbox.icp.interface import methods, source

TEXT, NAT, NULL = Primitive("text"), Primitive("nat"), Primitive("null")
WIDTHS = {f"{sign}{bits}": bits for sign in ("nat", "int") for bits in (8, 16, 32, 64)}


def record(**fields: Type) -> Record:
    return Record(fields_by_hash(fields.items()))


def variant(**fields: Type) -> Variant:
    return Variant(fields_by_hash(fields.items()))


def leaves() -> st.SearchStrategy[tuple[Type, Any, Any]]:
    """Types of our codec, the same for the agent's, and values that both understand."""
    cases = [
        st.tuples(st.just(TEXT), st.just(Types.Text), st.text()),
        st.tuples(st.just(Primitive("bool")), st.just(Types.Bool), st.booleans()),
        st.tuples(st.just(NAT), st.just(Types.Nat), st.integers(0, 2**90)),
        st.tuples(st.just(Primitive("int")), st.just(Types.Int), st.integers(-(2**90), 2**90)),
        st.tuples(
            st.just(Primitive("float32")),
            st.just(Types.Float32),
            st.floats(width=32, allow_nan=False),
        ),
    ]
    for name, bits in WIDTHS.items():
        low = -(2 ** (bits - 1)) if name.startswith("int") else 0
        numbers = st.integers(low, low + 2**bits - 1)
        theirs = getattr(Types, name.capitalize())
        cases.append(st.tuples(st.just(Primitive(name)), st.just(theirs), numbers))
    return st.one_of(cases)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Vectors, options, records and variants of what there is already."""

    def as_vec(case: Any) -> Any:
        twice = [case[2], case[2]]
        return Vec(case[0]), Types.Vec(case[1]), bytes(twice) if Vec(case[0]) == BLOB else twice

    def as_opt(case: Any) -> Any:
        return Opt(case[0]), Types.Opt(case[1]), case[2]

    def as_nothing(case: Any) -> Any:
        return Opt(case[0]), Types.Opt(case[1]), None

    def as_record(cases: dict[str, Any]) -> Any:
        ours = record(**{name: case[0] for name, case in cases.items()})
        theirs = Types.Record({name: case[1] for name, case in cases.items()})
        return ours, theirs, {name: case[2] for name, case in cases.items()}

    def as_variant(case: Any) -> Any:
        ours = variant(chosen=case[0], other=NULL)
        return ours, Types.Variant({"chosen": case[1], "other": Types.Null}), ("chosen", case[2])

    names = st.text("abcdefgh", min_size=1, max_size=5)
    return st.one_of(
        inner.map(as_vec),
        inner.map(as_opt),
        inner.map(as_nothing),
        st.dictionaries(names, inner, min_size=1, max_size=4).map(as_record),
        inner.map(as_variant),
    )


def for_agent(kind: Type, value: Any) -> Any:
    """One of our values as the Python agent writes it: options are lists, variants dicts."""
    if isinstance(kind, Opt):
        return [] if value is None else [for_agent(kind.inner, value)]
    if isinstance(kind, Vec):
        return [for_agent(kind.inner, item) for item in value]
    if isinstance(kind, Record):
        return {name: for_agent(inner, value[name]) for _, name, inner in kind.fields}
    if isinstance(kind, Variant):
        inner = {name: inner for _, name, inner in kind.fields}[value[0]]
        return {value[0]: for_agent(inner, value[1])}
    return value


@given(st.recursive(leaves(), nested, max_leaves=6))
def test_whatever_we_write_the_agent_reads_and_the_other_way_round(case: Any) -> None:
    ours, theirs, value = case
    wanted = for_agent(ours, value)
    message = Encoder([ours]).encode([value])
    assert decode(message, [theirs])[0]["value"] == wanted
    assert own_decode([ours], message) == [value]
    assert own_decode([ours], encode([{"type": theirs, "value": wanted}])) == [value]


@given(st.binary(max_size=60), st.sampled_from(sorted(methods())))
def test_no_bytes_make_anything_but_a_value_or_a_candid_error(data: bytes, name: str) -> None:
    for message in (data, b"DIDL" + data):
        with suppress(CandidError):
            methods()[name].read(message)


@given(st.binary(min_size=1, max_size=3), st.integers(0, 200))
def test_a_damaged_message_makes_nothing_but_a_value_or_a_candid_error(
    noise: bytes, position: int
) -> None:
    method = methods()["memories_add_asset"]
    argument = Encoder(method.arguments).encode(["m", EXAMPLE, "idem"])
    damaged = argument[:position] + noise + argument[position + len(noise) :]
    with suppress(CandidError):
        method.read(damaged)


EXAMPLE = {
    "blob_id": "b",
    "metadata": (
        "Note",
        {
            "base": {
                "name": "n",
                "mime_type": "text/plain",
                "bytes": 1,
                "asset_type": ("Original", None),
                "tags": [],
                "created_at": 1,
                "updated_at": 1,
            }
        },
    ),
}


def test_fields_that_nobody_knows_are_skipped_and_missing_options_are_absent() -> None:
    sent = record(
        id=TEXT,
        unknown=record(deep=Vec(Opt(variant(a=NAT, b=TEXT))), blob=BLOB),
        other=Primitive("principal"),
    )
    value = {
        "id": "x",
        "unknown": {"deep": [("a", 1), None, ("b", "t")], "blob": b"123"},
        "other": b"\x04",
    }
    wanted = record(id=TEXT, note=Opt(TEXT), nothing=NULL)
    message = Encoder([sent]).encode([value])
    assert own_decode([wanted], message) == [{"id": "x", "note": None, "nothing": None}]


@pytest.mark.parametrize(
    ("sent", "value", "wanted", "read"),
    [
        (TEXT, "x", Opt(TEXT), "x"),
        (NULL, None, Opt(TEXT), None),
        (Primitive("reserved"), None, Opt(TEXT), None),
        (NAT, 5, Opt(TEXT), None),
        (Opt(NAT), 5, Opt(TEXT), None),
        (Opt(record(a=NAT)), {"a": 1}, Opt(record(b=NAT)), None),
        (Opt(variant(new=NAT)), ("new", 1), Opt(variant(old=NAT)), None),
        (NAT, 5, Primitive("int"), 5),
        (record(a=NAT), {"a": 1}, Primitive("reserved"), None),
        (variant(a=NAT), ("a", 1), variant(a=NAT, b=NULL), ("a", 1)),
        (Vec(Primitive("nat8")), b"\1\2", BLOB, b"\1\2"),
    ],
)
def test_what_was_sent_as_a_subtype_is_read_as_the_supertype(
    sent: Type, value: Any, wanted: Type, read: Any
) -> None:
    # A second argument shows that the reader stands where it should after the first.
    message = Encoder([sent, TEXT]).encode([value, "end"])
    assert own_decode([wanted, TEXT], message) == [read, "end"]


@pytest.mark.parametrize(
    ("sent", "value", "wanted"),
    [
        (TEXT, "x", NAT),
        (Primitive("int"), 5, NAT),
        (Primitive("nat32"), 5, Primitive("nat64")),
        (record(a=NAT), {"a": 1}, record(a=NAT, b=NAT)),
        (variant(new=NAT), ("new", 1), variant(old=NAT)),
        (Vec(TEXT), [], TEXT),
        (Vec(TEXT), ["x"], Vec(NAT)),
    ],
)
def test_what_is_no_subtype_is_refused(sent: Type, value: Any, wanted: Type) -> None:
    with pytest.raises(CandidError):
        own_decode([wanted], Encoder([sent]).encode([value]))


def test_arguments_may_be_left_out_if_optional_and_further_ones_are_ignored() -> None:
    assert own_decode([TEXT, Opt(NAT)], Encoder([TEXT]).encode(["x"])) == ["x", None]
    assert own_decode([], Encoder([TEXT]).encode(["x"])) == []
    with pytest.raises(CandidError, match="argument 0 is missing"):
        own_decode([TEXT], b"DIDL\0\0")


@pytest.mark.parametrize(
    "message",
    [
        b"DIDL\x01\x6d\x7f\x01\x00\xff\xff\xff\xff\x0f",  # 4 billion nulls
        b"DIDL\x01\x6e\x00\x01\x00" + b"\1" * 1000,  # an option of itself
        b"DIDL\x00\x01\x71\x05ab",  # a text that ends too early
        b"DIDL\x00\x01\x71\x01\xff",  # a text that is no UTF-8
        b"DIDL\x00\x01\x7e\x01\x00",  # more than there should be
        b"DIDL\x00\x01\x05",  # a type that isn't there
        b"DIDL\x01\x6c\x02\x01\x71\x00\x71\x00",  # fields out of order
        b"DIDL\x00\x01\x7d" + b"\xff" * 1000,  # a number without end
    ],
)
def test_a_hostile_message_is_refused(message: bytes) -> None:
    with pytest.raises(CandidError):
        own_decode([Primitive("reserved")], message)


def test_a_value_that_does_not_fit_its_type_is_refused() -> None:
    for kind, value in ((Primitive("nat8"), 256), (NAT, -1), (Primitive("empty"), None)):
        with pytest.raises(CandidError):
            Encoder([kind]).encode([value])


def test_names_and_numbers_have_the_specified_hashes() -> None:
    assert field_hash("id") == 23515
    assert field_hash("7") == 7
    with pytest.raises(CandidError):
        fields_by_hash([("id", TEXT), ("id", NAT)])


def test_the_interface_has_every_method_with_its_kind() -> None:
    updates = {name for name, method in methods().items() if not method.is_query}
    assert updates == {
        "uploads_begin",
        "uploads_put_chunk",
        "uploads_finish",
        "uploads_abort",
        "memories_create_with_internal_blobs",
        "memories_add_asset",
        "memories_delete",
    }
    assert len(methods()) == 19
    assert source().count("->") == 19
