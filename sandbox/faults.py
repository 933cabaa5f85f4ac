"""Faults that a stand-in is told to make, so that tests and people see what happens then.

``POST /__faults`` adds rules, ``GET`` shows those that are live, ``DELETE`` ends them all. For each
request the first live rule that matches is taken, and counted down. Faults of the transport are
made here, for any server; faults in the content of a listing are made by the store's own handler.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Container, MutableMapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote_plus

from sandbox.fault_rules import CONTENT_ACTIONS, TRANSPORT_ACTIONS, Rule, parse_rules

__all__ = [
    "CONTENT_ACTIONS",
    "TRANSPORT_ACTIONS",
    "ASGIApp",
    "FaultMiddleware",
    "Faults",
    "Message",
    "Receive",
    "Rule",
    "Scope",
    "Send",
    "path_with_query",
    "respond_with_fault",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_PATH = "/__faults"
MAX_CONTROL_BYTES = 1024 * 1024
CLOSE_SECONDS = 5.0
_PIECE = 64 * 1024


class Faults:
    """The rules of one server, in the order they were added."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(self, payload: Any) -> None:
        """Add the rules of a ``POST /__faults`` body: all of them, or none and a ValueError."""
        self.rules.extend(parse_rules(payload))

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()

    def take(
        self,
        actions: Container[str],
        *,
        method: str,
        path: str,
        canister_method: str | None = None,
    ) -> Rule | None:
        """The first live rule for this request with one of these actions, counted down.

        ``path`` is the path with its query; a rule's ``path_regex`` is searched for in it. A rule
        that names a canister method matches only a call that names it.
        """
        for rule in self.rules:
            if rule.action in actions and rule.matches(method, path, canister_method):
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times == 0:
                        self.rules.remove(rule)
                return rule
        return None


class FaultMiddleware:
    """An ASGI application in front of another one: the control path, and the transport's faults."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the control path; for other requests take a rule that names no canister method."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == CONTROL_PATH:
            await self._control(scope["method"], receive, send)
        else:
            rule = self._faults.take(
                TRANSPORT_ACTIONS, method=scope["method"], path=path_with_query(scope)
            )
            if rule is None:
                await self._app(scope, receive, send)
            else:
                await respond_with_fault(rule, scope, receive, send, self._app)

    async def _control(self, method: str, receive: Receive, send: Send) -> None:
        status: int = 200
        error: str | None = None
        if method == "POST":
            try:
                self._faults.add(await _read_json(receive))
            except ValueError as problem:
                status, error = 400, f"no rule was added: {problem}"
        elif method == "DELETE":
            self._faults.clear()
        elif method != "GET":
            status, error = 405, f"{CONTROL_PATH} takes GET, POST and DELETE, not {method}"
        answer = {"error": error} if error else {"rules": [asdict(r) for r in self._faults.rules]}
        await _respond(send, status, answer, {})


async def respond_with_fault(
    rule: Rule, scope: Scope, receive: Receive, send: Send, app: ASGIApp
) -> None:
    """Answer a request with what ``app`` would answer, damaged as a rule for the transport says.

    ``app`` is not called where the fault leaves nothing of its answer (``status``, and ``reset``
    without a value). ``send`` is the server's own, not wrapped: ``truncate`` and ``reset`` reach
    for the connection behind it.
    """
    if rule.action == "status":
        value = rule.value if isinstance(rule.value, dict) else {"status": rule.value}
        await _respond(send, value["status"], value.get("body"), value.get("headers") or {})
    elif rule.action == "delay":
        await asyncio.sleep(rule.value / 1000)
        await app(scope, receive, send)
    elif rule.action == "flip_bit":
        await app(scope, receive, _flipping(send, rule.value))
    elif rule.action == "trickle":
        with suppress(_CutError):
            await app(scope, receive, _trickling(send, rule.value / 1000))
    elif rule.action == "endless_body":
        await _endless(rule.value, scope, receive, send, app)
    elif rule.action in {"truncate", "reset"}:
        if rule.value is not None:
            with suppress(_CutError):
                await app(scope, receive, _Cutting(send, rule.value))
        await (_close if rule.action == "truncate" else _reset)(receive, send)
    else:
        raise ValueError(f"{rule.action} is no fault of the transport")


def path_with_query(scope: Scope) -> str:
    """What a ``path_regex`` is searched for in: the path and the query, both decoded."""
    query = unquote_plus(scope.get("query_string", b"").decode("latin-1"))
    return f"{scope['path']}?{query}" if query else str(scope["path"])


class _CutError(Exception):
    """Ends an application whose answer was cut off."""


class _Cutting:
    """A ``send`` that lets so many bytes of a body pass and ends the application then."""

    def __init__(self, send: Send, limit: int) -> None:
        self._send = send
        self._remaining = limit
        self._start: Message | None = None
        self._done = False

    async def __call__(self, message: Message) -> None:
        if self._done:
            raise _CutError
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._start is not None:
            await self._send(self._start if more else _with_length(self._start, len(body)))
            self._start = None
        passed = bytes(body[: self._remaining])
        self._remaining -= len(passed)
        await self._send({"type": "http.response.body", "body": passed, "more_body": True})
        if self._remaining == 0 or not more:
            self._done = True
            raise _CutError


def _with_length(start: Message, length: int) -> Message:
    """The start of a response with the length promised that is not going to be kept."""
    headers = list(start.get("headers", []))
    if not any(name.lower() == b"content-length" for name, _ in headers):
        headers.append((b"content-length", str(length).encode()))
    return {**start, "headers": headers}


def _flipping(send: Send, bit: int) -> Send:
    """A ``send`` that turns over one bit of the body."""
    passed = 0

    async def flipped_send(message: Message) -> None:
        nonlocal passed
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            if passed <= bit // 8 < passed + len(body):
                damaged = bytearray(body)
                damaged[bit // 8 - passed] ^= 1 << (bit % 8)
                message = {**message, "body": bytes(damaged)}
            passed += len(body)
        await send(message)

    return flipped_send


def _trickling(send: Send, seconds: float) -> Send:
    """A ``send`` that lets a byte pass at a time, until nobody is there to take it."""

    async def trickled_send(message: Message) -> None:
        body = message.get("body", b"")
        for place in range(len(body)):
            if _transport(send).is_closing():
                raise _CutError
            piece = {"body": bytes(body[place : place + 1]), "more_body": True}
            await send({"type": "http.response.body", **piece})
            await asyncio.sleep(seconds)
        await send({**message, "body": b""} if body else message)

    return trickled_send


async def _endless(
    extra: int | None, scope: Scope, receive: Receive, send: Send, app: ASGIApp
) -> None:
    """Answer, and go on with zeros after the end: so many, or until nobody is there to take them.

    No length is promised, as it is where a server does not know how much will come.
    """

    async def unended_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
            await send({**message, "headers": kept})
        else:
            await send({**message, "more_body": True})

    await app(scope, receive, unended_send)
    left = extra
    while (left is None or left > 0) and not _transport(send).is_closing():
        piece = bytes(_PIECE if left is None else min(left, _PIECE))
        left = None if left is None else left - len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # others are to be served as well, and the end to be noticed
    await send({"type": "http.response.body", "body": b""})


async def _close(receive: Receive, send: Send) -> None:
    """Close the connection once all that was sent is on its way."""
    _transport(send).close()
    await _disconnected(receive)


async def _reset(receive: Receive, send: Send) -> None:
    """Break the connection, after what was sent has left: a reset throws away what is queued."""
    transport = _transport(send)
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while transport.get_write_buffer_size():  # noqa: ASYNC110 (it tells no event)
                await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # the kernel has a buffer of its own
    connection = transport.get_extra_info("socket")
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _disconnected(receive)


def _transport(send: Send) -> asyncio.WriteTransport:
    """The connection behind a response.

    ASGI has no word for breaking a connection, but uvicorn's ``send`` is a method of the object
    that owns it.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("truncate and reset need the send of uvicorn itself, not a wrapped one")
    return transport  # type: ignore[no-any-return]


async def _disconnected(receive: Receive) -> None:
    """Wait until the server has seen the end of the connection, or it would report a broken app."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _respond(send: Send, status: int, body: Any, headers: dict[str, str]) -> None:
    if body is None:
        content, content_type = b"", None
    elif isinstance(body, str):
        content, content_type = body.encode(), b"text/plain; charset=utf-8"
    else:
        content, content_type = json.dumps(body).encode(), b"application/json"
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    if content_type and not any(name == b"content-type" for name, _ in fields):
        fields.append((b"content-type", content_type))
    fields.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})


async def _read_json(receive: Receive) -> Any:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_CONTROL_BYTES:
            raise ValueError(f"the body is larger than {MAX_CONTROL_BYTES} bytes")
    try:
        return json.loads(body)
    except ValueError as problem:
        raise ValueError(f"the body is not JSON: {problem}") from None
