"""Comparing, confirming and writing down, partition by partition.

What is concluded about a partition is kept beside the run as Parquet: ``judged/`` holds the cases
behind the findings (a repair is planned from them), ``parts/`` what a finding about a whole memory
changes, ``findings/`` the findings as everybody reads them.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from checks.cases import Cases, Partition, View, build
from checks.columns import STORED_COPIES
from checks.coverage import covered, stored_copies
from checks.describe import describe, plain_records
from checks.errors import StoreError
from checks.judge import judge
from checks.model import Artifact, Backend
from checks.normal import BlobAddress, icp_location
from checks.repairs import EdgeRepair, plan
from checks.run import FINDINGS
from checks.states import Edge
from tasks.confirm import Confirmation, RereadRows, confirm
from tasks.log import mask_table
from tasks.moved import moved_files, recognise, save_moved
from tasks.partitions import partition_files, partition_path, whole
from tasks.resolve import LeftOver, Workspace, left_over, load_partition
from tasks.stores.protocol import Store

_BATCH = 10_000
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
        unknown: backends that did not give every answer, by name, with a reason.
        sampled: groups of findings of which only a sample was looked at.
        left_out: by backend, objects that its listing left out and a direct look found.
        assets, unverifiable: assets that a store holds, and of these not readable.
        coverage: how much of them was ever verified, see ``coverage.covered``.
        limits: what was not looked at, each with its reason.
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
    coverage: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    limits: dict[str, str] = field(default_factory=dict)


def cases_of(
    workspace: Workspace, partition: int, view: View, address: BlobAddress | None
) -> tuple[Cases, pd.DataFrame]:
    """One partition's cases, and the rows that can't be compared (see ``load_partition``)."""
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
    await _drop_departed(frames, stores)
    cases = build(frames, view)
    judgement = judge(cases, view)
    judgement.findings = await recognise(judgement.findings, workspace, view, stores)
    confirmation = await confirm(judgement.findings, stores, reread, listed_from=view.now)
    left_out = {backend.value: sorted(names) for backend, names in confirmation.left_out.items()}
    if confirmation.hollow is not None:
        gone = confirmation.hollow.assign(outcome="gone")
        frames.hashes = pd.concat([frames.hashes, gone], ignore_index=True)
        cases = build(frames, view)
        judgement = judge(cases, view)
        judgement.findings = await recognise(judgement.findings, workspace, view, stores)
        confirmation = await confirm(judgement.findings, stores, reread)
    kept, findings = _described(confirmation.kept)
    _save_dropped(workspace, partition, judgement.findings, confirmation, kept)
    _save(workspace.directory / "judged", partition, kept)
    save_moved(workspace, partition, kept)
    strange, invalid = _described(odd.drop_duplicates())
    parts = [_belonging(judgement.parts, kept), _respelled(cases, strange)]
    _save(workspace.directory / "parts", partition, pd.concat(parts, ignore_index=True))
    _save_findings(workspace, partition, findings, invalid)
    copies = stored_copies(cases, view.now)
    _save(workspace.stored_copies, partition, copies[STORED_COPIES.names])
    unverifiable = int(cases.hashes["outcome"].isin(["changed", "failed"]).sum())
    return Concluded(
        judgement.edges, judgement.compared, judgement.agree, len(kept) + len(strange),
        confirmation.in_flight, cases.assets_held(), unverifiable,
        {backend.value: reason for backend, reason in confirmation.why_not.items()},
        confirmation.sampled,
        covered(copies, view.now),
        left_out,
    )  # fmt: skip


async def _drop_departed(frames: Partition, stores: Mapping[Backend, Store]) -> None:
    """Leaves the canister's memories out that are listed although they are marked as deleted.

    A listing does not show that mark. Where bytes were found to be gone the memory is looked at.
    """
    canister, hashes = stores.get(Backend.ICP), frames.hashes
    if canister is None or hashes is None:
        return
    gone = hashes[(hashes["outcome"] == "gone") & (hashes["backend"] == Backend.ICP.value)]
    key = ["key_hi", "key_lo"]
    suspects = frames.replicas.merge(gone[key].drop_duplicates(), "inner", key)
    departed = set()
    for replica in plain_records(suspects):
        location = icp_location(replica["capsule_id"], replica["memory_id"])
        try:
            if await canister.look_up(location, Artifact.METADATA) is None:
                departed.add(replica["memory_id"])
        except StoreError:  # nothing is concluded from what could not be looked at
            continue
    frames.replicas = frames.replicas[~frames.replicas["memory_id"].isin(departed)]


async def conclude_left_over(
    workspace: Workspace,
    found: LeftOver,
    view: View,
    stores: Mapping[Backend, Store],
    reread: RereadRows,
    ignored: Sequence[str] = (),
    named_now: Callable[[Collection[str]], Awaitable[set[str]]] | None = None,
) -> Concluded:
    """The objects of the blob store that nothing refers to, past their grace and looked at.

    Those under the path prefixes ``ignored`` are no memories: nothing is concluded about them.
    ``named_now`` gives which of some pathnames are referred to by now. It is asked between the
    listing and the look: an object that is the same version in both was there at that moment.
    """
    objects = left_over(workspace, found.segments, ignored, moved_files(workspace))
    if objects.empty:
        return Concluded()
    written = pd.to_datetime(objects["object_written_at"], utc=True)
    objects = objects[~(written > pd.Timestamp(view.grace_after))].reset_index(drop=True)
    if named_now and len(objects):  # the app may have begun to refer to one while we listed
        named = await named_now(objects["object_location"].tolist())
        objects = objects[~objects["object_location"].isin(named)].reset_index(drop=True)
    objects = objects.assign(**dict.fromkeys(_CASE_COLUMNS), object_state=0)
    confirmation = await confirm(objects, stores, reread)
    kept, findings = _described(confirmation.kept)
    _save_dropped(workspace, workspace.partitions, objects, confirmation, kept)
    _save_findings(workspace, workspace.partitions, findings)
    return Concluded(
        findings=len(kept), in_flight=confirmation.in_flight, sampled=confirmation.sampled,
        unknown={backend.value: reason for backend, reason in confirmation.why_not.items()},
    )  # fmt: skip


def conclude_collection(workspace: Workspace, cases: Sequence[Mapping[str, Any]]) -> Concluded:
    """Writes down what was found about contents and galleries (cases of ``tasks.collection``)."""
    frame = pd.DataFrame(list(cases)) if cases else pd.DataFrame(columns=["kind"])
    kept, findings = _described(frame)
    _save_findings(workspace, workspace.partitions + 1, findings)
    return Concluded(findings=len(kept))


def _save_dropped(
    workspace: Workspace,
    partition: int,
    judged: pd.DataFrame,
    confirmation: Confirmation,
    kept: pd.DataFrame,
) -> None:
    """Writes down the fingerprints of findings that could not be confirmed: not seen, not gone."""
    dropped: set[str] = set()
    if confirmation.in_flight or len(confirmation.unseen):
        dropped = set(_described(judged)[0]["fingerprint"]) - set(kept["fingerprint"])
    _save(workspace.directory / "dropped", partition, pd.DataFrame({"fingerprint": list(dropped)}))


def dropped_findings(workspace: Workspace) -> list[str]:
    """The fingerprints of all findings of the run that could not be confirmed."""
    files = partition_files(workspace.directory / "dropped")
    return [name for path in files for name in pq.read_table(path)["fingerprint"].to_pylist()]


def _described(cases: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``cases`` with their fingerprints, and the same as findings (columns ``FINDINGS``).

    The graver one where two have the same fingerprint. The findings are not yet joined with former
    runs.
    """
    seen = {"first_seen": datetime.now(UTC), "runs_seen": 1}
    rows = (describe(case) | seen for case in plain_records(cases))
    empty = pd.DataFrame(columns=FINDINGS.names)
    frames = [pd.DataFrame(some, columns=FINDINGS.names) for some in _batched(rows)]
    findings = pd.concat(frames, ignore_index=True) if frames else empty
    marked = cases.reset_index(drop=True).assign(fingerprint=findings["fingerprint"])
    first = ~findings["fingerprint"].duplicated().to_numpy(dtype=bool)
    return marked[first].reset_index(drop=True), findings[first].reset_index(drop=True)


def _belonging(parts: pd.DataFrame, findings: pd.DataFrame) -> pd.DataFrame:
    """The parts of those whole-memory findings that were kept, with their fingerprint."""
    whole = findings.loc[
        findings["kind"].isin(["deleted_memory", "icp_only"]),
        ["key_hi", "key_lo", "kind", "fingerprint"],
    ]
    return parts.merge(whole, "inner", ["key_hi", "key_lo", "kind"])


def _respelled(cases: Cases, odd: pd.DataFrame) -> pd.DataFrame:
    """The cases of edges whose id is a UUID in other writing and can be put into canonical form.

    That is unambiguous where the app's own row is not written like that: the app finds its edges by
    its own spelling.
    """
    row = ["key_hi", "key_lo", "memory_type"]
    invalid = odd[odd["kind"] == "invalid_id"]
    as_in_app = invalid.loc[invalid["artifact"].isna(), row].drop_duplicates()
    wanted = invalid.loc[invalid["artifact"].notna(), [*row, "artifact", "backend", "fingerprint"]]
    wanted = wanted.merge(as_in_app, "left", row, indicator="app")
    wanted = wanted[wanted["app"] == "left_only"].drop(columns="app")
    tracked = np.zeros(cases.edge.shape, dtype=bool)
    tracked[cases.memories.set_index(row).index.isin(pd.MultiIndex.from_frame(wanted[row]))] = True
    tracked &= cases.edge != Edge.NONE
    own = cases.frame(np.flatnonzero(tracked)).assign(kind="invalid_id")
    return own.merge(wanted, "inner", [*row, "artifact", "backend"])


def _save(directory: Path, partition: int, frame: pd.DataFrame) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole(partition_path(directory, partition)) as path:
        frame.to_parquet(path, index=False)


def _batched(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, _BATCH)):
        yield some


def _save_findings(workspace: Workspace, partition: int, *findings: pd.DataFrame) -> None:
    """Writes findings of ``_described`` down."""
    some = [frame for frame in findings if len(frame)] or [*findings[:1]]
    together = pd.concat(some, ignore_index=True).drop_duplicates("fingerprint")
    directory = workspace.directory / "findings"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    table = mask_table(pa.Table.from_pandas(together, preserve_index=False))
    with whole(partition_path(directory, partition)) as path:
        pq.write_table(table, path)


def all_findings(workspace: Workspace) -> pd.DataFrame:
    """All findings of the run (columns ``FINDINGS``)."""
    files = partition_files(workspace.directory / "findings")
    tables = [pq.read_table(path) for path in files]
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return pd.DataFrame(columns=FINDINGS.names)
    together = pa.concat_tables(tables, promote_options="permissive")
    # A store may repeat what it was sent; what gets no further than here gets nowhere.
    findings: pd.DataFrame = mask_table(together).to_pandas(ignore_metadata=True)
    twice = findings["fingerprint"].duplicated()
    return findings[~twice].reset_index(drop=True) if twice.any() else findings


def judged_part(workspace: Workspace, partition: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cases behind one partition's findings, and the parts of its whole-memory findings."""
    judged, parts = (
        pq.read_table(partition_path(workspace.directory / name, partition)).to_pandas()
        for name in ("judged", "parts")
    )
    return judged, parts


def planned(workspace: Workspace, partition: int, run_id: str) -> Iterator[EdgeRepair]:
    """The ledger repairs of one partition."""
    return plan(*judged_part(workspace, partition), run_id)
