"""Connections and the translation of Postgres' errors."""

import socket
import time
from collections.abc import Iterator

import psycopg
import pytest

from checks.errors import (
    AccessRefusedError,
    SchemaError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
)
from tasks.database import Connection, connect, explained, transaction
from tasks.queries import SQL_ROOT, statements

SECRET = "very-secret"


def test_a_database_that_is_not_there_is_named(server_url: str) -> None:
    with pytest.raises(SettingsError, match="There is no database nowhere"):
        connect(server_url.replace("/postgres?", "/nowhere?"))


def test_an_unknown_role_is_refused_access(server_url: str) -> None:
    with pytest.raises(AccessRefusedError, match="refused the user nobody"):
        connect(server_url.replace("postgres:@", f"nobody:{SECRET}@"))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}@no-such-host.invalid/db",
        f"postgresql://user:{SECRET}@localhost:1/db",
        f"postgresql://user:{SECRET}@localhost:not-a-port/db",
        f"postgresql://user:{SECRET}@local host/%zz",
        f"user={SECRET} 'x",
    ],
)
def test_no_error_repeats_the_password(url: str) -> None:
    with pytest.raises((StoreUnreachableError, SettingsError)) as caught:
        connect(url, attempts=1)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


def test_a_compute_that_wakes_up_late_is_waited_for(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_connect, calls = psycopg.connect, 0

    def asleep_at_first(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise psycopg.OperationalError("Couldn't connect to compute node")
        return really_connect(*arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(psycopg, "connect", asleep_at_first)
    with connect(server_url) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
    assert calls == 2


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_server_that_never_answers_is_given_up(silent_port: int) -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError):
        connect(f"postgresql://u@127.0.0.1:{silent_port}/d?connect_timeout=2", attempts=1)
    assert time.monotonic() - started < 10


def test_a_connection_says_who_it_is_and_leaves_nothing_in_the_session(conn: Connection) -> None:
    def settings() -> tuple[str, ...]:
        names = ("application_name", "TimeZone", "statement_timeout", "lock_timeout")
        rows = (conn.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names)
        return tuple(str(row[0]) for row in rows if row)

    before = settings()
    with transaction(conn, statement_timeout="3s", lock_timeout="2s"):
        assert settings() == ("edgekeeper", "UTC", "3s", "2s")
    assert settings() == before
    assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_a_snapshot_writes_nothing(conn: Connection) -> None:
    with pytest.raises(StoreError), transaction(conn, snapshot=True):
        conn.execute("DELETE FROM storage_edges")


def test_errors_come_out_as_ours(conn: Connection) -> None:
    with pytest.raises(SchemaError, match="schema status"), transaction(conn):
        conn.execute("SELECT * FROM no_such_table")
    with pytest.raises(StoreError, match="gave up"), transaction(conn, statement_timeout="10ms"):
        conn.execute("SELECT pg_sleep(5)")
    lost = explained(psycopg.errors.AdminShutdown("terminating connection"))
    assert isinstance(lost, StoreUnreachableError)


def test_every_statement_has_a_name_and_a_sentence() -> None:
    files = sorted(SQL_ROOT.rglob("*.sql"))
    assert files
    for path in files:
        found = statements(str(path.relative_to(SQL_ROOT).with_suffix("")))
        assert found
        for statement in found.values():
            assert statement.description.endswith("."), (path.name, statement.name)
            assert statement.text
