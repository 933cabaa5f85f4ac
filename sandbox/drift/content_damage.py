"""Bytes that were written since: the ledger is behind, a copy is old, or nobody can tell."""

from sandbox.batch import measure, stored_object
from sandbox.content import Generated
from sandbox.dataset import File
from sandbox.drift.bench import Bench, Candidate
from sandbox.drift.ledger_damage import HAS_FILE, NOT_ON_ICP, ON_ICP, set_row
from sandbox.drift.object_damage import object_of
from sandbox.drift.registry import damages

_WRITTEN_DAYS = 5  # ago: everything in the data set is older
_APPENDED = " (edited)"


@damages("stale_hash")
def _file_overwritten(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {NOT_ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    _overwrite(bench, memory)
    bench.report("stale_hash", memory.blob)
    return True


@damages("stale_hash")
def _text_edited(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {NOT_ON_ICP} AND memory_type = 'note'")
    if memory is None:
        return False
    _edit(bench, memory)
    bench.report("stale_hash", memory.asset)
    return True


@damages("outdated_replica")
def _photo_replaced_after_it_was_copied(bench: Bench) -> bool:
    """The ledger knows of the new photo."""
    memory = bench.pick(f"hashed AND {ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    asset = measure(_overwrite(bench, memory))
    bench.update_edge(
        memory.blob, "content_hash = %s, size_bytes = %s", asset.sha256, asset.size
    )  # fmt: skip
    bench.report("outdated_replica", memory.icp_asset)
    return True


@damages("outdated_replica")
def _text_edited_after_it_was_copied(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {ON_ICP} AND memory_type = 'note'")
    if memory is None:
        return False
    _edit(bench, memory)
    bench.report("stale_hash", memory.asset)
    bench.report("outdated_replica", memory.icp_asset)
    return True


@damages("replica_divergence")
def _edges_with_different_hashes(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    bench.update_edge(memory.icp_asset, "content_hash = %s", _another_hash(bench))
    bench.report_asset("replica_divergence", memory)
    bench.settled_edges.add(memory.icp_asset)
    return True


@damages("replica_divergence")
def _copies_that_agree_against_the_ledger(bench: Bench) -> bool:
    memory = bench.pick(f"hashed AND {ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False
    other = _another_hash(bench)
    for edge in (memory.blob, memory.icp_asset):
        bench.update_edge(edge, "content_hash = %s", other)
        bench.settled_edges.add(edge)
    bench.report_asset("replica_divergence", memory, "bytes")
    return True


def _another_hash(bench: Bench) -> str:
    """What could be a SHA-256, and is that of nothing here."""
    return f"{bench.rng.getrandbits(256):064x}"


def _overwrite(bench: Bench, memory: Candidate) -> Generated:
    """Upload something else under the same name, lately; gives what."""
    obj = object_of(bench, memory)
    body = Generated(f"drift/{memory.memory_id}/over", obj.size + 7)
    written_at = bench.ms_ago(_WRITTEN_DAYS)
    new = stored_object(File(obj.pathname, obj.content_type, body, written_at))
    bench.later.append(lambda: bench.blob.replace(new))
    return body


def _edit(bench: Bench, memory: Candidate) -> None:
    """Add something to a note's text, lately."""
    set_row(bench, memory, "content = content || %s", _APPENDED)
    set_row(bench, memory, "updated_at = %s", bench.days_ago(_WRITTEN_DAYS))
