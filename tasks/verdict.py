"""The answer to "is it really stored?": a verdict on each memory and the gallery, and its proof."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from checks.cases import WIDTH, Cases
from checks.describe import plain_records
from checks.model import Artifact, Backend, Evidence
from checks.run import GalleryVerdict, MemoryVerdict, Replica, RunRecord
from checks.states import Edge, Object
from checks.verdicts import gallery_verdict, memory_verdicts
from tasks import publish
from tasks.audit import AuditRun
from tasks.certifying import digests
from tasks.chosen import Chosen
from tasks.comparison import cases_of
from tasks.membership import Membership
from tasks.observe import Seen, view_of
from tasks.statement import write_statement
from tasks.stores.icp.identity import load_identity

_PRESENT = {Object.THERE: True, Object.LINK: False, Object.ABSENT: False, Object.UNKNOWN: None}
#: Path of each certificate kept, by memory id.
Certificates = Mapping[str, str]


def close(
    run: AuditRun,
    seen: Seen,
    chosen: Chosen,
    outcome: publish.Outcome,
    evidence: Mapping[str, Any],
    membership: Membership,
) -> RunRecord:
    """Writes the record, the page and the statement of a verification, and gives the record.

    ``evidence``: what ``certifying.certify`` gave; ``membership``: how the gallery's items are on
    the canister.
    """
    answer = verdict(run, seen, chosen, evidence["kept"])
    answer = answer.model_copy(update={"on_icp": membership.on_icp})
    record = publish.close(run, seen, outcome, answer)
    pem = run.settings.identity_pem
    identity = load_identity(pem.get_secret_value() if pem else None)
    write_statement(run.directory, record, digests(run, evidence["kept"]), identity)
    return record


def verdict(
    run: AuditRun, seen: Seen, chosen: Chosen, certificates: Certificates
) -> GalleryVerdict:
    """What was observed of everything that was asked about, in its order."""
    found: dict[tuple[str, str], MemoryVerdict] = {}
    view = view_of(run, seen.facts, seen.reports)
    for partition in range(seen.facts["partitions"]):
        workspace = run.workspace(seen.facts["partitions"])
        cases, _ = cases_of(workspace, partition, view, run.settings.blob_address)
        verdicts = memory_verdicts(cases, view)
        for number, each in enumerate(_memories(cases, verdicts, certificates)):
            found[cases.memories["memory_id"].iloc[number].lower(), each.memory_type] = each
    asked = chosen.pairs()
    memories = tuple(found.get(pair) or _nowhere(*pair) for pair in asked)
    together = gallery_verdict([each.verdict for each in memories])
    if not chosen.found or (chosen.gallery_id is None and not _known(found, asked)):
        together = "not_found"
    return GalleryVerdict(
        id=chosen.gallery_id, title=chosen.title, owner_id=chosen.owner_id,
        storage_status=chosen.storage_status, verdict=together,
        memories=memories,
    )  # fmt: skip


def _known(found: Mapping[tuple[str, str], MemoryVerdict], asked: list[tuple[str, str]]) -> bool:
    """Whether anything at all is known of the memories, or could not be looked at."""
    return any(pair in found for pair in asked)


def _nowhere(memory_id: str, memory_type: str) -> MemoryVerdict:
    """The verdict about a memory of which no row, no edge and no object was seen."""
    return MemoryVerdict(memory_id=memory_id, memory_type=memory_type, verdict="incomplete")


def _memories(cases: Cases, verdicts: Any, certificates: Certificates) -> Iterator[MemoryVerdict]:
    """The memories of one partition, in the order of ``cases.memories``."""
    told = (cases.edge != Edge.NONE) | (cases.object != Object.ABSENT)
    frame = cases.frame(np.flatnonzero(told))
    replicas: dict[int, list[Replica]] = {}
    for case in plain_records(frame):
        replicas.setdefault(case["case"] // WIDTH, []).append(_replica(case, certificates))
    ids = cases.memories[["memory_id", "memory_type"]].itertuples(index=False)
    for number, (memory_id, memory_type) in enumerate(ids):
        yield MemoryVerdict(
            memory_id=memory_id, memory_type=memory_type, verdict=verdicts[number],
            replicas=tuple(replicas.get(number, ())),
        )  # fmt: skip


def _replica(case: dict[str, Any], certificates: Certificates) -> Replica:
    """One copy of one artifact, as it was observed."""
    read = case["outcome"] == "read"
    certificate = None
    if case["backend"] == Backend.ICP:
        certificate = certificates.get(case["memory_id"])
    is_claim = certificate is not None and case["artifact"] == Artifact.METADATA
    evidence = Evidence.SHA256 if read else Evidence.CERTIFIED if is_claim else Evidence.LOOKUP
    return Replica(
        backend=case["backend"], artifact=case["artifact"],
        present=_PRESENT[Object(case["object_state"])],
        size_bytes=_whole(case["read_size"] if read else case["object_size"]),
        sha256=case["sha256"] if read else None,
        evidence=evidence.value, certificate=certificate,
    )  # fmt: skip


def _whole(number: Any) -> int | None:
    return None if number is None or pd.isna(number) else int(number)
