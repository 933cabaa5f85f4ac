"""One connection for many tasks of an event loop, which use it one after the other."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from checks.errors import StoreUnreachableError
from tasks.database import Connection, Connector

P = ParamSpec("P")
R = TypeVar("R")


class SerialConnection:
    """Opens when it is first needed, and again after it was lost."""

    def __init__(self, connect: Connector) -> None:
        self._connect = connect
        self._conn: Connection | None = None
        self._turn = asyncio.Lock()

    async def run(
        self, work: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """What ``work`` gives, called in a thread with the connection as its first argument.

        A cancelled task waits until its statement has ended: nobody else may use the connection
        before.
        """
        async with self._turn:
            called = partial(self._work, lambda conn: work(conn, *args, **kwargs))
            working = asyncio.ensure_future(asyncio.to_thread(called))
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:
                await asyncio.gather(working, return_exceptions=True)
                raise

    def _work(self, work: Callable[[Connection], R]) -> R:
        if self._conn is None or self._conn.closed:
            self._conn = self._connect()
        try:
            return work(self._conn)
        except StoreUnreachableError:
            self._conn.close()
            raise

    async def aclose(self) -> None:
        """Closes the connection."""
        async with self._turn:
            if self._conn is not None:
                await asyncio.to_thread(self._conn.close)
