"""Certificates: a real one of the mainnet holds, and each way of not holding is told apart."""

import hashlib
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.errors import MalformedAnswerError, StoreError, UntrustedAnswerError
from sandbox.icp.certificate import Certifier
from sandbox.icp.hash_tree import wanted, witness
from sandbox.icp.keys import BlsKey, NetworkKeys, load_or_make
from tasks.settings import MAINNET_ROOT_KEY
from tasks.stores.icp.agent import reply_in
from tasks.stores.icp.certificate import root_key_of, verify, verify_bls
from tasks.stores.icp.envelope import decode_cbor
from tasks.stores.icp.hash_tree import HashTree, Missing
from tasks.stores.icp.identity import principal_bytes, self_authenticating

ROOT_KEY = bytes.fromhex(MAINNET_ROOT_KEY)
# Published by DFINITY as a test vector of its agent for Rust: the state of a rejected call.
MAINNET = bytes.fromhex((Path(__file__).parent / "data" / "mainnet_certificate.hex").read_text())
MAINNET_CANISTER = principal_bytes("ivg37-qiaaa-aaaab-aaaga-cai")
MAINNET_REQUEST = bytes.fromhex("edad510eaaa08ed2acd4781324e6446269da6753ec17760f206bbe81c465ff52")
COLLECTED = datetime(2022, 2, 23, 7, 38, tzinfo=UTC)
CANISTER = principal_bytes("bkyz2-fmaaa-aaaaa-qaaaq-cai")


@cache
def network() -> NetworkKeys:
    return load_or_make(Path(tempfile.mkdtemp()))


def leb128(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def signed(key: BlsKey, state: Any, *paths: Any, **more: Any) -> bytes:
    tree, root_hash = witness(state, wanted(paths))
    return cbor2.dumps(
        {"tree": tree, "signature": key.sign(b"\x0dic-state-root" + root_hash), **more}
    )


def delegation(
    *, ranges: Any = None, sharded: bool = False, by: BlsKey | None = None, **more: Any
) -> dict[str, Any]:
    keys = network()
    low, high = ranges or (b"\x00", b"\xff" * 29)
    listed = cbor2.dumps([[low, high]])
    subnet = {b"public_key": keys.subnet.der} | ({} if sharded else {b"canister_ranges": listed})
    state = {
        b"subnet": {keys.subnet_id: subnet},
        b"time": leb128(time.time_ns()),
        b"canister_ranges": {keys.subnet_id: {low: listed} if sharded else {}},
    }
    paths = [(b"subnet", keys.subnet_id), (b"time",), (b"canister_ranges", keys.subnet_id)]
    raw = signed(by or keys.root, state, *paths, **more)
    return {"subnet_id": keys.subnet_id, "certificate": raw}


def certificate(*, at: int | None = None, **more: Any) -> bytes:
    state = {b"time": leb128(time.time_ns() if at is None else at), b"word": b"lake"}
    more.setdefault("delegation", delegation())
    return signed(network().subnet, state, (b"time",), (b"word",), **more)


def check(raw: bytes, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "canister_id": CANISTER,
        "root_key": network().root.der,
        "at": datetime.now(UTC),
    }
    return verify(raw, **(arguments | changes))


def test_a_mainnet_certificate_holds_at_the_time_it_was_collected() -> None:
    found = verify(MAINNET, canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=COLLECTED)
    said = found.tree.look_up(b"request_status", MAINNET_REQUEST, b"reject_message")
    assert said == b"Canister ivg37-qiaaa-aaaab-aaaga-cai has no update method 'register'"
    assert found.time == datetime(2022, 2, 23, 7, 38, 0, 652705, tzinfo=UTC)


def test_an_archived_certificate_says_what_came_of_the_request_that_it_names() -> None:
    found = verify(MAINNET, canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=COLLECTED)
    with pytest.raises(
        StoreError, match="register was rejected: there is no such canister or method"
    ):
        reply_in(found, "register", MAINNET_REQUEST)
    assert reply_in(found, "register", b"another request") is None


def test_a_mainnet_certificate_is_too_old_today() -> None:
    with pytest.raises(UntrustedAnswerError, match="more than 5 minutes"):
        verify(MAINNET, canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=datetime.now(UTC))


def test_a_mainnet_certificate_says_nothing_about_a_canister_of_another_subnet() -> None:
    with pytest.raises(UntrustedAnswerError, match="not in its ranges"):
        verify(MAINNET, canister_id=CANISTER, root_key=ROOT_KEY, at=COLLECTED)


@pytest.mark.parametrize("position", [30, 60, 500, 800, 1000])
def test_a_mainnet_certificate_with_one_bit_turned_over_is_refused(position: int) -> None:
    damaged = bytearray(MAINNET)
    damaged[position] ^= 1
    with pytest.raises(StoreError):
        verify(bytes(damaged), canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=COLLECTED)


@pytest.mark.parametrize("sharded", [True, False])
def test_a_certificate_of_the_local_network_holds_in_either_layout_of_ranges(
    *, sharded: bool
) -> None:
    raw = Certifier(network()).certify({}, [(b"subnet",)], sharded=sharded)
    found = check(raw)
    assert found.subnet_id == network().subnet_id
    assert network().node_id in found.tree.children(b"subnet", found.subnet_id, b"node")


def test_a_certificate_of_the_root_subnet_needs_no_delegation() -> None:
    raw = signed(network().root, {b"time": leb128(time.time_ns())}, (b"time",))
    assert check(raw).subnet_id == self_authenticating(network().root.der)


def test_the_wrong_root_key_is_refused() -> None:
    with pytest.raises(UntrustedAnswerError, match="signature does not hold"):
        check(certificate(), root_key=ROOT_KEY)


def test_a_delegation_of_anybody_but_the_root_is_refused() -> None:
    with pytest.raises(UntrustedAnswerError, match="signature does not hold"):
        check(certificate(delegation=delegation(by=BlsKey(b"x" * 64))))


def test_a_certificate_that_the_subnet_did_not_sign_is_refused() -> None:
    raw = signed(BlsKey(b"x" * 64), {b"time": leb128(time.time_ns())}, (b"time",))
    forged = cbor2.dumps({**cbor2.loads(raw), "delegation": delegation()})
    with pytest.raises(UntrustedAnswerError, match="signature does not hold"):
        check(forged)


def test_two_delegations_are_refused() -> None:
    twice = delegation(delegation=delegation())
    with pytest.raises(UntrustedAnswerError, match="another delegation"):
        check(certificate(delegation=twice))


@pytest.mark.parametrize("sharded", [True, False])
def test_a_canister_outside_the_subnets_ranges_is_refused(*, sharded: bool) -> None:
    above = bytes([*CANISTER[:-3], 2, 1, 1])
    other = delegation(ranges=(above, b"\xff" * 10), sharded=sharded)
    with pytest.raises(UntrustedAnswerError, match="not in its ranges"):
        check(certificate(delegation=other))


def test_both_ends_of_a_range_belong_to_it() -> None:
    assert check(certificate(delegation=delegation(ranges=(CANISTER, CANISTER))))


def test_a_delegation_for_another_subnet_than_it_names_is_refused() -> None:
    named = {**delegation(), "subnet_id": b"\x01" * 29}
    with pytest.raises(UntrustedAnswerError, match="no key of subnet"):
        check(certificate(delegation=named))


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_certificate_from_another_time_is_refused(minutes: int) -> None:
    with pytest.raises(UntrustedAnswerError, match="clock"):
        check(certificate(at=time.time_ns() + minutes * 60 * 10**9))


def test_a_certificate_without_a_time_is_refused() -> None:
    raw = signed(network().root, {b"word": b"lake"}, (b"word",))
    with pytest.raises(UntrustedAnswerError, match="has no time"):
        check(raw)


def test_a_value_that_was_put_in_place_of_another_is_refused() -> None:
    content = cbor2.loads(certificate())
    text = cbor2.dumps(content).replace(b"lake", b"lame")
    with pytest.raises(UntrustedAnswerError, match="signature does not hold"):
        check(text)


@pytest.mark.parametrize("signature", [b"", b"\x00" * 48, b"\xc0" + b"\x00" * 47, "text", None])
def test_a_signature_that_is_no_point_is_refused(signature: Any) -> None:
    content = cbor2.loads(certificate())
    with pytest.raises(UntrustedAnswerError, match="signature"):
        check(cbor2.dumps({**content, "signature": signature}))


def test_the_key_at_infinity_is_refused() -> None:
    der = ROOT_KEY[:37] + b"\xc0" + b"\x00" * 95
    with pytest.raises(ValueError, match="infinity"):
        root_key_of(der.hex())
    with pytest.raises(UntrustedAnswerError):
        verify_bls(der, b"anything", b"\xc0" + b"\x00" * 47)


@pytest.mark.parametrize("text", ["", "00", MAINNET_ROOT_KEY[:-2], "31" + MAINNET_ROOT_KEY[2:]])
def test_what_is_no_key_is_refused_as_a_root_key(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        root_key_of(text)


BOMBS = {
    "nested arrays": b"\x81" * 100_000 + b"\x00",
    "array without its items": b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
    "map without its items": b"\xbb\x00\x00\x00\x00\xff\xff\xff\xff",
    "blob without its bytes": b"\x5b\x00\x00\x00\x00\xff\xff\xff\xff",
    "shared references": b"\xd8\x1c\x81\xd8\x1d\x00",
    "regular expression": b"\xd8\x23\x65(a+)+",
    "endless array": b"\x9f" + b"\x00" * 10,
    "trailing bytes": b"\xa0\xa0",
    "same key twice": b"\xa2\x61a\x01\x61a\x02",
}


@pytest.mark.parametrize("name", BOMBS)
def test_cbor_that_is_meant_to_do_harm_is_malformed(name: str) -> None:
    started = time.process_time()
    with pytest.raises(MalformedAnswerError):
        check(BOMBS[name])
    assert time.process_time() - started < 1


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_store_error(raw: bytes) -> None:
    with pytest.raises(StoreError):
        check(raw)


@given(st.integers(0, len(MAINNET) - 1), st.integers(0, 7))
def test_no_bit_of_a_certificate_can_be_turned_over(position: int, bit: int) -> None:
    damaged = bytearray(MAINNET)
    damaged[position] ^= 1 << bit
    try:
        found = verify(
            bytes(damaged), canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=COLLECTED
        )
    except StoreError:
        return
    # CBOR has several ways to write the same value; the value must be the same.
    assert found.tree.root_hash == HashTree(decode_cbor(MAINNET, "it")["tree"]).root_hash


# Hash trees --------------------------------------------------------------------------------------


def label(name: bytes, node: Any) -> list[Any]:
    return [2, name, node]


def pruned(what: bytes) -> list[Any]:
    return [4, hashlib.sha256(what).digest()]


def fork(*nodes: Any) -> Any:
    tree = nodes[-1]
    for node in reversed(nodes[:-1]):
        tree = [1, node, tree]
    return tree


def test_the_specifications_example_has_the_hash_that_the_specification_says() -> None:
    tree = fork(
        [
            1,
            label(b"a", [1, [1, label(b"x", [3, b"hello"]), [0]], label(b"y", [3, b"world"])]),
            label(b"b", [3, b"good"]),
        ],
        [1, label(b"c", [0]), label(b"d", [3, b"morning"])],
    )
    expected = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"
    assert HashTree(tree).root_hash.hex() == expected
    assert HashTree(tree).look_up(b"a", b"y") == b"world"
    assert HashTree(tree).look_up(b"c") is Missing.ABSENT
    with pytest.raises(UntrustedAnswerError, match="no value"):
        HashTree(tree).look_up(b"a")


LEAF = [3, b"1"]


@pytest.mark.parametrize(
    ("tree", "wanted_label", "answer"),
    [
        (fork(label(b"b", LEAF), label(b"d", LEAF)), b"c", Missing.ABSENT),
        (fork(label(b"b", LEAF), label(b"d", LEAF)), b"a", Missing.ABSENT),
        (fork(label(b"b", LEAF), label(b"d", LEAF)), b"e", Missing.ABSENT),
        (fork(label(b"b", LEAF), pruned(b"x"), label(b"d", LEAF)), b"c", Missing.UNKNOWN),
        (fork(pruned(b"x"), label(b"d", LEAF)), b"c", Missing.UNKNOWN),
        (fork(label(b"b", LEAF), pruned(b"x")), b"c", Missing.UNKNOWN),
        (fork(label(b"b", LEAF), pruned(b"x")), b"a", Missing.ABSENT),
        (fork(pruned(b"x"), label(b"b", LEAF)), b"c", Missing.ABSENT),
        (fork(pruned(b"x"), label(b"b", LEAF)), b"b", b"1"),
        (pruned(b"x"), b"a", Missing.UNKNOWN),
        ([0], b"a", Missing.ABSENT),
        (LEAF, b"a", Missing.ABSENT),
        (label(b"a", pruned(b"x")), b"a", Missing.UNKNOWN),
        (label(b"a", [0]), b"a", Missing.ABSENT),
    ],
)
def test_absent_and_not_shown_are_told_apart(tree: Any, wanted_label: bytes, answer: Any) -> None:
    assert HashTree(tree).look_up(wanted_label) == answer


@pytest.mark.parametrize(
    "tree",
    [
        fork(label(b"b", LEAF), label(b"a", LEAF)),
        fork(label(b"a", LEAF), label(b"a", LEAF)),
        label(b"top", fork(label(b"b", LEAF), pruned(b"x"), label(b"a", LEAF))),
        [5],
        [],
        None,
        [1, [0]],
        [2, "text", [0]],
        [3, 1],
        [4, b"short"],
        fork(*[[0]] * 400),
    ],
)
def test_a_malformed_tree_proves_nothing(tree: Any) -> None:
    with pytest.raises(UntrustedAnswerError):
        HashTree(tree)


def test_verification_takes_milliseconds() -> None:
    started = time.process_time()
    for _ in range(5):
        verify(MAINNET, canister_id=MAINNET_CANISTER, root_key=ROOT_KEY, at=COLLECTED)
    assert (time.process_time() - started) / 5 < timedelta(milliseconds=100).total_seconds()
