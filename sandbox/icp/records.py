"""What the canister keeps: capsules, memories with their assets, galleries."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any

from sandbox.icp import principal

_ANONYMOUS = principal.to_text(principal.ANONYMOUS)

KINDS = ("inline", "internal", "external")


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """One asset of a memory, with what is claimed of it and what is really there.

    ``bytes`` and ``sha256`` are what the uploader declared; ``body`` is the truth, and they may
    differ. ``details`` holds further fields of the interface's ``AssetMetadata``: ``base`` (fields
    of the base record) and ``specific`` (fields of the variant's record).
    """

    asset_id: str
    kind: str
    asset_type: str
    name: str
    mime_type: str
    bytes: int
    sha256: str | None
    body: str | None
    locator: str | None = None
    location: str | None = None
    storage_key: str | None = None
    url: str | None = None
    created_at: int = 0
    updated_at: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """One memory; times are nanoseconds since 1970.

    ``details`` holds further fields of the interface's ``MemoryMetadata`` by their names there.
    """

    id: str
    capsule_id: str
    memory_type: str
    title: str | None
    content_type: str
    created_at: int
    updated_at: int
    uploaded_at: int
    deleted_at: int | None = None
    assets: tuple[StoredAsset, ...] = ()
    tags: tuple[str, ...] = ()
    description: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def with_asset(self, asset: StoredAsset, now: int) -> "StoredMemory":
        """The memory with one more asset, updated ``now``."""
        return replace(self, assets=(*self.assets, asset), updated_at=now)


@dataclass(frozen=True, slots=True)
class StoredCapsule:
    """A capsule; ``subject``, ``owners`` and ``controllers`` are principals in text form."""

    id: str
    subject: str
    owners: tuple[str, ...]
    controllers: tuple[str, ...]
    created_at: int
    updated_at: int

    def admits(self, caller: str) -> bool:
        """Whether this principal may read and write the capsule; the anonymous one never may."""
        held_by = (self.subject, *self.owners, *self.controllers)
        return caller in held_by and caller != _ANONYMOUS


@dataclass(frozen=True, slots=True)
class StoredGallery:
    """A gallery; ``items`` are (memory id, memory type, position, caption)."""

    id: str
    capsule_id: str
    title: str | None
    items: tuple[tuple[str, str, int, str | None], ...]
    created_at: int
    updated_at: int


_ASSET_FIELDS = tuple(f.name for f in fields(StoredAsset))
_MEMORY_FIELDS = tuple(
    f.name for f in fields(StoredMemory) if f.name not in {"id", "capsule_id", "assets"}
)
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_asset_values = attrgetter(*_ASSET_FIELDS)
_memory_values = attrgetter(*_MEMORY_FIELDS)
_ASSETS_AT = _MEMORY_FIELDS.index("tags")  # the assets stand before the tags
_BODY = _ASSET_FIELDS.index("body")
_KIND = _ASSET_FIELDS.index("kind")
_LOCATOR = _ASSET_FIELDS.index("locator")


def check(memory: StoredMemory) -> None:
    """Raise ValueError where an asset is none that the canister could hold."""
    for asset in memory.assets:
        if asset.kind not in KINDS:
            message = f"asset {asset.asset_id} of memory {memory.id}: no kind {asset.kind!r}"
        elif asset.kind == "internal" and not asset.locator:
            message = f"internal asset {asset.asset_id} of memory {memory.id} has no locator"
        elif asset.kind == "inline" and asset.body is None:
            message = f"inline asset {asset.asset_id} of memory {memory.id} has no body"
        elif asset.kind == "external" and asset.location is None:
            message = f"external asset {asset.asset_id} of memory {memory.id} has no location"
        else:
            continue
        raise ValueError(message)


def to_document(memory: StoredMemory) -> str:
    """The memory as the ``document`` column: a JSON array in field order, blobs' bodies left out.

    The body of an internal asset belongs to the blob its locator names.
    """
    assets = []
    for asset in memory.assets:
        row = list(_asset_values(asset))
        if asset.kind == "internal":
            row[_BODY] = None
        assets.append(row)
    return _encode((_memory_values(memory), assets))


def from_document(
    memory_id: str, capsule_id: str, document: str, bodies: Mapping[str, str] | None = None
) -> StoredMemory:
    """The memory that :func:`to_document` wrote, ``bodies`` giving the blobs' bodies by locator."""
    values, rows = json.loads(document)
    if bodies:
        for row in rows:
            if row[_KIND] == "internal":
                row[_BODY] = bodies.get(row[_LOCATOR])
    assets = tuple([StoredAsset(*row) for row in rows])
    before, (tags, *after) = values[:_ASSETS_AT], values[_ASSETS_AT:]
    row = [memory_id, capsule_id, *before, assets, tuple(tags), *after]
    return StoredMemory(*row)
