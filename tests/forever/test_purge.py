"""Purge: only what has been orphaned for weeks is removed, kept aside first, and can come back."""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import ICP, Box

from checks.model import RepairState
from sandbox.blob.storage import StoredObject
from sandbox.content import parse
from tasks.database import connect, connector
from tasks.purging import Purging
from tasks.quarantine import in_quarantine, restore_all


@pytest.fixture
def orphan(box: Box) -> Iterator[StoredObject]:
    """A file that nothing refers to."""
    (finding,) = box.damage("orphaned=1", 5)
    assert finding.location
    with box.blob_storage() as storage:
        found = storage.get(finding.location)
    assert found is not None
    yield found
    with box.blob_storage() as storage:
        storage.delete([found.pathname])


def there(box: Box, orphan: StoredObject) -> StoredObject | None:
    with box.blob_storage() as storage:
        return storage.get(orphan.pathname)


def ripen(box: Box, home: Path, days: int = 20, runs: int = 2) -> None:
    """As if audits had seen it for so many days, in so many complete runs."""
    assert box.audit(home / "first").kinds == {"orphaned": 1}
    box.sql(
        "UPDATE audit.finding SET first_seen = now() - make_interval(days => %s), "
        "complete_runs_seen = %s", days, runs,
    )  # fmt: skip


def purged(box: Box, home: Path, **more: Any) -> Any:
    (finding,) = box.audit(home, repair="purge", **more).of("orphaned")
    return finding


def test_what_was_orphaned_for_weeks_is_removed_and_can_be_brought_back(
    box: Box, home: Path, orphan: StoredObject
) -> None:
    ripen(box, home)
    finding = purged(box, home)
    assert finding.repair == "applied", finding.repair_detail
    assert there(box, orphan) is None
    url = box.directory.database_url
    with connect(url) as conn:
        (kept,) = in_quarantine(conn, location=orphan.pathname)
    assert kept.purged_at is not None
    assert (kept.kept_at / "body").stat().st_size == orphan.size
    assert (kept.kept_at / "body").stat().st_mode & 0o077 == 0
    results = asyncio.run(restore_all(box.settings(home), connector(url), [kept]))
    assert results == [(orphan.pathname, "put back")]
    back = there(box, orphan)
    assert back is not None
    assert (back.size, back.etag, back.content_type, back.access) == (
        orphan.size, orphan.etag, orphan.content_type, orphan.access,
    )  # fmt: skip
    with connect(url) as conn:
        assert in_quarantine(conn)[0].restored_at is not None


@pytest.mark.parametrize(
    ("days", "runs", "why"), [(5, 9, "first seen 5 days ago"), (30, 1, "2 of 3 complete runs")]
)
def test_what_was_not_seen_for_long_enough_stays(
    days: int, runs: int, why: str, box: Box, home: Path, orphan: StoredObject
) -> None:
    ripen(box, home, days, runs)
    finding = purged(box, home)
    assert finding.repair == "none"
    assert why in finding.repair_detail
    assert there(box, orphan) == orphan


def test_what_was_written_since_it_was_first_seen_stays(
    box: Box, home: Path, orphan: StoredObject
) -> None:
    ripen(box, home)
    box.sql(
        "UPDATE audit.finding SET first_doc = jsonb_set(first_doc, '{observed}', "
        "to_jsonb(replace(first_doc ->> 'observed', '@2', '@1')))"
    )
    finding = purged(box, home)
    assert (finding.repair, finding.repair_detail) == (
        "none", "not removed: it is not the version that was first seen",
    )  # fmt: skip
    assert there(box, orphan) == orphan


def test_nothing_is_removed_where_the_canister_was_not_seen_whole(
    box: Box, home: Path, orphan: StoredObject
) -> None:
    ripen(box, home)
    box.fault(ICP, "status", 503, canister_method="memories_list")
    for finding in box.audit(home, repair="purge").of("orphaned"):
        assert finding.repair == "none"
    assert there(box, orphan) == orphan


@pytest.mark.parametrize("policy", ["none", "ledger", "content"])
def test_no_other_policy_removes_anything(
    policy: str, box: Box, home: Path, orphan: StoredObject
) -> None:
    ripen(box, home)
    box.audit(home, repair=policy)
    assert there(box, orphan) == orphan


def test_what_an_edge_names_by_now_stays(box: Box, home: Path, orphan: StoredObject) -> None:
    ripen(box, home)

    def refer() -> None:
        box.sql("UPDATE storage_edges SET location = %s WHERE id = (SELECT id FROM storage_edges "
                "WHERE backend = 'vercel-blob' AND present LIMIT 1)", orphan.pathname)  # fmt: skip

    finding = purged(box, home, before={"mend": refer})
    assert (finding.repair, finding.repair_detail) == (
        "superseded", "something refers to it by now",
    )  # fmt: skip
    assert there(box, orphan) == orphan


def test_what_is_referred_to_while_it_is_removed_is_put_back_at_once(
    box: Box, home: Path, orphan: StoredObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    ripen(box, home)
    asked: list[int] = []
    purge = Purging.purge

    async def meddled(self: Purging, one: Any) -> tuple[RepairState, str | None]:
        async def referred_to(locations: Any) -> set[str]:
            asked.append(there(box, orphan) is None)
            return set(locations) if len(asked) > 1 else set()

        mine = replace(self, referred_to=referred_to)
        return await purge(mine, one)

    monkeypatch.setattr(Purging, "purge", meddled)
    finding = purged(box, home)
    assert asked == [False, True]
    assert finding.repair == "superseded"
    assert "put back" in finding.repair_detail
    back = there(box, orphan)
    assert back is not None
    assert back.etag == orphan.etag


def a_file(box: Box) -> tuple[str, str]:
    """The id and the pathname of a memory whose file is in the blob store alone."""
    ((memory_id, location),) = box.sql(
        "SELECT memory_id::text, location FROM storage_edges WHERE backend = 'vercel-blob' AND "
        "present AND memory_id NOT IN (SELECT memory_id FROM storage_edges WHERE backend = "
        "'icp-canister') ORDER BY 1 LIMIT 1"
    )
    return memory_id, location


@pytest.mark.parametrize("recorded", ["hash", "size"])
@pytest.mark.parametrize("own", ["gone", "other bytes", "the bytes", "memory deleted"])
def test_what_a_living_memory_lacks_is_not_removed(
    own: str, recorded: str, box: Box, home: Path, orphan: StoredObject,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its file was moved, and is more than is read to recognise one that was."""
    monkeypatch.setattr("tasks.moved.PROOF_BYTES", 0)
    ripen(box, home)
    memory_id, name = a_file(box)
    digest = hashlib.sha256(parse(orphan.body).read()).hexdigest() if recorded == "hash" else None
    box.sql("UPDATE storage_edges SET content_hash = %s, size_bytes = %s WHERE memory_id = %s AND "
            "backend = 'vercel-blob'", digest, orphan.size, memory_id)  # fmt: skip
    with box.blob_storage() as storage:
        before = storage.get(name)
        assert before is not None
        if own == "gone":
            storage.delete([name])
        if own == "the bytes":
            storage.replace(replace(orphan, pathname=name))
    if own == "memory deleted":
        for table in box.directory.tables.memories.values():
            box.sql(f'DELETE FROM "{table}" WHERE id = %s', memory_id)  # noqa: S608
    try:
        found = box.audit(home, repair="purge").of("orphaned")
        (finding,) = [each for each in found if each.location == orphan.pathname]
    finally:
        with box.blob_storage() as storage:
            storage.replace(before)
    if own in ("gone", "other bytes"):
        assert finding.repair == "refused"
        assert f"{memory_id}, whose own file does not hold them" in finding.repair_detail
        assert there(box, orphan) == orphan
        assert not list(home.glob("quarantine/*/*/body"))
    else:
        assert finding.repair == "applied", finding.repair_detail
        assert there(box, orphan) is None


class Killed(BaseException):
    """The program ends here."""


def test_a_run_that_was_killed_after_removing_still_asks_whether_it_is_referred_to(
    box: Box, home: Path, orphan: StoredObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    ripen(box, home)

    def killed(*_: object) -> None:
        raise Killed

    def refer() -> None:
        box.sql("UPDATE storage_edges SET location = %s WHERE id = (SELECT id FROM storage_edges "
                "WHERE backend = 'vercel-blob' AND present LIMIT 1)", orphan.pathname)  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr("tasks.purging.removed", killed)
        with pytest.raises(Killed):
            box.audit(home, repair="purge")
    assert there(box, orphan) is None
    ((run_id,),) = box.sql("SELECT run_id FROM audit.run ORDER BY started_at DESC LIMIT 1")
    finding = purged(box, home, resume=run_id, before={"mend": refer})
    assert (finding.repair, "put back" in finding.repair_detail) == ("superseded", True)
    back = there(box, orphan)
    assert back is not None
    assert back.etag == orphan.etag


def test_the_breaker_counts_orphans_together_with_what_the_ledger_loses(
    box: Box, home: Path
) -> None:
    """Three of each are within the floor; six of the store's together are too many."""
    truth = box.damage("orphaned=3", 6)
    rows = box.sql(
        "SELECT location FROM storage_edges WHERE backend = 'vercel-blob' AND present AND "
        "memory_id NOT IN (SELECT memory_id FROM storage_edges WHERE backend = 'icp-canister') "
        "ORDER BY 1 LIMIT 3"
    )
    with box.blob_storage() as storage:
        gone = [found for (name,) in rows if (found := storage.get(name))]
        storage.delete([each.pathname for each in gone])
    try:
        box.audit(home / "first")
        box.sql("UPDATE audit.finding SET first_seen = now() - interval '20 days', "
                "complete_runs_seen = 5")  # fmt: skip
        done = box.audit(home, repair="purge", percent=0.5)
        assert [f.repair for f in done.of("orphaned")] == ["refused"] * 3
        assert [f.repair for f in done.of("missing")] == ["applied"] * 3
        with box.blob_storage() as storage:
            assert all(storage.get(each.location or "") for each in truth)
    finally:
        with box.blob_storage() as storage:
            storage.delete([each.location for each in truth if each.location])
            for each in gone:
                storage.replace(each)


def test_more_orphans_than_the_breaker_allows_are_not_removed(box: Box, home: Path) -> None:
    truth = box.damage("orphaned=4", 6)
    try:
        box.audit(home / "first")
        box.sql("UPDATE audit.finding SET first_seen = now() - interval '20 days', "
                "complete_runs_seen = 5")  # fmt: skip
        done = box.audit(home, repair="purge", percent=0.5)
        assert done.code == 3
        assert {f.repair for f in done.of("orphaned")} == {"refused"}
    finally:
        with box.blob_storage() as storage:
            left = [name for each in truth if storage.get(name := each.location or "")]
            storage.delete([each.location for each in truth if each.location])
    assert len(left) == len(truth)
