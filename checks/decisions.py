"""What a person may decide about a finding: that what was observed is right, or that the ledger is.

*Observed* brings the ledger to what a store was seen to hold. *Ledger* writes nothing: it says that
the ledger's fact stands, so that no repair may turn it to what was observed, and waits for the
bytes to be put back. What neither can mean for a kind is refused with the reason.
"""

from collections.abc import Sequence
from typing import Any

from checks.kinds import KINDS
from checks.model import Accept, Backend, SyncState
from checks.repairs import EdgeRepair

#: Kinds about bytes that differ from what the ledger recorded.
_BYTES = frozenset({"hash_mismatch", "size_mismatch", "stale_hash"})
#: Kinds that are settled by what all copies of an asset were seen to be.
_COPIES = _BYTES | {"replica_divergence"}
#: Kinds whose ledger fact can be meant to stand against what was observed.
_STANDS = _COPIES | {"missing"}
_NO_EDIT = {
    "lost": "it is never closed by editing the ledger: it stays open until the bytes are back. "
    "`edgekeeper ack` sets it aside meanwhile",
    "orphaned": "the ledger says nothing about an object that nothing refers to",
    "unclassified": "the ledger says nothing about an object that nothing refers to",
    "duplicate_content": "both memories are as the ledger says",
}


def refusal(kind: str, accept: Accept) -> str | None:
    """Why a decision can't mean anything for a kind; None where it can."""
    known = KINDS.get(kind)
    if known is None:
        return "this version does not know that kind"
    if accept is Accept.LEDGER:
        if kind in _STANDS:
            return None
        if kind == "location_conflict":
            return (
                "the app's own row is wrong then, and its tables are never written: correct the url"
            )
        return "what was observed is a fact that the ledger can't outweigh"
    if kind in _COPIES or kind == "location_conflict" or known.ledger_repair:
        return None
    return _NO_EDIT.get(kind, f"no edit of the ledger settles it. {known.next_step}")


def needs_copies(kind: str) -> bool:
    """Whether a decision for *observed* rests on what all copies of the asset were seen to be."""
    return kind in _COPIES


def as_read(
    kind: str, fingerprint: str, backend: str | None, copies: Sequence[dict[str, Any]]
) -> list[EdgeRepair] | str:
    """The edges' hashes and sizes as the bytes were read in this run, or why that can't be written.

    Args:
        kind: of the finding.
        fingerprint: of the finding.
        backend: of the finding; where it has none, all copies are meant.
        copies: cases of the asset that have an edge (columns of ``Cases.frame``).
    """
    meant = [copy for copy in copies if backend in (None, copy["backend"])]
    read = [copy for copy in meant if copy["outcome"] == "read"]
    if len(read) < len(meant) or not read:
        unread = ", ".join(copy["backend"] for copy in meant if copy not in read)
        return f"its bytes could not be read just now in {unread or 'any store'}"
    if len({copy["sha256"] for copy in read}) > 1:
        return (
            "the stores hold different bytes, and which are right the ledger can't say: put the "
            "wrong copy right in its store, then look again"
        )
    return [
        _update(kind, fingerprint, copy,
                {"content_hash": copy["sha256"], "size_bytes": int(copy["read_size"])})
        for copy in read
        if (copy["content_hash"], copy["size_bytes"]) != (copy["sha256"], copy["read_size"])
    ]  # fmt: skip


def as_the_url_says(fingerprint: str, case: dict[str, Any]) -> list[EdgeRepair] | str:
    """The edge led to the object that the row's url names; its bytes were not read: no hash."""
    if case.get("row_object_version") is None or case["backend"] != Backend.BLOB:
        return "the object that the row's url names is not there"
    size = case.get("row_object_size")
    values = {
        "present": True, "location": case["row_pathname"], "content_hash": None,
        "size_bytes": None if size is None else int(size),
        "sync_state": SyncState.IDLE.value, "sync_error": None,
    }  # fmt: skip
    return [_update("location_conflict", fingerprint, case, values)]


def _update(
    kind: str, fingerprint: str, case: dict[str, Any], values: dict[str, Any]
) -> EdgeRepair:
    return EdgeRepair(
        fingerprint=fingerprint, kind=kind, action="update", memory_id=case["memory_id"],
        memory_type=case["memory_type"], artifact=case["artifact"], backend=case["backend"],
        edge_id=case["edge_id"], version=case["version"], values=values,
    )  # fmt: skip
