"""A seeded sandbox: deterministic, complete, in the past, and true in every store."""

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from sandbox import supervisor
from sandbox.app_tables import APP_TABLES
from sandbox.batch import make_batch
from sandbox.blob.storage import BlobStorage
from sandbox.dataset import MIN_BYTES, Recipe
from sandbox.directory import SandboxDirectory
from sandbox.errors import SandboxError
from sandbox.icp.storage import CanisterStorage
from sandbox.seed import _batches, seed

TABLES = APP_TABLES["document"]
RECIPE = Recipe(seed=3, memories=300, galleries=12, median_bytes=5_000, icp_share=0.75)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxDirectory]:
    directory = SandboxDirectory.of(tmp_path_factory.mktemp("seed") / "box")
    supervisor.run_detached(directory, None)
    try:
        seed(directory, RECIPE, with_edges=True)
        yield directory
    finally:
        supervisor.stop(directory)


@pytest.fixture
def rows(seeded: SandboxDirectory) -> Iterator[psycopg.Connection]:
    with psycopg.connect(seeded.database_url) as connection:
        yield connection


def test_same_seed_gives_same_data_whatever_the_batches() -> None:
    whole = make_batch(RECIPE, TABLES, "http://x", range(60), with_edges=True)
    parts = [
        make_batch(RECIPE, TABLES, "http://x", range(n, n + 20), with_edges=True)
        for n in (0, 20, 40)
    ]
    assert whole.edges == "".join(part.edges for part in parts)
    assert whole.rows["image"] == "".join(part.rows["image"] for part in parts)
    assert whole.objects == [obj for part in parts for obj in part.objects]
    assert whole.memories == [memory for part in parts for memory in part.memories]


def test_another_seed_gives_other_ids() -> None:
    other = Recipe(seed=4, memories=300, galleries=12, median_bytes=5_000, icp_share=0.75)
    assert {RECIPE.memory(n).id for n in range(50)}.isdisjoint(
        other.memory(n).id for n in range(50)
    )


def test_all_five_types_are_there_in_proportion(rows: psycopg.Connection) -> None:
    counts = {
        kind: rows.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index] # noqa: S608
        for kind, table in TABLES.memories.items()
    }
    assert counts == {"image": 180, "video": 30, "note": 36, "document": 30, "audio": 24}


def test_every_url_leads_to_the_bytes_the_ledger_knows(rows: psycopg.Connection) -> None:
    found = rows.execute(
        "SELECT m.url, e.content_hash, e.size_bytes, e.location FROM storage_edges e JOIN ("
        "SELECT id, url FROM images UNION ALL SELECT id, url FROM videos UNION ALL "
        "SELECT id, url FROM documents UNION ALL SELECT id, url FROM audio) m ON m.id = e.memory_id "
        "WHERE e.backend = 'vercel-blob'"
    ).fetchall()
    assert len(found) == 264
    with httpx.Client() as client:
        for url, content_hash, size, _ in found:
            body = client.get(url).raise_for_status().content
            assert (len(body), hashlib.sha256(body).hexdigest()) == (size, content_hash)
            assert size >= MIN_BYTES


def test_no_two_assets_have_the_same_bytes(rows: psycopg.Connection) -> None:
    found = rows.execute(
        "SELECT count(*), count(DISTINCT content_hash) FROM storage_edges "
        "WHERE artifact = 'asset' AND backend <> 'icp-canister'"
    ).fetchone()
    assert found == (300, 300)


def test_etags_are_the_md5_of_the_bytes(seeded: SandboxDirectory) -> None:
    storage = BlobStorage(seeded.blob)
    for obj in storage.page(limit=50).objects:
        assert hashlib.md5(storage.open(obj).read()).hexdigest() == obj.etag  # noqa: S324
    storage.close()


def test_pathnames_show_what_breaks_careless_encoding(seeded: SandboxDirectory) -> None:
    storage = BlobStorage(seeded.blob)
    names = [obj.pathname for obj in storage.page(limit=1000).objects]
    storage.close()
    assert {name.split("/")[0] for name in names} == {
        "images", "videos", "documents", "audio", "thumbnails", "avatars",
    }  # fmt: skip
    assert any("%25" in name for name in names)
    assert any("+" in name for name in names)
    assert any(not name.isascii() for name in names)


def test_copies_on_the_canister_are_what_their_edges_say(
    seeded: SandboxDirectory, rows: psycopg.Connection
) -> None:
    storage = CanisterStorage(seeded.icp)
    found = rows.execute(
        "SELECT memory_id::text, location, content_hash, size_bytes FROM storage_edges "
        "WHERE backend = 'icp-canister' AND artifact = 'asset'"
    ).fetchall()
    assert len(found) == storage.count()
    kinds = set()
    for memory_id, location, content_hash, size in found:
        memory = storage.memory(memory_id)
        assert memory is not None
        original = next(asset for asset in memory.assets if asset.asset_type == "Original")
        assert location == f"icp://{memory.capsule_id}/{memory_id}"
        assert (original.sha256, original.bytes) == (content_hash, size)
        assert original.body
        kinds.add((original.kind, original.body.startswith("raw:")))
    storage.close()
    assert kinds == {("inline", False), ("inline", True), ("internal", False)}


def test_galleries_whole_on_the_canister_are_mirrored_there(
    seeded: SandboxDirectory, rows: psycopg.Connection
) -> None:
    storage = CanisterStorage(seeded.icp)
    mirrored = {gallery.id: gallery for gallery in storage.galleries()}
    storage.close()
    assert mirrored
    whole = rows.execute(
        "SELECT g.gallery_id::text, array_agg(g.memory_id::text ORDER BY g.position) "
        "FROM gallery_items g LEFT JOIN storage_edges e ON e.memory_id = g.memory_id "
        "AND e.backend = 'icp-canister' AND e.artifact = 'asset' "
        "GROUP BY 1 HAVING bool_and(e.id IS NOT NULL)"
    ).fetchall()
    assert {gallery: [item[0] for item in mirrored[gallery].items] for gallery, _ in whole} == dict(
        whole
    )
    assert set(mirrored) == {gallery for gallery, _ in whole}


def test_everything_happened_days_ago_in_a_sensible_order(
    seeded: SandboxDirectory, rows: psycopg.Connection
) -> None:
    newest = rows.execute("SELECT max(updated_at) FROM storage_edges").fetchone()
    assert newest is not None
    assert newest[0] < datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)
    late = rows.execute(
        "SELECT count(*) FROM images m JOIN storage_edges e ON e.memory_id = m.id "
        "WHERE m.created_at > m.updated_at OR m.updated_at > e.created_at "
        "OR e.created_at > e.updated_at"
    ).fetchone()
    assert late == (0,)
    storage = BlobStorage(seeded.blob)
    assert (
        max(obj.uploaded_at for obj in storage.page(limit=1000).objects)
        < (time.time() - 3 * 86_400) * 1000
    )
    storage.close()


def test_a_filled_sandbox_is_refused(seeded: SandboxDirectory) -> None:
    with pytest.raises(SandboxError, match="filled already"):
        seed(seeded, RECIPE, with_edges=True)


def test_workers_make_what_one_process_makes() -> None:
    recipe = Recipe(seed=3, memories=2500, galleries=0, median_bytes=200, icp_share=0.5)
    many = list(_batches(recipe, TABLES, "http://x", with_edges=True))
    one = make_batch(recipe, TABLES, "http://x", range(2500), with_edges=True)
    assert "".join(batch.edges for batch in many) == one.edges
