"""From states to finding kinds: contents compared, memories judged as a whole.

The state table decides about one artifact in one store; what it can't see is decided here: what a
memory's cases mean together. Whether contents agree is decided in :mod:`checks.contents`.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.cases import ASSET_SLOTS, NEON_SLOTS, SLOT_NUMBER, WIDTH, Cases, View
from checks.contents import report_contents
from checks.locations import report_conflicts, row_object_there
from checks.model import Artifact, Backend
from checks.replicas import Replicas, attach
from checks.reported import Reported
from checks.states import Edge, Memory, Object, Sync, Verdict

#: Kinds that follow from the state table's verdict alone.
_KIND_OF_VERDICT = {
    Verdict.MISSING: "missing",
    Verdict.UNTRACKED: "untracked",
    Verdict.UNMARKED: "unmarked",
    Verdict.STUCK: "stuck",
    Verdict.SYNC_FAILED: "sync_failed",
    Verdict.EXTERNAL_ONLY: "external_only",
    Verdict.STALE_FAILURE: "stale_failure",
}
_GRACE_KINDS = ("untracked", "unmarked")
_METADATA_ON_ICP = SLOT_NUMBER[Artifact.METADATA, Backend.ICP]
_METADATA_IN_NEON = SLOT_NUMBER[Artifact.METADATA, Backend.NEON]
_NEON_ASSET = SLOT_NUMBER[Artifact.ASSET, Backend.NEON]
_BLOB_ASSET = SLOT_NUMBER[Artifact.ASSET, Backend.BLOB]
#: Cases by their numbers, and the kind that is said of all of them, or of each.
_Said = tuple[NDArray[np.intp], str | NDArray[np.object_]]


@dataclass(slots=True)
class Judgement:
    """What was concluded about one partition.

    Attributes:
        findings: the cases that differ, columns of ``Cases.frame`` and ``kind``; a finding about a
            whole memory or asset stands on one of its cases.
        edges: ledger rows seen.
        compared: of these, those about which something could be concluded.
        agree: of these, those that no finding is about.
        parts: the cases behind a finding about a whole memory that its repair changes.
    """

    findings: pd.DataFrame
    parts: pd.DataFrame
    edges: int
    compared: int
    agree: int


def judge(cases: Cases, view: View) -> Judgement:
    """All findings of a partition except those about objects that no memory is known for."""
    whole = _memory_kinds(cases, view)
    settled = np.isin(whole, ["dangling_edge", "deleted_memory", "icp_only", "type_mismatch", "-"])
    reported = Reported.nothing(cases.verdict.shape)
    for verdict, kind in _KIND_OF_VERDICT.items():
        reported.add(np.flatnonzero((cases.verdict == verdict) & ~settled[:, None]), kind)
    _invalid(cases, reported, settled)
    _name_hanging_copies(cases, reported)
    replicas = Replicas.of(cases)
    divergent = report_contents(cases, replicas, reported, settled)
    report_conflicts(cases, reported, settled)
    _apply_grace(cases, reported, view)

    single = np.flatnonzero(reported.kind != "")
    besides = reported.besides.reshape(-1)[single]
    findings = _said(
        cases,
        (single, reported.of(single)),
        *_whole_memory_findings(cases, whole, view),
        (_on_asset(cases, _lost(cases, settled, view)), "lost"),
        (_on_asset(cases, divergent), "replica_divergence"),
        (_on_asset(cases, _bad_urls(cases, reported, settled)), "invalid_location"),
    )
    findings["besides"] = np.append(besides, np.full(len(findings) - len(single), None))
    findings = attach(findings, replicas)
    return Judgement(findings, _parts(cases, whole), *_agreement(cases, reported, whole))


def _said(cases: Cases, *parts: _Said) -> pd.DataFrame:
    """The frame of all cases that something is said of, with its ``kind``, in this order."""
    kinds = [np.broadcast_to(np.asarray(kind, dtype=object), len(case)) for case, kind in parts]
    frame = cases.frame(np.concatenate([case for case, _ in parts]))
    return frame.assign(kind=np.concatenate(kinds))


def _memory_kinds(cases: Cases, view: View) -> NDArray[np.object_]:
    """What a memory as a whole is: a kind, ``-`` for nothing can be said, or empty."""
    held = np.isin(cases.object, [Object.THERE, Object.LINK]).any(axis=1)
    tracked = (cases.edge != Edge.NONE).any(axis=1)
    # The row may be in a table that could not be seen, under another type than the edge's.
    unseen = blind(cases, view).any(axis=1) | bool(view.unknown_types)
    rowless = np.isin(cases.memory, [Memory.GONE, Memory.NEVER, Memory.DELETED])
    remnants = (cases.verdict == Verdict.REMNANT).any(axis=1)
    new_on_icp = (cases.verdict == Verdict.ICP_ONLY).any(axis=1)
    young = (cases.sync == Sync.YOUNG).any(axis=1)
    conditions = [
        cases.mixed,
        cases.memory == Memory.UNKNOWN,
        rowless & tracked & young,
        rowless & tracked & ~held & unseen,
        rowless & tracked & ~held,
        np.isin(cases.memory, [Memory.GONE, Memory.DELETED]) & remnants & held,
        (cases.memory == Memory.NEVER) & new_on_icp,
    ]
    kinds = ["type_mismatch", "-", "-", "-", "dangling_edge", "deleted_memory", "icp_only"]
    return np.select(conditions, kinds, "").astype(object)


def blind(cases: Cases, view: View) -> NDArray[np.bool_]:
    """Slots that may hold something although nothing was seen, shape (memories, 6).

    A store that is not configured is taken as empty for a memory only where the ledger has no row
    about that store.
    """
    unknown: NDArray[np.bool_] = cases.object == Object.UNKNOWN
    for slot, backend in enumerate(Backend):
        if not view.configured(backend):
            for number in (slot, slot + len(Backend)):
                unknown[:, number] &= cases.edge[:, number] != Edge.NONE
    return unknown


def _invalid(cases: Cases, reported: Reported, settled: NDArray[np.bool_]) -> None:
    """Reports rows that can't be read: by their location, by another value, or by both."""
    case = np.flatnonzero(((cases.verdict == Verdict.INVALID) & ~settled[:, None]).ravel())
    rows = cases.edges.reindex(case)
    reported.add(case[rows["malformed"].to_numpy(dtype=bool)], "invalid_location")
    reported.add(case[rows["row_problem"].notna().to_numpy(dtype=bool)], "invalid_row")


def _name_hanging_copies(cases: Cases, reported: Reported) -> None:
    """Says of what is missing that a copy of it hangs: the state table gives the graver verdict."""
    hangs = (cases.sync == Sync.OLD) & (reported.kind == "missing")
    reported.add(np.flatnonzero(hangs), "stuck")


def _apply_grace(cases: Cases, reported: Reported, view: View) -> None:
    """Takes back what is said of objects and rows young enough to be in flight."""
    case = np.flatnonzero(np.isin(reported.kind, _GRACE_KINDS))
    object_young = _after(cases.objects.reindex(case)["object_written_at"], view.grace_after)
    row_young = _after(cases.memories["row_created_at"].iloc[case // WIDTH], view.grace_after)
    reported.withdraw(case[object_young | row_young])


def _after(times: pd.Series, moment: datetime) -> NDArray[np.bool_]:
    return (pd.to_datetime(times, utc=True) > pd.Timestamp(moment)).to_numpy(dtype=bool)


def _whole_memory_findings(cases: Cases, whole: NDArray[np.object_], view: View) -> list[_Said]:
    """Findings about memories as a whole, each on one of the memory's cases.

    A dangling edge is a finding per edge. A memory that the ledger knows to be deleted and whose
    canister copy is left is an orphan in the canister (its blob is found among the objects).
    """
    dangling = (cases.edge != Edge.NONE) & (whole == "dangling_edge")[:, None]
    orphaned = (cases.verdict[:, _METADATA_ON_ICP] == Verdict.ORPHAN) & (whole == "")
    orphans = np.flatnonzero(orphaned) * WIDTH + _METADATA_ON_ICP
    young = _after(cases.objects["object_written_at"].reindex(orphans), view.grace_after)
    return [
        (np.flatnonzero(dangling), "dangling_edge"),
        (_first_case(cases, whole == "icp_only"), "icp_only"),
        (_first_case(cases, whole == "type_mismatch"), "type_mismatch"),
        (np.flatnonzero(_what_is_left(cases, whole)), "deleted_memory"),
        (orphans[~young], "orphaned"),
    ]


def _parts(cases: Cases, whole: NDArray[np.object_]) -> pd.DataFrame:
    """What the repair of a whole-memory finding changes.

    Of a deleted memory the edges that claim an object which is gone, and where none is about Neon
    the place of the one that would say that it is deleted; of a memory that is on ICP alone the
    objects that have no edge.
    """
    remnants = (cases.edge == Edge.TRUE) & (cases.object == Object.ABSENT)
    in_neon = cases.edge[:, NEON_SLOTS]
    # What is wrong with such a row besides changes nothing: the memory's row is gone.
    remnants[:, NEON_SLOTS] |= in_neon == Edge.MALFORMED
    remnants[:, _METADATA_IN_NEON] |= (in_neon == Edge.NONE).all(axis=1)
    remnants &= (whole == "deleted_memory")[:, None]
    untracked = (cases.verdict == Verdict.ICP_ONLY) & (whole == "icp_only")[:, None]
    return _said(
        cases,
        (np.flatnonzero(remnants), "deleted_memory"),
        (np.flatnonzero(untracked), "icp_only"),
    )


def _first_case(cases: Cases, memories: NDArray[np.bool_]) -> NDArray[np.intp]:
    """One case of each chosen memory: of ``type_mismatch`` one per memory id."""
    chosen = np.flatnonzero(memories)
    again = cases.memories[["key_hi", "key_lo"]].iloc[chosen].duplicated().to_numpy(dtype=bool)
    first: NDArray[np.intp] = chosen[~again] * WIDTH
    return first


def _what_is_left(cases: Cases, whole: NDArray[np.object_]) -> NDArray[np.bool_]:
    """One case of each deleted memory, shape (memories, 6): of what a store still holds of it."""
    held = np.isin(cases.object, [Object.THERE, Object.LINK])
    first = held & (held.cumsum(axis=1) == 1)
    left: NDArray[np.bool_] = first & (whole == "deleted_memory")[:, None]
    return left


def _on_asset(cases: Cases, memories: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The case of each chosen memory's asset where it came from: a note's text is in Neon."""
    chosen = np.flatnonzero(memories)
    case = chosen * WIDTH + _BLOB_ASSET
    case[cases.object[chosen, _NEON_ASSET] == Object.THERE] += _NEON_ASSET - _BLOB_ASSET
    return case


def _lost(cases: Cases, settled: NDArray[np.bool_], view: View) -> NDArray[np.bool_]:
    """Memories whose asset was promised and which no store holds, shape (memories,).

    Promised by an asset edge or by the row's own URL. Not said while a copy is under way, while a
    location names nothing (the object may lie somewhere), or where a store could not be looked at.
    """
    assets = np.zeros(WIDTH, dtype=bool)
    assets[ASSET_SLOTS] = True
    promised = (cases.edge[:, assets] != Edge.NONE).any(axis=1)
    promised = promised | cases.memories["row_pathname"].notna().to_numpy(dtype=bool)
    held = (cases.object[:, assets] == Object.THERE).any(axis=1) | row_object_there(cases)
    doubt = blind(cases, view)[:, assets].any(axis=1)
    doubt |= (cases.sync[:, assets] == Sync.YOUNG).any(axis=1)
    doubt |= _names_nothing(cases)[:, assets].any(axis=1)
    doubt |= _may_be_elsewhere(cases)
    lost: NDArray[np.bool_] = (cases.memory == Memory.THERE) & ~settled & promised & ~held & ~doubt
    return lost


def _names_nothing(cases: Cases) -> NDArray[np.bool_]:
    """Slots whose edge has a location that names no object, shape (memories, 6)."""
    unread: NDArray[np.bool_] = np.zeros(cases.verdict.size, dtype=bool)
    unread[cases.edges.index[cases.edges["malformed"].to_numpy(dtype=bool)].to_numpy()] = True
    return unread.reshape(cases.verdict.shape)


def _may_be_elsewhere(cases: Cases) -> NDArray[np.bool_]:
    """Memories of whose bytes nothing is known but a URL of another place, or an unreadable one."""
    named = pd.Series(cases.blob_named(), dtype=object).notna().to_numpy(dtype=bool)
    urls = cases.memories[["row_url", "row_url_problem"]].notna().to_numpy(dtype=bool)
    foreign: NDArray[np.bool_] = urls.all(axis=1) & ~named
    return foreign


def _bad_urls(cases: Cases, reported: Reported, settled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Memories whose own URL names no object of the store, where the edge is not reported yet."""
    bad = cases.memories["row_url_problem"].notna().to_numpy(dtype=bool)
    unsaid = reported.kind[:, _BLOB_ASSET] != "invalid_location"
    return np.asarray(bad & unsaid & ~settled, dtype=bool)


def _agreement(
    cases: Cases, reported: Reported, whole: NDArray[np.object_]
) -> tuple[int, int, int]:
    """Edges seen, edges something could be concluded about, edges that agree."""
    edges = cases.edge != Edge.NONE
    silent = np.isin(cases.verdict, [Verdict.UNKNOWN, Verdict.IN_FLIGHT]) | (whole == "-")[:, None]
    compared = edges & ~silent
    agree = compared & ~reported.edges_reported() & (whole == "")[:, None]
    return int(edges.sum()), int(compared.sum()), int(agree.sum())
