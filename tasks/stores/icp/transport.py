"""HTTP to a boundary node or replica: pooled, bounded, retried, and never led elsewhere."""

import asyncio
import re
from datetime import UTC, datetime

import httpx

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    NotTheStoresUrlError,
    StoreError,
    StoreUnreachableError,
)
from tasks import usage
from tasks.lanes import Lanes
from tasks.retries import http_date, retry_after, retrying
from tasks.settings import is_loopback

#: A query's reply has at most 3 MiB, a certificate 2 MiB and its tree.
MAX_ANSWER_BYTES = 6 * 1024 * 1024
#: A server that sends a byte now and then must not hold an attempt for ever.
ATTEMPT_SECONDS = 90.0
ACCEPTED = 202
_OK = 200
_REDIRECTS = range(300, 400)
_REFUSED = (401, 403)
_NO_SUCH_ENDPOINT = (404, 405)
_TOO_MANY = 429
_SERVER_ERRORS = range(500, 600)
_TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=None)
_MAX_SHOWN = 300
_CAUSE = "x-ic-error-cause"


class EndpointMissingError(StoreError):
    """The replica does not know this version of an endpoint."""


class TransientError(StoreUnreachableError):
    """No answer, or one that asks to come back later.

    Attributes:
        wait: seconds that the server asks for, None where it leaves that to us.
    """

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class Transport:
    """Posts CBOR to one replica.

    Attributes:
        requests: requests sent so far, each attempt counted.
    """

    def __init__(self, url: str, *, in_flight: int) -> None:
        self.url = url
        self.requests = 0
        self._lanes = Lanes(
            in_flight,
            hosts=1,
            trust_env=not is_loopback(url),  # a proxy has no business between two local ends
            base_url=url,
            timeout=_TIMEOUT,
            follow_redirects=False,
            # What comes compressed could unpack to any size.
            headers={"accept-encoding": "identity", "content-type": "application/cbor"},
        )

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._lanes.aclose()

    async def get(self, path: str) -> bytes:
        """The body of a GET's answer. Raises as :meth:`post` does."""
        _, body = await retrying(
            lambda: self._attempt("GET", path, None), is_transient=_is_transient
        )
        return body

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status (200 or 202) and body of the answer, after as many attempts as are allowed.

        Raises:
            StoreUnreachableError: no answer, or none but "later".
            AccessRefusedError: the sender was not accepted.
            EndpointMissingError: there is no such endpoint.
            MalformedAnswerError: the answer has an impossible size.
            NotTheStoresUrlError: the answer is a redirect; it was not followed.
            StoreError: the request was refused for good.
        """
        return await retrying(lambda: self._attempt("POST", path, body), is_transient=_is_transient)

    async def _attempt(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        async with self._lanes.lane() as client:
            self.requests += 1
            usage.count(usage.ICP_REQUESTS)
            try:
                async with (
                    asyncio.timeout(ATTEMPT_SECONDS),
                    client.stream(method, path, content=body) as response,
                ):
                    content = await _read(response)
            except (httpx.TransportError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                raise TransientError(f"{self.url} did not answer: {reason}") from None
            except httpx.HTTPError as error:
                raise MalformedAnswerError(f"{self.url} answered no HTTP: {error}") from None
        if response.status_code in (_OK, ACCEPTED):
            return response.status_code, content
        raise self._error(response, content)

    def _error(  # noqa: PLR0911 - one line for each meaning
        self, response: httpx.Response, content: bytes
    ) -> StoreError:
        """What an answer means that is neither 200 nor 202."""
        status = response.status_code
        cause = response.headers.get(_CAUSE)
        said = _shown(content)
        message = f"{self.url} answered {status}{f' ({cause})' if cause else ''}: {said}"
        if status in _NO_SUCH_ENDPOINT and cause is None:
            return EndpointMissingError(message)
        if status == _TOO_MANY or status in _SERVER_ERRORS:
            wait = retry_after(response.headers, datetime.now(UTC))
            return TransientError(message, wait)
        if status in _REDIRECTS:
            target = response.headers.get("location", "nowhere")
            return NotTheStoresUrlError(
                f"{self.url} redirects to {target[:_MAX_SHOWN]}, which was not followed; "
                "set IC_URL to the boundary node itself"
            )
        if "request expiry" in said.lower():
            return StoreError(f"{message} {_skew(response)}")
        if status in _REFUSED or "signature" in said.lower() or "delegation" in said.lower():
            return AccessRefusedError(f"{message}; check IC_IDENTITY_PEM")
        if cause == "canister_not_found":
            return StoreError(f"{message}; check CANISTER_ID_BACKEND and IC_URL")
        return StoreError(message)


async def _read(response: httpx.Response) -> bytes:
    """The body, as far as it is of a size that makes sense."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise MalformedAnswerError(f"an answer has more than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _is_transient(error: Exception) -> bool | float:
    if not isinstance(error, TransientError):
        return False
    return True if error.wait is None else error.wait


def _shown(content: bytes) -> str:
    text = content[: 4 * _MAX_SHOWN].decode(errors="replace")
    return re.sub(r"[^\x20-\x7e]+", " ", text).strip()[:_MAX_SHOWN] or "(no reason given)"


def _skew(response: httpx.Response) -> str:
    """What a refused expiry says about the clock of this machine."""
    advice = "This machine's clock is off; set it, for example by NTP."
    there = http_date(response.headers.get("date", ""))
    if there is None:
        return advice
    seconds = round((datetime.now(UTC) - there).total_seconds())
    if abs(seconds) <= 1:
        return advice
    direction = "ahead of" if seconds > 0 else "behind"
    return f"This machine's clock is {abs(seconds)} s {direction} the network's; set it."
