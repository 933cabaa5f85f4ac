"""The record of a Store Forever run: what failed stands in it as an audit would find it."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from checks.fingerprint import fingerprint
from checks.model import Artifact, Backend, Evidence, RepairState
from checks.run import FINDINGS, RunRecord, StoredMemory, StoreForever, settled, with_findings
from tasks.audit import AuditRun, usage_of
from tasks.publish import published, stages, versions
from tasks.settings import masked
from tasks.storing import Outcome

_KIND = "sync_failed"


def close(run: AuditRun, outcome: StoreForever) -> RunRecord:
    """Writes the record and the pages of a run that came to its end, and gives the record."""
    now = datetime.now(UTC)
    findings = pd.DataFrame(list(_failed(outcome.memories, now)), columns=FINDINGS.names)
    record = RunRecord(
        run_id=run.run_id, flow=run.flow, started_at=run.started_at, finished_at=now,
        repair=run.options.repair, report=str(run.directory.report),
        version=versions()["edgekeeper"], versions=versions(), stages=stages(run),
        settings=masked(run.settings), usage=usage_of(run), store_forever=outcome,
        inconclusive=tuple(_left(outcome.memories)),
        limits={"memories": len(outcome.memories), **_counts(outcome.memories)},
    )  # fmt: skip
    record = settled(with_findings(record, findings, now=now))
    return published(run, record, findings, ())


def _counts(memories: Iterable[StoredMemory]) -> dict[str, int]:
    """How many artifacts ended in which way."""
    counts: dict[str, int] = {}
    for memory in memories:
        for artifact in Artifact:
            name = f"{artifact}: {getattr(memory, artifact)}"
            counts[name] = counts.get(name, 0) + 1
    return counts


def _left(memories: Iterable[StoredMemory]) -> list[str]:
    """A sentence about what was left as it is, for a reason that passes."""
    skipped = [m for m in memories if Outcome.SKIPPED.value in (m.metadata, m.asset)]
    if not skipped:
        return []
    first = skipped[0]
    which = f"{first.memory_type} {first.memory_id}, {first.reason}"
    return [f"{len(skipped)} memories were not stored whole: {which}. Run it again"]


def _failed(memories: Iterable[StoredMemory], now: datetime) -> Iterator[dict[str, Any]]:
    """A finding for each artifact that could not be stored."""
    for memory in memories:
        for artifact in Artifact:
            if getattr(memory, artifact) == Outcome.FAILED.value:
                yield _finding(memory, artifact, now)


def _finding(memory: StoredMemory, artifact: Artifact, now: datetime) -> dict[str, Any]:
    identity = {
        "memory_id": memory.memory_id, "memory_type": memory.memory_type,
        "artifact": artifact.value, "backend": Backend.ICP.value,
    }  # fmt: skip
    return dict.fromkeys(FINDINGS.names) | identity | {
        "fingerprint": fingerprint(_KIND, **identity), "kind": _KIND, "severity": "warning",
        "evidence": Evidence.LOOKUP.value, "repair": RepairState.NONE.value,
        "explanation": f"The {artifact} of {memory.memory_type} {memory.memory_id} could not be "
        f"stored: {memory.reason}.",
        "first_seen": now, "runs_seen": 1,
    }  # fmt: skip
