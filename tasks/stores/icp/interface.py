"""The canister's types, as far as edgekeeper reads them: names as in the canister's interface."""

from tasks.stores.icp.candid import (
    BLOB,
    BOOL,
    NAT32,
    NAT64,
    PRINCIPAL,
    TEXT,
    Enumeration,
    Opt,
    Record,
    Type,
    Variant,
    Vec,
)

ERROR = Variant(
    {
        "Internal": TEXT,
        "NotFound": None,
        "Unauthorized": None,
        "InvalidArgument": TEXT,
        "ResourceExhausted": None,
        "NotImplemented": TEXT,
        "Conflict": TEXT,
    }
)


def result(ok: Type | None) -> Variant:
    """A result of the canister: ``Ok`` with a value, or ``Err``."""
    return Variant({"Ok": ok, "Err": ERROR})


MEMORY_TYPE = Enumeration(("Note", "Image", "Document", "Audio", "Video"))
ASSET_TYPE = Enumeration(("Metadata", "Display", "Placeholder", "Original", "Thumbnail"))
EXTERNAL_LOCATION = Enumeration(("S3", "Icp", "VercelBlob", "Ipfs", "Neon", "Arweave"))

_PERSON = Variant({"Opaque": TEXT, "Principal": PRINCIPAL})
CAPSULE_HEADER = Record(
    {"id": TEXT, "subject": _PERSON, "memory_count": NAT64, "updated_at": NAT64}
)

#: A header has 17 fields and up to three links; a listing needs what makes a row of the inventory.
LISTED_MEMORY = Record(
    {
        "id": TEXT,
        "capsule_id": TEXT,
        "memory_type": MEMORY_TYPE,
        "asset_count": NAT32,
        "assets": Record({"original": Opt(Record({"bytes": Opt(NAT64), "etag": Opt(TEXT)}))}),
        "created_at": NAT64,
        "updated_at": NAT64,
    }
)
MEMORY_PAGE = Record({"items": Vec(LISTED_MEMORY), "next_cursor": Opt(TEXT)})

MEMORY_PRESENCE = Record(
    {
        "memory_id": TEXT,
        "metadata_present": BOOL,
        "asset_present": BOOL,
    }
)

_BASE = Record(
    {
        "name": TEXT,
        "mime_type": TEXT,
        "bytes": NAT64,
        "asset_type": ASSET_TYPE,
        "sha256": Opt(BLOB),
        "updated_at": NAT64,
        "deleted_at": Opt(NAT64),
    }
)
_OF_ASSET = Record({"base": _BASE})
ASSET_METADATA = Variant(dict.fromkeys(("Note", "Image", "Document", "Audio", "Video"), _OF_ASSET))
MEMORY = Record(
    {
        "id": TEXT,
        "capsule_id": TEXT,
        "metadata": Record(
            {
                "memory_type": MEMORY_TYPE,
                "content_type": TEXT,
                "created_at": NAT64,
                "updated_at": NAT64,
                "deleted_at": Opt(NAT64),
            }
        ),
        "inline_assets": Vec(Record({"asset_id": TEXT, "bytes": BLOB, "metadata": ASSET_METADATA})),
        "blob_internal_assets": Vec(
            Record(
                {
                    "asset_id": TEXT,
                    "blob_ref": Record({"locator": TEXT}),
                    "metadata": ASSET_METADATA,
                }
            )
        ),
        "blob_external_assets": Vec(
            Record(
                {
                    "asset_id": TEXT,
                    "location": EXTERNAL_LOCATION,
                    "storage_key": TEXT,
                    "url": Opt(TEXT),
                    "metadata": ASSET_METADATA,
                }
            )
        ),
    }
)
MEMORY_ASSETS = Record(
    {
        "memory_id": TEXT,
        "inline_assets": Vec(TEXT),
        "internal_assets": Vec(TEXT),
        "external_assets": Vec(TEXT),
        "total_count": NAT32,
    }
)
ASSET = Variant(
    {
        "Inline": Record({"bytes": BLOB, "content_type": TEXT, "size": NAT64, "sha256": Opt(BLOB)}),
        "InternalBlob": Record({"blob_id": TEXT, "size": NAT64, "sha256": Opt(BLOB)}),
        "ExternalUrl": Record({"url": TEXT, "size": Opt(NAT64), "sha256": Opt(BLOB)}),
    }
)
BLOB_META = Record({"size": NAT64, "chunk_count": NAT32})

GALLERY_HEADER = Record(
    {
        "id": TEXT,
        "name": TEXT,
        "title": Opt(TEXT),
        "memory_count": NAT64,
        "updated_at": NAT64,
        "created_at": NAT64,
    }
)
GALLERY = Record(
    {
        "id": TEXT,
        "capsule_id": TEXT,
        "updated_at": NAT64,
        "created_at": NAT64,
        "items": Vec(
            Record(
                {
                    "memory_id": TEXT,
                    "memory_type": MEMORY_TYPE,
                    "position": NAT32,
                    "caption": Opt(TEXT),
                    "metadata": Vec(Record({"0": TEXT, "1": TEXT})),
                }
            )
        ),
        "cover_memory_id": Opt(TEXT),
    }
)
UPLOAD_CONFIG = Record(
    {"inline_max": NAT32, "chunk_size": NAT32, "inline_budget_per_capsule": NAT32}
)
WHOAMI = PRINCIPAL
