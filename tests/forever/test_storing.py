"""Store Forever: what is stored is stored whole and once, and the ledger says exactly that."""

from pathlib import Path

import psycopg
import pytest
from damaged_sandbox import ICP, Box
from forever_box import (
    blobs_without_a_memory,
    check_stored,
    content_of,
    copies_of,
    edges_of,
    not_on_icp,
    stored,
)

from checks.errors import SettingsError, UsageError
from checks.model import StoreState
from tasks.journal import revert_run

TYPES = ["image", "video", "note", "document", "audio"]


@pytest.mark.parametrize("memory_type", TYPES)
def test_a_memory_is_stored_and_read_back(memory_type: str, box: Box, home: Path) -> None:
    (pair,) = not_on_icp(box, memory_type)
    ran = stored(box.settings(home), [pair])
    assert ran.code == 0
    assert ran.outcomes() == {pair: ("stored", "stored")}
    check_stored(box, pair)
    assert not blobs_without_a_memory(box)
    assert box.sql("SELECT count(*) FROM audit.claim") == [(0,)]
    assert box.sql("SELECT count(*) FROM audit.upload") == [(0,)]


def test_an_audit_finds_nothing_wrong_with_what_was_stored(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=10)
    assert stored(box.settings(home), pairs).code == 0
    audited = box.audit(home, verify="all")
    assert audited.kinds == {}
    assert all(store.state is StoreState.COMPLETE for store in audited.record.stores.values())


def test_what_is_stored_is_not_copied_again(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=3)
    stored(box.settings(home), pairs)
    before = box.edges(ICP)
    ran = stored(box.settings(home), pairs)
    assert ran.code == 0
    assert set(ran.outcomes().values()) == {("already stored", "already stored")}
    assert ran.record.store_forever is not None
    assert ran.record.store_forever.update_calls == 0
    assert box.edges(ICP) == before


def test_only_what_the_ledger_lacks_is_done(box: Box, home: Path) -> None:
    (pair,) = not_on_icp(box, "image")
    stored(box.settings(home), [pair])
    box.sql("DELETE FROM storage_edges WHERE memory_id = %s AND backend = 'icp-canister' "
            "AND artifact = 'asset'", pair[0])  # fmt: skip
    ran = stored(box.settings(home), [pair])
    assert ran.outcomes() == {pair: ("already stored", "stored")}
    assert ran.record.store_forever is not None
    assert ran.record.store_forever.update_calls == 0  # it is there: only read and written down
    check_stored(box, pair)


def test_a_file_that_is_not_what_the_ledger_says_is_not_stored(box: Box, home: Path) -> None:
    """Its metadata is: one artifact may succeed without the other, and the next run does the rest."""
    (pair,) = not_on_icp(box, "image")
    ((recorded,),) = box.sql(
        "UPDATE storage_edges SET content_hash = %s WHERE memory_id = %s AND backend = "
        "'vercel-blob' RETURNING (SELECT content_hash FROM storage_edges o WHERE o.id = "
        "storage_edges.id)", "0" * 64, pair[0],
    )  # fmt: skip
    ran = stored(box.settings(home), [pair])
    assert ran.code == 1
    assert ran.outcomes() == {pair: ("stored", "failed")}
    assert [(f.kind, f.artifact) for f in ran.record.findings] == [("sync_failed", "asset")]
    assert copies_of(box, pair) == []
    edges = edges_of(box, pair)
    assert edges["metadata"][:2] == (True, "idle")
    assert edges["asset"][:2] == (False, "failed")
    assert "not what the ledger has" in edges["asset"][5]
    box.sql("UPDATE storage_edges SET content_hash = %s WHERE memory_id = %s AND backend = "
            "'vercel-blob'", recorded, pair[0])  # fmt: skip
    assert stored(box.settings(home), [pair]).outcomes() == {pair: ("already stored", "stored")}
    check_stored(box, pair)


def test_a_file_without_a_recorded_hash_is_stored_as_it_is(box: Box, home: Path) -> None:
    (pair,) = not_on_icp(box, "document")
    box.sql("UPDATE storage_edges SET content_hash = NULL WHERE memory_id = %s", pair[0])
    assert stored(box.settings(home), [pair]).code == 0
    check_stored(box, pair)


def test_a_gallery_is_stored_whole(box: Box, home: Path) -> None:
    ((gallery,),) = box.sql(
        "SELECT gallery_id::text FROM gallery_items GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    )
    items = box.sql(
        "SELECT memory_id::text, memory_type FROM gallery_items WHERE gallery_id = %s", gallery
    )
    ran = stored(box.settings(home), galleries=[gallery])
    assert ran.code == 0
    assert set(ran.outcomes()) == set(items)
    for item in items:
        edges = edges_of(box, (item[0], item[1]))
        assert {edge[:2] for edge in edges.values()} == {(True, "idle")}


def test_a_dry_run_writes_nothing_and_says_what_it_takes(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=4)
    before = box.edges()
    ran = stored(box.settings(home), pairs, dry_run=True)
    assert box.edges() == before
    assert ran.record.store_forever is not None
    expected = ran.record.store_forever
    assert expected.bytes == sum(len(content_of(box, pair)) for pair in pairs)
    assert set(ran.outcomes().values()) == {("to be stored", "to be stored")}
    assert expected.seconds_expected
    assert stored(box.settings(home), pairs).record.store_forever is not None
    done = stored(box.settings(home / "again"), pairs, dry_run=True).record.store_forever
    assert done is not None
    assert (done.bytes, done.update_calls) == (0, 0)


def test_a_forecast_is_what_the_run_then_needs(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=5)
    settings = box.settings(home)
    expected = stored(settings, pairs, dry_run=True).record.store_forever
    needed = stored(settings, pairs).record.store_forever
    assert expected is not None
    assert needed is not None
    assert (expected.bytes, expected.update_calls) == (needed.bytes, needed.update_calls)


def test_a_memory_that_neon_does_not_have_is_said_to_be_unknown(box: Box, home: Path) -> None:
    pair = ("11111111-2222-4333-8444-555555555555", "image")
    ran = stored(box.settings(home), [pair])
    assert ran.code == 1
    assert ran.outcomes() == {pair: ("failed", "failed")}
    assert edges_of(box, pair) == {}


def test_a_gallery_that_is_not_there_is_refused(box: Box, home: Path) -> None:
    with pytest.raises(UsageError, match="no gallery"):
        stored(box.settings(home), galleries=["11111111-2222-4333-8444-555555555555"])


def test_a_capsule_that_the_identity_may_not_use_is_refused(box: Box, home: Path) -> None:
    with pytest.raises(SettingsError, match="EDGEKEEPER_ICP_CAPSULE"):
        stored(box.settings(home, EDGEKEEPER_ICP_CAPSULE="capsule_1"), not_on_icp(box))


def test_a_copy_that_the_app_has_under_way_is_left_alone(box: Box, home: Path) -> None:
    (pair,) = not_on_icp(box, "image")
    box.sql("INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, sync_state, "
            "updated_at) VALUES (%s, 'image', 'asset', 'icp-canister', 'migrating', "
            "now() AT TIME ZONE 'utc')", pair[0])  # fmt: skip
    before = box.edges()
    ran = stored(box.settings(home), [pair])
    assert ran.code == 3
    assert ran.outcomes() == {pair: ("skipped", "skipped")}
    assert box.edges() == before
    box.sql("UPDATE storage_edges SET updated_at = '2020-01-01' WHERE sync_state = 'migrating'")
    assert stored(box.settings(home, EDGEKEEPER_STUCK_MINUTES="0"), [pair]).code == 0
    check_stored(box, pair)


def test_a_run_is_reverted_edge_for_edge(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=3)
    before = box.edges(physical=False)
    ran = stored(box.settings(home), pairs)
    assert box.edges(physical=False) != before
    from tasks.database import connect  # noqa: PLC0415
    from tasks.lease import acquire  # noqa: PLC0415

    url = box.directory.database_url
    lease = acquire(lambda: connect(url), "20200101T000000Z-aaaa", flow="revert", policy="ledger")
    with connect(url) as conn:
        report = revert_run(conn, ran.record.run_id, fence=lease.fence)
        lease.release(conn, "completed")
    assert report.changed_since == 0
    assert box.edges(physical=False) == before


def test_an_edge_that_the_app_writes_meanwhile_is_the_apps(box: Box, home: Path) -> None:
    """The app writes the edge while the copy is under way; the copy's end is dropped."""
    (pair,) = not_on_icp(box, "image")
    from tasks import copying  # noqa: PLC0415

    read_back = copying.CanisterTarget.read_back

    async def meddling(self, memory, source):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        copied = await read_back(self, memory, source)
        with psycopg.connect(box.directory.database_url, autocommit=True) as conn:
            conn.execute("UPDATE storage_edges SET location = 'of the app' WHERE memory_id = %s "
                         "AND backend = 'icp-canister' AND artifact = 'asset'", [pair[0]])  # fmt: skip
        return copied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copying.CanisterTarget, "read_back", meddling)
        ran = stored(box.settings(home), [pair])
    assert ran.code == 3
    assert ran.outcomes() == {pair: ("stored", "skipped")}
    assert edges_of(box, pair)["asset"][2] == "of the app"
