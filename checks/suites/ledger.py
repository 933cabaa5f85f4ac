"""The checks of the ledger as it was read: ``storage_edges``, one row per edge.

Not watched here, because it is drift and therefore a finding: null or foreign locations, ids that
are no UUIDs, missing hashes, stuck and failed copies, rows of deleted memories.
"""

from typing import Any

from great_expectations.expectations.row_conditions import Column

from checks.model import Artifact, Backend, MemoryType, SyncState
from checks.suites import Limits, Suite, words

_KEY = ("memory_id", "memory_type", "artifact", "backend")


def _expectations(limits: Limits) -> list[Any]:
    """The checks, in the order in which a reader wants them."""
    present_asset = (Column("present") == True) & (Column("artifact") == Artifact.ASSET.value)  # noqa: E712 - a condition, not a comparison
    failed = Column("sync_state") == SyncState.FAILED.value
    return [
        words.unique(_KEY, "There is one edge per memory, artifact and store."),
        *(
            words.filled(column, f"Every edge has a value in {column}.")
            for column in (*_KEY, "present", "sync_state", "version")
        ),
        words.one_of("memory_type", MemoryType, "Every memory type is one of the five."),
        words.one_of("artifact", Artifact, "Every artifact is metadata or an asset."),
        words.one_of("backend", Backend, "Every store is one that edgekeeper knows."),
        words.one_of("sync_state", SyncState, "Every sync state is one of the three."),
        words.sha256("content_hash", "Every content hash is a SHA-256 in lower-case hex."),
        words.not_negative("size_bytes", "No size is negative."),
        *(
            words.past(column, limits.latest, f"No edge has a {column} in the future.")
            for column in ("created_at", "updated_at", "last_synced_at")
        ),
        words.filled_where(
            "size_bytes", present_asset, "present_asset_has_size",
            "Every asset that is marked present has a size.", counts=False,
        ),
        words.filled_where(
            "sync_error", failed, "failure_has_reason",
            "Every failed copy says why it failed.", counts=False,
        ),
    ]  # fmt: skip


SUITE = Suite(
    table="ledger",
    title="Ledger (storage_edges)",
    keys=("edge_id", *_KEY),
    columns=(
        "edge_id", *_KEY, "present", "sync_state", "version", "content_hash", "size_bytes",
        "created_at", "updated_at", "last_synced_at", "sync_error",
    ),
    expectations=_expectations,
)  # fmt: skip
