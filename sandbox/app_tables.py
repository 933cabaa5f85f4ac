"""What the app's tables are called, and which columns they have, in each variant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_COMMON = (
    "id", "owner_id", "title", "description", "is_public", "owner_secure_code", "created_at",
    "metadata",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AppTables:
    """Names of the app's tables; ``columns`` are those that are filled, by type of memory."""

    memories: Mapping[str, str]
    columns: Mapping[str, tuple[str, ...]]
    users: str
    accounts: str
    galleries: str
    gallery_items: str
    memory_shares: str
    gallery_shares: str


APP_TABLES: Final[Mapping[str, AppTables]] = {
    "document": AppTables(
        memories={
            "image": "images",
            "video": "videos",
            "note": "notes",
            "document": "documents",
            "audio": "audio",
        },
        columns={
            "image": (*_COMMON, "updated_at", "url", "caption"),
            "video": (*_COMMON, "updated_at", "url", "mime_type", "size", "duration"),
            "note": (*_COMMON, "updated_at", "content"),
            "document": (*_COMMON, "updated_at", "url", "mime_type", "size"),
            "audio": (*_COMMON, "updated_at", "url", "mime_type", "size", "duration"),
        },
        users="users",
        accounts="all_users",
        galleries="galleries",
        gallery_items="gallery_items",
        memory_shares="memory_shares",
        gallery_shares="gallery_shares",
    ),
    "deployed": AppTables(
        memories={kind: kind for kind in ("image", "video", "note", "document", "audio")},
        columns={
            "image": (*_COMMON, "updated_at", "url", "caption"),
            "video": (*_COMMON, "updated_at", "url", "mime_type", "size", "duration"),
            "note": (*_COMMON, "updated_at", "content"),
            "document": (*_COMMON, "updated_at", "url", "mime_type"),
            "audio": (*_COMMON, "url", "mime_type", "size", "duration"),
        },
        users="user",
        accounts="all_user",
        galleries="gallery",
        gallery_items="gallery_item",
        memory_shares="memory_share",
        gallery_shares="gallery_share",
    ),
}
