"""The schema on databases that have none, some or something else of it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tasks.database import Connection, connect
from tasks.schema import (
    ObjectState,
    Outcome,
    SchemaChange,
    apply_schema,
    ensure_audit_schema,
    schema_status,
)
from tests.database.conftest import HERE, MakeDatabase

MEMORY = "11111111-1111-4111-8111-111111111111"
GALLERY = "22222222-2222-4222-8222-222222222222"


def outcomes(changes: list[SchemaChange]) -> dict[str, Outcome]:
    return {change.status.name: change.outcome for change in changes}


def one(conn: Connection, query: str, *parameters: Any) -> dict[str, Any]:
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        rows = cursor.execute(query, parameters).fetchall()  # type: ignore[call-overload]
    assert len(rows) == 1
    return dict(rows[0])


def add_edge(conn: Connection, artifact: str, backend: str, **columns: Any) -> None:
    values = {"memory_id": MEMORY, "memory_type": "image", "present": True, **columns}
    values |= {"artifact": artifact, "backend": backend}
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    conn.execute(f"INSERT INTO storage_edges ({names}) VALUES ({marks})", list(values.values()))  # type: ignore[call-overload]  # noqa: S608


@pytest.mark.parametrize("template", ["document", "deployed"])
def test_applying_makes_everything_and_applying_again_changes_nothing(
    make_database: MakeDatabase, template: str
) -> None:
    with connect(make_database(template)) as conn:
        planned = apply_schema(conn, dry_run=True)
        assert {c.status.state for c in planned} == {ObjectState.MISSING}
        first = apply_schema(conn)
        assert {c.status.name for c in first if c.outcome is not Outcome.APPLIED} == set()
        assert {c.outcome for c in apply_schema(conn)} == {Outcome.UNCHANGED}
        assert {s.state for s in schema_status(conn)} == {ObjectState.PRESENT}


def test_without_gallery_items_everything_else_is_made(make_database: MakeDatabase) -> None:
    with connect(make_database("empty")) as conn:
        made = outcomes(apply_schema(conn))
        waiting = {"gallery_presence", "gallery_presence_mv", "ix_gallery_presence_mv_id"}
        assert {name for name, o in made.items() if o is Outcome.REFUSED} == waiting
        assert made["memory_presence"] is Outcome.APPLIED


def test_a_memory_on_both_sides_is_both_and_a_failed_copy_is_failed(conn: Connection) -> None:
    add_edge(conn, "metadata", "neon-db")
    add_edge(conn, "asset", "vercel-blob")
    seen = one(conn, "SELECT * FROM memory_presence WHERE memory_id = %s", MEMORY)
    assert list(seen)[:6] == [
        "memory_id", "memory_type", "meta_neon", "asset_blob", "meta_icp", "asset_icp",
    ]  # fmt: skip
    assert (seen["meta_neon"], seen["asset_blob"], seen["meta_icp"]) == (True, True, False)
    assert (seen["placement"], seen["asset_walrus"]) == ("Web2Only", False)
    add_edge(conn, "metadata", "icp-canister")
    add_edge(conn, "asset", "icp-canister")
    assert one(conn, "SELECT placement FROM memory_presence")["placement"] == "Both"
    conn.execute("UPDATE storage_edges SET sync_state = 'failed' WHERE backend = 'icp-canister'")
    assert one(conn, "SELECT placement FROM memory_presence")["placement"] == "Failed"


def fill_gallery(conn: Connection, *memories: str) -> None:
    conn.execute("INSERT INTO galleries (id) VALUES (%s)", [GALLERY])
    for memory in memories:
        conn.execute(
            "INSERT INTO gallery_items (gallery_id, memory_id, memory_type) VALUES (%s, %s, 'image')",
            [GALLERY, memory],
        )


def test_an_untracked_memory_counts_and_makes_its_gallery_incomplete(conn: Connection) -> None:
    fill_gallery(conn, MEMORY, "33333333-3333-4333-8333-333333333333")
    for artifact in ("metadata", "asset"):
        add_edge(conn, artifact, "icp-canister")
    seen = one(conn, "SELECT * FROM gallery_presence WHERE gallery_id = %s", GALLERY)
    assert (seen["total_memories"], seen["icp_complete_memories"]) == (2, 1)
    assert (seen["icp_complete"], seen["storage_status"]) == (False, "incomplete")
    conn.execute("DELETE FROM gallery_items WHERE memory_id <> %s", [MEMORY])
    assert one(conn, "SELECT * FROM gallery_presence")["storage_status"] == "stored_forever"


def test_a_note_in_standard_storage_is_complete(conn: Connection) -> None:
    fill_gallery(conn)
    conn.execute(
        "INSERT INTO gallery_items (gallery_id, memory_id, memory_type) VALUES (%s, %s, 'note')",
        [GALLERY, MEMORY],
    )
    add_edge(conn, "metadata", "neon-db", memory_type="note")
    add_edge(conn, "asset", "neon-db", memory_type="note")
    seen = one(conn, "SELECT * FROM gallery_presence")
    assert (seen["standard_complete"], seen["storage_status"]) == (True, "standard_storage")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.mark.parametrize("ledger_type", ["uuid", "text"])
@pytest.mark.parametrize("item_type", ["uuid", "text", "varchar"])
def test_one_gallery_is_answered_without_reading_the_whole_ledger(
    conn: Connection, item_type: str, ledger_type: str
) -> None:
    fill_gallery(conn, MEMORY)
    conn.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend) "
        "SELECT gen_random_uuid(), 'image', 'metadata', 'neon-db' FROM generate_series(1, 20000)"
    )
    conn.execute(
        "INSERT INTO gallery_items (gallery_id, memory_id, memory_type) SELECT %s, memory_id, "
        "'image' FROM storage_edges LIMIT 20",
        [GALLERY],
    )
    conn.execute("DROP MATERIALIZED VIEW gallery_presence_mv")
    conn.execute("DROP VIEW gallery_presence, memory_presence, sync_status")
    for table, kind in (("gallery_items", item_type), ("storage_edges", ledger_type)):
        conn.execute(f"ALTER TABLE {table} ALTER COLUMN memory_id TYPE {kind}".encode())
    apply_schema(conn)
    conn.execute("ANALYZE")
    explain = "EXPLAIN (FORMAT json, ANALYZE) SELECT * FROM gallery_presence WHERE gallery_id = %s"
    ((plan,),) = conn.execute(explain, [GALLERY]).fetchall()
    found = list(nodes(plan[0]["Plan"]))
    on_ledger = [each for each in found if each.get("Relation Name") == "storage_edges"]
    assert on_ledger
    assert {each["Node Type"] for each in on_ledger} <= {"Index Scan", "Bitmap Heap Scan"}
    read = sum(
        (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
        for each in on_ledger
    )
    assert read <= 50  # the gallery's edges, and no more of the ledger's 20,000
    assert max(each["Actual Rows"] for each in found) <= 50  # nor is there a wider aggregate


def test_a_text_id_that_is_no_uuid_breaks_no_view(make_database: MakeDatabase) -> None:
    with connect(make_database("deployed")) as conn:
        apply_schema(conn)
        for item, memory in (("a", "not-a-uuid"), ("b", MEMORY.upper())):
            conn.execute("INSERT INTO gallery_item VALUES (%s, 'g', %s, 'image')", [item, memory])
        add_edge(conn, "metadata", "icp-canister")
        seen = one(conn, "SELECT * FROM gallery_presence WHERE gallery_id = 'g'")
        assert (seen["total_memories"], seen["icp_any"]) == (2, True)


def test_the_first_refresh_fills_and_the_next_one_refreshes(conn: Connection) -> None:
    fill_gallery(conn, MEMORY)
    for _ in range(2):
        conn.execute("SELECT refresh_gallery_presence()")
        assert one(conn, "SELECT * FROM gallery_presence_mv")["total_memories"] == 1


def test_updated_at_is_utc_whatever_the_sessions_zone(conn: Connection) -> None:
    add_edge(conn, "metadata", "neon-db", updated_at="2020-01-01")
    conn.execute("SET timezone = 'Asia/Tokyo'")
    conn.execute("UPDATE storage_edges SET present = false")
    ages = one(conn, "SELECT (now() AT TIME ZONE 'utc') - updated_at AS age FROM storage_edges")
    assert abs(ages["age"].total_seconds()) < 5


def test_a_copy_that_hangs_is_stuck_in_sync_status(conn: Connection) -> None:
    add_edge(conn, "asset", "icp-canister", sync_state="migrating", updated_at="2020-01-01")
    seen = one(conn, "SELECT * FROM sync_status")
    assert seen["is_stuck"] is True
    assert list(seen) == [
        "memory_id", "memory_type", "artifact", "backend", "sync_state", "sync_error",
        "last_synced_at", "minutes_since_sync", "updated_at", "is_stuck",
    ]  # fmt: skip


def test_what_drizzle_made_and_what_the_document_says_is_brought_to_the_target(
    make_database: MakeDatabase,
) -> None:
    with connect(make_database("document")) as conn:
        conn.execute("CREATE TYPE artifact_t AS ENUM ('metadata', 'asset')")
        conn.execute("CREATE TYPE backend_t AS ENUM ('neon-db', 'vercel-blob')")
        conn.execute(
            "CREATE TYPE memory_type_t AS ENUM ('image','video','note','document','audio')"
        )
        conn.execute(
            "CREATE TABLE storage_edges (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), memory_id "
            "uuid NOT NULL, memory_type memory_type_t NOT NULL, artifact artifact_t NOT NULL, "
            "backend backend_t NOT NULL, present boolean NOT NULL DEFAULT false)"
        )
        conn.execute(
            "INSERT INTO storage_edges VALUES (DEFAULT, %s, 'image', 'asset', 'neon-db')", [MEMORY]
        )
        conn.execute(
            "CREATE VIEW memory_presence AS SELECT memory_id, memory_type, "
            "bool_or(present) AS meta_neon FROM storage_edges GROUP BY 1, 2"
        )
        assert {c.outcome for c in apply_schema(conn)} <= {Outcome.APPLIED, Outcome.UNCHANGED}
        assert {c.outcome for c in apply_schema(conn)} == {Outcome.UNCHANGED}
        assert one(conn, "SELECT count(*) AS n FROM storage_edges")["n"] == 1


def change_of(changes: list[SchemaChange], name: str) -> SchemaChange:
    return next(change for change in changes if change.status.name == name)


def test_edges_that_are_twice_are_a_persons_to_sort_out(conn: Connection) -> None:
    conn.execute("DROP INDEX uq_edge")
    for _ in range(2):
        add_edge(conn, "metadata", "neon-db")
    change = change_of(apply_schema(conn), "uq_edge")
    assert change.outcome is Outcome.REFUSED
    assert one(conn, "SELECT count(*) AS n FROM storage_edges")["n"] == 2
    show, keep, index = (change.status.statement or "").split(";\n")[:3]
    assert one(conn, show)["count"] == 2
    conn.execute(keep.encode())
    conn.execute(index.encode())
    assert outcomes(apply_schema(conn))["uq_edge"] is Outcome.UNCHANGED


def test_an_index_that_was_left_unfinished_is_noticed_and_built_anew(conn: Connection) -> None:
    conn.execute("DROP INDEX uq_edge")
    for _ in range(2):
        add_edge(conn, "metadata", "neon-db")
    unfinished = "CREATE UNIQUE INDEX CONCURRENTLY uq_edge ON storage_edges (memory_id, memory_type, artifact, backend)"
    with pytest.raises(psycopg.errors.UniqueViolation):
        conn.execute(unfinished)
    conn.execute("DELETE FROM storage_edges WHERE ctid IN (SELECT min(ctid) FROM storage_edges)")
    status = next(each for each in schema_status(conn) if each.name == "uq_edge")
    assert (status.state, status.detail) == (ObjectState.DIFFERENT, "it was left unfinished")
    assert outcomes(apply_schema(conn))["uq_edge"] is Outcome.APPLIED
    with pytest.raises(psycopg.errors.UniqueViolation):
        add_edge(conn, "metadata", "neon-db")


def test_an_index_does_not_wait_for_ever_for_a_transaction_that_stays_open(
    conn: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.concurrent_index.PATIENCE_SECONDS", 0.2)
    conn.execute("DROP INDEX ix_edges_memory")
    add_edge(conn, "metadata", "neon-db")
    with connect(database_url, purpose="a long report") as other:
        with other.transaction():
            add_edge(other, "asset", "vercel-blob")
            change = change_of(apply_schema(conn), "ix_edges_memory")
            assert change.outcome is Outcome.FAILED
            assert "a long report, idle in transaction" in (change.detail or "")
        assert outcomes(apply_schema(conn))["ix_edges_memory"] is Outcome.APPLIED
    assert {each.state for each in schema_status(conn)} == {ObjectState.PRESENT}


def test_a_locked_ledger_is_not_waited_for_and_the_next_time_it_goes_on(
    conn: Connection, database_url: str
) -> None:
    conn.execute("DROP TRIGGER storage_edges_set_updated_at ON storage_edges")
    with connect(database_url) as other, other.transaction():
        other.execute("LOCK TABLE storage_edges IN SHARE MODE")
        change = change_of(apply_schema(conn), "storage_edges_set_updated_at")
        assert change.outcome is Outcome.FAILED
        assert "lock was not free in time" in (change.detail or "")
    assert outcomes(apply_schema(conn))["storage_edges_set_updated_at"] is Outcome.APPLIED


@pytest.mark.parametrize("column", ["id", "sync_state", "present"])
def test_a_default_that_inserts_rely_on_is_put_back(conn: Connection, column: str) -> None:
    conn.execute(f"ALTER TABLE storage_edges ALTER COLUMN {column} DROP DEFAULT".encode())
    change = change_of(apply_schema(conn), "storage_edges")
    assert (change.outcome, change.detail) == (
        Outcome.APPLIED, f"nothing fills {column} by itself",
    )  # fmt: skip
    conn.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend) "
        "VALUES (%s, 'image', 'asset', 'neon-db')", [MEMORY],
    )  # fmt: skip


def test_what_is_not_safe_is_still_said_after_what_was(conn: Connection) -> None:
    conn.execute(
        "ALTER TABLE storage_edges ALTER COLUMN id DROP DEFAULT, ADD COLUMN mine text NOT NULL"
    )
    change = change_of(apply_schema(conn), "storage_edges")
    assert change.outcome is Outcome.REFUSED
    assert change.status.statement == 'ALTER TABLE storage_edges ALTER COLUMN "mine" DROP NOT NULL;'


def test_a_materialized_gallery_presence_is_left_to_a_person(make_database: MakeDatabase) -> None:
    with connect(make_database("document")) as conn:
        conn.execute(
            "CREATE MATERIALIZED VIEW gallery_presence AS SELECT gallery_id, count(*) AS "
            "total_memories FROM gallery_items GROUP BY 1"
        )
        changes = {c.status.name: c for c in apply_schema(conn)}
        refused = changes["gallery_presence"]
        assert refused.outcome is Outcome.REFUSED
        assert "DROP MATERIALIZED VIEW" in (refused.status.statement or "")
        assert changes["gallery_presence_mv"].outcome is Outcome.REFUSED
        conn.execute(refused.status.statement)  # type: ignore[call-overload]
        assert outcomes(apply_schema(conn))["gallery_presence_mv"] is Outcome.APPLIED


def test_a_ledger_outside_the_search_path_is_not_made_twice(make_database: MakeDatabase) -> None:
    with connect(make_database("ledger")) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute("ALTER TABLE storage_edges SET SCHEMA app")
        assert outcomes(apply_schema(conn))["storage_edges"] is Outcome.REFUSED


def test_an_audit_schema_of_somebody_else_is_not_touched(make_database: MakeDatabase) -> None:
    with connect(make_database("document")) as conn:
        conn.execute("CREATE SCHEMA audit")
        conn.execute("CREATE TABLE audit.run (id int)")
        with pytest.raises(Exception, match="rename it"):
            ensure_audit_schema(conn)


def audit_columns(conn: Connection) -> set[tuple[str, str]]:
    return set(
        conn.execute(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'audit'"
        )
    )


def test_audit_tables_of_an_earlier_version_get_every_column_that_came_later(
    make_database: MakeDatabase, conn: Connection
) -> None:
    with connect(make_database("document")) as older:
        older.execute((HERE / "audit_tables_older.sql").read_text())
        assert audit_columns(older) < audit_columns(conn)
        ensure_audit_schema(older)
        assert audit_columns(older) == audit_columns(conn)


@pytest.mark.parametrize("column", ["finding.needs", "verification.verified_version", "ack.run_id"])
def test_a_column_alone_that_an_audit_table_lacks_is_added(conn: Connection, column: str) -> None:
    table, _, name = column.partition(".")
    conn.execute(f"ALTER TABLE audit.{table} DROP COLUMN {name}")  # type: ignore[call-overload]
    ensure_audit_schema(conn)
    assert (table, name) in audit_columns(conn)
