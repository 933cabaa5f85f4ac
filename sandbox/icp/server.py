"""The HTTP interface of the Internet Computer, as an ASGI application."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from sandbox.faults import (
    TRANSPORT_ACTIONS,
    Faults,
    Receive,
    Rule,
    Scope,
    Send,
    path_with_query,
    respond_with_fault,
)
from sandbox.icp import principal
from sandbox.icp.canister import TakeFault
from sandbox.icp.envelope import BadRequestError, Request, open_envelope
from sandbox.icp.replica import Replica, check_call

INGRESS_BYTES: Final = 2 * 1024 * 1024
BODY_BYTES: Final = 4 * 1024 * 1024
SHARDED_FROM: Final = {"query": 3, "read_state": 3, "call": 4}
VERSIONS: Final = {"query": (2, 3), "read_state": (2, 3), "call": (2, 3, 4)}
SYNCHRONOUS_FROM: Final = 3
ACCEPTED: Final = 202

_ENDPOINT = re.compile(r"/api/v(\d)/(canister|subnet)/([^/]+)/(query|call|read_state)")
_CBOR = b"application/cbor"
_TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """What the path of a request says."""

    version: int
    of_subnet: bool
    target: bytes
    kind: str

    @property
    def sharded(self) -> bool:
        """Whether this version's certificates have the canister ranges in shards."""
        return self.version >= SHARDED_FROM[self.kind]


class Application:
    """Routes requests to the replica, and makes the faults that name a canister method."""

    def __init__(self, replica: Replica, faults: Faults) -> None:
        self._replica = replica
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            await self._route(scope, receive, send)
        except BadRequestError as error:
            await _send(send, error.status, str(error).encode(), _TEXT, error.cause.encode())

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD") and path == "/__health":
            await _send(send, 200, b"ok", _TEXT)
            return
        if method in ("GET", "HEAD") and path == "/api/v2/status":
            await _send(send, 200, self._replica.status(), _CBOR)
            return
        endpoint = _endpoint(path)
        if method != "POST":
            raise BadRequestError(f"{path} takes POST, not {method}", 405, "method_not_allowed")
        limit = INGRESS_BYTES if endpoint.kind == "call" else BODY_BYTES
        request = open_envelope(await _body(receive, limit), endpoint.kind, endpoint.target)
        if endpoint.kind == "read_state":
            await _send(send, 200, self._read_state(request, endpoint), _CBOR)
        else:
            await self._execute(request, endpoint, scope, receive, send)

    def _read_state(self, request: Request, endpoint: _Endpoint) -> bytes:
        sharded = endpoint.sharded
        if endpoint.of_subnet:
            return self._replica.read_subnet_state(request, sharded=sharded)
        return self._replica.read_canister_state(request, endpoint.target, sharded=sharded)

    async def _execute(
        self, request: Request, endpoint: _Endpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer a query or call, with the fault that a rule for its canister method asks for."""
        name = check_call(request, endpoint.target)
        match = {"method": scope["method"], "path": path_with_query(scope), "canister_method": name}

        def content_fault(actions: Container[str]) -> Rule | None:
            return self._faults.take(actions, **match)

        async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
            status, content = self._answer(request, endpoint, content_fault)
            await _send(send, status, content, _CBOR)

        rule = self._named_fault(match)
        if rule is None:
            await respond(scope, receive, send)
            return
        if endpoint.kind == "call" and _accepts(rule):
            # Accepted is not refused: the call is executed, and its sender has to poll.
            self._replica.call(request, endpoint.target, content_fault)
        await respond_with_fault(rule, scope, receive, send, respond)

    def _answer(self, request: Request, endpoint: _Endpoint, fault: TakeFault) -> tuple[int, bytes]:
        target = endpoint.target
        if endpoint.kind == "query":
            return 200, self._replica.query(request, target, fault)
        self._replica.call(request, target, fault)
        if endpoint.version < SYNCHRONOUS_FROM:
            return ACCEPTED, b""
        return 200, self._replica.call_result(request, target, sharded=endpoint.sharded)

    def _named_fault(self, match: dict[str, str]) -> Rule | None:
        """The fault of a rule that names the canister method; the others were made in front."""
        named = Faults()
        named.rules = [rule for rule in self._faults.rules if rule.canister_method]
        rule = named.take(TRANSPORT_ACTIONS, **match)
        if rule is not None and rule not in named.rules:
            self._faults.rules.remove(rule)
        return rule


def _endpoint(path: str) -> _Endpoint:
    found = _ENDPOINT.fullmatch(path)
    if found is None or int(found[1]) not in VERSIONS[found[4]]:
        raise BadRequestError(f"There is no endpoint {path}", 404, "not_found")
    version, of_subnet, kind = int(found[1]), found[2] == "subnet", found[4]
    if of_subnet and kind != "read_state":
        raise BadRequestError(f"There is no endpoint {path}", 404, "not_found")
    try:
        return _Endpoint(version, of_subnet, principal.from_text(found[3]), kind)
    except ValueError as error:
        raise BadRequestError(str(error), 400, "malformed_canister_id") from error


def _accepts(rule: Rule) -> bool:
    value = rule.value.get("status") if isinstance(rule.value, dict) else rule.value
    return rule.action == "status" and value == ACCEPTED


async def _body(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequestError("The client went away before its request was complete")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            message_text = f"Request is larger than the {limit} bytes that are allowed"
            raise BadRequestError(message_text, 413, "body_too_large")
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(
    send: Send, status: int, content: bytes, content_type: bytes, cause: bytes | None = None
) -> None:
    headers = [(b"content-length", str(len(content)).encode())]
    if content:
        headers.append((b"content-type", content_type))
    if cause is not None:
        headers.append((b"x-ic-error-cause", cause))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
