"""Reads an object's bytes and hashes them, or says why they can't be believed."""

import httpx

from checks import normal
from checks.errors import MalformedAnswerError
from tasks.retries import TOTAL_SECONDS, retrying
from tasks.stores.blob import failures
from tasks.stores.blob.answers import Blob
from tasks.stores.blob.asking import find
from tasks.stores.blob.connection import BlobConnection, transfer_seconds
from tasks.stores.protocol import HashedObject, Sink, emptied


async def read(
    connection: BlobConnection, pathname: str, into: Sink | None = None
) -> HashedObject | None:
    """All bytes of the object as the API knows it now; None where it says that there is none.

    The etag of the answer that carries the bytes must be the one the API names: the CDN may serve
    an older object. That answer is one version of the object from its first byte to its last, so
    the version need not be asked for again afterwards. The bytes are written to ``into``, from its
    beginning.

    Raises:
        ObjectChangedError: again and again the bytes that came were another version's.
        StoreError: the object could not be read whole. That says nothing about its bytes.
    """
    blob = await find(connection, pathname)
    if blob is None:
        return None
    known: Blob | None = blob

    async def attempt() -> HashedObject | None:
        nonlocal known
        current, known = known or await find(connection, pathname, attempts=1), None
        return None if current is None else await _read_version(connection, current, into)

    return await retrying(
        attempt,
        is_transient=failures.worth_retrying,
        total_seconds=TOTAL_SECONDS + transfer_seconds(blob.size),
    )


async def _read_version(connection: BlobConnection, blob: Blob, into: Sink | None) -> HashedObject:
    emptied(into)
    what = f"reading {blob.pathname!r}"

    def judge(response: httpx.Response, body: bytes) -> int:
        if response.status_code != httpx.codes.OK:
            raise _refusal(what, response, body)
        _check_headers(what, response, blob)
        return blob.size

    size, sha256, md5 = await connection.hashed(what, blob.url, judge, into)
    if size > blob.size:
        raise failures.ShortReadError(
            f"{what}: more bytes came than the {blob.size} that the blob store names"
        )
    if size < blob.size:
        raise failures.ShortReadError(
            f"{what}: {size} bytes came of the {blob.size} that the blob store names"
        )
    return HashedObject(size, sha256, md5, str(blob.version))


def _refusal(what: str, response: httpx.Response, body: bytes) -> Exception:
    """The error of an answer without the object's bytes. It is never proof of absence."""
    if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
        return failures.UnsettledReadError(
            f"{what}: the object's URL does not find it although the blob store's API does; try "
            "again later"
        )
    if response.is_success:
        return MalformedAnswerError(
            f"{what}: the object's URL answered {response.status_code}, not with the whole object"
        )
    return failures.refusal(what, response, body)


def _check_headers(what: str, response: httpx.Response, blob: Blob) -> None:
    """That what comes is this version, as it is, whole. Raises StoreError before it is read."""
    etag = normal.etag(response.headers.get("etag", ""))
    if etag != blob.etag:
        raise failures.UnsettledReadError(
            f"{what}: the bytes are of version {etag[:100] or 'unknown'}, the blob store's API "
            f"names {blob.etag[:100]}; the CDN may serve an older one for a minute"
        )
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise MalformedAnswerError(
            f"{what}: the bytes came {encoding[:100]}-encoded although they were asked for as they "
            "are; is there a proxy that compresses?"
        )
    length = response.headers.get("content-length", str(blob.size))
    if length != str(blob.size):
        raise failures.ShortReadError(
            f"{what}: {length[:40]} bytes are to come, the blob store's API names {blob.size}"
        )
