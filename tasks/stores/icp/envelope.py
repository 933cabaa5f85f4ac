"""Requests: their ids, their signatures, and the CBOR they and the answers travel in."""

import hashlib
import io
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import cbor2

from checks.errors import MalformedAnswerError
from tasks.stores.icp.identity import Identity

#: The network takes at most five minutes; one is left for clocks that differ.
EXPIRY_SECONDS = 240
T = TypeVar("T")
_NONCE_BYTES = 16
_MAX_DEPTH = 200
SELF_DESCRIBED = b"\xd9\xd9\xf7"
_REQUEST_DOMAIN = b"\x0aic-request"
_TAGS_DECODED = (*range(6), 25, 28, 29, 30, 35, 36, 37, 43000, 100, 256, 258, 260, 261, 1004)


def unsigned_leb128(number: int) -> bytes:
    """A number of any size from 0 on, seven bits to the byte, lowest first."""
    parts = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - the seven bits of a byte that count
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def hash_of(value: Any) -> bytes:
    """The hash of a value that does not depend on how it is encoded.

    Raises TypeError for what has no place in a request.
    """
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    if isinstance(value, str):
        return hashlib.sha256(value.encode()).digest()
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return hashlib.sha256(unsigned_leb128(value)).digest()
    if isinstance(value, Mapping):
        pairs = sorted(hash_of(name) + hash_of(item) for name, item in value.items())
        return hashlib.sha256(b"".join(pairs)).digest()
    if isinstance(value, Sequence):
        return hashlib.sha256(b"".join(map(hash_of, value))).digest()
    raise TypeError(f"a {type(value).__name__} has no hash in a request")


class Request:
    """A request of one sender, signed and ready to be sent, as often as need be.

    Sent twice it is still one request: its id is the same, and the network executes it once.

    Attributes:
        id: what a certificate names the request by.
        content: what was asked; from it anybody can compute the id again.
        body: the signed envelope.
    """

    __slots__ = ("body", "content", "id")

    def __init__(self, kind: str, identity: Identity, fields: Mapping[str, Any]) -> None:
        self.content: dict[str, Any] = {
            "request_type": kind,
            "sender": identity.principal,
            # A boundary node may answer one query from what it told another one a second ago,
            # unless they differ.
            "nonce": secrets.token_bytes(_NONCE_BYTES),
            "ingress_expiry": time.time_ns() + EXPIRY_SECONDS * 1_000_000_000,
            **fields,
        }
        self.id = hash_of(self.content)
        envelope: dict[str, Any] = {"content": self.content}
        if identity.public_key is not None:
            envelope["sender_pubkey"] = identity.public_key
            envelope["sender_sig"] = identity.sign(_REQUEST_DOMAIN + self.id)
        self.body = SELF_DESCRIBED + cbor2.dumps(envelope)


def _refuse_tag(*_: object) -> NoReturn:
    raise cbor2.CBORDecodeError("a tag that has no meaning in this protocol")


_REFUSED_TAGS = dict.fromkeys(_TAGS_DECODED, _refuse_tag)


def decode_cbor(data: bytes, what: str) -> Any:
    """The CBOR value in an answer; only maps, lists, blobs, texts and numbers are let through.

    Raises MalformedAnswerError, naming ``what``, where it is no such thing, nested too deep, ends
    early or goes on after its end.
    """
    # The mark that says "this is CBOR" would make the decoder return read-only containers.
    source = io.BytesIO(data.removeprefix(SELF_DESCRIBED))
    try:
        value = cbor2.CBORDecoder(
            source,
            tag_hook=_refuse_tag,
            semantic_decoders=_REFUSED_TAGS,
            read_size=1,
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        ).decode()
    except (cbor2.CBORDecodeError, RecursionError, MemoryError, ValueError, TypeError) as error:
        raise MalformedAnswerError(f"{what} is no CBOR of this protocol: {error}") from None
    if source.read(1):
        raise MalformedAnswerError(f"{what} goes on after its end")
    return value


def map_in(value: Any, what: str) -> dict[str, Any]:
    """``value`` where it is a map. Raises MalformedAnswerError."""
    if not isinstance(value, dict):
        raise MalformedAnswerError(f"{what} is a {type(value).__name__} where a map belongs")
    return value


def field_in(content: dict[str, Any], name: str, kind: type[T], what: str) -> T:
    """The field ``name`` of a map, of type ``kind``. Raises MalformedAnswerError."""
    value = content.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise MalformedAnswerError(f"{what} has no {name}, or it is no {kind.__name__}")
    return value
