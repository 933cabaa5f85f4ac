"""The back-fill makes an edge for everything observed, once, and can be undone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from checks.columns import BLOB_INVENTORY, ICP_INVENTORY
from checks.normal import BlobAddress
from tasks import backfill as filling
from tasks.backfill import READ, BackfillReport, Inventories, backfill_edges
from tasks.database import Connection, connect, connector
from tasks.join_keys import memory_keys, text_keys
from tasks.journal import revert_run
from tasks.lease import Fence, acquire
from tasks.partitions import PartitionWriter, read_partition
from tasks.queries import query
from tasks.schema import apply_schema
from tasks.snapshot import NEON_DIRECTORY, take_snapshot
from tests.database.conftest import MakeDatabase

OWN = "https://abc.public.blob.vercel-storage.com/"
ADDRESS = BlobAddress("abc")
PARTITIONS = 3
IMAGE, GONE, FOREIGN, NOTE = (f"{n}1111111-1111-4111-8111-111111111111" for n in "abcd")
Backfill = Callable[..., BackfillReport]


def spool(directory: Path, schema: Any, rows: list[dict[str, Any]]) -> None:
    key = "memory_id" if "memory_id" in schema.names else "location"
    texts = [row[key] for row in rows]
    high, low = memory_keys(pa.array(texts)) if key == "memory_id" else text_keys(texts)
    with PartitionWriter(directory, schema, PARTITIONS) as writer:
        for number, row in enumerate(rows):
            keyed = row | {"key_hi": int(high[number]), "key_lo": int(low[number])}
            writer.write(pa.Table.from_pylist([keyed], schema=schema))


def observe(conn: Connection, directory: Path) -> Inventories:
    take_snapshot(conn, directory, PARTITIONS, hash_notes=True)
    spool(directory / "blob", BLOB_INVENTORY, [{"location": "a ä.jpg", "size": 5}])
    memory = {"memory_type": "image", "capsule_id": "capsule", "asset_there": True, "size": 6}
    note = {"memory_type": "note", "capsule_id": "capsule", "asset_there": False}
    mine = [memory | {"memory_id": IMAGE}, note | {"memory_id": NOTE},
            memory | {"memory_id": GONE, "memory_type": "video"}]  # fmt: skip
    spool(directory / "icp", ICP_INVENTORY, mine)
    return Inventories(
        directory / NEON_DIRECTORY,
        directory / "blob",
        directory / "icp",
        ADDRESS,
        blob_complete=True,
    )


@pytest.fixture
def legacy(conn: Connection) -> Connection:
    """Memories without edges."""
    for memory, url in (
        (IMAGE, OWN + "a%20%C3%A4.jpg"),
        (GONE, OWN + "b"),
        (FOREIGN, "https://x/y"),
    ):
        conn.execute("INSERT INTO images (id, url) VALUES (%s, %s)", [memory, url])
    conn.execute("INSERT INTO notes (id, content) VALUES (%s, 'ä')", [NOTE])
    return conn


@pytest.fixture
def fence(database_url: str) -> Fence:
    return acquire(connector(database_url), "run", flow="backfill", policy="ledger").fence


@pytest.fixture
def backfill(database_url: str, fence: Fence) -> Backfill:
    """The back-fill under the lease, but for what was observed and its directory."""
    return partial(backfill_edges, connector(database_url), fence)


def edges(conn: Connection) -> set[tuple[Any, ...]]:
    return set(
        conn.execute(
            "SELECT memory_id::text, artifact::text, backend::text, present, location, size_bytes "
            "FROM storage_edges"
        ).fetchall()
    )


EXPECTED = {
    (IMAGE, "metadata", "neon-db", True, None, None),
    (GONE, "metadata", "neon-db", True, None, None),
    (FOREIGN, "metadata", "neon-db", True, None, None),
    (NOTE, "metadata", "neon-db", True, None, None),
    (NOTE, "asset", "neon-db", True, None, 2),
    (IMAGE, "asset", "vercel-blob", True, "a ä.jpg", 5),
    (GONE, "asset", "vercel-blob", False, "b", None),
    (IMAGE, "metadata", "icp-canister", True, f"icp://capsule/{IMAGE}", None),
    (IMAGE, "asset", "icp-canister", True, f"icp://capsule/{IMAGE}", 6),
    (NOTE, "metadata", "icp-canister", True, f"icp://capsule/{NOTE}", None),
}


def test_everything_that_was_observed_gets_its_edge_and_only_once(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    told: list[int] = []
    report = backfill(seen, tmp_path / "work", told=told.append)
    assert edges(legacy) == EXPECTED
    assert sum(told) == len(EXPECTED)
    assert report.memories == 4
    assert report.inserted["metadata neon-db"] == 4
    assert {kind: fact.count for kind, fact in report.legacy.items()} == {
        "url_foreign": 1, "url_percent_encoded": 1, "blob_gone": 1, "type_mismatch": 1,
    }  # fmt: skip
    assert report.legacy["url_foreign"].samples == [f"image {FOREIGN}"]
    assert report.already_there == 0
    again = backfill(seen, tmp_path / "work")
    assert (again.inserted.total(), again.already_there) == (0, len(EXPECTED))
    assert edges(legacy) == EXPECTED


def test_a_file_that_no_store_holds_is_lost_unless_the_canister_was_not_seen_whole(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    unknown = backfill(seen, tmp_path / "work")
    assert unknown.lost.empty
    whole = replace(seen, icp_complete=True)
    report = backfill(whole, tmp_path / "work")
    assert report.lost.to_dict("records") == [
        {"memory_id": GONE, "memory_type": "image", "location": "b"}
    ]


@pytest.mark.parametrize("answer", [{"b": True}, {}])
def test_a_file_that_the_listing_lacks_is_gone_only_if_a_direct_look_says_so(
    answer: dict[str, bool], legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    asked: list[str] = []

    def look_up(locations: Sequence[str]) -> dict[str, bool]:
        asked.extend(locations)
        return answer

    seen = replace(observe(legacy, tmp_path), icp_complete=True, look_up=look_up)
    report = backfill(seen, tmp_path / "work")
    assert asked == ["b"]
    assert report.lost.empty
    assert (report.count("blob_gone"), report.count("blob_unknown")) == (0, 1)
    assert edges(legacy) == EXPECTED - {(GONE, "asset", "vercel-blob", False, "b", None)}


def test_a_row_that_may_still_be_waiting_for_its_file_gets_no_edge_of_absence(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    seen = replace(observe(legacy, tmp_path), icp_complete=True, grace_after=since)
    report = backfill(seen, tmp_path / "work")
    assert report.lost.empty
    assert report.count("blob_in_flight") == 1
    assert (GONE, "asset", "vercel-blob", False, "b", None) not in edges(legacy)


def test_an_edge_that_is_there_is_never_overwritten(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    legacy.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, location) "
        "VALUES (%s, 'image', 'asset', 'vercel-blob', 'the app says')",
        [IMAGE],
    )
    report = backfill(observe(legacy, tmp_path), tmp_path / "work", batch=1)
    assert (IMAGE, "asset", "vercel-blob", False, "the app says", None) in edges(legacy)
    assert report.already_there == 1


def test_a_listing_that_proves_no_absence_makes_no_edge_of_absence(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    partial = Inventories(seen.neon, seen.blob, seen.icp, ADDRESS, blob_complete=False)
    report = backfill(partial, tmp_path / "work")
    assert (report.count("blob_gone"), report.count("blob_unknown")) == (0, 1)
    assert edges(legacy) == {edge for edge in EXPECTED if edge[3]}


def test_without_other_stores_the_rows_alone_get_edges(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    backfill(Inventories(seen.neon), tmp_path / "work")
    assert edges(legacy) == {edge for edge in EXPECTED if edge[2] == "neon-db"}


def read(directory: Path, *assets: dict[str, Any]) -> Path:
    """What reading images on Blob gave, if nothing else is said; where it lies."""
    plain = {"memory_type": "image", "backend": "vercel-blob", "outcome": "read"}
    spool(directory / "hashes", READ, [plain | each for each in assets])
    return directory / "hashes"


def test_a_verified_hash_is_written_down(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    found = {"sha256": "ab" * 32, "read_size": 7}
    hashes = read(
        tmp_path,
        *(found | {"memory_id": each} for each in (IMAGE, GONE)),
        {"memory_id": IMAGE, "outcome": "gone"},  # said before, in the same place
    )
    backfill(replace(observe(legacy, tmp_path), hashes=hashes), tmp_path / "work")
    hashed = legacy.execute(
        "SELECT memory_id::text, backend::text, size_bytes FROM storage_edges "
        "WHERE content_hash IS NOT NULL"
    )
    assert set(hashed.fetchall()) == {(IMAGE, "vercel-blob", 7), (NOTE, "neon-db", 2)}


def test_bytes_that_were_gone_when_they_were_read_are_not_said_to_be_there(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    gone = [
        {"memory_id": IMAGE, "backend": backend, "outcome": "gone"}
        for backend in ("vercel-blob", "icp-canister")
    ]
    known = replace(observe(legacy, tmp_path), hashes=read(tmp_path, *gone))
    backfill(known, tmp_path / "work")
    unsaid = {
        (IMAGE, "asset", "vercel-blob", True, "a ä.jpg", 5),
        (IMAGE, "asset", "icp-canister", True, f"icp://capsule/{IMAGE}", 6),
    }
    absent = (IMAGE, "asset", "vercel-blob", False, "a ä.jpg", None)
    assert edges(legacy) == (EXPECTED - unsaid) | {absent}


def test_what_was_read_is_looked_at_once_partition_by_partition(
    legacy: Connection, backfill: Backfill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = read(tmp_path, {"memory_id": IMAGE, "sha256": "ab" * 32, "read_size": 7})
    known = replace(observe(legacy, tmp_path), hashes=hashes)
    looked_at = []

    def noted(directory: Path, number: int) -> Any:
        if directory == hashes:
            looked_at.append(number)
        return read_partition(directory, number)

    monkeypatch.setattr(filling, "read_partition", noted)
    backfill(known, tmp_path / "work")
    assert looked_at == list(range(PARTITIONS))


def test_of_two_ids_that_differ_in_case_and_are_no_uuids_each_has_what_was_read_of_it() -> None:
    sizes = {"Foo": 1, "foo": 2, IMAGE: 3}
    plain = {"memory_type": "image", "backend": "vercel-blob"}
    edges = pd.DataFrame([plain | {"memory_id": each} for each in ("Foo", "foo", IMAGE.upper())])
    read = pd.DataFrame(
        [plain | {"canonical_id": each, "outcome": "read", "sha256": "", "read_size": size}
         for each, size in sizes.items()]
    )  # fmt: skip
    assert filling._with_readings(edges, read)["read_size"].tolist() == [1, 2, 3]


def test_a_memory_deleted_after_the_snapshot_gets_no_edge(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    legacy.execute("DELETE FROM images WHERE id = %s", [IMAGE])
    backfill(seen, tmp_path / "work")
    assert not {edge for edge in edges(legacy) if edge[0] == IMAGE}


def journaled(conn: Connection) -> list[str]:
    return [row[0] for row in conn.execute("SELECT unnest(edge_ids) FROM audit.repair")]


def test_a_batch_that_was_written_is_not_sent_again_after_a_break(
    legacy: Connection, backfill: Backfill, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)

    def stop(_edges: int) -> None:
        if len(edges(legacy)) > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(seen, tmp_path / "work", batch=1, told=stop)
    written = edges(legacy)
    assert written < EXPECTED
    report = backfill(seen, tmp_path / "work", batch=2)
    assert edges(legacy) == EXPECTED
    assert (report.inserted.total(), report.already_there) == (len(EXPECTED), 0)
    assert sorted(journaled(legacy)) == sorted(set(journaled(legacy)))


def test_a_run_that_was_reverted_begins_anew(
    legacy: Connection, backfill: Backfill, fence: Fence, tmp_path: Path
) -> None:
    seen = observe(legacy, tmp_path)
    with pytest.raises(ZeroDivisionError):
        backfill(seen, tmp_path / "work", batch=1, told=lambda n: 1 // (n - 3))
    revert_run(legacy, "run", fence=fence)
    assert edges(legacy) == set()
    backfill(seen, tmp_path / "work")
    assert edges(legacy) == EXPECTED


def test_an_edge_that_the_app_is_writing_is_waited_for(
    legacy: Connection, database_url: str, backfill: Backfill, tmp_path: Path
) -> None:
    """The batch gives up after its lock_timeout, and is tried again."""
    seen = observe(legacy, tmp_path)
    app = connect(database_url)
    app.execute("BEGIN")
    app.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, location) "
        "VALUES (%s, 'image', 'asset', 'vercel-blob', 'the app says')",
        [IMAGE],
    )
    timer = Timer(7, lambda: app.execute("COMMIT"))
    timer.start()
    try:
        report = backfill(seen, tmp_path / "work")
    finally:
        timer.join()
        app.close()
    assert report.already_there == 1
    assert (IMAGE, "asset", "vercel-blob", False, "the app says", None) in edges(legacy)


def test_the_lease_s_heart_beats_while_a_batch_waits(
    legacy: Connection, database_url: str, backfill: Backfill, fence: Fence, tmp_path: Path
) -> None:
    """A batch that held the run's row all its time would stop it: two take turns without a gap."""
    seen = observe(legacy, tmp_path)
    beat = query("queries/lease", "beat")
    with connect(database_url) as app, connect(database_url) as heart:
        app.execute("BEGIN")
        app.execute(
            "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend) "
            "VALUES (%s, 'image', 'asset', 'vercel-blob')", [IMAGE],
        )  # fmt: skip
        filling = Thread(target=backfill, args=(seen, tmp_path / "work"))
        filling.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        while heart.execute(waiting).fetchone() == (0,):
            assert filling.is_alive()
        heart.execute("SET lock_timeout = '100ms'")
        found = heart.execute(beat, {"run_id": fence.run_id, "token": fence.token}).fetchone()
        app.execute("COMMIT")
        filling.join()
    assert found == (fence.run_id,)
    assert len(edges(legacy)) == len(EXPECTED)


def test_a_back_fill_is_undone_but_for_what_the_app_wrote_since(
    legacy: Connection, backfill: Backfill, fence: Fence, tmp_path: Path
) -> None:
    backfill(observe(legacy, tmp_path), tmp_path / "work")
    legacy.execute("UPDATE storage_edges SET present = true WHERE location = 'b'")
    dry = revert_run(legacy, "run", dry_run=True)
    assert (dry.reverted, dry.changed_since) == (len(EXPECTED) - 1, 1)
    report = revert_run(legacy, "run", fence=fence)
    assert (report.reverted, report.changed_since) == (len(EXPECTED) - 1, 1)
    assert edges(legacy) == {(GONE, "asset", "vercel-blob", True, "b", None)}
    (written,) = legacy.execute("SELECT id::text FROM storage_edges").fetchone() or ("",)
    for again in (revert_run(legacy, "run", dry_run=True), revert_run(legacy, "run", fence=fence)):
        assert (again.reverted, again.changed_since) == (0, 1)
    for one in (dry, report, again):
        (left,) = [entry for entry in one.left if entry.edge_ids]
        assert (left.edges, left.edge_ids) == (1, (written,))


def test_deployed_text_ids_get_canonical_edges(make_database: MakeDatabase, tmp_path: Path) -> None:
    url = make_database("deployed")
    with connect(url) as conn:
        apply_schema(conn)
        for memory in (IMAGE.upper(), "not-a-uuid"):
            conn.execute(
                "INSERT INTO image (id, url) VALUES (%s, %s)", [memory, OWN + "a%20%C3%A4.jpg"]
            )
        fence = acquire(connector(url), "run", flow="backfill", policy="ledger").fence
        report = backfill_edges(connector(url), fence, observe(conn, tmp_path), tmp_path / "work")
        assert report.count("id_not_uuid") == 1
        assert edges(conn) == {edge for edge in EXPECTED if edge[0] == IMAGE}
