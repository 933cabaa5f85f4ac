"""Asking one canister: queries whose node signed them, calls and state that the subnet certified.

Nothing that comes back is believed before its signature is verified; the one exception is a local
replica too old to sign its queries.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    StoreError,
    StoreUnreachableError,
    UntrustedAnswerError,
)
from tasks.retries import retrying
from tasks.stores.icp.certificate import Certificate, leb128, root_key_of, verify
from tasks.stores.icp.envelope import Request, decode_cbor, field_in, map_in
from tasks.stores.icp.hash_tree import Missing
from tasks.stores.icp.identity import Identity, principal_text
from tasks.stores.icp.query_signatures import QuerySignatures, signed_part
from tasks.stores.icp.transport import ACCEPTED, EndpointMissingError, Transport

POLL_SECONDS = 120.0
_FIRST_POLL_SECONDS = 0.5
_LONGEST_POLL_SECONDS = 5.0
#: What the network says of a reply that is longer than 3 MiB.
_TOO_LARGE = "application payload size"
_TRANSIENT_REJECT = 2
_REJECTS = {
    1: "a fatal error of the network",
    2: "a passing error of the network",
    3: "there is no such canister or method",
    4: "the canister rejected it",
    5: "the canister failed or has no such method",
    6: "nothing is known of what came of it",
}


@dataclass(frozen=True, slots=True)
class CertifiedReply:
    """What an update call replied, with all that proves it.

    Attributes:
        reply: the canister's reply, in Candid.
        certificate: of the subnet, over the reply.
        content: what was asked; the request id that the certificate names is computed from it.
    """

    reply: bytes
    certificate: Certificate
    content: Mapping[str, Any]


class ReplyTooLargeError(StoreError):
    """The canister's answer is longer than a reply may be: less is to be asked for."""


class TransientRejectError(StoreError):
    """The network rejected a request for a reason that will pass."""


class Agent:
    """One identity's way to one canister."""

    def __init__(
        self,
        transport: Transport,
        canister_id: bytes,
        identity: Identity,
        root_key: bytes | None,
        *,
        unsigned_queries: bool = False,
    ) -> None:
        """Sends nothing yet.

        Args:
            transport: closed together with the agent.
            canister_id: whom to ask.
            identity: who asks.
            root_key: DER; None: ask the replica itself, which is for a local one only.
            unsigned_queries: whether a query's answer may come without a signature at all.
        """
        self.transport = transport
        self.canister_id = canister_id
        self.identity = identity
        self._root_key = root_key
        self._signatures = QuerySignatures(
            lambda: self.read_state([[b"subnet"]]), none_needed=unsigned_queries
        )
        # Newest first; an older local replica answers 404 to what it does not know yet.
        self._versions = {"query": [3, 2], "read_state": [3, 2], "call": [4, 3, 2]}

    async def aclose(self) -> None:
        """Closes the connections."""
        await self.transport.aclose()

    async def query(self, method: str, argument: bytes) -> bytes:
        """The reply of a query method, in Candid, as one node of the subnet signed it.

        Raises a StoreError: UntrustedAnswerError where the signature does not hold, StoreError
        with the reason where the call was rejected.
        """
        return await retrying(lambda: self._query(method, argument), is_transient=_is_transient)

    async def _query(self, method: str, argument: bytes) -> bytes:
        request = self._request("query", method, argument)
        _, body = await self._post("query", request)
        answer = map_in(decode_cbor(body, "a query's answer"), "a query's answer")
        status = field_in(answer, "status", str, "a query's answer")
        signed = signed_part(answer, status, request.id)
        await self._signatures.check(answer, signed)
        if status == "rejected":
            raise _rejection(method, answer)
        reply = map_in(answer.get("reply"), "a query's reply")
        return field_in(reply, "arg", bytes, "a query's reply")

    async def call(self, method: str, argument: bytes) -> CertifiedReply:
        """Calls a method as an update, and the subnet certifies what it replied.

        A query method may be called like this too, which makes evidence of its reply.
        """
        request = self._request("call", method, argument)
        status, body = await self._post("call", request)
        if status != ACCEPTED and body:
            answer = map_in(decode_cbor(body, "a call's answer"), "a call's answer")
            if answer.get("status") == "non_replicated_rejection":
                raise _rejection(method, answer)
            raw = field_in(answer, "certificate", bytes, "a call's answer")
            certificate = await self._verified(raw)
            reply = reply_in(certificate, method, request.id)
            if reply is not None:
                return CertifiedReply(reply, certificate, request.content)
        return await self._poll(method, request)

    async def _poll(self, method: str, request: Request) -> CertifiedReply:
        """Waits until the certified state says what came of a call."""
        deadline = time.monotonic() + POLL_SECONDS
        wait = _FIRST_POLL_SECONDS
        while time.monotonic() < deadline:
            certificate = await self.read_state([[b"request_status", request.id]])
            reply = reply_in(certificate, method, request.id)
            if reply is not None:
                return CertifiedReply(reply, certificate, request.content)
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_POLL_SECONDS)
        raise StoreUnreachableError(
            f"{method} was accepted, and nothing is known of what came of it after "
            f"{POLL_SECONDS:g} s; look before you call it again"
        )

    async def read_state(self, paths: Sequence[Sequence[bytes]]) -> Certificate:
        """A verified certificate of what the state has at ``paths``."""
        wanted = [list(path) for path in paths]
        request = Request("read_state", self.identity, {"paths": wanted})
        _, body = await self._post("read_state", request)
        answer = map_in(decode_cbor(body, "the answer to read_state"), "the answer to read_state")
        raw = field_in(answer, "certificate", bytes, "the answer to read_state")
        return await self._verified(raw)

    async def root_key(self) -> bytes:
        """The network's root key in DER."""
        if self._root_key is None:
            body = await self.transport.get("/api/v2/status")
            status = map_in(decode_cbor(body, "the replica's status"), "the replica's status")
            key = field_in(status, "root_key", bytes, "the replica's status")
            try:
                self._root_key = root_key_of(key.hex())
            except ValueError as error:
                raise MalformedAnswerError(f"the replica's root key is none: {error}") from None
        return self._root_key

    def _request(self, kind: str, method: str, argument: bytes) -> Request:
        fields = {"canister_id": self.canister_id, "method_name": method, "arg": argument}
        return Request(kind, self.identity, fields)

    async def _post(self, kind: str, request: Request) -> tuple[int, bytes]:
        """Sends a request to the newest version of an endpoint that the replica knows."""
        versions = self._versions[kind]
        target = principal_text(self.canister_id)
        refusal = EndpointMissingError("no version of the endpoint is known")
        for version in tuple(versions):
            try:
                answer = await self.transport.post(
                    f"/api/v{version}/canister/{target}/{kind}", request.body
                )
            except EndpointMissingError as error:
                refusal = error
                continue
            self._versions[kind] = versions[versions.index(version) :]
            return answer
        raise StoreError(
            f"{self.transport.url} has no {kind} endpoint ({refusal}); is IC_URL a boundary node?"
        )

    async def _verified(self, raw: bytes) -> Certificate:
        return verify(
            raw,
            canister_id=self.canister_id,
            root_key=await self.root_key(),
            at=datetime.now(UTC),
        )


def reply_in(certificate: Certificate, method: str, request_id: bytes) -> bytes | None:
    """The certified reply to a request, None while there is none yet.

    The id of an archived request is :func:`tasks.stores.icp.envelope.hash_of` of its content.
    Raises StoreError where the call was rejected, or its reply is no longer kept.
    """
    tree, path = certificate.tree, (b"request_status", request_id)
    status = tree.look_up(*path, b"status")
    if isinstance(status, Missing) or status in (b"received", b"processing", b"unknown"):
        return None
    if status == b"replied":
        reply = tree.look_up(*path, b"reply")
        if isinstance(reply, Missing):
            raise UntrustedAnswerError(f"the certificate of {method} has no reply: {reply.value}")
        return reply
    if status == b"rejected":
        code = tree.look_up(*path, b"reject_code")
        message = tree.look_up(*path, b"reject_message")
        raise _rejection(
            method,
            {
                "reject_code": leb128(code) if isinstance(code, bytes) else 0,
                "reject_message": message.decode(errors="replace")
                if isinstance(message, bytes)
                else "",
            },
        )
    if status == b"done":
        raise StoreError(f"{method} was carried out, but its reply is no longer kept")
    raise MalformedAnswerError(f"the certificate of {method} has an unknown status")


def _rejection(method: str, answer: Mapping[str, Any]) -> StoreError:
    """The error that a reject stands for."""
    code = answer.get("reject_code")
    code = code if isinstance(code, int) else 0
    said = str(answer.get("reject_message", ""))[:300]
    message = f"{method} was rejected: {_REJECTS.get(code, f'reject code {code}')}: {said}"
    if code == _TRANSIENT_REJECT:
        return TransientRejectError(message)
    if _TOO_LARGE in said:
        return ReplyTooLargeError(message)
    if "only" in said.lower() and "controller" in said.lower():
        return AccessRefusedError(message)
    return StoreError(message)


def _is_transient(error: Exception) -> bool:
    """A reject that will pass; where there was no answer, the transport has tried again itself."""
    return isinstance(error, TransientRejectError)
