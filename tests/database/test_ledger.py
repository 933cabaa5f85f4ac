"""Repairs of the ledger: compare-and-set, journaled, fenced, and undone row for row."""

from typing import Any

import psycopg
import pytest

from checks.errors import LeaseLostError
from checks.model import RepairState
from checks.repairs import EdgeRepair
from tasks.database import Connection, connect, connector
from tasks.journal import revert_run
from tasks.lease import Fence, acquire
from tasks.ledger import apply_repairs

MEMORY = "11111111-1111-4111-8111-11111111111%d"
SPELLED = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
ICP_ONLY = "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def fence(database_url: str) -> Fence:
    return acquire(connector(database_url), "run-1", flow="nightly-audit", policy="ledger").fence


@pytest.fixture
def edges(conn: Connection) -> list[dict[str, Any]]:
    """Four images, of which three have an edge each."""
    for number in range(4):
        conn.execute("INSERT INTO images (id) VALUES (%s)", [MEMORY % number])
    for number in range(3):
        conn.execute(
            "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present, "
            "location, created_at, updated_at) VALUES (%s, 'image', 'asset', 'vercel-blob', true, "
            "'a/b', '2024-01-01', '2024-01-02')",
            [MEMORY % number],
        )
    return table(conn)


def table(conn: Connection) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        query = "SELECT xmin::text AS version, * FROM storage_edges ORDER BY memory_id, backend"
        return list(cursor.execute(query).fetchall())


def mark_missing(edge: dict[str, Any], **changes: Any) -> EdgeRepair:
    values: dict[str, Any] = {"present": False, "sync_state": "failed", "sync_error": "gone\x00"}
    return EdgeRepair(
        **{"fingerprint": f"f{edge['memory_id']}", "kind": "missing", "action": "update",
           "memory_id": str(edge["memory_id"]), "memory_type": "image", "artifact": "asset",
           "backend": "vercel-blob", "edge_id": str(edge["id"]), "version": edge["version"],
           "values": values, **changes},
    )  # fmt: skip


def insert(memory_id: str, **changes: Any) -> EdgeRepair:
    return EdgeRepair(
        **{"fingerprint": f"i{memory_id}", "kind": "untracked", "action": "insert",
           "memory_id": memory_id, "memory_type": "image", "artifact": "asset",
           "backend": "vercel-blob", "values": {"present": True, "location": "x", "size_bytes": 3},
           **changes},
    )  # fmt: skip


def states(conn: Connection, fence: Fence, *repairs: EdgeRepair, **more: Any) -> list[RepairState]:
    return [result.state for result in apply_repairs(conn, fence, repairs, **more)]


def journal(conn: Connection) -> int:
    row = conn.execute("SELECT count(*) FROM audit.repair").fetchone()
    return int(row[0]) if row else -1


def test_what_is_as_observed_is_changed_and_journaled(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    assert states(conn, fence, mark_missing(edges[0])) == [RepairState.APPLIED]
    after = table(conn)[0]
    assert (after["present"], after["sync_state"], after["location"]) == (False, "failed", "a/b")
    before, image = conn.execute("SELECT before, after FROM audit.repair").fetchone() or ({}, {})
    assert (before["present"], image["present"], image["sync_error"]) == (True, False, "gone\ufffd")


def test_what_was_written_meanwhile_is_left(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    conn.execute("UPDATE storage_edges SET location = 'new' WHERE id = %s", [edges[0]["id"]])
    found = states(conn, fence, mark_missing(edges[0]), mark_missing(edges[1]))
    assert found == [RepairState.SUPERSEDED, RepairState.APPLIED]
    assert table(conn)[0]["present"] is True
    assert journal(conn) == 1


def test_the_same_version_with_other_values_is_left(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    observed = {str(edges[0]["id"]): {"location": "elsewhere", "sync_error": None}}
    assert states(conn, fence, mark_missing(edges[0]), observed=observed) == [
        RepairState.SUPERSEDED
    ]
    observed = {str(edges[0]["id"]): {"location": "a/b", "sync_error": None}}
    assert states(conn, fence, mark_missing(edges[0]), observed=observed) == [RepairState.APPLIED]


def test_a_row_that_is_being_written_is_waited_for_and_then_left(
    conn: Connection, database_url: str, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    import threading  # noqa: PLC0415

    found: list[RepairState] = []
    with connect(database_url) as app:
        with app.transaction():
            app.execute("UPDATE storage_edges SET location = 'new' WHERE id = %s", [edges[0]["id"]])
            thread = threading.Thread(
                target=lambda: found.extend(states(conn, fence, mark_missing(edges[0])))
            )
            thread.start()
            thread.join(timeout=0.3)
            assert thread.is_alive()
        thread.join(timeout=10)
    assert found == [RepairState.SUPERSEDED]


def test_the_same_repairs_again_are_applied_but_written_once(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    repairs = [mark_missing(edges[0]), insert(MEMORY % 3),
               mark_missing(edges[1], action="delete", kind="dangling_edge", values={})]  # fmt: skip
    conn.execute("DELETE FROM images WHERE id = %s", [MEMORY % 1])
    assert set(states(conn, fence, *repairs)) == {RepairState.APPLIED}
    now = table(conn)
    assert set(states(conn, fence, *repairs)) == {RepairState.APPLIED}
    assert (table(conn), journal(conn)) == (now, 3)


def test_an_edge_is_inserted_only_while_its_memory_is_there(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    conn.execute("DELETE FROM images WHERE id = %s", [MEMORY % 3])
    assert states(conn, fence, insert(MEMORY % 3)) == [RepairState.SUPERSEDED]
    assert states(conn, fence, insert(str(edges[0]["memory_id"]))) == [RepairState.SUPERSEDED]
    assert states(conn, fence, insert("not-a-uuid")) == [RepairState.SUPERSEDED]
    icp = insert(ICP_ONLY, kind="icp_only", backend="icp-canister", row_must_exist=False)
    assert states(conn, fence, icp) == [RepairState.APPLIED]


def test_a_dangling_edge_is_deleted_only_while_its_memory_is_gone(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    repair = mark_missing(edges[0], action="delete", kind="dangling_edge", values={})
    assert states(conn, fence, repair) == [RepairState.SUPERSEDED]
    conn.execute("DELETE FROM images WHERE id = %s", [edges[0]["memory_id"]])
    assert states(conn, fence, repair) == [RepairState.APPLIED]


def test_one_bad_repair_spoils_no_other(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    bad = mark_missing(edges[0], values={"sync_state": "no such state"})
    results = apply_repairs(conn, fence, [bad, mark_missing(edges[1])])
    assert [r.state for r in results] == [RepairState.FAILED, RepairState.APPLIED]
    assert "no such state" in (results[0].detail or "")


@pytest.mark.usefixtures("edges")
def test_a_role_that_may_only_read_the_apps_tables_can_repair(
    conn: Connection, fence: Fence
) -> None:
    conn.execute("CREATE ROLE writer")
    try:
        conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO writer")
        conn.execute("GRANT ALL ON storage_edges TO writer")
        conn.execute("GRANT USAGE ON SCHEMA audit TO writer")
        conn.execute("GRANT ALL ON ALL TABLES IN SCHEMA audit TO writer")
        conn.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA audit TO writer")
        conn.execute("SET ROLE writer")
        assert states(conn, fence, insert(MEMORY % 3)) == [RepairState.APPLIED]
    finally:
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY writer")
        conn.execute("DROP ROLE writer")


def test_a_run_that_was_taken_over_writes_nothing(
    conn: Connection, database_url: str, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    acquire(connector(database_url), "run-2", flow="x", policy="ledger", timeout=0)
    with pytest.raises(LeaseLostError):
        apply_repairs(conn, fence, [mark_missing(edges[0])])
    assert table(conn) == edges


def test_a_revert_puts_a_run_back_row_for_row(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    conn.execute("DELETE FROM images WHERE id = %s", [edges[2]["memory_id"]])
    first = [mark_missing(edges[0]), insert(MEMORY % 3),
             mark_missing(edges[2], action="delete", kind="dangling_edge", values={})]  # fmt: skip
    assert set(states(conn, fence, *first)) == {RepairState.APPLIED}
    again = mark_missing(table(conn)[0], fingerprint="second", values={"location": "moved"})
    assert states(conn, fence, again) == [RepairState.APPLIED]
    changed = table(conn)
    assert revert_run(conn, "run-1", dry_run=True).reverted == 4
    assert table(conn) == changed
    report = revert_run(conn, "run-1", fence=fence)
    assert (report.reverted, report.changed_since) == (4, 0)

    def content(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in r.items() if k not in ("version", "updated_at")} for r in rows]

    assert content(table(conn)) == content(edges)
    assert revert_run(conn, "run-1", fence=fence).reverted == 0


def test_a_revert_leaves_what_was_changed_since(
    conn: Connection, fence: Fence, edges: list[dict[str, Any]]
) -> None:
    apply_repairs(conn, fence, [mark_missing(edges[0]), mark_missing(edges[1]), insert(MEMORY % 3)])
    conn.execute("UPDATE storage_edges SET present = true WHERE id = %s", [edges[0]["id"]])
    conn.execute("UPDATE storage_edges SET size_bytes = 4 WHERE memory_id = %s", [MEMORY % 3])
    report = revert_run(conn, "run-1", fence=fence)
    assert (report.reverted, report.changed_since) == (1, 2)
    assert len(table(conn)) == 4


def test_many_repairs_go_in_batches(conn: Connection, fence: Fence) -> None:
    conn.execute("INSERT INTO images (id) SELECT gen_random_uuid() FROM generate_series(1, 2500)")
    ids = [row[0] for row in conn.execute("SELECT id::text FROM images").fetchall()]
    assert set(states(conn, fence, *(insert(each) for each in ids))) == {RepairState.APPLIED}
    assert (len(table(conn)), journal(conn)) == (2500, 2500)
    assert revert_run(conn, "run-1", fence=fence).reverted == 2500


def test_an_id_is_put_into_canonical_form_and_put_back(conn: Connection, fence: Fence) -> None:
    conn.execute("DROP VIEW IF EXISTS sync_status, memory_presence, gallery_presence CASCADE")
    conn.execute("ALTER TABLE storage_edges ALTER memory_id TYPE text")
    conn.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present) "
        "VALUES (%s, 'image', 'asset', 'vercel-blob', true)", [SPELLED.upper()],
    )  # fmt: skip
    (edge,) = table(conn)
    repair = mark_missing(edge, kind="invalid_id", values={"memory_id": SPELLED})
    assert states(conn, fence, repair) == [RepairState.APPLIED]
    (after,) = table(conn)
    assert (after["memory_id"], after["present"]) == (SPELLED, True)
    assert revert_run(conn, "run-1", fence=fence).reverted == 1
    assert table(conn)[0]["memory_id"] == SPELLED.upper()
