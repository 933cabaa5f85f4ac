"""Certificates: what makes an answer of the Internet Computer evidence.

A certificate shows a part of the state, signed by a subnet; where that is not the root subnet, one
delegation, signed by the root, says which key the subnet has and which canisters are its. Here are
functions only, without state or network; whatever does not hold is an UntrustedAnswerError that
says what.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from py_arkworks_bls12381 import GT, G1Point, G2Point

from checks.errors import MalformedAnswerError, UntrustedAnswerError
from tasks.stores.icp.envelope import decode_cbor, field_in, map_in
from tasks.stores.icp.hash_tree import HashTree, Missing
from tasks.stores.icp.identity import principal_text, self_authenticating

MAX_AGE = timedelta(minutes=5)
MAX_CERTIFICATE_BYTES = 4 * 1024 * 1024
_MAX_DELEGATION_BYTES = 256 * 1024
_SIGNATURE_BYTES = 48
_STATE_ROOT = b"\x0dic-state-root"
_SIGNATURE_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
_DER_BYTES = len(_DER_PREFIX) + 96
_MAX_TIME_BYTES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Range = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was found right.

    Attributes:
        tree: the part of the state it shows.
        time: when the subnet certified it, in UTC.
        subnet_id: the subnet's principal.
        raw: as it came; kept in an archive, anybody can verify it again.
    """

    tree: HashTree
    time: datetime
    subnet_id: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Subnet:
    """What a delegation says of a subnet."""

    public_key: bytes
    ranges: tuple[Range, ...]


def verify(
    raw: bytes,
    *,
    canister_id: bytes,
    root_key: bytes,
    at: datetime,
    max_age: timedelta = MAX_AGE,
) -> Certificate:
    """The certificate in ``raw``, where it speaks for the canister.

    Args:
        raw: CBOR as it came.
        canister_id: the canister that the certificate has to be competent for.
        root_key: DER of the network's root key.
        at: the moment it was obtained: now, or an archived certificate's time of collection.
        max_age: how far its own time may be from ``at``, in either direction.

    Raises:
        UntrustedAnswerError: anything about it does not hold; the message says what.
        MalformedAnswerError: it is no certificate.
    """
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise MalformedAnswerError(f"a certificate is {len(raw)} bytes long")
    content = map_in(decode_cbor(raw, "a certificate"), "a certificate")
    tree = HashTree(content.get("tree"))
    delegation = content.get("delegation")
    if delegation is None:
        public_key, subnet_id = root_key, self_authenticating(root_key)
        signer = "it carries no delegation, and the root key itself did not sign it"
    else:
        signed = map_in(delegation, "a delegation")
        subnet_id = field_in(signed, "subnet_id", bytes, "a delegation")
        inner = field_in(signed, "certificate", bytes, "a delegation")
        subnet = _delegated(root_key, subnet_id, inner)
        _check_competence(subnet, subnet_id, canister_id)
        public_key = subnet.public_key
        signer = f"subnet {principal_text(subnet_id)} did not sign this"
    _check_signature(public_key, content, tree, signer)
    time = _time(tree)
    if abs(time - at) > max_age:
        raise UntrustedAnswerError(
            f"a certificate is of {time.isoformat(timespec='seconds')}, more than "
            f"{max_age.total_seconds() / 60:g} minutes from {at.isoformat(timespec='seconds')}; "
            "is this machine's clock right?"
        )
    return Certificate(tree, time, subnet_id, raw)


@lru_cache(maxsize=32)
def _delegated(root_key: bytes, subnet_id: bytes, raw: bytes) -> _Subnet:
    """What the root says of a subnet; a refusal is raised, and thereby not remembered.

    A delegation has no expiry of its own: the network hands the same one out for weeks.
    """
    if len(raw) > _MAX_DELEGATION_BYTES:
        raise MalformedAnswerError(f"a delegation is {len(raw)} bytes long")
    content = map_in(decode_cbor(raw, "a delegation's certificate"), "a delegation's certificate")
    if content.get("delegation") is not None:
        raise UntrustedAnswerError("a delegation rests on another delegation: one is allowed")
    tree = HashTree(content.get("tree"))
    _check_signature(
        root_key, content, tree,
        "the root key did not sign its delegation: it is of another network, or was changed",
    )  # fmt: skip
    public_key = tree.look_up(b"subnet", subnet_id, b"public_key")
    if isinstance(public_key, Missing):
        raise UntrustedAnswerError(
            f"a delegation has no key of subnet {principal_text(subnet_id)}: {public_key.value}"
        )
    return _Subnet(public_key, tuple(_ranges(tree, subnet_id)))


def _ranges(tree: HashTree, subnet_id: bytes) -> Iterator[Range]:
    """The canisters that are the subnet's, from either place where the root writes them down."""
    whole = tree.look_up(b"subnet", subnet_id, b"canister_ranges")
    if isinstance(whole, bytes):
        yield from _decode_ranges(whole)
    for shard in tree.children(b"canister_ranges", subnet_id).values():
        value = shard.look_up()
        if isinstance(value, bytes):
            yield from _decode_ranges(value)


def _decode_ranges(raw: bytes) -> Iterator[Range]:
    ranges = decode_cbor(raw, "a subnet's list of canister ranges")
    if not isinstance(ranges, list):
        raise MalformedAnswerError("a subnet's canister ranges are no list")
    for entry in ranges:
        match entry:
            case [bytes(low), bytes(high)]:
                yield low, high
            case _:
                raise MalformedAnswerError("a subnet's canister range is no pair of principals")


def _check_competence(subnet: _Subnet, subnet_id: bytes, canister_id: bytes) -> None:
    if not subnet.ranges:
        raise UntrustedAnswerError(
            f"a delegation does not show which canisters subnet {principal_text(subnet_id)} has"
        )
    if not any(low <= canister_id <= high for low, high in subnet.ranges):
        raise UntrustedAnswerError(
            f"subnet {principal_text(subnet_id)} signed for canister "
            f"{principal_text(canister_id)}, which is not in its ranges"
        )


def _check_signature(
    public_key: bytes, content: dict[str, object], tree: HashTree, otherwise: str
) -> None:
    """Raises UntrustedAnswerError; ``otherwise`` says what it means that no signature holds."""
    signature = content.get("signature")
    if not isinstance(signature, bytes) or len(signature) != _SIGNATURE_BYTES:
        raise UntrustedAnswerError("a certificate has no signature of 48 bytes")
    if not verify_bls(public_key, _STATE_ROOT + tree.root_hash, signature):
        raise UntrustedAnswerError(f"a certificate's signature does not hold: {otherwise}")


def verify_bls(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (in G1) over ``message`` is that of ``public_key`` (DER, in G2).

    Raises UntrustedAnswerError where the key is none.
    """
    key = _public_point(public_key)
    try:
        point = G1Point.from_compressed_bytes(signature)
    except (ValueError, TypeError):
        return False
    if point == G1Point.identity():
        return False
    hashed = G1Point.hash_to_curve(message, _SIGNATURE_DOMAIN)
    return bool(GT.pairing_check([point, -hashed], [G2Point(), key]))


@lru_cache(maxsize=32)
def _public_point(public_key: bytes) -> G2Point:
    """The point of a DER public key; one at infinity would let anything pass."""
    if len(public_key) != _DER_BYTES or not public_key.startswith(_DER_PREFIX):
        raise UntrustedAnswerError("a subnet's or root key is no BLS12-381 key in DER")
    try:
        point = G2Point.from_compressed_bytes(public_key[len(_DER_PREFIX) :])
    except (ValueError, TypeError):
        raise UntrustedAnswerError("a subnet's or root key is no point of its curve") from None
    if point == G2Point.identity():
        raise UntrustedAnswerError("a subnet's or root key is the point at infinity")
    return point


def _time(tree: HashTree) -> datetime:
    raw = tree.look_up(b"time")
    if isinstance(raw, Missing):
        raise UntrustedAnswerError(f"a certificate has no time: {raw.value}")
    return moment(leb128(raw))


def leb128(raw: bytes) -> int:
    """A certified number of at most 64 bits or so. Raises MalformedAnswerError."""
    if not 0 < len(raw) <= _MAX_TIME_BYTES or raw[-1] & 0x80 or not all(b & 0x80 for b in raw[:-1]):
        raise MalformedAnswerError("a certified number is malformed")
    return sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(raw))


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC. Raises MalformedAnswerError beyond year 9999."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        raise MalformedAnswerError(f"{nanoseconds} ns is no time") from None


def root_key_of(text: str) -> bytes:
    """A root key in hex as DER. Raises ValueError where it is none."""
    key = bytes.fromhex(text)
    try:
        _public_point(key)
    except UntrustedAnswerError as error:
        raise ValueError(str(error)) from None
    return key
