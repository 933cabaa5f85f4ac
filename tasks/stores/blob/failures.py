"""What a failed request means, and whether it is worth another attempt."""

from datetime import UTC, datetime

import httpx

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    NotTheStoresUrlError,
    ObjectChangedError,
    StoreError,
    StoreUnreachableError,
)
from tasks.retries import retry_after
from tasks.stores.blob.answers import parse_error

_REFUSALS = {
    "forbidden": "check BLOB_READ_WRITE_TOKEN: it may be revoked or belong to another store",
    "store_suspended": "the store is suspended, often because what the plan includes is used up: "
    "look at the store's usage in Vercel's dashboard",
    "store_not_found": "no store has the id in BLOB_READ_WRITE_TOKEN: check the token",
    "client_token_expired": "use a read-write token as BLOB_READ_WRITE_TOKEN, not a client token",
    "client_token_not_allowed": "use a read-write token as BLOB_READ_WRITE_TOKEN",
    "oidc_environment_not_allowed": "use a read-write token as BLOB_READ_WRITE_TOKEN",
}
_BUSY = frozenset({"rate_limited", "service_unavailable", "internal_server_error", "unknown_error"})
_CODE_OF_STATUS = {
    401: "forbidden",
    403: "forbidden",
    408: "service_unavailable",
    412: "precondition_failed",
    429: "rate_limited",
}


class BlobNotFoundError(StoreError):
    """The store says, in so many words, that there is no such object."""


class ConditionFailedError(ObjectChangedError):
    """A write was refused because the object is not as the condition says."""


class BusyError(StoreUnreachableError):
    """The store answered that it can't serve the request now.

    ``seconds`` is how long it asks to wait, None where it does not say.
    """

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class UnsettledReadError(ObjectChangedError):
    """The bytes that came are not those of the version the API names, perhaps only for now."""


class ShortReadError(StoreUnreachableError):
    """The bytes ended before, or went on after, the size that the API names."""


class TooSlowError(StoreUnreachableError):
    """The bytes came so slowly that waiting for the rest has no bound."""


def worth_retrying(error: Exception) -> bool | float:
    """For :func:`tasks.retries.retrying`: what passes by itself, and after how long."""
    if isinstance(error, TooSlowError):  # it has had its minute, and another one buys little
        return False
    if isinstance(error, BusyError) and error.seconds is not None:
        return error.seconds
    return isinstance(error, StoreUnreachableError | UnsettledReadError)


def unreachable(what: str, error: Exception) -> StoreUnreachableError:
    """A connection that failed, or took too long."""
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return StoreUnreachableError(
        f"{what}: the blob store did not answer ({reason}); check the network, "
        "VERCEL_BLOB_API_URL and Vercel's status page"
    )


def too_slow(what: str, lowest: int) -> TooSlowError:
    """A download that fell behind ``lowest`` bytes a second."""
    return TooSlowError(
        f"{what}: its bytes came at less than {lowest // 1024} kB a second; it was given up, so "
        "that one object can't hold up all others: check the network, and try again later"
    )


def redirected(what: str, response: httpx.Response) -> NotTheStoresUrlError:
    """A redirect, which is never followed."""
    target = response.headers.get("location", "nowhere").partition("?")[0][:200]
    return NotTheStoresUrlError(
        f"{what}: the blob store redirected to {target}, which was not followed; check "
        "VERCEL_BLOB_API_URL, and for a proxy or a sign-in page in between"
    )


def refusal(what: str, response: httpx.Response, body: bytes) -> StoreError:
    """The error that an answer of the API means: by its code, and by its status without one."""
    if response.is_redirect:
        return redirected(what, response)
    code, message = parse_error(body)
    status = response.status_code
    said = f"{status} {code or 'without a code'}" + (f": {message[:200]}" if message else "")
    meaning = code if code in _KNOWN_CODES else _CODE_OF_STATUS.get(status, code)
    if meaning == "not_found" and status == httpx.codes.NOT_FOUND:
        return BlobNotFoundError(f"{what}: the blob store has no such object ({said})")
    if meaning in _REFUSALS:
        return AccessRefusedError(
            f"{what}: the blob store refused access ({said}); {_REFUSALS[meaning]}"
        )
    if meaning == "precondition_failed" or "already exists" in message:
        return ConditionFailedError(
            f"{what}: the object is not as it was observed ({said}); nothing was written: look "
            "at it again"
        )
    if meaning in _BUSY or response.is_server_error:
        seconds = retry_after(response.headers, datetime.now(UTC))
        return BusyError(f"{what}: the blob store can't serve it now ({said})", seconds)
    return MalformedAnswerError(
        f"{what}: the blob store did not accept the request ({said}); check VERCEL_BLOB_API_URL, "
        "and whether this version of edgekeeper is too old for the store's API"
    )


_KNOWN_CODES = frozenset(_REFUSALS) | _BUSY | {"not_found", "precondition_failed", "bad_request"}
