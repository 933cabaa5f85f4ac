"""A gallery's items and their order, in Neon and in the canister's gallery of the same id."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from damaged_sandbox import ICP, Box
from gallery_run import Verify

from checks.run import exit_code
from tasks.wording import ON_ICP


def on_both(box: Box) -> str:
    """A gallery that Neon and the canister have, of several memories."""
    with box.canister_storage() as canister:
        return next(each.id for each in canister.galleries() if len(each.items) > 2)


@contextmanager
def edited(box: Box, gallery_id: str, edit: Callable[[Any], Any]) -> Iterator[None]:
    """The canister's gallery changed, and put back afterwards."""
    with box.canister_storage() as canister:
        kept = canister.gallery(gallery_id)
        assert kept is not None
        try:
            canister.replace_gallery(edit(kept))
            yield
        finally:
            canister.replace_gallery(kept)


def reordered(gallery: Any) -> Any:
    (a, kind_a, first, *more_a), (b, kind_b, second, *more_b), *others = gallery.items
    return replace(
        gallery, items=((a, kind_a, second, *more_a), (b, kind_b, first, *more_b), *others)
    )


def shortened(gallery: Any) -> Any:
    return replace(gallery, items=gallery.items[1:])


def test_the_same_items_in_the_same_order_are_the_same(box: Box, verify: Verify) -> None:
    run = verify(on_both(box), certified=False)
    assert run.gallery is not None
    assert run.gallery.on_icp == "same"
    assert exit_code(run) == 0


@pytest.mark.parametrize("edit", [reordered, shortened])
def test_other_items_or_another_order_is_a_finding(
    edit: Callable[[Any], Any], box: Box, verify: Verify
) -> None:
    gallery_id = on_both(box)
    with edited(box, gallery_id, edit):
        run = verify(gallery_id, certified=False)
    assert run.gallery is not None
    assert run.gallery.on_icp == "different"
    assert [(each.kind, each.gallery_id) for each in run.findings] == [
        ("gallery_divergence", gallery_id)
    ]


def test_a_gallery_that_was_never_copied_is_said_to_be_in_neon_alone(
    box: Box, verify: Verify
) -> None:
    box.sql(
        "INSERT INTO galleries (id, owner_id, title) SELECT "
        "'33333333-3333-4333-8333-333333333333', owner_id, 'new' FROM galleries LIMIT 1"
    )
    box.sql(
        "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) SELECT "
        "gen_random_uuid(), '33333333-3333-4333-8333-333333333333', memory_id, memory_type, 1 "
        "FROM gallery_items LIMIT 1"
    )
    run = verify("33333333-3333-4333-8333-333333333333", certified=False)
    assert run.gallery is not None
    assert run.gallery.on_icp == "not_there"
    assert exit_code(run) == 0
    assert "Neon alone" in ON_ICP["not_there"]


def test_galleries_that_can_not_be_read_are_unknown(box: Box, verify: Verify) -> None:
    gallery_id = on_both(box)
    box.fault(ICP, "status", 503, canister_method="galleries_read")
    run = verify(gallery_id, certified=False)
    assert run.gallery is not None
    assert run.gallery.on_icp == "unknown"
    assert exit_code(run) == 3
    assert not run.findings
