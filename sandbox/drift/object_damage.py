"""Damage to blob objects and to bytes on the canister."""

from dataclasses import replace
from typing import Final

from sandbox.batch import stored_object
from sandbox.blob.storage import StoredObject
from sandbox.content import Generated, parse
from sandbox.dataset import File, make_uuid
from sandbox.drift.bench import Bench, Candidate
from sandbox.drift.findings import Finding
from sandbox.drift.ledger_damage import HAS_FILE, NOT_ON_ICP, ON_ICP
from sandbox.drift.registry import damages
from sandbox.icp.storage import StoredAsset

NS_PER_MS: Final = 1_000_000
ORPHAN_BYTES: Final = range(200, 60_000)


@damages("missing")
def _file_deleted_of_a_copied_memory(bench: Bench) -> bool:
    memory = bench.pick(f"{ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    _delete_object(bench, memory)
    bench.report("missing", memory.blob)
    return True


@damages("missing")
def _memory_deleted_from_canister(bench: Bench) -> bool:
    memory = bench.pick(f"{ON_ICP} AND NOT in_canister_gallery")
    if memory is None:
        return False
    bench.later.append(lambda: bench.canister.delete_memories([memory.memory_id]))
    bench.report("missing", memory.icp_row)
    bench.report("missing", memory.icp_asset)
    return True


@damages("missing")
def _bytes_gone_from_canister(bench: Bench) -> bool:
    """The memory still declares its asset, so that only reading it tells."""
    memory = bench.pick("hashed AND original = 'internal'")
    if memory is None:
        return False
    bench.edit_original(memory, lambda asset: replace(asset, body=None))
    bench.report("missing", memory.icp_asset, "bytes")
    return True


@damages("missing")
def _memory_on_its_way_out_of_the_canister(bench: Bench) -> bool:
    """It is marked as deleted, and still listed: only reading it tells."""
    memory = bench.pick(f"{ON_ICP} AND NOT in_canister_gallery")
    if memory is None:
        return False
    stored = bench.stored_memory(memory)
    leaving = replace(stored, deleted_at=bench.ms_ago(20) * NS_PER_MS)
    bench.later.append(lambda: bench.canister.replace_memory(leaving))
    bench.report("missing", memory.icp_row, "bytes")
    bench.report("missing", memory.icp_asset, "bytes")
    return True


@damages("unverifiable")
def _copy_that_can_not_be_read_to_its_end(bench: Bench) -> bool:
    memory = bench.pick("hashed AND original = 'internal'")
    if memory is None:
        return False

    def cut(asset: StoredAsset) -> StoredAsset:
        body = parse(asset.body or "")
        return replace(asset, body=replace(body, readable=body.length // 2).describe())

    bench.edit_original(memory, cut)
    bench.report("unverifiable", memory.icp_asset, "bytes")
    return True


@damages("lost")
def _only_file_deleted(bench: Bench) -> bool:
    memory = bench.pick(f"{NOT_ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    _delete_object(bench, memory)
    bench.report("missing", memory.blob)
    bench.report_asset("lost", memory)
    return True


@damages("lost")
def _only_file_and_its_edge_deleted(bench: Bench) -> bool:
    """The row's url is what promised it then."""
    memory = bench.pick(f"{NOT_ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    _delete_object(bench, memory)
    bench.delete_edge(memory.blob)
    bench.report_asset("lost", memory)
    return True


@damages("orphaned")
def _unreferenced_image(bench: Bench) -> bool:
    return _leave_object(bench, "orphaned", "images/{}.jpg", "image/jpeg", beside="image")


@damages("orphaned")
def _unreferenced_document(bench: Bench) -> bool:
    return _leave_object(
        bench, "orphaned", "documents/{}.pdf", "application/pdf", beside="document"
    )


@damages("unclassified")
def _export_left_behind(bench: Bench) -> bool:
    return _leave_object(bench, "unclassified", "exports/{}.zip", "application/zip", beside=None)


def _leave_object(
    bench: Bench, kind: str, place: str, content_type: str, *, beside: str | None
) -> bool:
    """Upload what nothing refers to; ``beside`` files of a type, and only where there are any.

    ``place`` is folder and extension as a pattern for its name.
    """
    files = "SELECT 1 FROM memory_row AS m JOIN blob_object AS o ON o.url = m.url "
    if beside is not None:
        where = "WHERE m.memory_type = %s::memory_type_t LIMIT 1"
        if bench.database.execute(files + where, (beside,)).fetchone() is None:
            return False
    name = make_uuid(bench.rng)
    manner = bench.rng.choice(("left behind", "déjà vu", "100%25"))
    pathname = place.format(f"{manner}-{name}")
    body = Generated(f"drift/{name}", bench.rng.choice(ORPHAN_BYTES))
    uploaded_at = bench.ms_ago(bench.rng.uniform(20, 300))
    obj = stored_object(File(pathname, content_type, body, uploaded_at))
    bench.later.append(lambda: bench.blob.replace(obj))
    bench.findings.append(Finding(kind, backend="vercel-blob", location=pathname))
    return True


@damages("size_mismatch")
def _file_truncated(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    obj = object_of(bench, memory)
    size = obj.size // 2
    body = replace(parse(obj.body), length=size).describe()
    bench.later.append(lambda: bench.blob.replace(replace(obj, size=size, body=body)))
    bench.report("size_mismatch", memory.blob)
    return True


@damages("size_mismatch")
def _copy_truncated(bench: Bench) -> bool:
    memory = bench.pick("hashed AND original = 'internal'")
    if memory is None:
        return False

    def truncate(asset: StoredAsset) -> StoredAsset:
        body = parse(asset.body or "")
        return replace(asset, body=replace(body, length=body.length // 2).describe())

    bench.edit_original(memory, truncate)
    bench.report("size_mismatch", memory.icp_asset, "bytes")
    return True


@damages("hash_mismatch")
def _bit_flipped_in_file(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    obj = object_of(bench, memory)
    body = bench.flipped(parse(obj.body)).describe()
    bench.later.append(lambda: bench.blob.replace(replace(obj, body=body)))
    bench.report("hash_mismatch", memory.blob, "bytes")
    return True


@damages("hash_mismatch")
def _bit_flipped_on_canister(bench: Bench) -> bool:
    memory = bench.pick("hashed AND original = 'internal'")
    return memory is not None and _flip_copy(bench, memory)


@damages("hash_mismatch")
def _bit_flipped_inline(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND original = 'inline' AND {HAS_FILE}")
    return memory is not None and _flip_copy(bench, memory)


def _flip_copy(bench: Bench, memory: Candidate) -> bool:
    bench.edit_original(
        memory,
        lambda asset: replace(asset, body=bench.flipped(parse(asset.body or "")).describe()),
    )
    bench.report("hash_mismatch", memory.icp_asset, "bytes")
    return True


def _delete_object(bench: Bench, memory: Candidate) -> None:
    pathname = object_of(bench, memory).pathname
    bench.later.append(lambda: bench.blob.delete([pathname]))


def object_of(bench: Bench, memory: Candidate) -> StoredObject:
    """The memory's file; LookupError where the store does not have it."""
    obj = bench.blob.get(memory.pathname or "")
    if obj is None:
        raise LookupError(memory.pathname)
    return obj
