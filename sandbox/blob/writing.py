"""Put, copy, rename and delete."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from sandbox.blob import naming
from sandbox.blob.bodies import Received
from sandbox.blob.exchange import ApiError, Request
from sandbox.blob.listing import find, put_result
from sandbox.blob.storage import (
    DEFAULT_MAX_AGE,
    AlreadyExistsError,
    BlobStorage,
    EtagMismatchError,
    StoredObject,
    check_overwrite,
    now_ms,
)

MAX_DELETED_AT_ONCE = 1000
MIN_MAX_AGE = 60


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What the query and the headers of a writing request ask for."""

    pathname: str
    access: str
    content_type: str
    cache_control_max_age: int
    allow_overwrite: bool
    if_match: str | None

    @classmethod
    def of(cls, request: Request) -> "WriteOptions":
        """Read them, with the random suffix applied.

        Raises ApiError ``bad_request``.
        """
        try:
            pathname = naming.checked_pathname(request.query().get("pathname", ""))
        except naming.InvalidPathnameError as problem:
            raise ApiError(400, "bad_request", f"{problem}.") from None
        access = request.header("x-vercel-blob-access") or "public"
        if access not in {"public", "private"}:
            raise ApiError(400, "bad_request", f"access is {access!r}; it is public or private.")
        if _flag(request, "x-add-random-suffix"):
            pathname = naming.with_random_suffix(pathname)
        return cls(
            pathname=pathname,
            access=access,
            content_type=request.header("x-content-type") or naming.guessed_content_type(pathname),
            cache_control_max_age=_max_age(request.header("x-cache-control-max-age")),
            allow_overwrite=_flag(request, "x-allow-overwrite"),
            if_match=if_match(request),
        )

    def check(self, current: StoredObject | None) -> None:
        """Refuse early what the store would refuse once the bytes have arrived."""
        try:
            check_overwrite(current, allow_overwrite=self.allow_overwrite, if_match=self.if_match)
        except (AlreadyExistsError, EtagMismatchError) as problem:
            raise _refusal(problem) from None

    def stored(self, *, size: int, etag: str, body: str) -> StoredObject:
        """The object these options make of a body."""
        return StoredObject(
            pathname=self.pathname,
            size=size,
            etag=etag,
            uploaded_at=now_ms(),
            content_type=self.content_type,
            body=body,
            access=self.access,
            cache_control_max_age=self.cache_control_max_age,
        )


async def put_or_copy(request: Request, storage: BlobStorage) -> Any:
    """Store the request's body, or with ``fromUrl`` the bytes of another object."""
    if "fromUrl" in request.query():
        _, copied = await _copy(request, storage)
        return put_result(copied, request.origin)
    options = WriteOptions.of(request)
    options.check(storage.get(options.pathname))
    received = await receive_body(request, storage)
    obj = options.stored(size=received.size, etag=received.md5, body=received.body)
    await write(storage, obj, options)
    return put_result(obj, request.origin)


async def rename_object(request: Request, storage: BlobStorage) -> Any:
    """Store an object's bytes under another pathname instead."""
    source, renamed = await _copy(request, storage)
    if source.pathname != renamed.pathname:
        await asyncio.to_thread(storage.delete, [source.pathname])
    return put_result(renamed, request.origin)


async def _copy(request: Request, storage: BlobStorage) -> tuple[StoredObject, StoredObject]:
    """The source and its copy.

    Content type and cache time are the request's, not the source's; ``x-if-match`` is about the
    source, unlike that of a put.
    """
    source = find(storage, request.origin, request.query().get("fromUrl", ""))
    options = WriteOptions.of(request)
    if options.if_match not in {None, source.etag}:
        raise _refusal(EtagMismatchError())
    obj = options.stored(size=source.size, etag=source.etag, body=source.body)
    await write(storage, obj, replace(options, if_match=None))
    return source, obj


async def delete_objects(request: Request, storage: BlobStorage) -> Any:
    """Delete what the URLs and pathnames of the body name; missing ones are passed over."""
    payload = await request.json()
    urls = payload.get("urls") if isinstance(payload, dict) else None
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise ApiError(400, "bad_request", 'The body needs "urls", a list of texts.')
    if not 1 <= len(urls) <= MAX_DELETED_AT_ONCE:
        raise ApiError(400, "bad_request", f"{len(urls)} urls; from 1 to 1000 can be deleted.")
    condition = if_match(request)
    if condition is not None and len(urls) != 1:
        raise ApiError(400, "bad_request", "x-if-match is for the deletion of a single url.")
    pathnames = [name for url in urls if (name := request.origin.pathname(url))]
    try:
        await asyncio.to_thread(storage.delete, pathnames, if_match=condition)
    except EtagMismatchError as problem:
        raise _refusal(problem) from None
    return None


async def receive_body(request: Request, storage: BlobStorage) -> Received:
    """Bring the request's body to disk as it arrives."""
    with storage.bodies.incoming() as incoming:
        async for piece in request.body():
            incoming.write(piece)
        return incoming.finish()


async def write(storage: BlobStorage, obj: StoredObject, options: WriteOptions) -> None:
    """Store an object under the condition of its options.

    Raises ApiError where that does not hold.
    """
    try:
        await asyncio.to_thread(
            storage.put, obj, allow_overwrite=options.allow_overwrite, if_match=options.if_match
        )
    except (AlreadyExistsError, EtagMismatchError) as problem:
        raise _refusal(problem) from None


def if_match(request: Request) -> str | None:
    """The etag in ``x-if-match``, without quotes."""
    value = request.header("x-if-match")
    return bare_etag(value) if value else None


def bare_etag(value: str) -> str:
    """An etag without its weakness mark and quotes."""
    return value.strip().removeprefix("W/").strip('"')


def _refusal(problem: Exception) -> ApiError:
    if isinstance(problem, EtagMismatchError):
        return ApiError(412, "precondition_failed", "The blob's etag is not the one in x-if-match.")
    return ApiError(
        400,
        "bad_request",
        "This blob already exists: allow it to be overwritten, or add a random suffix.",
    )


def _flag(request: Request, name: str) -> bool:
    value = request.header(name)
    if value not in {None, "0", "1", "false", "true"}:
        raise ApiError(400, "bad_request", f"{name} is {value!r}; it is 1 or 0.")
    return value in {"1", "true"}


def _max_age(text: str | None) -> int:
    if text is None:
        return DEFAULT_MAX_AGE
    if not (text.isascii() and text.isdigit()):
        raise ApiError(400, "bad_request", f"cache-control-max-age is {text!r}; it is in seconds.")
    return max(int(text), MIN_MAX_AGE)
