"""A gallery in two stores: what differs, in words; and what is saved by holding a content once."""

import pytest

from checks.describe import describe
from checks.duplicates import duplicate, saving
from checks.galleries import Item, dangling, difference, divergence, in_order

A, B, C = "a", "b", "c"


def items(*ids: str) -> list[Item]:
    return [Item(place, each, "image") for place, each in enumerate(ids)]


def test_equal_galleries_do_not_differ() -> None:
    assert difference([A, B], [A, B]) is None
    assert divergence("g", [A], [A]) is None


def test_order_counts_and_positions_do_not() -> None:
    spread = [Item(70, B, "image"), Item(3, A, "image")]
    assert in_order(spread) == in_order(items(A, B)) == [A, B]
    assert difference([A, B], [B, A]) == "the same items in another order"


def test_items_at_one_position_have_no_order() -> None:
    tied = [Item(1, A, "image"), Item(1, B, "image")]
    assert in_order(tied) == in_order(tied[::-1])


@pytest.mark.parametrize(
    ("neon", "icp", "said"),
    [
        ([A, B], [A], "b only in Neon"),
        ([A], [A, C], "c only on the canister"),
        ([A, B], [A, C], "b only in Neon; c only on the canister"),
        ([A, A], [A], "a only in Neon"),
        (list("defgh"), [], "d, e, f and 2 more only in Neon"),
    ],
)
def test_it_is_said_where_an_item_is_alone(neon: list[str], icp: list[str], said: str) -> None:
    assert difference(neon, icp) == said


def test_an_item_whose_memory_is_gone_is_no_difference() -> None:
    assert in_order(items(A, B), gone={(B, "image")}) == [A]
    assert in_order(items(A, B), gone={(B, "video")}) == [A, B]


def test_a_diverging_gallery_is_told_with_both_lists() -> None:
    row = describe(divergence("g", [A, B], [B]) or {})
    assert (row["gallery_id"], row["memory_id"], row["severity"]) == ("g", None, "warning")
    assert "a only in Neon" in row["explanation"]
    assert '"items": 2' in row["expected"]
    assert '"items": 1' in row["observed"]


def test_an_item_of_nothing_is_told_with_its_gallery() -> None:
    row = describe(dangling("g", (A, "image"), "Neon"))
    assert (row["gallery_id"], row["memory_id"], row["memory_type"]) == ("g", A, "image")


def test_each_store_needs_a_content_only_once() -> None:
    assert saving(10, 3, 2) == 30
    assert saving(10, 1, 0) == 0
    assert saving(10, 1, 1) == 0


def test_a_duplicate_says_what_holding_it_once_would_save() -> None:
    found = {
        "content_hash": "a" * 64, "memories": 3, "size_bytes": 10, "blob_objects": 3,
        "icp_copies": 2, "first_memory": "image a", "last_memory": "video c",
    }  # fmt: skip
    row = describe(duplicate(found))
    assert (row["location"], row["severity"]) == (f"sha256:{'a' * 64}", "info")
    assert "3 memories" in row["explanation"]
    assert "save 30 bytes" in row["explanation"]
    assert "image a and video c" in row["explanation"]
