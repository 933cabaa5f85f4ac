"""HTTP clients side by side, each with connections of its own.

For every request, and again at its end, a connection pool looks at each connection it has, at its
socket too: with 16 of them that was a quarter of what a request costs. In a lane goes one request
at a time, so that its pool has no more connections than there are hosts to talk to.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from ssl import SSLContext
from typing import Any

import httpx

_KEEPALIVE_SECONDS = 30.0


@cache
def tls_context(*, trust_env: bool) -> SSLContext:
    """Whom a client trusts: made once, since reading the authorities takes longer than a request.

    ``trust_env``: whether the environment's certificates count.
    """
    return httpx.create_ssl_context(trust_env=trust_env)


class Lanes:
    """So many requests at once as there are lanes; belongs to one event loop."""

    def __init__(self, number: int, *, hosts: int, trust_env: bool, **options: Any) -> None:
        """Opens nothing yet.

        Args:
            number: of lanes.
            hosts: that one lane talks to in turn.
            trust_env: whether the environment's proxies and certificates count.
            options: of each ``httpx.AsyncClient``.
        """
        self._places = asyncio.Semaphore(number)
        self._free: list[httpx.AsyncClient] = []
        self._all: list[httpx.AsyncClient] = []
        self._options = options | {
            "trust_env": trust_env,
            "verify": tls_context(trust_env=trust_env),
            "limits": httpx.Limits(
                max_connections=hosts,
                max_keepalive_connections=hosts,
                keepalive_expiry=_KEEPALIVE_SECONDS,
            ),
        }

    @asynccontextmanager
    async def lane(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request; the one used last comes first, since its connection is warm."""
        async with self._places:
            client = self._free.pop() if self._free else self._opened()
            try:
                yield client
            finally:
                self._free.append(client)

    async def aclose(self) -> None:
        """Closes all connections."""
        for client in self._all:
            await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        client = httpx.AsyncClient(**self._options)
        self._all.append(client)
        return client
