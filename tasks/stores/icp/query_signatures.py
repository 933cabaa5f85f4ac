"""What a query's answer is worth: the signature of one node, whose key the subnet certifies."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from checks.errors import MalformedAnswerError, UntrustedAnswerError
from tasks.stores.icp.certificate import MAX_AGE, Certificate, moment
from tasks.stores.icp.envelope import field_in, hash_of, map_in
from tasks.stores.icp.identity import principal_text

#: A subnet's nodes change now and then: keys are fetched again after this, or for an unknown node,
#: yet for that reason not more often than once in so many seconds.
KEYS_SECONDS = 3600.0
KEYS_PAUSE_SECONDS = 10.0
_DOMAIN = b"\x0bic-response"


class QuerySignatures:
    """Checks the signatures over queries' answers; knows the keys of the subnet's nodes."""

    def __init__(
        self, read_subnet: Callable[[], Awaitable[Certificate]], *, none_needed: bool
    ) -> None:
        """Fetches nothing yet.

        Args:
            read_subnet: gives a verified certificate that shows the canister's subnet.
            none_needed: whether an answer may come without any signature.
        """
        self._read_subnet = read_subnet
        self._none_needed = none_needed
        self._keys: dict[bytes, Ed25519PublicKey] = {}
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, answer: dict[str, Any], signed: dict[str, Any]) -> None:
        """Raises UntrustedAnswerError where a signature in ``answer`` over ``signed`` fails."""
        signatures = answer.get("signatures", [])
        if not isinstance(signatures, list):
            raise MalformedAnswerError("a query's signatures are no list")
        if not signatures and not self._none_needed:
            raise UntrustedAnswerError("a query's answer is not signed by any node")
        for entry in signatures:
            await self._check_one(map_in(entry, "a query's signature"), signed)

    async def _check_one(self, signature: dict[str, Any], signed: dict[str, Any]) -> None:
        node = field_in(signature, "identity", bytes, "a query's signature")
        timestamp = field_in(signature, "timestamp", int, "a query's signature")
        raw = field_in(signature, "signature", bytes, "a query's signature")
        if timestamp < 0 or abs(moment(timestamp) - datetime.now(UTC)) > MAX_AGE:
            raise UntrustedAnswerError("a query's answer was signed too long ago, or too late")
        message = _DOMAIN + hash_of({**signed, "timestamp": timestamp})
        try:
            (await self._key(node)).verify(raw, message)
        except InvalidSignature:
            raise UntrustedAnswerError(
                f"the signature of node {principal_text(node)[:80]} over a query's answer does "
                "not hold"
            ) from None

    async def _key(self, node: bytes) -> Ed25519PublicKey:
        """The certified key of one of the canister's nodes."""
        if self._age > KEYS_SECONDS or node not in self._keys:
            async with self._lock:  # a hundred answers of a new node need its key but once
                known = node in self._keys and self._age <= KEYS_SECONDS
                if not known and self._age > KEYS_PAUSE_SECONDS:
                    self._keys = _node_keys(await self._read_subnet())
                    self._fetched_at = time.monotonic()
        key = self._keys.get(node)
        if key is None:
            raise UntrustedAnswerError("a query's answer is signed by a node of another subnet")
        return key

    @property
    def _age(self) -> float:
        return time.monotonic() - self._fetched_at


def _node_keys(certificate: Certificate) -> dict[bytes, Ed25519PublicKey]:
    """The keys of the nodes of the subnet that signed a certificate."""
    keys = {}
    nodes = certificate.tree.children(b"subnet", certificate.subnet_id, b"node")
    for node, facts in nodes.items():
        der = facts.look_up(b"public_key")
        if isinstance(der, bytes):
            keys[node] = _ed25519(der)
    if not keys:
        raise UntrustedAnswerError("the certified state shows no node of the canister's subnet")
    return keys


def _ed25519(der: bytes) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UntrustedAnswerError("a node's certified key is no Ed25519 key")
    return key


def signed_part(answer: dict[str, Any], status: str, request_id: bytes) -> dict[str, Any]:
    """What of a query's answer its signatures are over, without the time.

    Raises MalformedAnswerError where the answer is none to a query.
    """
    if status == "replied":
        names: tuple[str, ...] = ("status", "reply")
    elif status == "rejected":
        names = ("status", "reject_code", "reject_message", "error_code")
    else:
        raise MalformedAnswerError(f"a query's answer has the unknown status {status[:40]!r}")
    signed = {name: answer[name] for name in names if answer.get(name) is not None}
    signed["request_id"] = request_id
    try:
        hash_of(signed)
    except (TypeError, UnicodeEncodeError) as error:
        raise MalformedAnswerError(f"a query's answer is malformed: {error}") from None
    return signed
