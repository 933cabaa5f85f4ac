"""A run that is stopped in the middle of a write is overtaken, and writes nothing when it wakes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from damaged_sandbox import Box
from transaction_pooler import PROGRAM, TransactionPooler

from tasks.database import connect, connector, transaction
from tasks.lease import acquire, check_fence
from tasks.schema import ensure_audit_schema

ROOT = Path(__file__).resolve().parents[2]
SILENCE = 1.0
WRITE = "UPDATE storage_edges SET sync_error = 'written too late'"
#: Takes the lease and begins to write; goes on with what it began, then tries anew.
HOLDER = """
import sys
from tasks import database
from tasks.lease import acquire, check_fence

database.IDLE_TIMEOUT = "1s"
url, statement = sys.argv[1:]
connecting = database.connector(url)

def attempt(conn, lease, pause):
    try:
        with database.transaction(conn):
            check_fence(conn, lease.fence)
            pause()
            conn.execute(statement)
    except Exception as error:
        return type(error).__name__
    return "written"

def stopped_here():
    print("in the middle", flush=True)
    sys.stdin.readline()

with acquire(connecting, "first", flow="f", policy="ledger", interval=0.2) as lease:
    with connecting() as conn:
        print(attempt(conn, lease, stopped_here), flush=True)
    with connecting() as conn:
        print(attempt(conn, lease, lambda: None), flush=True)
"""


@pytest.fixture(params=["direct", "transaction pooler"])
def url(request: pytest.FixtureRequest, sound: Box, tmp_path: Path) -> Iterator[str]:
    """The sandbox's database, directly and through a pooler."""
    direct = sound.directory.database_url
    with connect(direct) as conn:
        ensure_audit_schema(conn)
    if request.param == "direct":
        yield direct
        return
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    pooler = TransactionPooler(direct, tmp_path / "pgbouncer")
    pooler.widen()
    yield pooler.url
    pooler.stop()


@pytest.fixture
def holder(url: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lease and is in the middle of a write."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, WRITE], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    yield process
    process.kill()
    process.communicate()


def test_a_holder_that_was_stopped_and_overtaken_writes_nothing(
    url: str, holder: "subprocess.Popen[str]", sound: Box
) -> None:
    before = sound.edges()
    holder.send_signal(signal.SIGSTOP)
    time.sleep(SILENCE)
    with (
        acquire(connector(url), "second", flow="f", policy="ledger", timeout=SILENCE) as lease,
        connect(url) as conn,
    ):
        holder.send_signal(signal.SIGCONT)
        told, _ = holder.communicate("go on\n", timeout=60)
        began, anew = told.split()
        assert began in ("StoreUnreachableError", "StoreError")  # Postgres ended its transaction
        assert anew == "LeaseLostError"
        assert sound.edges() == before
        with transaction(conn):
            check_fence(conn, lease.fence)
