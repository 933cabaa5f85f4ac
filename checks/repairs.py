"""What a ledger repair changes, worked out from what was observed; nothing is written here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from checks.describe import plain_records
from checks.kinds import KINDS
from checks.model import Artifact, Backend, SyncState
from checks.row_values import canonical_sha256
from checks.states import Edge, Object

Action = Literal["insert", "update", "delete"]
#: What an edge says of an object that is gone for good.
_GONE: Mapping[str, Any] = {"present": False, "sync_state": SyncState.IDLE.value}
_NO_ROW = ("icp_only", "deleted_memory")


@dataclass(frozen=True, slots=True)
class EdgeRepair:
    """One change of one row of ``storage_edges``, with the row as it was observed.

    Attributes:
        fingerprint: of the finding that it mends.
        kind: of that finding.
        action: ``insert``, ``update`` or ``delete``.
        memory_id, memory_type, artifact, backend: the edge's key.
        edge_id, version: the row's id and ``xmin`` as observed; None for an insert.
        values: columns of ``storage_edges`` and their new values; empty for a delete.
        row_must_exist: an insert is made only while the memory's row is there (True) or only while
            it is not (False: a memory that lives on ICP alone, or one that is deleted).
    """

    fingerprint: str
    kind: str
    action: Action
    memory_id: str
    memory_type: str
    artifact: str
    backend: str
    edge_id: str | None = None
    version: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    row_must_exist: bool = True
    takes_away: bool = False


def plan(findings: pd.DataFrame, parts: pd.DataFrame, run_id: str) -> Iterator[EdgeRepair]:
    """The ledger repairs for confirmed findings, in their order; none where there is nothing to do.

    Args:
        findings: columns of ``Cases.frame``, ``kind`` and ``fingerprint``.
        parts: ``Judgement.parts`` with the ``fingerprint`` of the finding that each belongs to.
        run_id: goes into the error texts, so that a row says who wrote it.
    """
    whole = ("deleted_memory", "icp_only")
    single = findings[~findings["kind"].isin(whole)]
    yield from _each(single, run_id)
    yield from _each(parts, run_id)


def _each(cases: pd.DataFrame, run_id: str) -> Iterator[EdgeRepair]:
    mendable = cases["kind"].map(lambda kind: KINDS[kind].ledger_repair is not None)
    for case in plain_records(cases[mendable.to_numpy(dtype=bool)]):
        change = _change(case, run_id)
        if change is not None:
            yield change


def _change(case: dict[str, Any], run_id: str) -> EdgeRepair | None:
    """The repair of one case, or None where the ledger can't mend it."""
    kind = case["kind"]
    if kind == "dangling_edge":
        return _repair(case, "delete", {}, takes_away=True)
    if case["edge_state"] == Edge.NONE and kind == "deleted_memory":
        # The ledger had no row to say it with. Like one that is turned off, this one makes orphans
        # of what is left, so the breaker counts it.
        return _repair(case, "insert", _GONE, takes_away=True)
    if case["edge_state"] == Edge.NONE:
        return _repair(case, "insert", _as_observed(case)) if _can_insert(case) else None
    values = _new_values(case, run_id)
    if not values:
        return None
    takes_away = bool(case["present"]) and values.get("present") is False
    return _repair(case, "update", values, takes_away=takes_away)


def _can_insert(case: dict[str, Any]) -> bool:
    return case["kind"] in ("untracked", "icp_only") and case["object_state"] == Object.THERE


def _repair(
    case: dict[str, Any], action: Action, values: Mapping[str, Any], *, takes_away: bool = False
) -> EdgeRepair:
    return EdgeRepair(
        fingerprint=case["fingerprint"], kind=case["kind"], action=action,
        memory_id=case["memory_id"], memory_type=case["memory_type"],
        artifact=case["artifact"], backend=case["backend"],
        edge_id=case["edge_id"], version=case["version"], values=dict(values),
        row_must_exist=case["kind"] not in _NO_ROW, takes_away=takes_away,
    )  # fmt: skip


def _new_values(case: dict[str, Any], run_id: str) -> dict[str, Any]:
    """The columns that an existing edge's repair changes; empty where there is nothing to mend."""
    there = case["object_state"] == Object.THERE
    values: dict[str, Any] = {}
    match case["kind"]:
        case "missing":
            values = _failed(f"missing: {case['backend']} does not have it", run_id)
        case "stuck" if not there or _contradicts(case):
            values = _failed("stuck: the copy did not come to an end", run_id)
        case "unmarked" | "stuck":
            values = _as_observed(case)
        case "stale_failure":
            values = {"sync_state": SyncState.IDLE.value, "sync_error": None}
        case "deleted_memory" | "external_only":
            values = dict(_GONE)
        case "invalid_location" | "moved" | "invalid_id":
            values = _renamed(case)
        case "invalid_row" if (canonical := _canonical_hash(case)) is not None:
            values = {"content_hash": canonical}
        case "hash_unknown" if case["hash_is_safe"]:
            values = _hashed(case)
        # A hash that bytes were once seen to have may be the right one: a person decides.
        case "stale_hash" if case["hash_is_safe"] and not case["ever_verified"]:
            values = _hashed(case)
    return values


def _renamed(case: dict[str, Any]) -> dict[str, Any]:
    """Where the object is, or the id in canonical form; nothing where that is not known."""
    if case["kind"] == "invalid_id":
        return {"memory_id": case["memory_id"]}
    if case["kind"] == "moved":
        return {"location": case["moved_to"]}
    there = case["object_state"] == Object.THERE
    return {"location": case["object_location"]} if there and case["malformed"] else {}


def _canonical_hash(case: dict[str, Any]) -> str | None:
    """The row's hash in canonical form, where that is another one."""
    canonical = canonical_sha256(case["content_hash"])
    return None if canonical == case["content_hash"] else canonical


def _failed(error: str, run_id: str) -> dict[str, Any]:
    return {
        "present": False,
        "sync_state": SyncState.FAILED.value,
        "sync_error": f"{error} (edgekeeper {run_id})",
    }


def _as_observed(case: dict[str, Any]) -> dict[str, Any]:
    """The edge as the store was seen to hold it; a hash only where the bytes were read."""
    values: dict[str, Any] = {
        "present": True,
        "sync_state": SyncState.IDLE.value,
        "sync_error": None,
    }
    if case["backend"] != Backend.NEON:
        values["location"] = case["object_location"]
    if case["artifact"] == Artifact.ASSET:
        read = case["outcome"] == "read"
        if (size := _true_size(case)) is not None:
            values["size_bytes"] = int(size)
        if read:
            values["content_hash"] = case["sha256"]
    return values


def _true_size(case: dict[str, Any]) -> float | None:
    """The asset's size: as read, else as the store says; what an uploader declared does not count.

    The canister's listing repeats what was declared, only a direct look gives the true size.
    """
    if case["outcome"] == "read":
        return float(case["read_size"])
    size = case.get("looked_size") if case["backend"] == Backend.ICP else case["object_size"]
    return None if size is None else float(size)


def _contradicts(case: dict[str, Any]) -> bool:
    """Whether what is there is visibly not what the ledger recorded: not all of it, or other."""
    size, recorded = _true_size(case), case["size_bytes"]
    if size is not None and recorded is not None and size != recorded:
        return True
    read = case["outcome"] == "read" and case["content_hash"] is not None
    return read and case["sha256"] != case["content_hash"]


def _hashed(case: dict[str, Any]) -> dict[str, Any]:
    return {"content_hash": case["sha256"], "size_bytes": int(case["read_size"])}
