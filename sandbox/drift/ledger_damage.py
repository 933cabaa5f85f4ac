"""Damage to the ledger and to the app's rows: the stores hold what they should."""

import string
from typing import Final, LiteralString

from psycopg import sql

from sandbox.dataset import make_uuid
from sandbox.drift.bench import Bench, Candidate
from sandbox.drift.findings import Edge, Finding
from sandbox.drift.registry import damages

HAS_FILE: Final[LiteralString] = "memory_type <> 'note'"
ON_ICP: Final[LiteralString] = "on_icp"
NOT_ON_ICP: Final[LiteralString] = "NOT on_icp"
STUCK_DAYS: Final = 2
FAILED_DAYS: Final = 5
SYNC_ERROR: Final = "canister call failed: ResourceExhausted"


@damages("untracked")
def _file_edge_deleted(bench: Bench) -> bool:
    memory = bench.pick(HAS_FILE)
    return memory is not None and _untrack(bench, memory.blob)


@damages("untracked")
def _row_edge_deleted(bench: Bench) -> bool:
    memory = bench.pick()
    return memory is not None and _untrack(bench, memory.row)


@damages("untracked")
def _canister_edge_deleted(bench: Bench) -> bool:
    memory = bench.pick(ON_ICP)
    return memory is not None and _untrack(bench, memory.icp_asset)


@damages("untracked")
def _text_edge_deleted(bench: Bench) -> bool:
    memory = bench.pick("memory_type = 'note'")
    return memory is not None and _untrack(bench, memory.asset)


def _untrack(bench: Bench, edge: Edge) -> bool:
    bench.delete_edge(edge)
    bench.report("untracked", edge)
    return True


@damages("unmarked")
def _file_marked_absent(bench: Bench) -> bool:
    memory = bench.pick(HAS_FILE)
    return memory is not None and _unmark(bench, memory.blob)


@damages("unmarked")
def _copy_marked_absent(bench: Bench) -> bool:
    memory = bench.pick(ON_ICP)
    return memory is not None and _unmark(bench, memory.icp_asset)


@damages("unmarked")
def _row_marked_absent(bench: Bench) -> bool:
    memory = bench.pick()
    return memory is not None and _unmark(bench, memory.row)


@damages("unmarked")
def _text_marked_absent(bench: Bench) -> bool:
    memory = bench.pick("memory_type = 'note'")
    return memory is not None and _unmark(bench, memory.asset)


def _unmark(bench: Bench, edge: Edge) -> bool:
    bench.update_edge(edge, "present = false")
    bench.report("unmarked", edge)
    return True


@damages("size_mismatch")
def _wrong_size_in_ledger(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {NOT_ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    bench.update_edge(memory.blob, "size_bytes = size_bytes + 1 + size_bytes / 10")
    bench.report("size_mismatch", memory.blob)
    return True


@damages("hash_mismatch")
def _letter_changed_in_text(bench: Bench) -> bool:
    """One ASCII letter of a note becomes another: same length, same ``updated_at``."""
    memory = bench.pick("hashed AND memory_type = 'note'")
    if memory is None:
        return False
    query = sql.SQL("SELECT content FROM {} WHERE id = %s").format(table_of(bench, memory))
    row = bench.database.execute(query, (memory.memory_id,)).fetchone()
    content: str = row[0] if row else ""
    position = next(i for i, letter in enumerate(content) if letter in string.ascii_lowercase)
    other = "x" if content[position] != "x" else "y"
    changed = content[:position] + other + content[position + 1 :]
    set_row(bench, memory, "content = %s", changed)
    _keep_version(bench, memory)
    bench.report("hash_mismatch", memory.asset, "bytes")
    return True


def _keep_version(bench: Bench, memory: Candidate) -> None:
    """Rot leaves a row's version as it was: if it was verified before, it was so in this one."""
    row = bench.database.execute("SELECT to_regclass('audit.verification')").fetchone()
    if row is None or row[0] is None:
        return
    bench.database.execute(
        sql.SQL(
            "UPDATE audit.verification AS v SET version = n.xmin::text, "
            "verified_version = n.xmin::text FROM {} AS n WHERE n.id::text = v.memory_id "
            "AND v.memory_id = %s AND v.backend = 'neon-db'"
        ).format(table_of(bench, memory)),
        (memory.memory_id,),
    )


@damages("hash_unknown")
def _file_hash_forgotten(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    return memory is not None and _forget_hash(bench, memory.blob)


@damages("hash_unknown")
def _copy_hash_forgotten(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {ON_ICP}")
    return memory is not None and _forget_hash(bench, memory.icp_asset)


def _forget_hash(bench: Bench, edge: Edge) -> bool:
    bench.update_edge(edge, "content_hash = NULL")
    bench.report("hash_unknown", edge)
    return True


@damages("stuck")
def _hangs_though_copied(bench: Bench) -> bool:
    memory = bench.pick(ON_ICP)
    if memory is None:
        return False
    at = bench.days_ago(STUCK_DAYS)
    bench.update_edge(
        memory.icp_asset,
        "present = false, sync_state = 'migrating', updated_at = %s, last_synced_at = %s",
        at,
        at,
    )
    bench.report("stuck", memory.icp_asset)
    return True


@damages("stuck")
def _hangs_before_copied(bench: Bench) -> bool:
    memory = bench.pick(NOT_ON_ICP)
    if memory is None:
        return False
    for edge in (memory.icp_row, memory.icp_asset):
        at = bench.days_ago(STUCK_DAYS)
        bench.insert_edge(edge, at, present=False, sync_state="migrating")
        bench.report("stuck", edge)
    return True


@damages("sync_failed")
def _copy_failed(bench: Bench) -> bool:
    memory = bench.pick(NOT_ON_ICP)
    if memory is None:
        return False
    at = bench.days_ago(FAILED_DAYS)
    for edge in (memory.icp_row, memory.icp_asset):
        bench.insert_edge(edge, at, present=False, sync_state="failed", sync_error=SYNC_ERROR)
        bench.report("sync_failed", edge)
    return True


@damages("stale_failure")
def _failed_though_copied(bench: Bench) -> bool:
    memory = bench.pick(ON_ICP)
    if memory is None:
        return False
    bench.update_edge(memory.icp_asset, "sync_state = 'failed', sync_error = %s", SYNC_ERROR)
    bench.report("stale_failure", memory.icp_asset)
    return True


@damages("stale_failure")
def _error_left_behind(bench: Bench) -> bool:
    memory = bench.pick(HAS_FILE)
    if memory is None:
        return False
    bench.update_edge(memory.blob, "sync_error = %s", "upload timed out")
    bench.report("stale_failure", memory.blob)
    return True


@damages("dangling_edge")
def _edges_of_nothing(bench: Bench) -> bool:
    memory_id, at = make_uuid(bench.rng), bench.days_ago(bench.rng.uniform(20, 300))
    row = Edge(memory_id, "image", "metadata", "neon-db")
    file = Edge(memory_id, "image", "asset", "vercel-blob")
    bench.insert_edge(row, at)
    bench.insert_edge(file, at, location=f"images/never uploaded-{memory_id}.jpg")
    for edge in (row, file):
        bench.report("dangling_edge", edge)
    return True


@damages("dangling_edge")
def _canister_edges_of_nothing(bench: Bench) -> bool:
    capsules = bench.canister.capsules()
    if not capsules:
        return False
    memory_id, at = make_uuid(bench.rng), bench.days_ago(bench.rng.uniform(20, 300))
    location = f"icp://{bench.rng.choice(capsules).id}/{memory_id}"
    for artifact in ("metadata", "asset"):
        edge = Edge(memory_id, "audio", artifact, "icp-canister")
        bench.insert_edge(edge, at, location=location)
        bench.report("dangling_edge", edge)
    return True


@damages("deleted_memory")
def _row_deleted(bench: Bench) -> bool:
    """Not a video with a thumbnail: that would be orphaned. Not one in a canister's gallery.

    Nor a note that is in Neon alone: nothing at all would be left of it but dangling edges.
    """
    memory = bench.pick(
        f"NOT has_thumbnail AND NOT in_canister_gallery AND ({ON_ICP} OR {HAS_FILE})"
    )
    if memory is None:
        return False
    delete = sql.SQL("DELETE FROM {} WHERE id = %s").format(table_of(bench, memory))
    bench.sql(delete, memory.memory_id)
    tables = bench.directory.tables
    for table in (tables.gallery_items, tables.memory_shares):
        delete = sql.SQL("DELETE FROM {} WHERE memory_id = %s").format(sql.Identifier(table))
        bench.sql(delete, memory.memory_id)
    bench.report_memory(Finding("deleted_memory", memory.memory_id, memory.memory_type))
    return True


@damages("invalid_location")
def _no_location(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    bench.update_edge(memory.blob, "location = NULL")
    bench.report("invalid_location", memory.blob)
    return True


@damages("invalid_location")
def _no_url(bench: Bench) -> bool:
    return _set_url(bench, None)


@damages("invalid_location")
def _foreign_location(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    bench.update_edge(memory.blob, "location = %s", _foreign(memory))
    bench.report("invalid_location", memory.blob)
    return True


@damages("invalid_location")
def _relative_url(bench: Bench) -> bool:
    return _set_url(bench, "/uploads/{0.memory_id}")


@damages("invalid_location")
def _foreign_url(bench: Bench) -> bool:
    return _set_url(bench, "https://images.example.org/{0.memory_id}.jpg")


def _set_url(bench: Bench, url: str | None) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    value = url.format(memory) if url else None
    set_row(bench, memory, "url = %s", value)
    bench.report("invalid_location", memory.blob)
    return True


def set_row(bench: Bench, memory: Candidate, assignment: LiteralString, value: object) -> None:
    """Change one column of the memory's row in the app."""
    update = sql.SQL("UPDATE {} SET {} WHERE id = %s").format(
        table_of(bench, memory), sql.SQL(assignment)
    )
    bench.sql(update, value, memory.memory_id)


def table_of(bench: Bench, memory: Candidate) -> sql.Identifier:
    """The app's table that has the memory's row."""
    return sql.Identifier(bench.directory.tables.memories[memory.memory_type])


def _foreign(memory: Candidate) -> str:
    return f"https://images.example.org/{memory.memory_id}.jpg"
