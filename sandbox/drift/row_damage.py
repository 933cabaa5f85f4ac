"""Damage to single values of the ledger's rows, and ids that are used twice."""

from typing import Final, LiteralString

from sandbox.drift.bench import Bench
from sandbox.drift.findings import Edge, Finding
from sandbox.drift.ledger_damage import HAS_FILE
from sandbox.drift.registry import damages

_STRAY_TYPE: Final = {"image": "video"}  # what an image is also called; all others become images


@damages("invalid_row")
def _hash_in_capitals(bench: Bench) -> bool:
    return _spoil(bench, "content_hash = upper(content_hash)")


@damages("invalid_row")
def _hash_of_another_algorithm(bench: Bench) -> bool:
    return _spoil(bench, "content_hash = left(content_hash, 40)")


@damages("invalid_row")
def _negative_size(bench: Bench) -> bool:
    return _spoil(bench, "size_bytes = -size_bytes")


def _spoil(bench: Bench, assignment: LiteralString) -> bool:
    memory = bench.pick(f"hashed AND {HAS_FILE}")
    if memory is None:
        return False
    bench.update_edge(memory.blob, assignment)
    bench.report("invalid_row", memory.blob)
    return True


@damages("type_mismatch")
def _edge_under_another_type(bench: Bench) -> bool:
    memory = bench.pick(HAS_FILE)
    if memory is None:
        return False
    other = _STRAY_TYPE.get(memory.memory_type, "image")
    stray = Edge(memory.memory_id, other, "metadata", "neon-db")
    bench.insert_edge(stray, bench.days_ago(bench.rng.uniform(20, 300)))
    bench.report_memory(Finding("type_mismatch", memory.memory_id))
    return True
