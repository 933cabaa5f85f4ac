"""Requests to the blob store: pooled, bounded in time and size, at the plan's rate, retried."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
import urllib3

from checks.errors import MalformedAnswerError, NotTheStoresUrlError, SettingsError, StoreError
from checks.normal import BlobAddress
from tasks.lanes import Lanes
from tasks.rates import Operation, OperationRates
from tasks.retries import ATTEMPTS, TOTAL_SECONDS, retrying
from tasks.settings import Settings, is_loopback, missing
from tasks.stores.blob import failures
from tasks.stores.blob.answers import decoded
from tasks.stores.blob.bodies import Bodies, Digest, Judge, Pace
from tasks.stores.protocol import Sink

#: The version of the API's answers that the official client of 2026-11 asks for.
API_VERSION = "12"
CONNECTIONS = 16
ANSWER_SECONDS = 60.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
#: Bytes a second that a transfer of an object must reach on the whole, whatever its size is said
#: to be.
LOWEST_SPEED = 128 * 1024
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "edgekeeper"}
_TIMEOUTS = httpx.Timeout(30.0, connect=10.0, pool=None)
Body = bytes | Callable[[], AsyncIterator[bytes]]


class BlobConnection:
    """One store's API and object URLs. Belongs to one event loop; many tasks may share it.

    Attributes:
        store_id: as the token has it.
        address: which URLs are the store's own.
        rates: keeps under the plan's rates and counts operations.
        requests: requests sent so far, retries included.
    """

    def __init__(
        self, token: str, store_id: str, api_url: str, address: BlobAddress, rates: OperationRates
    ) -> None:
        self.store_id = store_id
        self.address = address
        self.rates = rates
        self.requests = 0
        self._token = token
        self._api_url = api_url
        self._lanes = Lanes(
            CONNECTIONS,
            hosts=2,  # the API's and the objects'
            trust_env=not is_loopback(api_url),  # a proxy has no business between two local ends
            timeout=_TIMEOUTS,
            follow_redirects=False,
            headers=_HEADERS,
        )
        self._bodies = Bodies(CONNECTIONS, trust_env=not is_loopback(api_url))

    @classmethod
    def from_settings(cls, settings: Settings, *, sharing: int = 1) -> Self:
        """Raises SettingsError where the store is not configured. ``sharing``: of the rates."""
        address, store_id = settings.blob_address, settings.blob_store_id
        if settings.blob_token is None or address is None or store_id is None:
            raise SettingsError(missing("blob_token"))
        rates = OperationRates(settings.blob_plan, sharing)
        token = settings.blob_token.get_secret_value()
        return cls(token, store_id, settings.blob_api_url, address, rates)

    async def aclose(self) -> None:
        """Closes connections."""
        await self._bodies.aclose()
        await self._lanes.aclose()

    async def call(
        self,
        what: str,
        method: str,
        path: str = "",
        *,
        operation: Operation,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        seconds: float = ANSWER_SECONDS,
        attempts: int = ATTEMPTS,
        on_attempt: Callable[[], None] = lambda: None,
    ) -> Any:
        """One operation of the API, retried as the policy says.

        Args:
            what: names the operation and its object in errors.
            method: of the request.
            path: after the base URL.
            operation: what it counts as.
            params: the query.
            headers: beside those of every request.
            body: bytes, or what yields them anew for each attempt.
            seconds: that one attempt may take.
            attempts: at most so many; 1 where the caller retries a larger whole.
            on_attempt: called for each request sent.

        Returns:
            The decoded JSON of the answer, None where it has no body.

        Raises:
            StoreError: as :mod:`tasks.stores.blob.failures` says.
        """
        number = itertools.count()
        fixed = self._headers() | dict(headers or {})

        async def attempt() -> Any:
            await self.rates.admit(operation)
            on_attempt()
            sent = self._sent(
                what,
                seconds,
                method,
                self._api_url + path,
                params=params,
                headers=fixed | {"x-api-blob-request-attempt": str(next(number))},
                content=body() if callable(body) else body,
            )
            async with sent as response:
                answer = await whole(what, response)
            if not response.is_success:
                raise failures.refusal(what, response, answer)
            return decoded(answer) if answer else None

        return await retrying(
            attempt,
            is_transient=failures.worth_retrying,
            attempts=attempts,
            total_seconds=TOTAL_SECONDS + seconds - ANSWER_SECONDS,
        )

    async def hashed(self, what: str, url: str, judge: Judge, into: Sink | None = None) -> Digest:
        """One attempt to get an object's bytes and to hash them, see :class:`Bodies`.

        The token goes only to where private objects are; there the CDN is passed by.

        Raises NotTheStoresUrlError where ``url`` is none of this store's object URLs, and
        TooSlowError where the bytes fall behind ``LOWEST_SPEED``.
        """
        if not self.address.owns(url):
            raise NotTheStoresUrlError(
                f"{what}: the blob store names {url[:200]} as the object's URL, which is not the "
                "store's own; it was not fetched"
            )
        await self.rates.admit(Operation.SIMPLE)
        target, headers = httpx.URL(url), dict(_HEADERS)
        if self.address.takes_token(url):
            target = target.copy_merge_params({"cache": "0"})
            headers["authorization"] = f"Bearer {self._token}"
        self.requests += 1
        try:
            return await self._bodies.hashed(
                target, headers, judge, Pace(ANSWER_SECONDS, LOWEST_SPEED), into
            )
        except TimeoutError:
            raise failures.too_slow(what, LOWEST_SPEED) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise failures.unreachable(what, error) from error

    @asynccontextmanager
    async def _sent(
        self, what: str, seconds: float, method: str, url: httpx.URL | str, **parts: Any
    ) -> AsyncIterator[httpx.Response]:
        """Sends a request, and bounds the time until its answer is read."""
        try:
            async with self._lanes.lane() as client:
                self.requests += 1
                async with (
                    asyncio.timeout(seconds),
                    client.stream(method, url, **parts) as response,
                ):
                    yield response
        except httpx.LocalProtocolError as error:  # ours to get right: no use in trying again
            raise StoreError(f"{what}: the request could not be sent as it is: {error}") from error
        except (httpx.TransportError, TimeoutError) as error:
            raise failures.unreachable(what, error) from error

    def _headers(self) -> dict[str, str]:
        """The headers of the official client; the request's id stays the same over retries."""
        milliseconds = time.time_ns() // 1_000_000
        return {
            "authorization": f"Bearer {self._token}",
            "x-api-version": API_VERSION,
            "x-vercel-blob-store-id": self.store_id,
            "x-api-blob-request-id": f"{self.store_id}:{milliseconds}:{secrets.token_hex(7)}",
        }


async def whole(what: str, response: httpx.Response) -> bytes:
    """An answer's body, unless it is larger than any answer of the API."""
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise MalformedAnswerError(
                f"{what}: the blob store's answer is larger than {MAX_ANSWER_BYTES} bytes; check "
                "VERCEL_BLOB_API_URL"
            )
    return bytes(body)


def transfer_seconds(size: int) -> float:
    """How long an upload of ``size`` bytes may take, or the attempts at a download."""
    return ANSWER_SECONDS + size / LOWEST_SPEED
