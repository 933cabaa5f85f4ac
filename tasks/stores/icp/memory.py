"""What the canister holds, in Python's terms."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from checks.model import MemoryType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HASH_BYTES = 32
_HEX = frozenset("0123456789abcdef")
_MAX_INT64 = (1 << 63) - 1
_KIND_OF_LIST = {
    "inline_assets": "inline",
    "blob_internal_assets": "internal",
    "blob_external_assets": "external",
}

#: The canister's words for the types of memories, and the ledger's.
MEMORY_TYPES = {kind.value.capitalize(): kind.value for kind in MemoryType}


class AssetKind(StrEnum):
    """Where an asset's bytes are: in the memory, in the canister's blob store, or elsewhere."""

    INLINE = "inline"
    INTERNAL = "internal"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of a memory.

    Attributes:
        asset_id: its id within the memory.
        kind: where its bytes are.
        asset_type: ``Original`` for *the* asset; the others are derived from it.
        mime_type: as declared.
        declared_size: bytes, as declared by the uploader.
        declared_sha256: hex, as declared by the uploader; None where nothing usable was.
        deleted: whether it is on its way out.
        body: the bytes of an inline asset.
        locator: the blob of an internal one.
        location: which store an external one is in.
        storage_key: its key there.
        url: its URL there, if known.
    """

    asset_id: str
    kind: AssetKind
    asset_type: str
    mime_type: str
    declared_size: int
    declared_sha256: str | None
    deleted: bool
    body: bytes | None = None
    locator: str | None = None
    location: str | None = None
    storage_key: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory. ``updated_at`` is in nanoseconds: it is the memory's version."""

    id: str
    capsule_id: str
    memory_type: str
    content_type: str
    created_at: int
    updated_at: int
    deleted: bool
    assets: tuple[Asset, ...]

    @property
    def original(self) -> Asset | None:
        """The asset whose bytes the canister holds, None where it has none of its own."""
        own = (AssetKind.INLINE, AssetKind.INTERNAL)
        return next((a for a in self._originals() if a.kind in own), None)

    @property
    def is_link(self) -> bool:
        """Whether the asset's bytes are elsewhere, and only a link is here."""
        external = (a for a in self.assets if a.kind is AssetKind.EXTERNAL and not a.deleted)
        return self.original is None and any(external)

    def _originals(self) -> Iterator[Asset]:
        return (a for a in self.assets if a.asset_type == "Original" and not a.deleted)


class Capsule(NamedTuple):
    """A capsule that the identity sees; ``subject`` is whose it is: a principal, if known."""

    id: str
    memory_count: int
    subject: str | None = None


class MemoryPage(NamedTuple):
    """One page of a listing: memories as decoded, and where to go on."""

    items: list[dict[str, Any]]
    next_cursor: str | None


class BlobMeta(NamedTuple):
    """The true size of a blob, and in how many chunks it can be read."""

    size: int
    chunk_count: int


class ExternalLink(NamedTuple):
    """What a memory says of an asset whose bytes are elsewhere: a reference to a blob.

    ``location`` is the canister's word for the store, such as ``VercelBlob``.
    """

    memory_id: str
    location: str
    storage_key: str
    url: str | None


def memory_of(decoded: dict[str, Any]) -> Memory:
    """A memory as decoded from Candid."""
    metadata = decoded["metadata"]
    assets = (
        _asset_of(AssetKind(kind), asset)
        for name, kind in _KIND_OF_LIST.items()
        for asset in decoded[name]
    )
    return Memory(
        id=decoded["id"],
        capsule_id=decoded["capsule_id"],
        memory_type=MEMORY_TYPES[metadata["memory_type"]],
        content_type=metadata["content_type"],
        created_at=metadata["created_at"],
        updated_at=metadata["updated_at"],
        deleted=metadata["deleted_at"] is not None,
        assets=tuple(assets),
    )


def _asset_of(kind: AssetKind, decoded: dict[str, Any]) -> Asset:
    _, specific = decoded["metadata"]
    base = specific["base"]
    declared = base["sha256"]
    return Asset(
        asset_id=decoded["asset_id"],
        kind=kind,
        asset_type=base["asset_type"],
        mime_type=base["mime_type"],
        declared_size=base["bytes"],
        declared_sha256=declared.hex() if declared and len(declared) == _HASH_BYTES else None,
        deleted=base["deleted_at"] is not None,
        body=decoded.get("bytes"),
        locator=decoded["blob_ref"]["locator"] if "blob_ref" in decoded else None,
        location=decoded.get("location"),
        storage_key=decoded.get("storage_key"),
        url=decoded.get("url"),
    )


def inventory_row(capsule_id: str, header: dict[str, Any]) -> dict[str, Any]:
    """A memory of a listing as a row of :data:`checks.columns.ICP_INVENTORY`, without its key."""
    original = header["assets"]["original"]
    size = original["bytes"] if original else None
    updated_at = header["updated_at"]
    return {
        "memory_id": header["id"],
        "memory_type": MEMORY_TYPES[header["memory_type"]],
        "capsule_id": capsule_id,
        "asset_there": original is not None,
        "asset_count": header["asset_count"],
        "size": _size(size),
        "declared_sha256": _hex_hash(original["etag"]) if original else None,
        "version": str(updated_at),
        "created_at": moment(header["created_at"]),
        "written_at": moment(updated_at),
    }


def row_of(memory: Memory) -> dict[str, Any]:
    """A memory that was read as :func:`inventory_row` would have it from a listing."""
    original = memory.original
    return {
        "memory_id": memory.id,
        "memory_type": memory.memory_type,
        "capsule_id": memory.capsule_id,
        "asset_there": original is not None,
        "asset_count": len(memory.assets),
        "size": _size(original.declared_size) if original else None,
        "declared_sha256": original.declared_sha256 if original else None,
        "version": str(memory.updated_at),
        "created_at": moment(memory.created_at),
        "written_at": moment(memory.updated_at),
    }


def _size(declared: int | None) -> int | None:
    """A declared size, None where it is absurd."""
    return declared if declared is not None and declared <= _MAX_INT64 else None


def _hex_hash(etag: str | None) -> str | None:
    """The SHA-256 that an etag declares, None where it is no such thing."""
    text = etag.lower() if etag else ""
    return text if len(text) == 2 * _HASH_BYTES and _HEX.issuperset(text) else None


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970, of 64 bits and so before the year 2555, as a time in UTC."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
