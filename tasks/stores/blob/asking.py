"""The two questions the API answers: what is listed next, and what is known of one object."""

from collections.abc import Callable

from checks.errors import MalformedAnswerError
from tasks.rates import Operation
from tasks.retries import ATTEMPTS
from tasks.stores.blob.answers import Blob, Page, parse_blob, parse_page
from tasks.stores.blob.connection import BlobConnection
from tasks.stores.blob.failures import BlobNotFoundError

PAGE_LIMIT = 1000
#: What a server could take apart, were a pathname that holds it taken for a URL or part of one.
_AMBIGUOUS = frozenset("%?#\\")


async def list_page(
    connection: BlobConnection,
    cursor: str | None = None,
    *,
    prefix: str = "",
    folded: bool = False,
    limit: int = PAGE_LIMIT,
    on_attempt: Callable[[], None] = lambda: None,
) -> Page:
    """One page of what begins with ``prefix``, retried as the policy says. Raises StoreError.

    ``folded``: what lies deeper is named by its folder alone.
    """
    params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
    params |= {"prefix": prefix} if prefix else {}
    params |= {"mode": "folded"} if folded else {}
    what = "listing the blob store"
    try:
        answer = await connection.call(
            what, "GET", params=params, operation=Operation.ADVANCED, on_attempt=on_attempt
        )
    except BlobNotFoundError as error:  # no object was asked for: this is another kind of server
        raise MalformedAnswerError(f"{error}; check VERCEL_BLOB_API_URL") from None
    return parse_page(answer)


async def find(
    connection: BlobConnection, pathname: str, *, attempts: int = ATTEMPTS
) -> Blob | None:
    """The object as the API knows it now; None only where it says that there is none.

    The API takes a pathname or a URL. How it reads a pathname that looks percent-encoded is not
    documented, so its absence is believed only if the object's URLs are not known either.
    """
    names = [pathname]
    if not _AMBIGUOUS.isdisjoint(pathname):
        names += connection.address.urls(pathname)
    other: Blob | None = None
    for name in names:
        found = await _head(connection, name, attempts)
        if found is not None and found.pathname == pathname:
            return found
        other = other or found
    if other is not None and len(names) == 1:
        raise MalformedAnswerError(
            f"looking up {pathname!r}: the blob store described {other.pathname!r} instead"
        )
    return None


async def _head(connection: BlobConnection, name: str, attempts: int) -> Blob | None:
    what = f"looking up {name!r}"
    try:
        answer = await connection.call(
            what, "GET", params={"url": name}, operation=Operation.SIMPLE, attempts=attempts
        )
    except BlobNotFoundError:
        return None
    return parse_blob(answer)
