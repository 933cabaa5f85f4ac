"""What the canister is given: a memory's metadata and its assets', field for field.

Names as in the canister's interface. The same types read a memory whole, so that it can be made
again as it was.
"""

from dataclasses import dataclass, replace
from typing import Any

from tasks.stores.icp.candid import (
    BLOB,
    FLOAT32,
    NAT8,
    NAT32,
    NAT64,
    TEXT,
    Enumeration,
    Opt,
    Record,
    Variant,
    Vec,
)
from tasks.stores.icp.interface import ASSET_TYPE, MEMORY_TYPE

#: Of a file of which nobody says what it is.
UNKNOWN_TYPE = "application/octet-stream"
_STORES = Enumeration(("Icp", "Neon"))
_SHARING = Enumeration(("Shared", "Private", "Public"))
_BASE = Record(
    {
        "name": TEXT, "mime_type": TEXT, "bytes": NAT64, "asset_type": ASSET_TYPE,
        "sha256": Opt(BLOB), "url": Opt(TEXT), "storage_key": Opt(TEXT), "bucket": Opt(TEXT),
        "asset_location": Opt(TEXT), "tags": Vec(TEXT), "description": Opt(TEXT),
        "width": Opt(NAT32), "height": Opt(NAT32), "created_at": NAT64, "updated_at": NAT64,
        "deleted_at": Opt(NAT64), "processing_status": Opt(TEXT), "processing_error": Opt(TEXT),
    }
)  # fmt: skip
#: The fields beside ``base`` that an asset's metadata has for each type of memory: all optional.
_SPECIFIC = {
    "Note": {"language": TEXT, "word_count": NAT32, "format": TEXT},
    "Image": {
        "dpi": NAT32, "color_space": TEXT, "exif_data": TEXT, "compression_ratio": FLOAT32,
        "orientation": NAT8,
    },
    "Document": {
        "document_type": TEXT, "language": TEXT, "page_count": NAT32, "word_count": NAT32,
    },
    "Audio": {
        "duration": NAT64, "codec": TEXT, "channels": NAT8, "sample_rate": NAT32,
        "bit_depth": NAT8, "bitrate": NAT64,
    },
    "Video": {
        "duration": NAT64, "codec": TEXT, "frame_rate": FLOAT32, "resolution": TEXT,
        "bitrate": NAT64, "aspect_ratio": FLOAT32,
    },
}  # fmt: skip
WHOLE_ASSET_METADATA = Variant(
    {
        kind: Record({"base": _BASE} | {name: Opt(each) for name, each in fields.items()})
        for kind, fields in _SPECIFIC.items()
    }
)
WHOLE_MEMORY_METADATA = Record(
    {
        "memory_type": MEMORY_TYPE, "title": Opt(TEXT), "description": Opt(TEXT),
        "content_type": TEXT, "created_at": NAT64, "updated_at": NAT64, "uploaded_at": NAT64,
        "date_of_memory": Opt(NAT64), "file_created_at": Opt(NAT64),
        "parent_folder_id": Opt(TEXT), "tags": Vec(TEXT), "deleted_at": Opt(NAT64),
        "people_in_memory": Opt(Vec(TEXT)), "location": Opt(TEXT), "memory_notes": Opt(TEXT),
        "created_by": Opt(TEXT), "database_storage_edges": Vec(_STORES), "shared_count": NAT32,
        "sharing_status": _SHARING, "total_size": NAT64, "asset_count": NAT32,
    }
)  # fmt: skip
_OWN_ASSET = Record({"asset_id": TEXT, "metadata": WHOLE_ASSET_METADATA})
#: A memory with all that is needed to make it again.
WHOLE_MEMORY = Record(
    {
        "id": TEXT,
        "capsule_id": TEXT,
        "metadata": WHOLE_MEMORY_METADATA,
        "inline_assets": Vec(_OWN_ASSET),
        "blob_internal_assets": Vec(_OWN_ASSET),
        "blob_external_assets": Vec(Record({"asset_id": TEXT})),
        "access_entries": Vec(Record({"id": TEXT})),
    }
)
BLOB_ASSET = Record({"blob_id": TEXT, "metadata": WHOLE_ASSET_METADATA})
UPLOADED = Record({"blob_id": TEXT, "size": NAT64, "checksum_sha256": Opt(BLOB)})


@dataclass(frozen=True, slots=True)
class Described:
    """What the app's row says of a memory, as the canister is to have it.

    Attributes:
        memory_type: the ledger's word, such as ``image``.
        title, description: of the memory.
        name: the file's name.
        content_type: of the asset.
        created_at, updated_at: nanoseconds since 1970.
        tags: of the memory.
        is_public: whether everybody may see it.
    """

    memory_type: str
    title: str | None
    description: str | None
    name: str
    content_type: str
    created_at: int
    updated_at: int
    tags: tuple[str, ...] = ()
    is_public: bool = False

    def of_type(self, content_type: str | None) -> "Described":
        """The same, where the row did not say of which type the file is."""
        if content_type is None or self.content_type != UNKNOWN_TYPE:
            return self
        return replace(self, content_type=content_type)

    def memory(self, size: int, assets: int) -> dict[str, Any]:
        """A ``MemoryMetadata``; ``size`` bytes in so many ``assets``."""
        return _all_of(WHOLE_MEMORY_METADATA) | {
            "memory_type": self.memory_type.capitalize(),
            "title": self.title,
            "description": self.description,
            "content_type": self.content_type,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "uploaded_at": self.created_at,
            "tags": list(self.tags),
            "database_storage_edges": ["Icp", "Neon"],
            "shared_count": 0,
            "sharing_status": "Public" if self.is_public else "Private",
            "total_size": size,
            "asset_count": assets,
        }

    def original(self, blob_id: str, size: int, sha256: str) -> dict[str, Any]:
        """The original asset over an uploaded blob: an ``InternalBlobInput``."""
        kind = self.memory_type.capitalize()
        base = _all_of(_BASE) | {
            "name": self.name,
            "mime_type": self.content_type,
            "bytes": size,
            "asset_type": "Original",
            "sha256": bytes.fromhex(sha256),
            "tags": [],
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }
        specific = dict.fromkeys(_SPECIFIC[kind])
        return {"blob_id": blob_id, "metadata": (kind, {**specific, "base": base})}


def _all_of(record: Record) -> dict[str, Any]:
    """Every field of a record without a value: what is optional may stay so."""
    return dict.fromkeys(record.fields)
