"""Galleries of the seed data set: whose memories they hold, and which are whole on the canister."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from sandbox import names
from sandbox.batch import Outline
from sandbox.dataset import PUBLIC_SHARE, Recipe, make_uuid
from sandbox.icp.storage import StoredGallery

MOST_ITEMS: Final = 12
FEWEST_ITEMS: Final = 3
_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """A memory in a gallery."""

    id: str
    memory: Outline
    position: int
    caption: str | None
    is_featured: bool


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery. Times are ms since 1970."""

    id: str
    owner: int
    title: str
    is_public: bool
    items: tuple[Item, ...]
    created_at: int

    @property
    def on_icp(self) -> bool:
        """Whether every memory of it is on the canister."""
        return all(item.memory.on_icp for item in self.items)

    def stored(self, capsule_id: str) -> StoredGallery:
        """The gallery as the canister keeps it."""
        items = tuple(
            (item.memory.id, item.memory.kind.capitalize(), item.position, item.caption)
            for item in self.items
        )
        created_at = self.created_at * _NS
        return StoredGallery(self.id, capsule_id, self.title, items, created_at, created_at)


def make_galleries(recipe: Recipe, outlines: Sequence[Outline]) -> Iterator[Gallery]:
    """The galleries of a data set, each of memories of one user; none where nobody has any.

    Every other one takes memories on the canister only, where its owner has any there. A memory
    may be in several.
    """
    if not outlines:
        return
    everything = _by_owner(recipe, outlines, range(len(outlines)))
    copied = (index for index, outline in enumerate(outlines) if outline.on_icp)
    on_icp = _by_owner(recipe, outlines, copied)
    for number in range(recipe.galleries):
        rng = recipe.rng("gallery", number)
        owner = outlines[rng.randrange(len(outlines))].owner
        candidates = on_icp[owner] if number % 2 == 0 and on_icp[owner] else everything[owner]
        yield _gallery(rng, owner, [outlines[index] for index in _pick(rng, candidates)])


def _by_owner(
    recipe: Recipe, outlines: Sequence[Outline], indexes: Iterable[int]
) -> "list[array[int]]":
    owned: list[array[int]] = [array("L") for _ in range(recipe.users)]
    for index in indexes:
        owned[outlines[index].owner].append(index)
    return owned


def _pick(rng: Random, candidates: "array[int]") -> list[int]:
    wanted = rng.randrange(FEWEST_ITEMS, MOST_ITEMS + 1)
    return rng.sample(candidates, min(wanted, len(candidates)))


def _gallery(rng: Random, owner: int, memories: Sequence[Outline]) -> Gallery:
    gallery_id, title = make_uuid(rng), names.title(rng)
    items = tuple(
        Item(make_uuid(rng), memory, position, names.caption(rng), position == 0)
        for position, memory in enumerate(memories)
    )
    newest = max(memory.created_at for memory in memories)
    is_public = rng.random() < PUBLIC_SHARE
    return Gallery(
        gallery_id, owner, title, is_public, items, newest + rng.randrange(60_000, 10**7)
    )
