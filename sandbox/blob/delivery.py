"""Object URLs: the bytes, whole or a range of them, under the conditions HTTP has for that."""

import asyncio
import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

from sandbox.blob import naming
from sandbox.blob.bodies import PIECE_BYTES, Body
from sandbox.blob.exchange import ApiError, Headers, Request, start
from sandbox.blob.listing import cache_control, disposition
from sandbox.blob.storage import BlobStorage, StoredObject
from sandbox.blob.writing import bare_etag
from sandbox.faults import Receive, Send


async def deliver(
    request: Request, storage: BlobStorage, send: Send, authorize: Callable[[], Any]
) -> None:
    """Answer a GET or HEAD of an object's URL; ``authorize`` raises for who may not read."""
    obj = _find(request, storage)
    if obj.access == "private":
        authorize()
    headers = _headers(obj, download=request.query().get("download") == "1")
    if _not_modified(request, obj):
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body"})
        return
    body = _open(storage, obj)
    headers.append((b"content-type", obj.content_type.encode("latin-1", "replace")))
    status, first, stop = _range(request, obj, body.length)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers.append((b"content-range", f"bytes */{body.length}".encode()))
    elif status == HTTPStatus.PARTIAL_CONTENT:
        headers.append((b"content-range", f"bytes {first}-{stop - 1}/{body.length}".encode()))
    await send(start(status, headers, stop - first))
    if request.method == "HEAD":
        await send({"type": "http.response.body"})
    else:
        await _stream(body, first, stop, request.receive, send)


def _find(request: Request, storage: BlobStorage) -> StoredObject:
    try:
        pathname = unquote_to_bytes(request.raw_path).decode().removeprefix("/")
    except UnicodeDecodeError:
        pathname = ""
    obj = storage.get(pathname)
    if obj is None:
        raise ApiError(404, "not_found", "The requested blob does not exist.")
    return obj


def _open(storage: BlobStorage, obj: StoredObject) -> Body:
    try:
        return storage.open(obj)
    except (OSError, ValueError) as problem:
        message = f"The sandbox has lost the bytes of {obj.pathname!r}: {problem}"
        raise ApiError(500, "internal_server_error", message) from problem


def _headers(obj: StoredObject, *, download: bool) -> Headers:
    shown = naming.default_disposition(obj.pathname, "attachment") if download else disposition(obj)
    return [
        (b"etag", f'"{obj.etag}"'.encode()),
        (b"last-modified", formatdate(obj.uploaded_at / 1000, usegmt=True).encode()),
        (b"cache-control", cache_control(obj).encode()),
        (b"content-disposition", shown.encode("latin-1", "replace")),
        (b"accept-ranges", b"bytes"),
        (b"access-control-allow-origin", b"*"),
    ]


def _not_modified(request: Request, obj: StoredObject) -> bool:
    condition = request.header("if-none-match")
    if condition is None:
        return False
    listed = [bare_etag(item) for item in condition.split(",")]
    return "*" in listed or obj.etag in listed


def _range(request: Request, obj: StoredObject, length: int) -> tuple[HTTPStatus, int, int]:
    """Status, first byte and the byte after the last, for the range asked for.

    What is not one well-formed range of bytes is passed over, as HTTP allows.
    """
    whole = HTTPStatus.OK, 0, length
    match = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", request.header("range") or "")
    condition = request.header("if-range")
    if not match or match.group(1) == match.group(2) == "":
        return whole
    if condition is not None and bare_etag(condition) != obj.etag:
        return whole
    if match.group(1) == "":
        first, last = max(length - int(match.group(2)), 0), length - 1
    else:
        first, last = int(match.group(1)), int(match.group(2) or length - 1)
        if match.group(2) and last < first:
            return whole
    if first >= length:
        return HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
    return HTTPStatus.PARTIAL_CONTENT, first, min(last, length - 1) + 1


async def _stream(body: Body, first: int, stop: int, receive: Receive, send: Send) -> None:
    """Send a range in pieces, and no more of them once the client is gone."""
    if stop - first <= PIECE_BYTES:
        piece = body.read(first, stop) if stop > first else b""
        await send({"type": "http.response.body", "body": piece})
        return
    gone = asyncio.create_task(_disconnected(receive))
    try:
        for position in range(first, stop, PIECE_BYTES):
            piece = body.read(position, min(position + PIECE_BYTES, stop))
            more = position + PIECE_BYTES < stop
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            await asyncio.sleep(0)  # send does not wait for a client that is gone: others would
            if gone.done():
                return
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
