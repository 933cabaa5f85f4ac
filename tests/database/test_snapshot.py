"""What is spooled is what plain SELECTs give, whatever the rows hold."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.pq import TransactionStatus

from checks.columns import BLOB_REFERENCES, LEDGER, NEON_INVENTORY
from checks.errors import SchemaError
from checks.model import StoreState
from checks.normal import (
    BlobAddress,
    icp_memory_id,
    is_canonical_uuid,
    key_of_memory_id,
    key_of_text,
    leading_segment,
)
from tasks import partitions
from tasks.blob_names import icp_memory_id_column, leading_segments, pathnames
from tasks.database import Connection, connect
from tasks.join_keys import canonical_uuids, memory_keys
from tasks.partitions import partition_files
from tasks.schema import apply_schema
from tasks.snapshot import Snapshot, reread, take_snapshot
from tests.database.conftest import MakeDatabase

ADDRESS = BlobAddress("AbC123")
OWN = "https://abc123.public.blob.vercel-storage.com/"
FILL = """
INSERT INTO images (id, url) SELECT gen_random_uuid(), %(own)s || 'images/' || n || '.jpg'
FROM generate_series(1, 300) n;
INSERT INTO notes (content) SELECT repeat('ä', n) FROM generate_series(1, 50) n;
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images;
"""


def fill(conn: Connection) -> None:
    for statement in FILL.strip().split(";\n"):
        conn.execute(statement, {"own": OWN})  # type: ignore[call-overload]


def whole(directory: Path) -> Any:
    return pa.concat_tables(pq.read_table(path) for path in partition_files(directory))


def rows(snapshot: Snapshot, part: str) -> list[dict[str, Any]]:
    return list(whole(snapshot.directory / part).to_pylist())


def test_every_row_is_in_the_partition_of_its_key(conn: Connection, tmp_path: Path) -> None:
    fill(conn)
    snapshot = take_snapshot(conn, tmp_path, 7, address=ADDRESS)
    assert (snapshot.edges, snapshot.neon.objects, snapshot.references) == (300, 350, 300)
    for part, schema in (
        ("ledger", LEDGER),
        ("inventory/neon-db", NEON_INVENTORY),
        ("references/neon", BLOB_REFERENCES),
    ):
        files = partition_files(tmp_path / part)
        assert len(files) == 7
        for number, path in enumerate(files):
            table = pq.read_table(path)
            assert table.schema.equals(schema)
            assert {row["key_lo"] % 7 for row in table.to_pylist()} <= {number}
    plain = conn.execute("SELECT id::text, memory_id::text, xmin::text FROM storage_edges")
    spooled = {(r["edge_id"], r["memory_id"], r["version"]) for r in rows(snapshot, "ledger")}
    assert spooled == set(plain.fetchall())
    for row in rows(snapshot, "ledger"):
        assert (row["key_hi"], row["key_lo"]) == key_of_memory_id(row["memory_id"])
    for row in rows(snapshot, "references/neon"):
        assert (row["key_hi"], row["key_lo"]) == key_of_text(row["location"])
        assert row["location"].startswith("images/")


def test_all_of_a_snapshot_is_one_moment(
    conn: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(conn)
    import tasks.snapshot as module  # noqa: PLC0415

    read_ledger = module.read_ledger

    def and_then_the_app_writes(*arguments: Any) -> int:
        edges = read_ledger(*arguments)
        with connect(database_url) as other:
            other.execute("DELETE FROM images")
        return edges

    monkeypatch.setattr(module, "read_ledger", and_then_the_app_writes)
    assert take_snapshot(conn, tmp_path, 2, address=ADDRESS).neon.objects == 350


def test_the_passes_after_the_first_are_made_when_the_transaction_has_ended(
    conn: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lie idle meanwhile, and Postgres ends those that do so for long."""
    fill(conn)
    finish, states = partitions.PartitionWriter._complete, []

    def noted(self: Any, *failed: Any) -> None:
        states.append(conn.info.transaction_status)
        finish(self, *failed)

    monkeypatch.setattr(partitions, "FAN_OUT", 3)
    monkeypatch.setattr(partitions.PartitionWriter, "_complete", noted)
    snapshot = take_snapshot(conn, tmp_path, 10, address=ADDRESS)
    assert states == [TransactionStatus.IDLE] * len(states)
    assert len(states) >= 3
    assert len(rows(snapshot, "ledger")) == snapshot.edges > 0


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns"])
def test_times_are_utc_whatever_the_sessions_zone(
    conn: Connection, tmp_path: Path, zone: str
) -> None:
    conn.execute("ALTER TABLE images ALTER COLUMN created_at TYPE timestamptz")
    conn.execute(
        "SELECT set_config('TimeZone', %s, false), set_config('DateStyle', 'German', false)", [zone]
    )
    conn.execute(
        "INSERT INTO images (created_at, updated_at) "
        "VALUES ('2024-02-03T04:05:06.789+00:00', '2024-02-03 04:05:06.5')"
    )
    row = rows(take_snapshot(conn, tmp_path, 1), "inventory/neon-db")[0]
    assert row["created_at"].isoformat() == "2024-02-03T04:05:06.789000+00:00"
    assert row["written_at"].isoformat() == "2024-02-03T04:05:06.500000+00:00"


NASTY = [
    'a,b"c\nd\r\ne',
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    "t",
    "'; DROP TABLE x; --",
    "🐘\u2028é",
    "\x01\x1f",
]


@pytest.mark.parametrize("text", NASTY)
def test_texts_come_through_as_they_are(conn: Connection, tmp_path: Path, text: str) -> None:
    conn.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, location, sync_error)"
        " VALUES (gen_random_uuid(), 'image', 'asset', 'vercel-blob', %s, NULL)",
        [text],
    )
    row = rows(take_snapshot(conn, tmp_path, 1), "ledger")[0]
    assert (row["location"], row["sync_error"]) == (text, None)


def test_times_that_no_calendar_holds_are_null(conn: Connection, tmp_path: Path) -> None:
    for value in ("infinity", "-infinity", "4713-01-01 BC", "294276-01-01", None):
        conn.execute("INSERT INTO images (created_at, updated_at) VALUES (%s, %s)", [value, value])
    conn.execute("INSERT INTO images (created_at) VALUES ('0001-02-03')")
    snapshot = take_snapshot(conn, tmp_path, 1)
    times = [row["created_at"] for row in rows(snapshot, "inventory/neon-db")]
    assert min(times, key=str).year == 1
    assert times.count(None) == 5


def test_a_notes_length_is_of_its_utf8_and_its_hash_only_on_demand(
    conn: Connection, tmp_path: Path
) -> None:
    conn.execute("INSERT INTO notes (content) VALUES ('ä')")
    row = rows(take_snapshot(conn, tmp_path / "a", 1), "inventory/neon-db")[0]
    assert (row["content_size"], row["content_sha256"]) == (2, None)
    row = rows(take_snapshot(conn, tmp_path / "b", 1, hash_notes=True), "inventory/neon-db")[0]
    assert row["content_sha256"] == hashlib.sha256("ä".encode()).hexdigest()


def test_references_are_urls_thumbnails_and_users_pictures(
    conn: Connection, tmp_path: Path
) -> None:
    for metadata in (
        '{"thumbnail": "' + OWN + 'one.jpg"}',
        '"{\\"thumbnail\\": \\"' + OWN + 'two.jpg\\"}"',
        '{"thumbnail": 3}',
        "[1]",
        '"thumbnail"',
        '{"thumbnail": null}',
    ):
        conn.execute(
            "INSERT INTO videos (url, metadata) VALUES (%s, %s)", [OWN + "v%20%C3%A4.mp4", metadata]
        )
    conn.execute(
        "INSERT INTO users (image) VALUES (%s), ('https://elsewhere/x.png')", [OWN + "me.png"]
    )
    snapshot = take_snapshot(conn, tmp_path, 3, address=ADDRESS)
    named = {(row["location"], row["source"]) for row in rows(snapshot, "references/neon")}
    assert named == {
        ("v ä.mp4", "memory"), ("one.jpg", "thumbnail"), ("two.jpg", "thumbnail"), ("me.png", "user"),
    }  # fmt: skip


def test_deployed_tables_with_text_ids_are_read(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    with connect(make_database("deployed")) as conn:
        apply_schema(conn)
        odd = ["not-a-uuid", "ABCDEF00-0000-4000-8000-00000000000A", "é" * 18, "g" * 36]
        for each in odd:
            conn.execute(
                "INSERT INTO image (id, url, metadata) VALUES (%s, %s, %s)",
                [each, OWN + "a", '{"a":"\\u0000"}'],
            )
        conn.execute(
            "INSERT INTO video VALUES ('v', NULL, %s, 'huge')",
            ['{"thumbnail": "' + OWN + 't.jpg", "x": "\\u0000"}'],
        )
        conn.execute("INSERT INTO note VALUES ('n', NULL, NULL, '2024-01-01')")
        snapshot = take_snapshot(conn, tmp_path, 3, address=ADDRESS)
        assert snapshot.neon.state is StoreState.COMPLETE
        found = {row["memory_id"]: row for row in rows(snapshot, "inventory/neon-db")}
        assert set(found) == {*odd, "v", "n"}
        for name, row in found.items():
            assert (row["key_hi"], row["key_lo"]) == key_of_memory_id(name)
        assert found["n"]["written_at"].year == 2024
        assert {row["location"] for row in rows(snapshot, "references/neon")} == {"a", "t.jpg"}
        again = reread(conn, [(odd[1].lower(), "image"), ("not-a-uuid", "image"), ("gone", "note")])
        assert set(again.memories["memory_id"]) == set(odd[:2])


def test_a_hidden_table_is_unknown_where_the_ledger_has_edges_and_empty_where_not(
    conn: Connection, tmp_path: Path
) -> None:
    fill(conn)
    conn.execute("CREATE SCHEMA elsewhere")
    conn.execute("ALTER TABLE images SET SCHEMA elsewhere")
    conn.execute("DROP TABLE audio")
    report = take_snapshot(conn, tmp_path, 2).neon
    assert report.state is StoreState.INCOMPLETE
    assert set(report.unknown_parts) == {"image"}
    assert "elsewhere" in report.unknown_parts["image"]


def test_a_table_that_may_not_be_read_is_unknown(conn: Connection, tmp_path: Path) -> None:
    conn.execute("INSERT INTO notes DEFAULT VALUES")
    conn.execute("CREATE ROLE reader")
    try:
        conn.execute("GRANT SELECT ON notes, storage_edges TO reader")
        conn.execute("SET ROLE reader")
        report = take_snapshot(conn, tmp_path, 1).neon
        assert set(report.unknown_parts) == {"image", "video", "document", "audio"}
        assert report.objects == 1
    finally:
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY reader")
        conn.execute("DROP ROLE reader")


def test_tables_that_are_all_empty_prove_nothing_against_a_ledger(
    conn: Connection, tmp_path: Path
) -> None:
    fill(conn)
    conn.execute("TRUNCATE images, notes")
    report = take_snapshot(conn, tmp_path, 1).neon
    assert report.state is StoreState.INCOMPLETE


def test_without_a_ledger_it_says_what_to_do(make_database: MakeDatabase, tmp_path: Path) -> None:
    with (
        connect(make_database("document")) as conn,
        pytest.raises(SchemaError, match="schema apply"),
    ):
        take_snapshot(conn, tmp_path, 1)


def test_rereading_gives_the_rows_as_they_are_now(conn: Connection, tmp_path: Path) -> None:
    fill(conn)
    before = rows(take_snapshot(conn, tmp_path, 1), "ledger")
    changed, deleted, kept = (row["memory_id"] for row in before[:3])
    conn.execute("UPDATE storage_edges SET present = false WHERE memory_id = %s", [changed])
    conn.execute("DELETE FROM images WHERE id = %s", [deleted])
    again = reread(conn, [(each, "image") for each in (changed, deleted, kept)] + [("x", "image")])
    assert list(again.ledger.columns) == LEDGER.names
    assert set(again.ledger["memory_id"]) == {changed, deleted, kept}
    assert set(again.memories["memory_id"]) == {changed, kept}
    versions = {row["memory_id"]: row["version"] for row in before}
    same = again.ledger[again.ledger["version"] == again.ledger["memory_id"].map(versions)]
    assert set(same["memory_id"]) == {deleted, kept}


def test_an_edge_of_another_type_is_not_reread(conn: Connection) -> None:
    fill(conn)
    (memory,) = conn.execute("SELECT memory_id::text FROM storage_edges LIMIT 1").fetchone() or ()
    assert len(reread(conn, [(memory, "video")]).ledger) == 0
    assert len(reread(conn, []).ledger) == 0


@pytest.mark.parametrize("cut", [slice(None), slice(3, 5)])
def test_keys_of_a_column_are_the_keys_of_its_ids(cut: slice) -> None:
    ids = ["ABCDEF00-0000-4000-8000-00000000000A", "x", "0" * 36, "é" * 18,
           "00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"]  # fmt: skip
    array = pa.array(["", *ids])[1:][cut]
    high, low = memory_keys(array)
    expected = [key_of_memory_id(each) for each in ids[cut]]
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == expected


URLS: Callable[[], list[str | None]] = lambda: [  # noqa: E731
    None, "", "a/b", OWN, OWN + "a", OWN + "/a", OWN + "a//b", OWN + "a%2Fb", OWN + "a?b", OWN + "a#b",
    OWN + "a" * 950, OWN + "a" * 951, "http://abc123.public.blob.vercel-storage.com/a",
    "https://other.public.blob.vercel-storage.com/a", OWN.replace(".com", ".com:443") + "a",
    OWN.replace(".com", ".com:1") + "a", "https://x@abc123.public.blob.vercel-storage.com/a",
    OWN + "%20%C3%A4", OWN + "a%FFb", OWN + "a%00b", OWN + "a%2F%2Fb", OWN + "%2Fa", OWN + "%2E%2E/a", OWN + "a%EF%BF%BD",
    OWN + "%F0%9F%90%98" * 475, OWN + "%F0%9F%90%98" * 476, OWN + "a/", OWN + ".a", OWN + "a%zz", OWN + "a%7F",
    OWN + "../a", OWN + "a.b~c_d-e/", OWN.upper() + "a", OWN.replace(".com", ".com:99999999") + "a",
]  # fmt: skip


def test_the_quick_way_to_a_pathname_gives_what_the_rule_gives() -> None:
    for address in (ADDRESS, BlobAddress("AbC123", "127.0.0.1:8080")):
        urls = [*URLS(), "http://127.0.0.1:8080/a/b", "http://127.0.0.1:80800/a", "a" * 951, "a//b",
                "../a", "/a", "note:1.txt", "a\nb", "a\n", "ä/b", " a", "//a", "file:a"]  # fmt: skip
        for bare in (False, True):
            expected = [address.pathname(url, bare=bare) for url in urls]
            assert pathnames(address, urls, bare=bare) == expected
            assert pathnames(address, [*urls, "\ud800"], bare=bare)[:-1] == expected


def test_whole_columns_are_read_as_one_id_is() -> None:
    locations = [None, "", "icp://a/b", "icp://a/b/c", "icp:///b", "icp://a/", "icp://a\n/b\n", "ICP://a/b",
                 "xicp://a/b", "icp://ä/ö"]  # fmt: skip
    ids_there = icp_memory_id_column(pa.array(locations))
    assert ids_there.to_pylist() == [icp_memory_id(each) for each in locations]
    names = ["a/b/c", "a", "", "/a", "a/", "b/x\ny", "c\nd/e/f", "c", "é/ä"]
    assert leading_segments(pa.array(names)) == {leading_segment(each) for each in names}
    ids = ["ABCDEF00-0000-4000-8000-00000000000A", "x", "", "é" * 18, "00000000-0000-0000-0000-000000000001",
           "00000000-0000-0000-0000-000000000001\n", "00000000-0000-0000-0000-00000000000\uff11"]  # fmt: skip
    assert canonical_uuids(pa.array(ids)).tolist() == [is_canonical_uuid(each) for each in ids]
