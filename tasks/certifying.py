"""Certified evidence of what the canister claims about the memories that are verified."""

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from checks.errors import AccessRefusedError, StoreError, StoreUnreachableError
from checks.model import Backend
from tasks.audit import AuditRun
from tasks.observe import OpenStores, Seen
from tasks.partitions import read_partition
from tasks.progress import advancing
from tasks.stores.icp.canister import MEMORIES_LIST_ASSETS, MEMORIES_READ, Canister
from tasks.stores.icp.evidence import archive, examine
from tasks.stores.icp.store import IcpStore

CONCURRENCY = 10
_DIRECTORY = "certificates"


def certify(run: AuditRun, seen: Seen) -> dict[str, Any]:
    """Has the subnet certify what the canister says of every memory that it holds.

    Gives ``kept`` (path within the run's directory, by memory id as the canister has it), and
    ``failed`` (reason by memory id).
    """

    def work() -> dict[str, Any]:
        return asyncio.run(_certify(run, seen))

    return run.stage("certify", work)


def no_certificates() -> dict[str, Any]:
    """What :func:`certify` gives where nothing is to be certified."""
    return {"kept": {}, "failed": {}}


async def _certify(run: AuditRun, seen: Seen) -> dict[str, Any]:
    result = no_certificates()
    gate = asyncio.Semaphore(CONCURRENCY)
    names = _held(run, seen)
    told = advancing("certifying", len(names))
    async with OpenStores(run, seen) as stores:
        store = stores.get(Backend.ICP)
        if not isinstance(store, IcpStore):
            return result
        canister, root_key = store.canister, await store.canister.agent.root_key()

        async def one(memory_id: str) -> None:
            async with gate:
                try:
                    evidence = await _evidence(canister, memory_id)
                    examine(evidence, root_key)  # what can't be checked again proves nothing
                except StoreError as error:
                    result["failed"][memory_id] = str(error)
                else:
                    result["kept"][memory_id] = _keep(run, evidence)
                told(1)

        await asyncio.gather(*(one(memory_id) for memory_id in names))
    return result


def _held(run: AuditRun, seen: Seen) -> list[str]:
    """The memories that the canister was seen to hold, by its own ids."""
    workspace = run.workspace(seen.facts["partitions"])
    parts = (
        read_partition(workspace.inventory(Backend.ICP), number, ["memory_id"])
        for number in range(workspace.partitions)
    )
    return sorted({each for part in parts for each in pc.unique(part["memory_id"]).to_pylist()})


async def _evidence(canister: Canister, memory_id: str) -> bytes:
    """The certified claim; of a memory too large for one reply, only which assets it has."""
    try:
        _, proof = await canister.certified(MEMORIES_READ, memory_id)
    except (StoreUnreachableError, AccessRefusedError):
        raise
    except StoreError:
        _, proof = await canister.certified(MEMORIES_LIST_ASSETS, memory_id)
    return archive(proof)


def _keep(run: AuditRun, evidence: bytes) -> str:
    """Writes a certificate down under its own digest: an id could be no file's name."""
    name = f"{hashlib.sha256(evidence).hexdigest()[:32]}.cbor"
    path = run.directory.certificates / name
    path.write_bytes(evidence)
    path.chmod(0o600)
    return f"{_DIRECTORY}/{name}"


def digests(run: AuditRun, kept: Mapping[str, str]) -> dict[str, str]:
    """The SHA-256 of every certificate that was kept, by its path."""
    return {path: _digest(run.directory.path / path) for path in sorted(kept.values())}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
