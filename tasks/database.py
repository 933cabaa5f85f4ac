"""Connections to Neon, and the one place where Postgres' errors become ours.

Nothing here leaves state in a session, so that everything works through a pooler that hands out a
server connection per transaction: settings are ``SET LOCAL``, statements are never prepared.
Connections are in autocommit mode; whoever needs a transaction opens one with :func:`transaction`,
so that none is left open by accident.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeAlias

import psycopg
import stamina
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from checks.errors import (
    AccessRefusedError,
    EdgekeeperError,
    SchemaError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
)
from tasks.conninfo import completed
from tasks.queries import query

Connection: TypeAlias = psycopg.Connection[TupleRow]
Connector: TypeAlias = Callable[[], Connection]

CONNECT_ATTEMPTS = 5
#: A process that is stopped or swapped out while it writes keeps the lease locked for so long, then
#: Postgres ends its transaction and another run can take over.
IDLE_TIMEOUT = "60s"
#: One that only reads locks nobody out, and writes much to disk between two tables.
_READING_IDLE_TIMEOUT = "10min"
#: For a statement that reads a whole table. A hundred million memories have 400 million edges: they
#: come in 40 minutes where Postgres and the network have nothing else to do.
READ_TIMEOUT = "6h"
_WRONG_PASSWORD = re.compile(
    r"password authentication failed|role .* does not exist|no password supplied"
    r"|no pg_hba\.conf entry|not permitted to log in",
    re.IGNORECASE,
)
_NO_DATABASE = re.compile(r"database .* does not exist", re.IGNORECASE)
_NO_HOST = re.compile(
    r"name or service not known|nodename nor servname|no address associated"
    r"|no such file or directory",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(
    r"certificate|root\.crt|does not support SSL|channel binding", re.IGNORECASE
)
#: Failures that the next attempt would only repeat.
_PERMANENT = (_WRONG_PASSWORD, _NO_DATABASE, _NO_HOST, _CERTIFICATE)


def connect(
    url: str, *, purpose: str = "edgekeeper", attempts: int = CONNECT_ATTEMPTS
) -> Connection:
    """Opens a connection, patient with a compute that has to wake up first.

    Args:
        url: the connection string.
        purpose: the ``application_name`` by which the connection is seen in ``pg_stat_activity``.
        attempts: how often to try where waiting can help, 1 to 16 s apart.

    Raises SettingsError, AccessRefusedError or StoreUnreachableError; none repeats the password.
    """
    conninfo = completed(url, purpose)
    try:
        for attempt in stamina.retry_context(
            on=_is_worth_a_retry, attempts=attempts, timeout=90, wait_initial=1, wait_max=16
        ):
            with attempt:
                return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        _raise_for_connect(error, conninfo)
    raise AssertionError  # pragma: no cover - stamina returns or raises


def connector(url: str, *, purpose: str = "edgekeeper") -> Connector:
    """A function that opens a connection: for threads that need their own."""
    return lambda: connect(url, purpose=purpose)


@contextmanager
def transaction(
    conn: Connection,
    *,
    snapshot: bool = False,
    statement_timeout: str = "10min",
    lock_timeout: str = "5s",
) -> Iterator[None]:
    """A transaction in UTC with time limits, committed at the end, rolled back on an error.

    Postgres ends it where its client falls silent in it, see ``IDLE_TIMEOUT``.

    Args:
        conn: a connection that is not in a transaction.
        snapshot: read-only, and everything in it is seen as of one moment.
        statement_timeout: after which one statement is given up.
        lock_timeout: after which waiting for a lock is given up.

    Raises what :func:`translated` makes of Postgres' errors.
    """
    with translated(), conn.transaction():
        if snapshot:
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        limits = {
            "statement_timeout": statement_timeout,
            "lock_timeout": lock_timeout,
            "idle_timeout": _READING_IDLE_TIMEOUT if snapshot else IDLE_TIMEOUT,
        }
        conn.execute(query("queries/session", "local_settings"), limits)
        yield


@contextmanager
def translated() -> Iterator[None]:
    """Turns an error of Postgres into one of edgekeeper's tree."""
    try:
        yield
    except psycopg.Error as error:
        raise explained(error) from error


def explained(error: psycopg.Error) -> EdgekeeperError:
    """What an error that came up during a statement means for us.

    The message is Postgres' primary message and SQLSTATE: neither holds a password.
    """
    message = error.diag.message_primary or _first_line(error)
    told = f"{message} (SQLSTATE {error.sqlstate})" if error.sqlstate else message
    match error:
        case pg.InsufficientPrivilege():
            return AccessRefusedError(f"The database refused: {told}. Grant it and try again.")
        case pg.UndefinedTable() | pg.UndefinedColumn() | pg.InvalidSchemaName():
            return SchemaError(
                f"The database lacks something: {told}. See edgekeeper schema status."
            )
        case pg.LockNotAvailable():
            return StoreError(f"A lock was not free in time: {told}. Try again later.")
        case pg.QueryCanceled():
            return StoreError(f"The database gave up on a statement: {told}.")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return StoreUnreachableError(f"The connection to the database was lost: {told}.")
    return StoreError(f"The database could not do what was asked: {told}.")


def _is_worth_a_retry(error: Exception) -> bool:
    """Whether waiting may help: the compute sleeps, restarts or has no connection to spare."""
    return isinstance(error, psycopg.OperationalError) and not any(
        pattern.search(str(error)) for pattern in _PERMANENT
    )


def _raise_for_connect(error: psycopg.Error, conninfo: str) -> NoReturn:
    """Says why there is no connection, and what to do, without the password."""
    given = conninfo_to_dict(conninfo)
    where = f"{given.get('host') or 'the local socket'}"
    user, dbname, password = given.get("user"), given.get("dbname"), given.get("password")
    text = str(error)
    if _WRONG_PASSWORD.search(text):
        raise AccessRefusedError(
            f"The database at {where} refused the user {user}. Check user and password in "
            "DATABASE_URL."
        ) from None
    if _NO_DATABASE.search(text):
        raise SettingsError(
            f"There is no database {dbname} at {where}. Check the name in DATABASE_URL."
        ) from None
    if _NO_HOST.search(text):
        raise StoreUnreachableError(
            f"The database's host {where} is not known. Check it in DATABASE_URL."
        ) from None
    detail = _first_line(error)
    if password:
        detail = detail.replace(str(password), "***")
    raise StoreUnreachableError(f"The database at {where} can't be reached: {detail}") from None


def _first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
