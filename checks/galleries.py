"""A gallery in Neon against the same gallery on the canister: its items and their order."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

Memory = tuple[str, str]
_NAMED = 3
_KEPT = 100


class Item(NamedTuple):
    """A memory in a gallery; ids and types in lower case."""

    position: int
    memory_id: str
    memory_type: str


def in_order(items: Iterable[Item], gone: Collection[Memory] = ()) -> list[str]:
    """The ids of a gallery's memories in its order, without those that are gone.

    Where several stand at one position their order means nothing: they are sorted.
    """
    left = [each for each in items if (each.memory_id, each.memory_type) not in gone]
    return [each.memory_id for each in sorted(left)]


def difference(in_neon: list[str], on_icp: list[str]) -> str | None:
    """How two lists of memories differ, in words; None where they do not."""
    if in_neon == on_icp:
        return None
    only_in_neon = list((Counter(in_neon) - Counter(on_icp)).elements())
    only_on_icp = list((Counter(on_icp) - Counter(in_neon)).elements())
    parts = [
        f"{_named(ids)} only {place}"
        for ids, place in ((only_in_neon, "in Neon"), (only_on_icp, "on the canister"))
        if ids
    ]
    return "; ".join(parts) or "the same items in another order"


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{', '.join(sorted(ids)[:_NAMED])}{more}"


def divergence(gallery_id: str, in_neon: list[str], on_icp: list[str]) -> dict[str, Any] | None:
    """The case of a gallery that differs; None where it does not."""
    how = difference(in_neon, on_icp)
    if how is None:
        return None
    return {
        "kind": "gallery_divergence", "gallery_id": gallery_id, "how": how,
        "expected_facts": {"items": len(in_neon), "memory_ids": in_neon[:_KEPT]},
        "observed_facts": {"items": len(on_icp), "memory_ids": on_icp[:_KEPT]},
    }  # fmt: skip


def dangling(gallery_id: str, memory: Memory, place: str) -> dict[str, Any]:
    """The case of an item whose memory is gone; ``place``: in which store's gallery it is."""
    memory_id, memory_type = memory
    return {
        "kind": "dangling_item", "gallery_id": gallery_id, "memory_id": memory_id,
        "memory_type": memory_type, "place": place, "expected_facts": {"present": True},
        "observed_facts": {"present": False},
    }  # fmt: skip
