"""What is stored, as the interface shows it, and what the interface takes, as it is stored.

Everything a reader is told about an asset here is what its uploader declared.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.icp import principal
from sandbox.icp.records import StoredAsset, StoredCapsule, StoredGallery, StoredMemory

Value = dict[str, Any]
Tag = tuple[str, Any]

LINKED = {"Original": "original", "Display": "display", "Thumbnail": "thumbnail"}

_BASE_FIELDS = {
    "name",
    "mime_type",
    "bytes",
    "asset_type",
    "sha256",
    "url",
    "storage_key",
    "created_at",
    "updated_at",
}
_MEMORY_FIELDS = {
    "memory_type",
    "title",
    "description",
    "content_type",
    "created_at",
    "updated_at",
    "uploaded_at",
    "deleted_at",
    "tags",
    "total_size",
    "asset_count",
}


def tag(name: str) -> Tag:
    """A variant's alternative without a value."""
    return name, None


def capsule_header(capsule: StoredCapsule, memory_count: int) -> Value:
    """A ``CapsuleHeader``."""
    return {
        "id": capsule.id,
        "updated_at": capsule.updated_at,
        "subject": ("Principal", principal.from_text(capsule.subject)),
        "owner_count": len(capsule.owners),
        "created_at": capsule.created_at,
        "controller_count": len(capsule.controllers),
        "memory_count": memory_count,
    }


def memory_header(memory: StoredMemory) -> Value:
    """A ``MemoryHeader``: external assets count, but are not linked."""
    links: Value = {}
    for asset in memory.assets:
        place = LINKED.get(asset.asset_type)
        if place and asset.kind != "external" and place not in links:
            links[place] = _link(memory, asset)
    details = memory.details
    return {
        "id": memory.id,
        "title": memory.title,
        "name": memory.title or (memory.assets[0].name if memory.assets else ""),
        "capsule_id": memory.capsule_id,
        "memory_type": tag(memory.memory_type),
        "size": _total_size(memory),
        "asset_count": len(memory.assets),
        "assets": links,
        "tags": memory.tags,
        "description": memory.description,
        "parent_folder_id": details.get("parent_folder_id"),
        "shared_count": details.get("shared_count", 0),
        "sharing_status": tag(details.get("sharing_status", "Private")),
        "database_storage_edges": _storage_edges(details),
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
    }


def _link(memory: StoredMemory, asset: StoredAsset) -> Value:
    base = asset.details.get("base", {})
    return {
        "asset_id": asset.asset_id,
        "asset_kind": tag(asset.asset_type),
        "path": f"/asset/{memory.id}/{asset.asset_id}",
        "token": "",
        "content_type": asset.mime_type,
        "bytes": asset.bytes,
        "etag": asset.sha256,
        "width": base.get("width"),
        "height": base.get("height"),
        "expires_at_ns": 0,
    }


def _total_size(memory: StoredMemory) -> int:
    return sum(asset.bytes for asset in memory.assets)


def _storage_edges(details: Mapping[str, Any]) -> list[Tag]:
    return [tag(name) for name in details.get("database_storage_edges", ["Icp"])]


def whole_memory(memory: StoredMemory, read: Callable[[str], bytes]) -> Value:
    """A ``Memory``; ``read`` gives the bytes of an inline asset's body.

    The reference to a blob never says more than its locator: length 0 and no hash.
    """
    shown: dict[str, list[Value]] = {"inline": [], "internal": [], "external": []}
    for asset in memory.assets:
        value: Value = {"asset_id": asset.asset_id, "metadata": asset_metadata(memory, asset)}
        if asset.kind == "inline":
            value["bytes"] = read(asset.body or "")
        elif asset.kind == "internal":
            value["blob_ref"] = {"locator": asset.locator, "len": 0, "hash": None}
        else:
            value["location"] = tag(asset.location or "")
            value["storage_key"] = asset.storage_key or ""
            value["url"] = asset.url
        shown[asset.kind].append(value)
    return {
        "id": memory.id,
        "capsule_id": memory.capsule_id,
        "metadata": memory_metadata(memory),
        "inline_assets": shown["inline"],
        "blob_internal_assets": shown["internal"],
        "blob_external_assets": shown["external"],
        "access_entries": [],
    }


def memory_metadata(memory: StoredMemory) -> Value:
    """A ``MemoryMetadata``."""
    details = memory.details
    return {
        **details,
        "memory_type": tag(memory.memory_type),
        "title": memory.title,
        "description": memory.description,
        "content_type": memory.content_type,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
        "uploaded_at": memory.uploaded_at,
        "tags": memory.tags,
        "deleted_at": memory.deleted_at,
        "database_storage_edges": _storage_edges(details),
        "shared_count": details.get("shared_count", 0),
        "sharing_status": tag(details.get("sharing_status", "Private")),
        "total_size": _total_size(memory),
        "asset_count": len(memory.assets),
    }


def asset_metadata(memory: StoredMemory, asset: StoredAsset) -> Tag:
    """An ``AssetMetadata`` of the memory's type, unless the uploader said another."""
    base = {
        "tags": [],
        **asset.details.get("base", {}),
        "name": asset.name,
        "mime_type": asset.mime_type,
        "bytes": asset.bytes,
        "asset_type": tag(asset.asset_type),
        "sha256": declared_hash(asset),
        "url": asset.url,
        "storage_key": asset.storage_key,
        "created_at": asset.created_at,
        "updated_at": asset.updated_at,
    }
    kind = asset.details.get("kind", memory.memory_type)
    return kind, {**asset.details.get("specific", {}), "base": base}


def declared_hash(asset: StoredAsset) -> bytes | None:
    """The hash that was declared, as bytes; None where there is none or it is no hexadecimal."""
    try:
        return bytes.fromhex(asset.sha256) if asset.sha256 else None
    except ValueError:
        return None


def gallery_header(gallery: StoredGallery) -> Value:
    """What ``galleries_list`` says of a gallery."""
    return {
        "id": gallery.id,
        "name": gallery.title or "",
        "title": gallery.title,
        "memory_count": len(gallery.items),
        "updated_at": gallery.updated_at,
        "created_at": gallery.created_at,
        "capsule_id": gallery.capsule_id,
    }


def whole_gallery(gallery: StoredGallery) -> Value:
    """A ``Gallery``."""
    return {
        "id": gallery.id,
        "capsule_id": gallery.capsule_id,
        "updated_at": gallery.updated_at,
        "created_at": gallery.created_at,
        "items": [
            {
                "memory_id": memory_id,
                "memory_type": tag(memory_type),
                "position": position,
                "caption": caption,
                "metadata": [],
            }
            for memory_id, memory_type, position, caption in gallery.items
        ],
        "cover_memory_id": gallery.items[0][0] if gallery.items else None,
        "title": gallery.title,
        "description": None,
    }


def stored_asset(asset_id: str, locator: str, metadata: Tag, body: str, now: int) -> StoredAsset:
    """The asset that an uploader describes with an ``AssetMetadata``."""
    kind, record = metadata
    base = record["base"]
    sha256 = base["sha256"]
    return StoredAsset(
        asset_id=asset_id,
        kind="internal",
        asset_type=base["asset_type"][0],
        name=base["name"],
        mime_type=base["mime_type"],
        bytes=base["bytes"],
        sha256=sha256.hex() if sha256 is not None else None,
        body=body,
        locator=locator,
        storage_key=base["storage_key"],
        url=base["url"],
        created_at=base["created_at"] or now,
        updated_at=base["updated_at"] or now,
        details={
            "kind": kind,
            "base": _given(base, _BASE_FIELDS),
            "specific": _given(record, {"base"}),
        },
    )


def stored_memory(
    memory_id: str,
    capsule_id: str,
    metadata: Value,
    assets: tuple[StoredAsset, ...],
    now: int,
) -> StoredMemory:
    """The memory that an uploader describes with a ``MemoryMetadata``; it is written ``now``."""
    details = _given(metadata, _MEMORY_FIELDS)
    details["sharing_status"] = metadata["sharing_status"][0]
    details["database_storage_edges"] = [name for name, _ in metadata["database_storage_edges"]]
    return StoredMemory(
        id=memory_id,
        capsule_id=capsule_id,
        memory_type=metadata["memory_type"][0],
        title=metadata["title"],
        content_type=metadata["content_type"],
        created_at=metadata["created_at"] or now,
        updated_at=now,
        uploaded_at=now,
        deleted_at=metadata["deleted_at"],
        assets=assets,
        tags=tuple(metadata["tags"]),
        description=metadata["description"],
        details=details,
    )


def _given(record: Mapping[str, Any], known: set[str]) -> Value:
    return {
        name: value for name, value in record.items() if name not in known and value is not None
    }
