"""One HTTP request and its answer, as little of them as the handlers need."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.blob.naming import Origin
from sandbox.faults import Message, Receive, Scope, Send

MAX_JSON_BYTES = 16 * 1024 * 1024
Headers = list[tuple[bytes, bytes]]


class ApiError(Exception):
    """An answer with an error envelope."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class ClientGoneError(Exception):
    """The client closed the connection before it had sent its request."""


class Request:
    """A request whose path and headers have arrived, and whose body may still be on its way."""

    def __init__(self, scope: Scope, receive: Receive, store_id: str) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope["raw_path"]
        self.query_string: bytes = scope["query_string"]
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        server_host, server_port = scope["server"]
        host = self.header("host") or f"{server_host}:{server_port}"
        self.origin = Origin(f"http://{host}", store_id)

    def header(self, name: str) -> str | None:
        """A header's value; ``name`` in lower case."""
        value = self._headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

    def query(self) -> dict[str, str]:
        """The parameters of the query, of each the last.

        Raises ApiError where they are not valid UTF-8.
        """
        try:
            pairs = parse_qsl(
                self.query_string.decode("ascii"), keep_blank_values=True, errors="strict"
            )
        except UnicodeError:
            raise ApiError(400, "bad_request", "The query is not valid UTF-8.") from None
        return dict(pairs)

    async def body(self) -> AsyncIterator[bytes]:
        """The body in the pieces it arrives in."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if piece := message.get("body", b""):
                yield piece
            more = message.get("more_body", False)

    async def json(self) -> Any:
        """The body, decoded from JSON."""
        body = bytearray()
        async for piece in self.body():
            body += piece
            if len(body) > MAX_JSON_BYTES:
                raise ApiError(400, "bad_request", "The JSON body is too large.")
        try:
            return json.loads(body)
        except ValueError:
            raise ApiError(400, "bad_request", "The body is not valid JSON.") from None


async def send_json(
    send: Send, value: Any, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with JSON."""
    body = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    await send(
        start(status, [(b"content-type", b"application/json; charset=utf-8"), *headers], len(body))
    )
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: ApiError) -> None:
    """Answer with the envelope that the clients read errors from."""
    await send_json(send, {"error": {"code": error.code, "message": error.message}}, error.status)


def start(status: int, headers: Headers, length: int) -> Message:
    """The ASGI message that begins an answer with a body of known length."""
    fields = [*headers, (b"content-length", str(length).encode())]
    return {"type": "http.response.start", "status": status, "headers": fields}
