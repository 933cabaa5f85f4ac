"""Damage to the canister's memories: strangers, links without bytes, ids that are none."""

from dataclasses import replace
from typing import Final

from sandbox.content import Generated
from sandbox.dataset import make_uuid
from sandbox.drift.bench import Bench
from sandbox.drift.findings import Finding
from sandbox.drift.ledger_damage import HAS_FILE, ON_ICP
from sandbox.drift.object_damage import NS_PER_MS
from sandbox.drift.registry import damages
from sandbox.icp.storage import StoredAsset, StoredMemory

STRANGER_BYTES: Final = range(5_000, 50_000)


@damages("icp_only")
def _memory_that_neon_never_had(bench: Bench) -> bool:
    memory_id = make_uuid(bench.rng)
    finding = Finding("icp_only", memory_id, "image", backend="icp-canister")
    return _add_memory(bench, memory_id, finding)


@damages("invalid_id")
def _memory_without_uuid(bench: Bench) -> bool:
    memory_id = f"mem_{bench.rng.getrandbits(60)}"
    finding = Finding("invalid_id", memory_id, "image", backend="icp-canister")
    return _add_memory(bench, memory_id, finding)


def _add_memory(bench: Bench, memory_id: str, finding: Finding) -> bool:
    capsules = bench.canister.capsules()
    if not capsules:
        return False
    at = bench.ms_ago(bench.rng.uniform(20, 300)) * NS_PER_MS
    body = Generated(f"drift/{memory_id}", bench.rng.choice(STRANGER_BYTES))
    asset = StoredAsset(
        asset_id=f"{memory_id}-original",
        kind="internal",
        asset_type="Original",
        name="IMG_0001.jpg",
        mime_type="image/jpeg",
        bytes=body.length,
        sha256=body.sha256(),
        body=body.describe(),
        locator=f"blob_{memory_id}",
        created_at=at,
        updated_at=at,
    )
    memory = StoredMemory(
        id=memory_id,
        capsule_id=bench.rng.choice(capsules).id,
        memory_type="Image",
        title="Made on the canister",
        content_type="image/jpeg",
        created_at=at,
        updated_at=at,
        uploaded_at=at,
        assets=(asset,),
        details={"database_storage_edges": ["Icp"]},
    )
    bench.later.append(lambda: bench.canister.add_memories([memory]))
    bench.report_memory(finding)
    return True


@damages("external_only")
def _copy_became_a_link(bench: Bench) -> bool:
    memory = bench.pick(f"{ON_ICP} AND {HAS_FILE}")
    if memory is None:
        return False

    def link(asset: StoredAsset) -> StoredAsset:
        return replace(
            asset,
            kind="external",
            body=None,
            locator=None,
            location="VercelBlob",
            storage_key=memory.pathname,
            url=memory.url,
        )

    bench.edit_original(memory, link, alone=True)
    bench.report("external_only", memory.icp_asset)
    return True
