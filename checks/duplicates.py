"""Contents that several memories hold, and what holding them once would save."""

from collections.abc import Mapping
from typing import Any


def saving(size: int, *objects_per_store: int) -> int:
    """The bytes saved if each store held the content once."""
    return size * sum(max(objects - 1, 0) for objects in objects_per_store)


def duplicate(found: Mapping[str, Any]) -> dict[str, Any]:
    """The case of one content, from a row of the query ``collection.duplicates``."""
    size = int(found["size_bytes"] or 0)
    saves = saving(size, int(found["blob_objects"]), int(found["icp_copies"]))
    return {
        "kind": "duplicate_content", "location": f"sha256:{found['content_hash']}",
        "memories": int(found["memories"]), "size_bytes": size, "saves": saves,
        "examples": [found["first_memory"], found["last_memory"]],
        "observed_facts": {
            "present": True, "memories": int(found["memories"]), "size_bytes": size,
            "saves_bytes": saves, "blob_objects": int(found["blob_objects"]),
            "icp_copies": int(found["icp_copies"]),
            "examples": [found["first_memory"], found["last_memory"]],
        },
    }  # fmt: skip
