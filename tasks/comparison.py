"""Comparing, confirming and writing down, partition by partition.

What is concluded about a partition is kept beside the run as Parquet: ``judged/`` holds the cases
behind the findings (a repair is planned from them), ``parts/`` what a finding about a whole memory
changes, ``findings/`` the findings as everybody reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from checks.cases import Cases, View, build
from checks.describe import describe, plain_records
from checks.judge import judge
from checks.model import Backend
from checks.normal import BlobAddress
from checks.repairs import EdgeRepair, plan
from checks.run import FINDINGS
from tasks.confirm import RereadRows, confirm
from tasks.partitions import partition_path
from tasks.resolve import LeftOver, Workspace, left_over, load_partition
from tasks.stores.protocol import Store

#: Columns that only ``Cases.frame`` fills: null for objects that no memory is known for.
_CASE_COLUMNS = (
    "memory_id", "memory_type", "artifact", "version", "row_version", "ledger_digest", "outcome",
    "edge_id",
)  # fmt: skip


@dataclass(slots=True)
class Concluded:
    """What was concluded about one partition, in numbers; the rest lies in its files.

    Attributes:
        edges, compared, agree: ledger rows seen, of these judged, of these in agreement.
        findings: confirmed ones.
        in_flight: dropped, since something changed while they were looked at.
        unknown: backends that could not be asked any more, by name, with the reason.
        sampled: groups of findings of which only a sample was looked at.
        assets, unverifiable: assets that a store holds, and of these not readable.
    """

    edges: int = 0
    compared: int = 0
    agree: int = 0
    findings: int = 0
    in_flight: int = 0
    assets: int = 0
    unverifiable: int = 0
    unknown: dict[str, str] = field(default_factory=dict)
    sampled: dict[str, int] = field(default_factory=dict)


def cases_of(
    workspace: Workspace, partition: int, view: View, address: BlobAddress | None
) -> tuple[Cases, pd.DataFrame]:
    """One partition's cases, and the rows whose ids can't be compared (see ``load_partition``)."""
    frames, odd = load_partition(workspace, partition, address)
    return build(frames, view), odd


async def conclude(
    workspace: Workspace,
    partition: int,
    view: View,
    *,
    address: BlobAddress | None,
    stores: Mapping[Backend, Store],
    reread: RereadRows,
) -> Concluded:
    """Judges one partition, looks directly at what differs, and writes down what holds."""
    frames, odd = load_partition(workspace, partition, address)
    cases = build(frames, view)
    judgement = judge(cases, view)
    confirmation = await confirm(judgement.findings, stores, reread)
    if confirmation.hollow is not None:
        gone = confirmation.hollow.assign(outcome="gone")
        frames.hashes = pd.concat([frames.hashes, gone], ignore_index=True)
        cases = build(frames, view)
        judgement = judge(cases, view)
        confirmation = await confirm(judgement.findings, stores, reread)
    kept = _fingerprinted(confirmation.kept)
    _save(workspace.directory / "judged", partition, kept)
    _save(workspace.directory / "parts", partition, _belonging(judgement.parts, kept))
    strange = odd.drop_duplicates().assign(kind="invalid_id")
    _save_findings(workspace, partition, pd.concat([kept, strange], ignore_index=True))
    unverifiable = int(cases.hashes["outcome"].isin(["changed", "failed"]).sum())
    return Concluded(
        judgement.edges, judgement.compared, judgement.agree, len(kept) + len(strange),
        confirmation.in_flight, cases.assets_held(), unverifiable,
        {backend.value: reason for backend, reason in confirmation.unknown.items()},
        confirmation.sampled,
    )  # fmt: skip


async def conclude_left_over(
    workspace: Workspace,
    found: LeftOver,
    view: View,
    stores: Mapping[Backend, Store],
    reread: RereadRows,
) -> Concluded:
    """The objects of the blob store that nothing refers to, past their grace and looked at."""
    objects = left_over(workspace, found.segments)
    if objects.empty:
        return Concluded()
    written = pd.to_datetime(objects["object_written_at"], utc=True)
    objects = objects[~(written > pd.Timestamp(view.grace_after))].reset_index(drop=True)
    objects = objects.assign(**dict.fromkeys(_CASE_COLUMNS), object_state=0)
    confirmation = await confirm(objects, stores, reread)
    kept = confirmation.kept
    _save_findings(workspace, workspace.partitions, kept)
    return Concluded(
        findings=len(kept), in_flight=confirmation.in_flight, sampled=confirmation.sampled,
        unknown={backend.value: reason for backend, reason in confirmation.unknown.items()},
    )  # fmt: skip


def _fingerprinted(findings: pd.DataFrame) -> pd.DataFrame:
    """``findings`` with their fingerprints; the graver one where two have the same."""
    rows = [describe(case) for case in plain_records(findings)]
    marked = findings.assign(fingerprint=[row["fingerprint"] for row in rows])
    return marked.drop_duplicates("fingerprint").reset_index(drop=True)


def _belonging(parts: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """The parts of those whole-memory findings that were kept, with their fingerprint."""
    whole = findings.loc[
        findings["kind"].isin(["deleted_memory", "icp_only"]),
        ["key_hi", "key_lo", "kind", "fingerprint"],
    ]
    return parts.merge(whole, "inner", ["key_hi", "key_lo", "kind"])


def _save(directory: Path, partition: int, frame: pd.DataFrame) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    frame.to_parquet(partition_path(directory, partition), index=False)


def _save_findings(workspace: Workspace, partition: int, cases: pd.DataFrame) -> None:
    """Writes the findings as rows of ``FINDINGS``, not yet joined with former runs."""
    moment = datetime.now(UTC)
    rows = [
        describe(case) | {"first_seen": moment, "runs_seen": 1} for case in plain_records(cases)
    ]
    frame = pd.DataFrame(rows, columns=FINDINGS.names).drop_duplicates("fingerprint")
    _save(workspace.directory / "findings", partition, frame)


def all_findings(workspace: Workspace) -> pd.DataFrame:
    """All findings of the run (columns ``FINDINGS``)."""
    files = sorted((workspace.directory / "findings").glob("part-*.parquet"))
    frames = [pq.read_table(path).to_pandas() for path in files]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return pd.DataFrame(columns=FINDINGS.names)
    findings: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return findings.drop_duplicates("fingerprint")


def judged_part(workspace: Workspace, partition: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cases behind one partition's findings, and the parts of its whole-memory findings."""
    judged, parts = (
        pq.read_table(partition_path(workspace.directory / name, partition)).to_pandas()
        for name in ("judged", "parts")
    )
    return judged, parts


def planned(workspace: Workspace, partition: int, run_id: str) -> list[EdgeRepair]:
    """The ledger repairs of one partition."""
    return plan(*judged_part(workspace, partition), run_id)
