"""Every item of every gallery is held against the ledger, in real Postgres."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checks.suites import Limits
from tasks.database import Connection
from tasks.quality import CheckResult, folders, run_suites
from tasks.resolve import Workspace
from tasks.run_directory import create
from tasks.snapshot import take_snapshot
from tasks.tracked_items import spool_tracked

NOW = datetime.now(UTC)
FILL = """
INSERT INTO images (id, url, created_at)
SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'x', now() - interval '9 days'
FROM generate_series(1, 60) n;
INSERT INTO galleries (id, owner_id, title)
SELECT '0000abc0-0000-4000-8000-000000000000', owner_id, 'Summer' FROM images LIMIT 1;
INSERT INTO gallery_items (gallery_id, memory_id, memory_type)
SELECT g.id, i.id, 'image' FROM galleries g, images i;
INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present)
SELECT id, 'image', 'metadata', 'neon-db', true FROM images
"""
UNTRACKED = "00000000-0000-4000-8000-000000000007"


def checked(conn: Connection, home: Path) -> CheckResult:
    """What the check says of the database as it is now."""
    directory = create(home, "20261123T031500Z-7f3a")
    take_snapshot(conn, directory.path, 3)
    where = folders(directory)["gallery-items"]
    spool_tracked(Workspace(directory.path, 3), where, NOW - timedelta(hours=1))
    (result,) = run_suites(directory, Limits.at(NOW), tables={"gallery-items": where})
    return result


@pytest.fixture
def gallery(conn: Connection) -> Connection:
    for statement in FILL.split(";\n"):
        conn.execute(statement)  # type: ignore[call-overload]
    return conn


def test_a_gallery_whose_items_are_all_known_passes(gallery: Connection, tmp_path: Path) -> None:
    result = checked(gallery, tmp_path)
    assert (result.passed, result.rows) == (True, 60)


def test_an_item_without_its_metadata_edge_is_named(gallery: Connection, tmp_path: Path) -> None:
    gallery.execute("DELETE FROM storage_edges WHERE memory_id = %s", [UNTRACKED])
    result = checked(gallery, tmp_path)
    assert (result.passed, result.failed_rows, result.counts) == (False, 1, False)
    assert result.sample[0]["memory_id"] == UNTRACKED
    assert result.sample[0]["gallery_id"] == "0000abc0-0000-4000-8000-000000000000"


def test_another_edge_of_the_memory_does_not_make_up_for_it(
    gallery: Connection, tmp_path: Path
) -> None:
    gallery.execute(
        "UPDATE storage_edges SET backend = 'icp-canister' WHERE memory_id = %s", [UNTRACKED]
    )
    assert checked(gallery, tmp_path).failed_rows == 1


def test_an_item_of_a_memory_that_is_gone_or_young_is_not_due(
    gallery: Connection, tmp_path: Path
) -> None:
    gallery.execute("DELETE FROM storage_edges")
    gallery.execute("DELETE FROM images WHERE id <> %s", [UNTRACKED])
    gallery.execute("UPDATE images SET created_at = now() at time zone 'utc'")
    result = checked(gallery, tmp_path)
    assert result.passed is None
    assert result.unjudged


def test_items_that_can_not_be_read_are_not_taken_for_none(
    gallery: Connection, tmp_path: Path
) -> None:
    gallery.execute("DROP TABLE gallery_items CASCADE")
    assert checked(gallery, tmp_path).passed is None
