"""What tests of Store Forever share: running it in this process, and looking at what came of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from damaged_sandbox import ICP, Box

from checks.errors import StoreError
from checks.model import RepairPolicy
from checks.run import RunRecord, exit_code
from sandbox.content import parse
from sandbox.icp.bodies import Bodies
from tasks import audit, publish, store_forever, store_forever_record
from tasks.settings import Settings

Pair = tuple[str, str]
_TABLES = ("memory", "blob", "idempotency", "upload", "upload_chunk", "removed")


@dataclass(frozen=True)
class Canister:
    """Everything a canister held at one moment."""

    rows: dict[str, list[tuple[Any, ...]]]

    @classmethod
    def of(cls, box: Box) -> "Canister":
        with box.canister_storage() as storage:
            rows = {
                table: storage.database.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
                for table in _TABLES
            }
        return cls(rows)

    def set_back(self, box: Box) -> None:
        with box.canister_storage() as storage, storage.transaction():
            for table in reversed(_TABLES):
                storage.database.execute(f"DELETE FROM {table}")  # noqa: S608
            for table, rows in self.rows.items():
                if not rows:
                    continue
                marks = ",".join("?" * len(rows[0]))
                storage.database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608


@dataclass(frozen=True)
class Ran:
    """A Store Forever that came to its end."""

    record: RunRecord

    @property
    def code(self) -> int:
        return exit_code(self.record)

    def outcomes(self) -> dict[Pair, tuple[str, str]]:
        assert self.record.store_forever is not None
        return {
            (m.memory_id, m.memory_type): (m.metadata, m.asset)
            for m in self.record.store_forever.memories
        }


def stored(
    settings: Settings,
    pairs: Sequence[Pair] = (),
    *,
    galleries: Sequence[str] = (),
    dry_run: bool = False,
) -> Ran:
    """Store Forever's steps in their order, without Prefect."""
    policy = RepairPolicy.NONE if dry_run else RepairPolicy.CONTENT
    options = audit.AuditOptions(repair=policy)
    with audit.under_way(settings, options, flow=audit.STORE_FOREVER) as (run, fence):
        try:
            names = [f"{memory_type}:{memory_id}" for memory_id, memory_type in pairs]
            chosen = store_forever.choose(run, galleries, names)
            outcome = (
                store_forever.store(run, fence, chosen) if fence
                else store_forever.forecast(run, chosen)
            )  # fmt: skip
        except StoreError as error:
            return Ran(publish.close_inconclusive(run, error))
        return Ran(store_forever_record.close(run, outcome))


def not_on_icp(box: Box, memory_type: str | None = None, limit: int = 1) -> list[Pair]:
    """Memories without any edge on the canister, in a fixed order."""
    found = box.sql(
        "SELECT DISTINCT e.memory_id::text, e.memory_type::text FROM storage_edges e WHERE "
        "(%s::text IS NULL OR e.memory_type::text = %s) AND NOT EXISTS (SELECT FROM storage_edges "
        "i WHERE i.memory_id = e.memory_id AND i.backend = 'icp-canister') ORDER BY 1 LIMIT %s",
        memory_type, memory_type, limit,
    )  # fmt: skip
    return [(memory_id, kind) for memory_id, kind in found]


def edges_of(box: Box, pair: Pair, backend: str = ICP) -> dict[str, tuple[Any, ...]]:
    """By artifact: present, sync_state, location, content_hash, size_bytes, sync_error, synced."""
    rows = box.sql(
        "SELECT artifact::text, present, sync_state::text, location, content_hash, size_bytes, "
        "sync_error, last_synced_at IS NOT NULL FROM storage_edges WHERE memory_id = %s AND "
        "memory_type::text = %s AND backend::text = %s",
        *pair, backend,
    )  # fmt: skip
    return {row[0]: row[1:] for row in rows}


def content_of(box: Box, pair: Pair) -> bytes:
    """The asset's bytes as the app has them."""
    memory_id, memory_type = pair
    if memory_type == "note":
        ((text,),) = box.sql("SELECT content FROM notes WHERE id = %s", memory_id)
        return str(text).encode()
    table = {"audio": "audio"}.get(memory_type, f"{memory_type}s")
    ((url,),) = box.sql(f"SELECT url FROM {table} WHERE id = %s", memory_id)  # noqa: S608
    ((location,),) = box.sql(
        "SELECT location FROM storage_edges WHERE memory_id = %s AND backend = 'vercel-blob'",
        memory_id,
    )
    assert url
    with box.blob_storage() as storage:
        found = storage.get(location)
    assert found is not None
    return parse(found.body).read()


def copies_of(box: Box, pair: Pair) -> list[bytes]:
    """The bytes of the memory's originals on the canister, as the canister would give them."""
    with box.canister_storage() as storage:
        memory = storage.memory(pair[0])
    bodies = Bodies(box.directory.icp / "blobs")
    originals = [a for a in memory.assets if a.asset_type == "Original"] if memory else []
    return [bodies.read(a.body) if a.body else b"" for a in originals]


def check_stored(box: Box, pair: Pair) -> None:
    """The memory is on the canister once, with the right bytes, and the ledger says exactly so."""
    content = content_of(box, pair)
    assert copies_of(box, pair) == [content]
    edges = edges_of(box, pair)
    assert set(edges) == {"metadata", "asset"}
    with box.canister_storage() as storage:
        location = f"icp://{storage.capsule_of(pair[0])}/{pair[0]}"
    assert edges["metadata"] == (True, "idle", location, None, None, None, True)
    digest = hashlib.sha256(content).hexdigest()
    assert edges["asset"] == (True, "idle", location, digest, len(content), None, True)


def blobs_without_a_memory(box: Box) -> list[str]:
    """Locators that no memory's asset leads to: what an upload too many leaves behind."""
    with box.canister_storage() as storage:
        held = {row[0] for row in storage.database.execute("SELECT locator FROM blob")}
        documents = storage.database.execute("SELECT document FROM memory").fetchall()
    return sorted(each for each in held if not any(each in row[0] for row in documents))
