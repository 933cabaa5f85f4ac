"""One writing run at a time, and none that was taken over."""

import time

import pytest

from checks.errors import LeaseError, LeaseLostError
from tasks.database import Connection, connector, transaction
from tasks.lease import acquire, check_fence, held


def status(conn: Connection, run_id: str) -> str:
    row = conn.execute("SELECT status FROM audit.run WHERE run_id = %s", [run_id]).fetchone()
    return str(row[0]) if row else "none"


def test_a_second_run_is_refused_until_the_first_ends(conn: Connection, database_url: str) -> None:
    connect = connector(database_url)
    with acquire(connect, "one", flow="f", policy="none", settings={"token": "***"}) as first:
        with pytest.raises(LeaseError, match=r"one .*holds the lease") as refused:
            acquire(connect, "two", flow="f", policy="none")
        assert refused.value.exit_code == 4
        first.release(conn, "clean", {"findings": 0})
    assert status(conn, "one") == "clean"
    with acquire(connect, "two", flow="f", policy="none") as second:
        assert second.fence.token > first.fence.token


def test_the_heart_beats_while_the_run_works(conn: Connection, database_url: str) -> None:
    with acquire(connector(database_url), "one", flow="f", policy="none", interval=0.05) as lease:
        conn.execute("UPDATE audit.run SET heartbeat_at = now() - interval '1 day'")
        time.sleep(0.5)
        row = conn.execute("SELECT clock_timestamp() - heartbeat_at FROM audit.run").fetchone()
        assert row is not None
        assert row[0].total_seconds() < 5
        lease.check()


def test_a_silent_run_is_taken_over_and_can_not_write_any_more(
    conn: Connection, database_url: str
) -> None:
    connect = connector(database_url)
    with acquire(connect, "one", flow="f", policy="none", interval=0.05) as first:
        with transaction(conn):
            check_fence(conn, first.fence)
        with acquire(connect, "two", flow="f", policy="none", timeout=0) as second:
            with pytest.raises(LeaseLostError), transaction(conn):
                check_fence(conn, first.fence)
            with transaction(conn):
                check_fence(conn, second.fence)
            time.sleep(0.5)
            with pytest.raises(LeaseLostError):
                first.check()
            first.release(conn, "clean")
            assert status(conn, "one") == "failed"
            assert status(conn, "two") == "running"


def test_a_resumed_run_gets_a_new_token(database_url: str) -> None:
    connect = connector(database_url)
    first = acquire(connect, "one", flow="f", policy="none")
    again = acquire(connect, "one", flow="f", policy="none", timeout=0)
    assert again.fence.token > first.fence.token


def test_an_error_releases_the_lease(conn: Connection, database_url: str) -> None:
    connect = connector(database_url)
    with pytest.raises(ZeroDivisionError), held(connect, "one", flow="f", policy="none"):
        _ = 1 / 0
    assert status(conn, "one") == "failed"
    acquire(connect, "two", flow="f", policy="none")


def test_silence_for_longer_than_the_timeout_counts_as_lost(database_url: str) -> None:
    lease = acquire(connector(database_url), "one", flow="f", policy="none", timeout=0.05)
    time.sleep(0.1)
    with pytest.raises(LeaseLostError, match="--resume"):
        lease.check()
