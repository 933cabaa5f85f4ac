"""``CREATE`` and ``DROP INDEX CONCURRENTLY`` that do not wait for ever.

They lock nobody out, but wait for every transaction that was open before them. ``lock_timeout``
would need a session, which a transaction pooler does not keep: instead a second connection looks
whom the statement waits for, and gives it up after a while.
"""

import threading
import time
from types import TracebackType
from typing import Any, Self

import psycopg
import structlog
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo

from checks.errors import StoreError
from tasks.database import Connection
from tasks.queries import query

#: How long one wait for other transactions may take.
PATIENCE_SECONDS = 30.0
_LOOK_EVERY_SECONDS = 0.5
_log = structlog.get_logger(__name__)


def run_concurrently(conn: Connection, statement: str) -> None:
    """Runs one statement that must be outside a transaction.

    Raises StoreError, naming who held it up, where it waited too long for other transactions. What
    a given up ``CREATE INDEX`` leaves behind is an invalid index, which ``schema apply`` notices.
    """
    with _Watch(conn, statement) as watch:
        try:
            conn.execute(statement.encode())
        except pg.QueryCanceled as error:
            if not watch.blockers:
                raise
            who = "; ".join(
                f"process {pid} ({application or 'unnamed'}, {state}, open for {open_for})"
                for pid, application, state, open_for in watch.blockers
            )
            raise StoreError(
                f"It waited {PATIENCE_SECONDS:.0f} s for another transaction to end and was given "
                f"up: {who}. Run edgekeeper schema apply again when that has ended."
            ) from error


class _Watch:
    """Looks whom a running statement waits for; ``blockers``: for whom it was given up."""

    def __init__(self, conn: Connection, statement: str) -> None:
        self.blockers: list[tuple[Any, ...]] = []
        self._conn = conn
        self._statement = statement
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._look()
        except psycopg.Error as error:  # the statement runs on, and waits as long as it takes
            _log.warning("index_not_watched", reason=type(error).__name__)

    def _look(self) -> None:
        info = self._conn.info
        again = make_conninfo(info.dsn, password=info.password or None)
        waiting_since: float | None = None
        with psycopg.connect(again, autocommit=True, prepare_threshold=None) as conn:
            while not self._over.wait(_LOOK_EVERY_SECONDS):
                found = conn.execute(
                    query("schema/inspect", "blockers"), {"statement": self._statement}
                ).fetchall()
                now = time.monotonic()
                waiting_since = (waiting_since or now) if found else None
                if waiting_since is not None and now - waiting_since >= PATIENCE_SECONDS:
                    self.blockers = found
                    self._conn.cancel_safe()
                    return
