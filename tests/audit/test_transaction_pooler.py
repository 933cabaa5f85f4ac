"""Everything that touches the database works through a pooler that keeps no session."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged_sandbox import Box, backfilled
from transaction_pooler import PROGRAM, SERVERS, TransactionPooler

from checks.errors import LeaseError, LeaseLostError
from tasks.database import connect, connector, transaction
from tasks.journal import revert_run
from tasks.lease import acquire, check_fence, held
from tasks.schema import ObjectState, apply_schema, schema_status

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
EDGES = "SELECT count(*) FROM storage_edges"


@pytest.fixture(scope="module")
def _pooler(_shared: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransactionPooler]:
    pooler = TransactionPooler(
        _shared.directory.database_url, tmp_path_factory.mktemp("pooler") / "pgbouncer"
    )
    yield pooler
    pooler.stop()


@pytest.fixture
def pooled(_pooler: TransactionPooler, box: Box) -> str:
    """The damaged sandbox's database through the pooler; the database is as new."""
    box.audit(Path(box.directory.path) / "pinning")  # makes the schema audit, as any run does
    _pooler.widen()
    return _pooler.url


def settings(pooled: str, unpooled: str) -> dict[str, str]:
    return {"DATABASE_URL": pooled, "DATABASE_URL_UNPOOLED": unpooled}


def put_back(url: str, run_id: str) -> int:
    """Reverts a run through ``url``; how many edges were put back."""
    connecting = connector(url)
    with (
        held(connecting, "20260101T000000Z-bbbb", flow="revert", policy="ledger") as lease,
        connect(url) as conn,
    ):
        report = revert_run(conn, run_id, fence=lease.fence)
        lease.release(conn, "completed")
    assert not report.changed_since
    return report.reverted


def test_the_pooler_keeps_no_session(pooled: str) -> None:
    """What the other tests here rest on: without it they would show nothing."""
    with connect(pooled) as conn:
        seen = {conn.execute("SELECT pg_backend_pid()").fetchone() for _ in range(2 * SERVERS)}
    assert len(seen) == SERVERS


def test_one_run_holds_the_lease_and_its_heart_beats(pooled: str) -> None:
    connecting = connector(pooled)
    with acquire(connecting, "one", flow="f", policy="ledger", interval=0.05) as lease:
        with pytest.raises(LeaseError, match="holds the lease"):
            acquire(connecting, "two", flow="f", policy="ledger")
        with connect(pooled) as conn:
            conn.execute("UPDATE audit.run SET heartbeat_at = now() - interval '1 day'")
            threading.Event().wait(0.5)
            row = conn.execute(
                "SELECT clock_timestamp() - heartbeat_at < interval '5 s' FROM audit.run "
                "WHERE holds_lease"
            ).fetchone()
            assert row == (True,)
            lease.check()
            lease.release(conn, "clean")
    with acquire(connecting, "two", flow="f", policy="ledger") as second:
        assert second.fence.token > lease.fence.token


def test_a_run_that_was_taken_over_writes_nothing_through_the_pooler(pooled: str) -> None:
    connecting = connector(pooled)
    with (
        acquire(connecting, "one", flow="f", policy="ledger", interval=60) as first,
        acquire(connecting, "two", flow="f", policy="ledger", timeout=0) as second,
        connect(pooled) as conn,
    ):
        for _ in range(4):  # whichever server connection it is given
            with pytest.raises(LeaseLostError), transaction(conn):
                check_fence(conn, first.fence)
            with transaction(conn):
                check_fence(conn, second.fence)


@pytest.mark.parametrize("urls", ["pooler alone", "pooler and direct"])
def test_an_audit_finds_the_same_repairs_and_is_undone_through_the_pooler(
    urls: str, pooled: str, box: Box, home: Path
) -> None:
    direct = box.audit(home / "direct").identities
    before = box.edges(physical=False)
    unpooled = box.directory.database_url if urls == "pooler and direct" else ""
    done = box.audit(home, repair="ledger", verify="30000", **settings(pooled, unpooled))
    assert direct <= done.identities
    assert done.record.repairs.applied
    assert done.record.repairs.failed == done.record.repairs.superseded == 0
    assert box.edges(physical=False) != before
    assert put_back(pooled, done.record.run_id)
    assert box.edges(physical=False) == before


def test_a_back_fill_and_its_undoing_go_through_the_pooler(
    pooled: str, box: Box, home: Path
) -> None:
    box.sql("DELETE FROM storage_edges")
    record = backfilled(box.settings(home, **settings(pooled, "")), batch=25)
    made = box.sql(EDGES)[0][0]
    assert made == record.edges.total > len(box.truth)
    assert box.sql("SELECT count(*) > 4 FROM audit.repair WHERE edge_ids IS NOT NULL") == [(True,)]
    assert put_back(pooled, record.run_id) == made
    assert box.sql(EDGES) == [(0,)]


def test_the_schema_is_made_through_the_pooler(pooled: str, box: Box) -> None:
    box.sql("DROP INDEX IF EXISTS ix_edges_sync_state")
    with connect(pooled) as conn:
        apply_schema(conn)
        assert {each.state for each in schema_status(conn)} == {ObjectState.PRESENT}
