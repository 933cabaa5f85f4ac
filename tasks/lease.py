"""The lease: one writing run at a time, proven to the database with every write.

Session locks do not survive a transaction pooler, so that the lease is a row of ``audit.run`` with
a heartbeat and a fencing token. Every writing transaction locks that row and looks at the token
before it is committed (:func:`check_fence`): a run that was taken over can't write any more,
however late it wakes. All times are the database's.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import structlog
from psycopg import errors as pg
from psycopg.types.json import Jsonb

from checks.errors import EdgekeeperError, LeaseError, LeaseLostError, StoreError
from tasks.database import Connection, Connector, transaction
from tasks.queries import query
from tasks.schema import ensure_audit_schema

TIMEOUT_SECONDS = 300.0
HEARTBEAT_SECONDS = 60.0
_RETRY_SECONDS = 5.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fence:
    """What a writing transaction shows: the run, and the token that its lease came with."""

    run_id: str
    token: int


def check_fence(conn: Connection, fence: Fence) -> None:
    """Makes sure, until the end of the transaction, that the run still holds the lease.

    Raises LeaseLostError where it does not; then nothing may be written.
    """
    parameters = {"run_id": fence.run_id, "token": fence.token}
    if conn.execute(query("queries/lease", "fence"), parameters).fetchone() is None:
        raise LeaseLostError(
            f"Run {fence.run_id} was taken over by another run; it has stopped writing."
        )


def still_ours(conn: Connection, fence: Fence) -> None:
    """Raises LeaseLostError where another run has taken over: asked before a store is written."""
    with transaction(conn):
        check_fence(conn, fence)


class Lease:
    """A lease that is held, its heart beating in a thread with connections of its own."""

    def __init__(self, connect: Connector, fence: Fence, timeout: float, interval: float) -> None:
        self.fence = fence
        self._connect = connect
        self._timeout = timeout
        self._interval = interval
        self._last_beat = time.monotonic()
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raises LeaseLostError where the lease is lost, or may be since no beat got through."""
        silent = time.monotonic() - self._last_beat > self._timeout
        if self._lost.is_set() or silent:
            raise LeaseLostError(
                f"Run {self.fence.run_id} has lost its lease; run it again with --resume."
            )

    def release(
        self, conn: Connection, status: str, summary: Mapping[str, Any] | None = None
    ) -> None:
        """Ends the run and gives the lease back; of no effect where it was taken over."""
        self.stop()
        with transaction(conn, lock_timeout="30s"):
            conn.execute(
                query("queries/lease", "release"),
                {
                    "run_id": self.fence.run_id,
                    "token": self.fence.token,
                    "status": status,
                    "summary": None if summary is None else Jsonb(dict(summary)),
                },
            )

    def stop(self) -> None:
        """Ends the heartbeat."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._interval + _RETRY_SECONDS)

    def _beat_on(self) -> None:
        wait = self._interval
        while not self._ended.wait(wait):
            wait = self._interval if self._beat() else min(_RETRY_SECONDS, self._interval)
            if self._lost.is_set():
                return

    def _beat(self) -> bool:
        """Beats once, over a fresh connection: an idle one would keep the compute from sleeping."""
        sent = time.monotonic()
        try:
            with self._connect() as conn, transaction(conn, lock_timeout="10s"):
                parameters = {"run_id": self.fence.run_id, "token": self.fence.token}
                row = conn.execute(query("queries/lease", "beat"), parameters).fetchone()
        except EdgekeeperError as error:
            _log.warning("heartbeat_failed", run_id=self.fence.run_id, reason=str(error))
            return False
        if row is None:
            self._lost.set()
        else:
            self._last_beat = sent
        return True


def acquire(
    connect: Connector,
    run_id: str,
    *,
    flow: str,
    policy: str,
    settings: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    interval: float = HEARTBEAT_SECONDS,
) -> Lease:
    """Takes the lease for a new or resumed run; a ``with`` block keeps its heart beating.

    Args:
        connect: opens a connection.
        run_id: the run; one that is there already is resumed.
        flow: which flow it is.
        policy: how far it may go.
        settings: as shown to people: secrets masked.
        timeout: seconds of silence after which a holder is taken over.
        interval: seconds between heartbeats.

    Raises LeaseError where another run holds the lease.
    """
    parameters = {
        "run_id": run_id,
        "flow": flow,
        "policy": policy,
        "holder": f"{socket.gethostname()}:{os.getpid()}",
        "settings": None if settings is None else Jsonb(dict(settings)),
    }
    with connect() as conn:
        ensure_audit_schema(conn)
        try:
            with transaction(conn):
                _make_way(conn, timeout)
                row = conn.execute(query("queries/lease", "take"), parameters).fetchone()
        except StoreError as error:
            if isinstance(error.__cause__, pg.UniqueViolation | pg.LockNotAvailable):
                raise LeaseError(
                    "Another run is taking the lease or writing under it just now; try again in a "
                    "minute."
                ) from None
            raise
    assert row is not None  # noqa: S101 - an upsert returns its row
    return Lease(connect, Fence(run_id, row[0]), timeout, interval)


@contextmanager
def held(
    connect: Connector, run_id: str, *, flow: str, policy: str, **more: Any
) -> Iterator[Lease]:
    """A lease for the length of a ``with`` block: released as ``failed`` if an error ends it."""
    with acquire(connect, run_id, flow=flow, policy=policy, **more) as lease:
        try:
            yield lease
        except BaseException:
            with connect() as conn:
                lease.release(conn, "failed")
            raise


def _make_way(conn: Connection, timeout: float) -> None:
    """Evicts a holder that has fallen silent or is known to be dead. Raises LeaseError else."""
    row = conn.execute(query("queries/lease", "holder")).fetchone()
    if row is None:
        return
    run_id, flow, holder, age = row
    if age is not None and age < timeout and not _is_dead(holder):
        raise LeaseError(
            f"Run {run_id} ({flow} on {holder}) holds the lease, its last heartbeat was "
            f"{age:.0f} s ago. Wait until it ends; if it is dead, it is taken over after "
            f"{timeout:.0f} s of silence."
        )
    conn.execute(query("queries/lease", "evict"), {"run_id": run_id})
    _log.warning("lease_taken_over", from_run=run_id, silent_seconds=age)


def _is_dead(holder: str | None) -> bool:
    """Whether the holder ran on this machine and its process is gone: a killed run is resumed soon.

    Were this ever wrong (two containers under one host name), the fence keeps the other from
    writing.
    """
    host, _, process_id = (holder or "").rpartition(":")
    if host != socket.gethostname() or not process_id.isdecimal():
        return False
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
