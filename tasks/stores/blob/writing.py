"""Writes to the store, each under a condition on what is there: nothing newer is ever lost.

A request whose answer got lost may have been carried out. Its retry then fails on the condition,
which is told from a stranger's write by looking again.
"""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from checks import normal
from checks.errors import MalformedAnswerError, ObjectChangedError, StoreError
from tasks.rates import Operation
from tasks.stores.blob.answers import Blob, BlobVersion
from tasks.stores.blob.asking import find, list_page
from tasks.stores.blob.connection import BlobConnection, Body, transfer_seconds
from tasks.stores.blob.failures import ConditionFailedError

Access = Literal["public", "private"]
_MAX_AGE = re.compile(r"max-age=(\d+)")


async def access_mode(connection: BlobConnection) -> Access:
    """Whether the store's objects are public or private, seen from the first one listed.

    Raises StoreError where there is none.
    """
    page = await list_page(connection, limit=1)
    sample = await find(connection, page.blobs[0].pathname) if page.blobs else None
    if sample is None:
        raise StoreError(
            "the blob store holds no object to see its access mode from: say whether what is "
            "written is to be public or private"
        )
    return access_of(sample)


def access_of(blob: Blob) -> Access:
    """Whether an object that was looked up is public or private."""
    host = blob.url.partition("://")[2].partition("/")[0].lower()
    if host.endswith(".private.blob.vercel-storage.com"):
        return "private"
    return "private" if (blob.cache_control or "").startswith("private") else "public"


async def put(
    connection: BlobConnection,
    pathname: str,
    body: Body,
    *,
    size: int,
    access: Access,
    content_type: str,
    cache_seconds: int | None = None,
    replaces: str | None = None,
) -> Blob:
    """Puts an object where there is none, or in the place of exactly one version.

    Args:
        connection: to the store.
        pathname: kept as it is, no suffix is added.
        body: the bytes, or what yields them anew for each attempt.
        size: their number.
        access: the store's access mode.
        content_type: of the object.
        cache_seconds: how long browsers and the CDN may keep it; None: the store's default.
        replaces: the version that must be there now; None: none may be there.

    Returns:
        What is there now. Read it back before relying on it: where an answer got lost, an object
        of the same size may be another's.

    Raises:
        ObjectChangedError: what is there is not what must be. Nothing was written.
    """
    if isinstance(body, bytes) and len(body) != size:
        raise ValueError(f"{len(body)} bytes were given as {size}")
    what = f"writing {pathname!r}"
    body = body if isinstance(body, bytes) else _exactly(what, body, size)
    write = _Write(what, pathname, size, replaces)
    headers = _put_headers(access, content_type, cache_seconds) | {"content-length": str(size)}
    return await write.send(connection, "/", {}, headers, body)


async def copy(
    connection: BlobConnection, source: str, target: str, *, replaces: str | None = None
) -> Blob:
    """Copies an object within the store, with its access mode, content type and cache time.

    ``replaces`` and what is returned and raised are those of :func:`put`. Raises ObjectChangedError
    too where the source is gone.
    """
    what = f"copying {source!r} to {target!r}"
    blob = await find(connection, source)
    if blob is None:
        raise ObjectChangedError(f"{what}: there is nothing to copy any more")
    age = _MAX_AGE.search(blob.cache_control or "")
    headers = _put_headers(
        access_of(blob),
        blob.content_type or "application/octet-stream",
        int(age[1]) if age else None,
    )
    write = _Write(what, target, blob.size, replaces)
    return await write.send(connection, "", {"fromUrl": blob.url}, headers, None)


async def delete_if_unchanged(connection: BlobConnection, pathname: str, version: str) -> bool:
    """Deletes an object if it is still the version that was observed.

    Returns:
        False where there was nothing to delete (any more).

    Raises:
        ObjectChangedError: it is another version. Nothing was deleted.
    """
    what = f"deleting {pathname!r}"
    blob = await find(connection, pathname)
    if blob is None:
        return False
    _check_unchanged(what, blob, BlobVersion.parse(version))
    try:
        await connection.call(
            what, "POST", "/delete", operation=Operation.ADVANCED,
            headers={"content-type": "application/json", "x-if-match": f'"{blob.etag}"'},
            body=orjson.dumps({"urls": [blob.url]}),
        )  # fmt: skip
    except ConditionFailedError:
        if await find(connection, pathname) is not None:
            raise
        return False
    return True


def _exactly(
    what: str, pieces: Callable[[], AsyncIterator[bytes]], size: int
) -> Callable[[], AsyncIterator[bytes]]:
    """``pieces``, broken off with a StoreError where they are not ``size`` bytes."""

    async def counted() -> AsyncIterator[bytes]:
        sent = 0
        async for piece in pieces():
            sent += len(piece)
            if sent > size:
                break
            yield piece
        if sent != size:
            raise StoreError(
                f"{what}: the bytes to be written are not the {size} that were announced; nothing "
                "was written: read their source again"
            )

    return counted


@dataclass(frozen=True, slots=True)
class _Write:
    """A put or copy of ``size`` bytes to ``pathname`` in the place of version ``replaces``."""

    what: str
    pathname: str
    size: int
    replaces: str | None

    async def send(
        self,
        connection: BlobConnection,
        path: str,
        params: dict[str, str],
        headers: dict[str, str],
        body: Body | None,
    ) -> Blob:
        """Sends it under its condition, and looks at what is there afterwards."""
        expected = await _expected(connection, self.what, self.pathname, self.replaces)
        attempts = 0

        def count() -> None:
            nonlocal attempts
            attempts += 1

        try:
            answer = await connection.call(
                self.what, "PUT", path, operation=Operation.ADVANCED,
                params={"pathname": self.pathname, **params},
                headers=headers | _condition(expected), body=body,
                seconds=transfer_seconds(self.size), on_attempt=count,
            )  # fmt: skip
        except ConditionFailedError:
            if attempts == 1:
                raise
            found = await find(connection, self.pathname)
            kept = found is not None and expected is not None and found.etag == expected.etag
            if found is None or kept or found.size != self.size:
                raise
            return found
        return await _written(connection, self.what, self.pathname, answer)


def _put_headers(access: Access, content_type: str, cache_seconds: int | None) -> dict[str, str]:
    if not (content_type.isascii() and content_type.isprintable()):
        raise StoreError(f"the content type {content_type[:100]!r} can't be sent in a header")
    headers = {
        "x-vercel-blob-access": access,
        "x-content-type": content_type,
        "x-add-random-suffix": "0",
    }
    if cache_seconds is not None:
        headers["x-cache-control-max-age"] = str(cache_seconds)
    return headers


def _condition(expected: BlobVersion | None) -> dict[str, str]:
    """The headers that make a write conditional: a match allows to overwrite what matched."""
    if expected is None:
        return {"x-allow-overwrite": "0"}
    return {"x-allow-overwrite": "1", "x-if-match": f'"{expected.etag}"'}


async def _expected(
    connection: BlobConnection, what: str, pathname: str, replaces: str | None
) -> BlobVersion | None:
    """The version to be replaced, after a look whether it is there.

    The store compares etags alone; the same bytes put again meanwhile are told by their time here.
    """
    if replaces is None:
        return None
    expected, blob = BlobVersion.parse(replaces), await find(connection, pathname)
    if blob is None:
        raise ObjectChangedError(f"{what}: the object to be replaced is gone; look at it again")
    _check_unchanged(what, blob, expected)
    return expected


def _check_unchanged(what: str, blob: Blob, expected: BlobVersion) -> None:
    if not expected.is_kept_by(blob.version):
        raise ObjectChangedError(
            f"{what}: it is version {blob.version} now, not {expected} as it was observed; nothing "
            "was done: look at it again"
        )


async def _written(connection: BlobConnection, what: str, pathname: str, answer: Any) -> Blob:
    """What is there after a write. Raises StoreError where it is not what was written."""
    try:
        name, etag = answer["pathname"], normal.etag(answer["etag"])
    except (KeyError, TypeError, AttributeError):
        name, etag = None, ""
    if name != pathname:
        raise MalformedAnswerError(
            f"{what}: the blob store does not confirm it: {str(answer)[:200]}; look at it again"
        )
    found = await find(connection, pathname)
    if found is None or found.etag != etag:
        raise ObjectChangedError(f"{what}: it was written again meanwhile; look at it again")
    return found
