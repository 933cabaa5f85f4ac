"""What goes in and out over HTTP, in the design's field names (camelCase)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

from checks.model import Artifact, Backend, MemoryType, SyncState

#: What a JavaScript client can hold exactly: nine petabytes.
_LARGEST = 2**53 - 1
StorageStatus = Literal["stored_forever", "partially_on_icp", "standard_storage", "incomplete"]
Placement = Literal["Web2Only", "ICPOnly", "Both", "Migrating", "Failed"]


def _utc(value: Any) -> Any:
    """The ledger's times have no zone and are UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and not value.tzinfo else value


Time = Annotated[datetime, BeforeValidator(_utc)]
#: From a column of UUIDs or of texts.
Id = Annotated[str, BeforeValidator(str)]
NoNul = StringConstraints(pattern=r"^[^\x00]*$")
Location = Annotated[str, StringConstraints(max_length=4_096, pattern=r"^[^\x00]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)]


class _Out(BaseModel):
    """An answer: from the database's snake_case to camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class GalleryPresence(_Out):
    """A row of ``gallery_presence``."""

    gallery_id: Id
    total_memories: int
    icp_complete_memories: int
    icp_complete: bool
    icp_any: bool
    standard_complete: bool
    has_walrus: bool
    has_arweave: bool
    storage_status: StorageStatus
    placement: Placement | None


class MemoryPresence(_Out):
    """A row of ``memory_presence``."""

    memory_id: Id
    memory_type: str
    meta_neon: bool
    asset_blob: bool
    meta_icp: bool
    asset_icp: bool
    asset_walrus: bool
    asset_arweave: bool
    asset_neon: bool
    placement: Placement | None


class StorageEdge(_Out):
    """A row of the ledger."""

    id: Id
    memory_id: Id
    memory_type: str
    artifact: str
    backend: str
    present: bool
    location: str | None
    content_hash: str | None
    size_bytes: int | None
    sync_state: str
    last_synced_at: Time | None
    sync_error: str | None
    created_at: Time | None = None
    updated_at: Time | None = None


class SyncStatus(_Out):
    """A row of ``sync_status``."""

    memory_id: Id
    memory_type: str
    artifact: str
    backend: str
    sync_state: str
    sync_error: str | None
    last_synced_at: Time | None
    minutes_since_sync: float | None
    updated_at: Time | None
    is_stuck: bool


class EdgePage(_Out):
    """Edges in the order of their ids; ``next`` is what ``after`` takes for the page behind."""

    edges: list[StorageEdge]
    next: str | None


class SyncPage(_Out):
    """Syncs in the order of their keys; ``next`` is what ``after`` takes for the page behind."""

    syncs: list[SyncStatus]
    next: str | None


class Health(_Out):
    """Whether the ledger can be asked, and when an audit last came to its end."""

    status: Literal["ok", "unavailable"]
    detail: str | None = None
    last_completed_run: str | None = None
    last_completed_at: datetime | None = None
    last_status: str | None = None


class Problem(_Out):
    """What was wrong with a request."""

    detail: str


class EdgeUpsert(BaseModel):
    """One edge to be written: its key, and the fields to set; those left out stay as they are.

    Null empties a field of the ledger that can be empty. The design's examples call two of the
    fields by two names each; both are understood.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid",
        json_schema_extra={"additionalProperties": False},
    )  # fmt: skip

    memory_id: UUID = Field(validation_alias=AliasChoices("memoryId", "entityId"))
    memory_type: MemoryType | None = None
    artifact: Artifact = Field(validation_alias=AliasChoices("artifact", "artifactType"))
    backend: Backend
    present: bool = False
    location: Location | None = None
    content_hash: Sha256 | None = None
    size_bytes: Annotated[int, Field(ge=0, le=_LARGEST)] | None = None
    sync_state: SyncState = SyncState.IDLE
    last_synced_at: datetime | None = None
    sync_error: Annotated[str, NoNul] | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_name_each(cls, value: Any) -> Any:
        """Both names may be given if they say the same; what the ledger sets itself is ignored."""
        if not isinstance(value, dict):
            return value
        body = {k: v for k, v in value.items() if k not in ("id", "createdAt", "updatedAt")}
        for name, other in (("memoryId", "entityId"), ("artifact", "artifactType")):
            if name in body and other in body:
                if body[name] != body[other]:
                    raise ValueError(f"{name} and {other} differ")
                del body[other]
        return body

    def fields(self) -> dict[str, Any]:
        """The fields that were given, as the ledger has them: times in UTC without a zone."""
        key = {"memory_id", "memory_type", "artifact", "backend"}
        given = self.model_dump(mode="json", include=self.model_fields_set - key, by_alias=False)
        at = self.last_synced_at
        if "last_synced_at" in given and at is not None:
            moment = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
            given["last_synced_at"] = moment.isoformat()
        return given
