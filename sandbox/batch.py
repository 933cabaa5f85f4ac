"""A batch of memories as what is written: rows, blob objects, canister memories, edges."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from sandbox.app_tables import AppTables
from sandbox.blob.storage import StoredObject
from sandbox.content import Generated
from sandbox.copy_text import copy_row
from sandbox.dataset import File, Memory, Recipe, User, make_uuid, to_datetime
from sandbox.icp.storage import StoredAsset, StoredMemory

INLINE_MAX_BYTES: Final = 4 * 1024
RAW: Final = "raw:"
_HASH_PIECE: Final = 1024 * 1024
_NS: Final = 1_000_000
EDGE_COLUMNS: Final = (
    "id", "memory_id", "memory_type", "artifact", "backend", "present", "location", "content_hash",
    "size_bytes", "last_synced_at", "created_at", "updated_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outline:
    """What a gallery needs to know of a memory."""

    id: str
    kind: str
    owner: int
    on_icp: bool
    created_at: int


@dataclass(slots=True)
class Batch:
    """What is to be written for a run of memories; rows are in COPY's text form."""

    rows: dict[str, str] = field(default_factory=dict)
    edges: str = ""
    objects: list[StoredObject] = field(default_factory=list)
    memories: list[StoredMemory] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset's bytes, measured."""

    size: int
    sha256: str
    md5: str
    body: str


def make_batch(
    recipe: Recipe, tables: AppTables, origin: str, numbers: Sequence[int], *, with_edges: bool
) -> Batch:
    """Make the memories with these numbers; ``origin`` is where blob URLs begin."""
    batch = Batch()
    rows: dict[str, list[str]] = {}
    edges: list[str] = []
    for number in numbers:
        memory = recipe.memory(number)
        owner = _user(recipe, memory.owner)
        asset = measure(memory.file.body) if memory.file else measure_text(memory.text or "")
        row = _row(memory, owner, origin)
        line = copy_row(row[column] for column in tables.columns[memory.kind])
        rows.setdefault(memory.kind, []).append(line)
        if with_edges:
            edges.extend(map(copy_row, _edges(recipe, memory, owner, asset)))
        if memory.file:
            batch.objects.append(stored_object(memory.file, asset.md5))
        if memory.thumbnail:
            batch.objects.append(stored_object(memory.thumbnail))
        if memory.on_icp:
            batch.memories.append(_canister_memory(memory, owner, asset))
            if memory.text is not None:
                batch.texts.append(memory.text)
        batch.outlines.append(
            Outline(memory.id, memory.kind, memory.owner, memory.on_icp, memory.created_at)
        )
    batch.rows = {kind: "".join(lines) for kind, lines in rows.items()}
    batch.edges = "".join(edges)
    return batch


def measure(body: Generated) -> Asset:
    """Size and hashes of a computed body, in one pass."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in body.chunks(_HASH_PIECE):
        sha256.update(piece)
        md5.update(piece)
    return Asset(body.length, sha256.hexdigest(), md5.hexdigest(), body.describe())


def measure_text(text: str) -> Asset:
    """Size and hashes of a text in UTF-8."""
    data = text.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Asset(len(data), sha256, md5, RAW + sha256)


def stored_object(file: File, md5: str | None = None) -> StoredObject:
    """The file as the blob store keeps it."""
    return StoredObject(
        pathname=file.pathname,
        size=file.body.length,
        etag=md5 or file.body.md5(),
        uploaded_at=file.uploaded_at,
        content_type=file.content_type,
        body=file.body.describe(),
    )


def object_url(origin: str, pathname: str) -> str:
    """The URL that the blob store gives an object."""
    return f"{origin}/{quote(pathname, safe='/')}"


def icp_location(capsule_id: str, memory_id: str) -> str:
    """How the ledger names a memory on the canister."""
    return f"icp://{capsule_id}/{memory_id}"


@lru_cache(maxsize=100_000)
def _user(recipe: Recipe, number: int) -> User:
    return recipe.user(number)


def _row(memory: Memory, owner: User, origin: str) -> dict[str, object]:
    """The memory's row by column, whether the table has that column or not."""
    metadata = dict(memory.metadata)
    if memory.thumbnail:
        metadata["thumbnail"] = object_url(origin, memory.thumbnail.pathname)
    row: dict[str, object] = {
        "id": memory.id,
        "owner_id": owner.account_id,
        "title": memory.title,
        "description": None,
        "is_public": memory.is_public,
        "owner_secure_code": memory.secure_code,
        "created_at": to_datetime(memory.created_at),
        "updated_at": to_datetime(memory.updated_at),
        "metadata": json.dumps(metadata, ensure_ascii=False),
    }
    if memory.file is None:
        return row | {"content": memory.text}
    return row | {
        "url": object_url(origin, memory.file.pathname),
        "caption": memory.caption,
        "mime_type": memory.file.content_type,
        "size": memory.file.body.length,
        "duration": 1 + memory.file.body.length // 16_000,
    }


def _edges(recipe: Recipe, memory: Memory, owner: User, asset: Asset) -> Iterator[list[object]]:
    """The memory's true edges, in the order of EDGE_COLUMNS."""
    rng = recipe.rng("edges", memory.number)
    at = to_datetime(memory.recorded_at)

    def edge(artifact: str, backend: str, *facts: object) -> list[object]:
        return [make_uuid(rng), memory.id, memory.kind, artifact, backend, True, *facts]

    yield edge("metadata", "neon-db", None, None, None, None, at, at)
    if memory.file:
        location = memory.file.pathname
        yield edge("asset", "vercel-blob", location, asset.sha256, asset.size, None, at, at)
    else:
        yield edge("asset", "neon-db", None, asset.sha256, asset.size, None, at, at)
    if memory.on_icp:
        location = icp_location(owner.capsule_id, memory.id)
        begun, done = to_datetime(memory.copied_at), to_datetime(memory.synced_at)
        yield edge("metadata", "icp-canister", location, None, None, done, begun, done)
        yield edge("asset", "icp-canister", location, asset.sha256, asset.size, done, begun, done)


def _canister_memory(memory: Memory, owner: User, asset: Asset) -> StoredMemory:
    name = memory.file.pathname.rpartition("/")[2] if memory.file else f"{memory.title}.txt"
    assets = [_canister_asset(memory, "Original", name, memory.mime_type, asset)]
    for asset_type, body in memory.derived:
        derived_name = f"{asset_type.lower()}.webp"
        assets.append(
            _canister_asset(memory, asset_type, derived_name, "image/webp", measure(body))
        )
    return StoredMemory(
        id=memory.id,
        capsule_id=owner.capsule_id,
        memory_type=memory.kind.capitalize(),
        title=memory.title,
        content_type=memory.mime_type,
        created_at=memory.created_at * _NS,
        updated_at=memory.copied_at * _NS,
        uploaded_at=memory.copied_at * _NS,
        assets=tuple(assets),
        details={"database_storage_edges": ["Icp", "Neon"]},
    )


def _canister_asset(
    memory: Memory, asset_type: str, name: str, mime_type: str, asset: Asset
) -> StoredAsset:
    inline = asset.size <= INLINE_MAX_BYTES or memory.file is None
    asset_id = f"{memory.id}-{asset_type.lower()}"
    return StoredAsset(
        asset_id=asset_id,
        kind="inline" if inline else "internal",
        asset_type=asset_type,
        name=name,
        mime_type=mime_type,
        bytes=asset.size,
        sha256=asset.sha256,
        body=asset.body,
        locator=None if inline else f"blob_{asset_id}",
        created_at=memory.copied_at * _NS,
        updated_at=memory.copied_at * _NS,
    )


def in_runs(count: int, size: int) -> Iterable[range]:
    """The numbers below ``count`` in runs of ``size``."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))
