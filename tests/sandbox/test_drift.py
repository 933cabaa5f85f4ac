"""Injected drift: the truth file names every difference there is, and no other."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from sandbox import supervisor
from sandbox.batch import object_url
from sandbox.blob.storage import BlobStorage
from sandbox.dataset import Recipe
from sandbox.directory import SandboxDirectory
from sandbox.drift import inject, parse_spec
from sandbox.drift.findings import Finding
from sandbox.errors import SandboxError
from sandbox.icp.bodies import Bodies
from sandbox.icp.storage import CanisterStorage
from sandbox.seed import seed

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECIPE = Recipe(seed=5, memories=1000, galleries=25, median_bytes=6_000, icp_share=0.75)
EDGE_KINDS = {
    "missing", "untracked", "unmarked", "size_mismatch", "hash_mismatch", "hash_unknown", "stuck",
    "sync_failed", "stale_failure", "dangling_edge", "external_only", "invalid_row",
    "stale_hash", "moved", "unverifiable",
}  # fmt: skip
Key = tuple[str, str, str, str]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[SandboxDirectory]:
    directory = SandboxDirectory.of(tmp_path / "box")
    supervisor.run_detached(directory, None)
    try:
        yield directory
    finally:
        supervisor.stop(directory)


class Inspector:
    """Reads everything there is, one thing at a time: slow, simple, and no code of the injector."""

    def __init__(self, directory: SandboxDirectory) -> None:
        blob, canister = BlobStorage(directory.blob), CanisterStorage(directory.icp)
        bodies = Bodies(directory.icp / "blobs")
        self.files = {o.pathname: blob.open(o).read() for o in blob.page(limit=100_000).objects}
        self.urls = {object_url(directory.blob_origin, name): name for name in self.files}
        memories = [
            canister.memory(memory.id)
            for capsule in canister.capsules()
            for memory in canister.page(capsule.id, 0, 100_000)[0]
        ]
        self.copies: dict[str, bytes | None] = {}
        for memory in memories:
            assert memory is not None
            if memory.deleted_at is not None:
                continue
            original = next(a for a in memory.assets if a.asset_type == "Original")
            held = original.kind != "external" and original.body is not None
            self.copies[memory.id] = bodies.read(original.body or "") if held else None
        self.copied_galleries = {
            gallery.id: [item[0] for item in sorted(gallery.items, key=lambda item: item[2])]
            for gallery in canister.galleries()
        }
        blob.close()
        canister.close()
        with psycopg.connect(directory.database_url) as rows:
            self._read(directory, rows)

    def _read(self, directory: SandboxDirectory, rows: psycopg.Connection) -> None:
        self.memories: dict[str, str] = {}
        self.memory_urls: dict[str, str | None] = {}
        self.texts: dict[str, bytes] = {}
        for kind, table in directory.tables.memories.items():
            column = "content" if kind == "note" else "url"
            query = f"SELECT id::text, {column} FROM {table}"  # noqa: S608
            for memory_id, value in rows.execute(query).fetchall():
                self.memories[memory_id] = kind
                if kind == "note":
                    self.texts[memory_id] = value.encode()
                else:
                    self.memory_urls[memory_id] = value
        found = rows.execute(
            "SELECT memory_id::text, memory_type::text, artifact::text, backend::text, present, "
            "location, content_hash, size_bytes, sync_state::text, sync_error FROM storage_edges"
        ).fetchall()
        self.edges: dict[Key, tuple[Any, ...]] = {row[:4]: row[4:] for row in found}
        items = f"SELECT gallery_id, memory_id FROM {directory.tables.gallery_items} "  # noqa: S608
        self.galleries: dict[str, list[str]] = {}
        for gallery_id, memory_id in rows.execute(f"{items} ORDER BY position".encode()):
            self.galleries.setdefault(str(gallery_id), []).append(str(memory_id))
        videos, users = directory.tables.memories["video"], directory.tables.users
        thumbnails = f"SELECT metadata ->> 'thumbnail' FROM {videos}"  # noqa: S608
        avatars = f'SELECT image FROM "{users}"'  # noqa: S608
        self.other_references = {
            row[0] for query in (thumbnails, avatars) for row in rows.execute(query.encode())
        }

    def content(self, key: Key) -> bytes | bool | None:
        """The object's bytes, True for metadata that is there, None for what is not."""
        memory_id, _, artifact, backend = key
        if artifact == "metadata":
            there = self.memories if backend == "neon-db" else self.copies
            return True if memory_id in there else None
        if backend == "icp-canister":
            return self.copies.get(memory_id)
        if backend == "neon-db":
            return self.texts.get(memory_id)
        edge = self.edges.get(key)
        names = (edge[1] if edge else None, self.urls.get(self.memory_urls.get(memory_id) or ""))
        return next((self.files[name] for name in names if name in self.files), None)

    def named_twice(self) -> set[str]:
        """Memories whose url is of the store, but not of the object that their edge names."""
        origin = next(iter(self.urls), "").split("/")[2:3]
        return {
            key[0]
            for key, edge in self.edges.items()
            if key[2:] == ("asset", "vercel-blob")
            and (url := self.memory_urls.get(key[0]) or "").split("/")[2:3] == origin
            and edge[1] and "://" not in edge[1]
            and not url.endswith("/" + quote(edge[1], safe="/"))
        }  # fmt: skip

    def differing_edges(self) -> set[Key]:
        wanted = set(self.edges)
        for memory_id, kind in self.memories.items():
            home = "neon-db" if kind == "note" else "vercel-blob"
            places = [("metadata", "neon-db"), ("asset", home)]
            if memory_id in self.copies:
                places += [("metadata", "icp-canister"), ("asset", "icp-canister")]
            keys = [(memory_id, kind, *place) for place in places]
            wanted.update(key for key in keys if self.content(key) is not None)
        return {key for key in wanted if self._differs(key)}

    def _differs(self, key: Key) -> bool:
        edge, content = self.edges.get(key), self.content(key)
        if edge is None:
            return True
        present, _, content_hash, size, sync_state, sync_error = edge
        if not present or sync_state != "idle" or sync_error or content is None:
            return True
        if not isinstance(content, bytes):
            return False
        return (content_hash, size) != (hashlib.sha256(content).hexdigest(), len(content))

    def _source(self, memory_id: str) -> Key:
        kind = self.memories.get(memory_id, "image")
        return (memory_id, kind, "asset", "neon-db" if kind == "note" else "vercel-blob")

    def outdated(self) -> set[str]:
        """Memories whose copy on the canister is not what they are in their own store."""
        return {
            memory_id for memory_id, copy in self.copies.items()
            if isinstance(source := self.content(self._source(memory_id)), bytes)
            and copy is not None and copy != source
        }  # fmt: skip

    def contradicted(self) -> set[str]:
        """Memories whose copies are alike, and not what their edges say."""
        return {
            memory_id for memory_id, copy in self.copies.items()
            if copy is not None and copy == self.content(source := self._source(memory_id))
            and any(
                (edge := self.edges.get(key)) and edge[0] and edge[2]
                and edge[2] != hashlib.sha256(copy).hexdigest()
                for key in (source, (*source[:3], "icp-canister"))
            )
        }  # fmt: skip

    def held_twice(self) -> set[str]:
        contents = Counter(
            hashlib.sha256(content).hexdigest()
            for memory_id in self.memories
            if isinstance(content := self.content(self._source(memory_id)), bytes)
        )
        return {f"sha256:{sha256}" for sha256, times in contents.items() if times > 1}

    def items(self) -> set[tuple[str, str]]:
        """Every item of every gallery, wherever it is."""
        both = (self.galleries, self.copied_galleries)
        return {(name, item) for held in both for name, ids in held.items() for item in ids}

    def diverged(self) -> set[str]:
        def living(items: list[str]) -> list[str]:
            return [each for each in items if each in self.memories]

        return {
            name for name, items in self.copied_galleries.items()
            if living(items) != living(self.galleries[name])
        }  # fmt: skip

    def of_two_types(self) -> set[str]:
        used = {*((key[0], key[1]) for key in self.edges), *self.memories.items()}
        return {memory_id for memory_id, times in Counter(i for i, _ in used).items() if times > 1}

    def lost(self) -> set[str]:
        def held(memory_id: str) -> bool:
            key = (memory_id, self.memories[memory_id], "asset", "vercel-blob")
            return self.content(key) is not None or self.copies.get(memory_id) is not None

        return {memory_id for memory_id in self.memory_urls if not held(memory_id)}

    def unreferenced(self) -> set[str]:
        urls = {url for url in self.memory_urls.values() if url} | self.other_references
        referenced = {self.urls.get(url) for url in urls} | {
            edge[1] for edge in self.edges.values()
        }
        return set(self.files) - referenced


def check(directory: SandboxDirectory, findings: list[Finding]) -> None:
    """The findings are exactly the differences that reading everything shows."""
    seen = Inspector(directory)
    by_kind: dict[str, set[str]] = {}
    edges: set[Key] = set()
    for f in findings:
        if f.kind == "outdated_replica":  # the ledger is right about it
            continue
        if f.kind in EDGE_KINDS:
            key = (f.memory_id, f.memory_type, f.artifact, f.backend)
            assert all(key)
            assert key not in edges, "two findings for one edge"
            edges.add(key)  # type: ignore[arg-type]
        else:
            by_kind.setdefault(f.kind, set()).add(f.memory_id or f.location or "")
    deleted = {key[0] for key in seen.edges if key[0] not in seen.memories} - {
        f.memory_id for f in findings if f.kind == "dangling_edge"
    }
    assert by_kind.get("deleted_memory", set()) == deleted
    in_doubt = deleted | by_kind.get("replica_divergence", set())
    assert edges == {key for key in seen.differing_edges() if key[0] not in in_doubt}
    outdated = {f.memory_id for f in findings if f.kind == "outdated_replica"}
    otherwise = {f.memory_id for f in findings if f.kind not in ("outdated_replica", "stale_hash")}
    assert seen.outdated() - otherwise == outdated
    otherwise = {f.memory_id for f in findings if f.kind != "replica_divergence"}
    assert seen.contradicted() - otherwise == by_kind.get("replica_divergence", set())
    moved = {f.memory_id for f in findings if f.kind == "moved"}
    assert by_kind.get("lost", set()) == seen.lost() - moved
    assert by_kind.get("location_conflict", set()) == seen.named_twice()
    assert by_kind.get("duplicate_content", set()) == seen.held_twice()
    assert {f.gallery_id for f in findings if f.kind == "gallery_divergence"} == seen.diverged()
    items = {(f.gallery_id, f.memory_id) for f in findings if f.kind == "dangling_item"}
    assert items == {each for each in seen.items() if each[1] not in seen.memories}
    assert by_kind.get("type_mismatch", set()) == seen.of_two_types()
    orphans = by_kind.get("orphaned", set()) | by_kind.get("unclassified", set())
    recorded = {edge[2] for key, edge in seen.edges.items() if key[0] in moved}
    places = {n for n in seen.files if hashlib.sha256(seen.files[n]).hexdigest() in recorded}
    assert len(places) == len(moved)
    assert orphans == seen.unreferenced() - places
    strangers = {i for i in seen.copies if i not in seen.memories} - deleted
    assert by_kind.get("icp_only", set()) == {i for i in strangers if UUID.fullmatch(i)}
    assert by_kind.get("invalid_id", set()) == {i for i in strangers if not UUID.fullmatch(i)}
    bad = {i for i, url in seen.memory_urls.items() if not (url or "").startswith("http://127")}
    for key, edge in seen.edges.items():
        if key[2:] == ("asset", "vercel-blob") and (edge[1] is None or "://" in edge[1]):
            bad.add(key[0])
    assert by_kind.get("invalid_location", set()) == bad


def test_all_damage_is_named_and_nothing_else(box: SandboxDirectory, tmp_path: Path) -> None:
    seed(box, RECIPE, with_edges=True)
    check(box, [])
    truth = tmp_path / "truth.json"
    findings = inject(box, wanted=parse_spec("all"), seed=1, truth=truth)
    check(box, findings)
    written = json.loads(truth.read_text())["findings"]
    assert len(written) == len({row["fingerprint"] for row in written}) == len(findings)
    assert {row["needs"] for row in written} == {"listing", "bytes"}
    assert [row["kind"] for row in written] == sorted(row["kind"] for row in written)
    counts = Counter(row["kind"] for row in written)
    assert set(counts) == EDGE_KINDS | {
        "lost", "orphaned", "unclassified", "deleted_memory", "icp_only", "invalid_id",
        "invalid_location", "location_conflict", "type_mismatch",
        "outdated_replica", "replica_divergence", "duplicate_content", "gallery_divergence",
        "dangling_item",
    }  # fmt: skip


def test_a_ledger_without_hashes_is_part_of_the_truth(
    box: SandboxDirectory, tmp_path: Path
) -> None:
    seed(box, RECIPE, with_edges=True)
    with psycopg.connect(box.database_url) as rows:
        rows.execute("UPDATE storage_edges SET content_hash = NULL WHERE backend = 'vercel-blob'")
        rows.execute("DELETE FROM storage_edges WHERE backend = 'icp-canister'")
    findings = inject(box, wanted={"orphaned": 2, "unmarked": 3}, seed=1, truth=tmp_path / "t")
    check(box, findings)
    assert sum(f.kind == "hash_unknown" for f in findings) > 800
    assert sum(f.kind == "untracked" for f in findings) > 1200


def test_damage_leaves_the_rows_times_alone(box: SandboxDirectory, tmp_path: Path) -> None:
    seed(box, RECIPE, with_edges=True)
    query = "SELECT id, updated_at FROM storage_edges WHERE sync_state <> 'migrating'"
    with psycopg.connect(box.database_url) as rows:
        rows.execute(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN NEW.updated_at = now(); RETURN NEW; END'"
        )
        rows.execute(
            "CREATE TRIGGER t BEFORE UPDATE ON storage_edges FOR EACH ROW EXECUTE FUNCTION touch()"
        )
        before: dict[Any, Any] = dict(rows.execute(query).fetchall())
    inject(box, wanted=parse_spec("all"), seed=2, truth=tmp_path / "t")
    with psycopg.connect(box.database_url) as rows:
        after: dict[Any, Any] = dict(rows.execute(query).fetchall())
    assert {i: at for i, at in after.items() if i in before and before[i] != at} == {}


def test_too_few_memories_are_an_error_and_nothing_is_damaged(
    box: SandboxDirectory, tmp_path: Path
) -> None:
    small = Recipe(seed=5, memories=20, galleries=1, median_bytes=500, icp_share=0.5)
    with pytest.raises(SandboxError, match="no ledger"):
        inject(box, wanted={"lost": 1}, seed=1, truth=tmp_path / "t")
    seed(box, small, with_edges=True)
    with pytest.raises(SandboxError, match="too few memories"):
        inject(box, wanted={"orphaned": 3, "lost": 200}, seed=1, truth=tmp_path / "t")
    check(box, [])


def test_the_deployed_variant_is_seeded_and_damaged_too(tmp_path: Path) -> None:
    box = SandboxDirectory.of(tmp_path / "box")
    supervisor.run_detached(box, "deployed")
    try:
        seed(box, RECIPE, with_edges=True)
        check(box, inject(box, wanted=parse_spec("all"), seed=1, truth=tmp_path / "t"))
    finally:
        supervisor.stop(box)


@pytest.mark.parametrize("spec", ["", "nonsense=1", "missing", "missing=x", "lost=1,lost=2"])
def test_a_bad_spec_is_refused(spec: str) -> None:
    with pytest.raises(SandboxError, match="--drift"):
        parse_spec(spec)


def test_the_fingerprint_is_that_of_the_documented_array() -> None:
    text = '["orphaned",null,null,null,"vercel-blob","images/é.jpg",null]'
    finding = Finding("orphaned", backend="vercel-blob", location="images/é.jpg")
    assert finding.fingerprint == hashlib.sha256(text.encode()).hexdigest()[:16]
