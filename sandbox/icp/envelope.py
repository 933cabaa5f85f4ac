"""Requests as they arrive: CBOR envelopes, request ids, signatures, delegations and expiry."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256K1,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sandbox.icp.candid import unsigned
from sandbox.icp.principal import ANONYMOUS, self_authenticating, to_text

NANOSECONDS: Final = 1_000_000_000
MAX_EXPIRY_SECONDS: Final = 5 * 60
DRIFT_SECONDS: Final = 30
MAX_NONCE_BYTES: Final = 32
MAX_DELEGATIONS: Final = 20
MAX_TARGETS: Final = 1_000
SELF_DESCRIBED: Final = bytes.fromhex("d9d9f7")
_RAW_SIGNATURE_BYTES: Final = 64

_REQUEST: Final = b"\x0aic-request"
_DELEGATION: Final = b"\x1aic-request-auth-delegation"

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey


class BadRequestError(Exception):
    """A request that the network refuses before any canister sees it."""

    def __init__(self, message: str, status: int = 400, cause: str = "malformed_request") -> None:
        super().__init__(message)
        self.status = status
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose sender is proven."""

    id: bytes
    kind: str
    sender: bytes
    expiry: int
    content: Mapping[str, Any]


def hash_of(value: Any) -> bytes:
    """The representation-independent hash of a value; BadRequestError where it has none."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    if isinstance(value, str):
        return hashlib.sha256(value.encode()).digest()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return hashlib.sha256(unsigned(value)).digest()
    if isinstance(value, list | tuple):
        return hashlib.sha256(b"".join(map(hash_of, value))).digest()
    if isinstance(value, Mapping):
        pairs = sorted(hash_of(name) + hash_of(item) for name, item in value.items())
        return hashlib.sha256(b"".join(pairs)).digest()
    raise BadRequestError(f"A value of type {type(value).__name__} has no place in a request")


def open_envelope(body: bytes, expected: str, target: bytes) -> Request:
    """The request in an envelope, once its expiry, sender and signature are found right.

    ``expected`` is the request type the endpoint takes, ``target`` the principal in its URL.
    Raises BadRequestError.
    """
    envelope = _map(_decode(body), "The envelope")
    content = _map(envelope.get("content"), "The field content")
    kind = _field(content, "request_type", str)
    if kind != expected:
        raise BadRequestError(f"Expected a request of type {expected}, got {kind}")
    nonce = content.get("nonce", b"")
    if not isinstance(nonce, bytes) or len(nonce) > MAX_NONCE_BYTES:
        raise BadRequestError(f"The nonce is no blob of at most {MAX_NONCE_BYTES} bytes")
    request = Request(
        id=_request_id(content),
        kind=kind,
        sender=_field(content, "sender", bytes),
        expiry=_field(content, "ingress_expiry", int),
        content=content,
    )
    _check_expiry(request.expiry)
    _check_sender(request, envelope, target)
    return request


def _decode(body: bytes) -> Any:
    try:
        return cbor2.loads(body.removeprefix(SELF_DESCRIBED))
    except Exception as error:  # the decoder's errors on hostile bytes are of many kinds
        raise BadRequestError(f"Could not parse body as CBOR: {error}") from error


def _request_id(content: Mapping[str, Any]) -> bytes:
    try:
        return hash_of(content)
    except RecursionError as error:
        raise BadRequestError("The request is nested too deeply") from error


def _map(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise BadRequestError(f"{what} is no map with text keys")
    return value


def _field(content: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
    value = content.get(name)
    if not isinstance(value, kind):
        raise BadRequestError(f"The request's field {name} is missing or no {kind.__name__}")
    return value


def _check_expiry(expiry: int) -> None:
    now = time.time_ns()
    latest = now + (MAX_EXPIRY_SECONDS + DRIFT_SECONDS) * NANOSECONDS
    if not now <= expiry <= latest:
        raise BadRequestError(
            "Invalid request expiry: Specified ingress_expiry not within expected range: "
            f"Minimum allowed expiry: {_utc(now)}, Maximum allowed expiry: {_utc(latest)}, "
            f"Provided expiry: {_utc(expiry)}",
        )


def _utc(nanoseconds: int) -> str:
    try:
        moment = time.gmtime(nanoseconds // NANOSECONDS)
    except (OverflowError, OSError, ValueError):
        return f"{nanoseconds} ns"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", moment)


def _check_sender(request: Request, envelope: Mapping[str, Any], target: bytes) -> None:
    public_key, signature = envelope.get("sender_pubkey"), envelope.get("sender_sig")
    delegations = envelope.get("sender_delegation") or []
    if request.sender == ANONYMOUS:
        if public_key is not None or signature is not None or delegations:
            raise BadRequestError("Invalid signature: The anonymous sender signs nothing")
        return
    if not isinstance(public_key, bytes) or not isinstance(signature, bytes):
        raise BadRequestError("Invalid signature: Missing signature or public key")
    if request.sender != self_authenticating(public_key):
        raise BadRequestError(
            f"Invalid signature: The user id {to_text(request.sender)} does not match the public "
            f"key {public_key.hex()}",
        )
    signer = _follow_delegations(public_key, delegations, target)
    _verify(signer, signature, _REQUEST + request.id, "Invalid signature: Invalid basic signature")


def _follow_delegations(public_key: bytes, delegations: Any, target: bytes) -> bytes:
    """The key that the last of a chain of delegations names, each signed by the one before."""
    if not isinstance(delegations, list) or len(delegations) > MAX_DELEGATIONS:
        raise BadRequestError(f"Invalid delegation: No list of at most {MAX_DELEGATIONS}")
    for entry in delegations:
        signed = _map(entry, "A signed delegation")
        delegation = _map(signed.get("delegation"), "A delegation")
        message = _DELEGATION + hash_of(delegation)
        _verify(public_key, _field(signed, "signature", bytes), message, "Invalid delegation")
        if _field(delegation, "expiration", int) < time.time_ns():
            raise BadRequestError(
                "Invalid delegation expiry: Specified sender delegation has expired: "
                f"Provided expiry: {_utc(delegation['expiration'])}",
            )
        targets = delegation.get("targets")
        if targets is not None and not (isinstance(targets, list) and len(targets) <= MAX_TARGETS):
            raise BadRequestError(f"Invalid delegation: No list of at most {MAX_TARGETS} targets")
        if targets is not None and target not in targets:
            raise BadRequestError(
                f"Canister {to_text(target)} is not one of the delegation targets"
            )
        public_key = _field(delegation, "pubkey", bytes)
    return public_key


@lru_cache(maxsize=256)
def _load(der: bytes) -> PublicKey:
    key = load_der_public_key(der)
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256K1 | SECP256R1):
        return key
    raise ValueError("neither Ed25519 nor ECDSA on secp256k1 or P-256")


def _verify(der: bytes, signature: bytes, message: bytes, prefix: str) -> None:
    try:
        key = _load(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadRequestError(f"{prefix}: Unsupported public key: {error}") from error
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(_asn1(signature), message, ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise BadRequestError(
            f"{prefix}: The signature {signature.hex()} could not be verified with the public key "
            f"{der.hex()}",
        ) from error


def _asn1(signature: bytes) -> bytes:
    """An ECDSA signature as two 32-byte numbers, in the form the library reads."""
    if len(signature) != _RAW_SIGNATURE_BYTES:
        raise ValueError(f"{len(signature)} bytes are no ECDSA signature")
    return encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
