"""A back-fill that is killed at any instant, and run again, makes every edge once."""

import json
import random
import time
import uuid
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from checks.columns import BLOB_INVENTORY, ICP_INVENTORY
from checks.normal import BlobAddress
from tasks.backfill import Inventories, backfill_edges
from tasks.database import Connection, connector
from tasks.lease import Fence, acquire
from tasks.snapshot import NEON_DIRECTORY, take_snapshot
from tests.database.test_backfill import OWN, edges, journaled, spool

IMAGES, NOTES = 220, 40
#: Two of each image (row and file) and of each note (row and text), two of each copy.
EDGES = 2 * IMAGES + 2 * NOTES + 2 * (IMAGES // 2)


def fill_the_app(conn: Connection, rng: random.Random, directory: Path) -> None:
    """Images, every other one of them on the canister, every tenth without its file; and notes."""
    ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(IMAGES + NOTES)]
    images, notes = ids[:IMAGES], ids[IMAGES:]
    with conn.cursor() as cursor:
        rows = [(each, f"{OWN}{number}.jpg") for number, each in enumerate(images)]
        cursor.executemany("INSERT INTO images (id, url) VALUES (%s, %s)", rows)
        cursor.executemany(
            "INSERT INTO notes (id, content) VALUES (%s, 'a')", [(n,) for n in notes]
        )
    take_snapshot(conn, directory, 3, hash_notes=True)
    files = [{"location": f"{n}.jpg", "size": n} for n in range(IMAGES) if n % 10]
    spool(directory / "blob", BLOB_INVENTORY, files)
    copy = {"memory_type": "image", "capsule_id": "capsule", "asset_there": True, "size": 6}
    spool(directory / "icp", ICP_INVENTORY, [copy | {"memory_id": each} for each in images[::2]])


def backfill_slowly(url: str, fence: Fence, directory: Path) -> None:
    """What a process that may be killed does; at its end it writes down what it counted."""
    seen = Inventories(
        directory / NEON_DIRECTORY, directory / "blob", directory / "icp", BlobAddress("abc"),
        blob_complete=True, icp_complete=True,
    )  # fmt: skip
    report = backfill_edges(
        connector(url), fence, seen, directory / "work", batch=5,
        told=lambda _edges: time.sleep(0.002),
    )  # fmt: skip
    counted = {"inserted": report.inserted.total(), "already": report.already_there}
    (directory / "counted.json").write_text(json.dumps(counted))


def killed(process: Any, conn: Connection, rng: random.Random, further: int) -> None:
    """Kills a process when about so many more edges are written, in the middle of whatever it does."""
    wanted = len(edges(conn)) + rng.randrange(1, further)
    process.start()
    deadline = time.monotonic() + 120
    while process.is_alive() and len(edges(conn)) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.01))
    process.kill()
    process.join()


@pytest.mark.parametrize(
    ("kills", "number"),
    [(5, 1), *(pytest.param(40, number, marks=pytest.mark.soak) for number in range(2, 8))],
)
def test_every_edge_is_made_once_however_often_the_back_fill_is_killed(
    kills: int, number: int, conn: Connection, database_url: str, tmp_path: Path
) -> None:
    rng = random.Random(number)
    fill_the_app(conn, rng, tmp_path)
    fork = get_context("fork")
    with acquire(connector(database_url), "run", flow="backfill", policy="ledger") as lease:
        arguments = (database_url, lease.fence, tmp_path)
        for _ in range(kills):
            process = fork.Process(target=backfill_slowly, args=arguments)
            killed(process, conn, rng, further=EDGES // kills)
        last = fork.Process(target=backfill_slowly, args=arguments)
        last.start()
        last.join()
    told = json.loads((tmp_path / "counted.json").read_text())
    assert told == {"inserted": EDGES, "already": 0}
    assert len(edges(conn)) == EDGES
    assert len([edge for edge in edges(conn) if not edge[3]]) == IMAGES // 10
    written = journaled(conn)
    assert len(written) == len(set(written)) == EDGES
    assert conn.execute("SELECT count(*) FROM audit.checkpoint").fetchone() == (0,)
