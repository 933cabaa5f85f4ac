"""The nouns of the ledger: what an edge is made of and how a store's listing can end."""

from enum import StrEnum


class MemoryType(StrEnum):
    """The five kinds of memory, each with a table of its own in the app's database."""

    IMAGE = "image"
    VIDEO = "video"
    NOTE = "note"
    DOCUMENT = "document"
    AUDIO = "audio"


class Artifact(StrEnum):
    """What of a memory is stored: its row of facts, or its bytes."""

    METADATA = "metadata"
    ASSET = "asset"


class Backend(StrEnum):
    """Where an artifact can be."""

    NEON = "neon-db"
    BLOB = "vercel-blob"
    ICP = "icp-canister"


class SyncState(StrEnum):
    """How the last copy to a backend stands."""

    IDLE = "idle"
    MIGRATING = "migrating"
    FAILED = "failed"


class StoreState(StrEnum):
    """How a store's listing ended. Only a complete one can prove absence."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNREACHABLE = "unreachable"
    NOT_CONFIGURED = "not-configured"


class Evidence(StrEnum):
    """What a finding's observation rests on."""

    LISTING = "listing"
    LOOKUP = "lookup"
    SHA256 = "sha256"
    ETAG = "etag"
    CERTIFIED = "certified"


class RepairState(StrEnum):
    """What became of a finding's repair."""

    NONE = "none"
    PROPOSED = "proposed"
    APPLIED = "applied"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    FAILED = "failed"


class RepairPolicy(StrEnum):
    """How far a run may go; each includes those before it."""

    NONE = "none"
    LEDGER = "ledger"
    CONTENT = "content"
    PURGE = "purge"

    def allows(self, other: "RepairPolicy") -> bool:
        """Whether this policy includes ``other``."""
        order = list(RepairPolicy)
        return order.index(self) >= order.index(other)


class Accept(StrEnum):
    """Which of a finding's two facts a person accepts."""

    OBSERVED = "observed"
    LEDGER = "ledger"


class RunStatus(StrEnum):
    """The verdict over a whole run."""

    CLEAN = "clean"
    DRIFT = "drift"
    INCONCLUSIVE = "inconclusive"
    FAILED = "failed"
