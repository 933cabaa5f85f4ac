"""Uploads in parts: create, upload each part, complete."""

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote

from sandbox.blob.bodies import Received, pieces
from sandbox.blob.exchange import ApiError, Request
from sandbox.blob.listing import put_result
from sandbox.blob.storage import BlobStorage
from sandbox.blob.writing import WriteOptions, bare_etag, receive_body, write

MIN_PART_BYTES = 5 * 1024 * 1024
MAX_PARTS = 10_000


async def multipart(request: Request, storage: BlobStorage) -> Any:
    """Take one step of an upload in parts."""
    action = request.header("x-mpu-action")
    if action == "create":
        return await _create(request, storage)
    if action == "upload":
        return await _upload(request, storage)
    if action == "complete":
        return await _complete(request, storage)
    raise ApiError(
        400, "bad_request", f"x-mpu-action is {action!r}; it is create, upload or complete."
    )


async def _create(request: Request, storage: BlobStorage) -> Any:
    options = WriteOptions.of(request)
    options.check(storage.get(options.pathname))
    upload_id = secrets.token_urlsafe(32)
    await asyncio.to_thread(
        storage.begin_upload, upload_id, options.pathname, json.dumps(asdict(options))
    )
    return {"uploadId": upload_id, "key": options.pathname}


async def _upload(request: Request, storage: BlobStorage) -> Any:
    upload_id, _ = _find(request, storage)
    number = request.header("x-mpu-part-number") or ""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", number) or int(number) > MAX_PARTS:
        raise ApiError(
            400, "bad_request", f"x-mpu-part-number is {number!r}; it is from 1 to {MAX_PARTS}."
        )
    part = await receive_body(request, storage)
    await asyncio.to_thread(storage.put_part, upload_id, int(number), part)
    return {"etag": f'"{part.md5}"'}


async def _complete(request: Request, storage: BlobStorage) -> Any:
    upload_id, options = _find(request, storage)
    parts = _chosen(await request.json(), storage.parts(upload_id))
    whole = await asyncio.to_thread(storage.bodies.write, _joined(storage, parts))
    digests = b"".join(bytes.fromhex(part.md5) for part in parts)
    etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
    obj = options.stored(size=whole.size, etag=etag, body=whole.body)
    await write(storage, obj, options)
    await asyncio.to_thread(storage.end_upload, upload_id)
    return put_result(obj, request.origin)


def _find(request: Request, storage: BlobStorage) -> tuple[str, WriteOptions]:
    """The upload that the headers name, and what was asked for when it began."""
    upload_id = request.header("x-mpu-upload-id") or ""
    key = unquote(request.header("x-mpu-key") or "")
    options = storage.upload_options(upload_id, key)
    if options is None:
        raise ApiError(
            404, "not_found", "No multipart upload has this id and key, or it was completed."
        )
    return upload_id, WriteOptions(**json.loads(options))


def _chosen(listed: Any, arrived: dict[int, Received]) -> list[Received]:
    """The parts a client lists to be joined, by number: the clients list them as they arrived.

    Raises ApiError where one did not arrive like that, is listed twice, or is too small and not
    the last.
    """
    if not isinstance(listed, list) or not listed:
        raise ApiError(400, "bad_request", "The body is to list at least one part.")
    etags: dict[int, str] = {}
    for entry in listed:
        number, etag = _entry(entry)
        if number not in arrived or arrived[number].md5 != etag:
            raise ApiError(400, "bad_request", f"Part {number} was not uploaded with this etag.")
        if number in etags:
            raise ApiError(400, "bad_request", f"Part {number} is listed twice.")
        etags[number] = etag
    parts = [arrived[number] for number in sorted(etags)]
    if small := [part for part in parts[:-1] if part.size < MIN_PART_BYTES]:
        raise ApiError(
            400,
            "bad_request",
            f"A part of {small[0].size} bytes is smaller than {MIN_PART_BYTES} and not the last.",
        )
    return parts


def _entry(entry: Any) -> tuple[int, str]:
    if isinstance(entry, dict):
        number, etag = entry.get("partNumber"), entry.get("etag")
        if isinstance(number, int) and isinstance(etag, str):
            return number, bare_etag(etag)
    raise ApiError(400, "bad_request", 'A part is listed as {"partNumber": 1, "etag": "…"}.')


def _joined(storage: BlobStorage, parts: list[Received]) -> Iterable[bytes]:
    for part in parts:
        yield from pieces(storage.bodies.open(part.body))
