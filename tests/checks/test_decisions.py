"""Which decisions mean something for which kind, and what the meaningful ones write."""

from typing import Any

import pytest

from checks.decisions import as_read, as_the_url_says, refusal
from checks.kinds import KINDS
from checks.model import Accept


def copy(**more: Any) -> dict[str, Any]:
    return {
        "memory_id": "m", "memory_type": "image", "artifact": "asset", "backend": "vercel-blob",
        "edge_id": "e", "version": "7", "outcome": "read", "sha256": "b" * 64, "read_size": 5.0,
        "content_hash": "a" * 64, "size_bytes": 5,
    } | more  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_a_ledger_repair_can_follow_what_was_observed(kind: str) -> None:
    if KINDS[kind].ledger_repair:
        assert refusal(kind, Accept.OBSERVED) is None
    for accept in Accept:
        why = refusal(kind, accept)
        assert why is None or len(why) > 20


def test_what_can_not_be_meant_is_refused_with_the_reason() -> None:
    assert "never closed by editing" in (refusal("lost", Accept.OBSERVED) or "")
    assert "never written" in (refusal("location_conflict", Accept.LEDGER) or "")
    assert refusal("untracked", Accept.LEDGER) is not None
    assert refusal("orphaned", Accept.OBSERVED) is not None
    assert refusal("no such kind", Accept.OBSERVED) is not None
    for kind in ("hash_mismatch", "replica_divergence", "stale_hash", "missing"):
        assert refusal(kind, Accept.LEDGER) is None


def test_the_ledger_follows_the_bytes_of_the_store_that_was_meant() -> None:
    other = copy(backend="icp-canister", edge_id="o", sha256="a" * 64)
    changes = as_read("hash_mismatch", "f", "vercel-blob", [copy(), other])
    assert isinstance(changes, list)
    (change,) = changes
    assert (change.edge_id, change.version, change.takes_away) == ("e", "7", False)
    assert change.values == {"content_hash": "b" * 64, "size_bytes": 5}


def test_copies_that_differ_from_each_other_decide_nothing() -> None:
    same = copy(backend="icp-canister", edge_id="o")
    changes = as_read("replica_divergence", "f", None, [copy(), same])
    assert isinstance(changes, list)
    assert {change.edge_id for change in changes} == {"e", "o"}
    other = copy(backend="icp-canister", sha256="c" * 64)
    assert "different bytes" in str(as_read("replica_divergence", "f", None, [copy(), other]))
    unread = copy(backend="icp-canister", outcome="failed")
    assert "icp-canister" in str(as_read("replica_divergence", "f", None, [copy(), unread]))
    assert "could not be read" in str(as_read("hash_mismatch", "f", "vercel-blob", []))


def test_an_edge_is_led_to_the_urls_object_only_where_that_is_there() -> None:
    case = copy(row_pathname="new.jpg", row_object_version="v", row_object_size=9.0)
    changes = as_the_url_says("f", case)
    assert isinstance(changes, list)
    assert changes[0].values["location"] == "new.jpg"
    assert changes[0].values["content_hash"] is None
    assert "not there" in str(as_the_url_says("f", case | {"row_object_version": None}))
