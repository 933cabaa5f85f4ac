"""An acknowledgement keeps a finding quiet as long as the finding is what was acknowledged."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.acknowledgement import Acknowledgement
from checks.kinds import KINDS, needed_stores

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SEEN = datetime(2026, 2, 1, 3, 4, 5, 678901, tzinfo=UTC)
SAID = Acknowledgement(
    "f", "the owner looks for it", "ana@desk", NOW, NOW + timedelta(days=7), "warning", SEEN,
    {"present": True, "size_bytes": 5},
)  # fmt: skip


def finding(**more: Any) -> dict[str, Any]:
    return {
        "severity": "warning", "first_seen": SEEN, "observed": {"present": True, "size_bytes": 5}
    } | more  # fmt: skip


@pytest.mark.parametrize(
    "same",
    [
        {},
        {"severity": "info"},
        {"first_seen": SEEN.replace(microsecond=0)},
        {"observed": {"present": True, "size_bytes": 5, "content_hash": "read for the first time"}},
        {"observed": {"present": True}},
    ],
)
def test_what_is_as_it_was_or_better_stays_quiet(same: dict[str, Any]) -> None:
    assert SAID.why_awake(finding(**same), NOW) is None


@pytest.mark.parametrize(
    ("worse", "why"),
    [
        ({"severity": "critical"}, "it is critical now and was warning"),
        ({"observed": {"present": False}}, "observed has changed since (present)"),
        ({"observed": {"present": True, "size_bytes": 4}}, "changed since (size bytes)"),
        ({"first_seen": SEEN + timedelta(days=9)}, "come back"),
    ],
)
def test_what_got_worse_is_awake_and_says_why(worse: dict[str, Any], why: str) -> None:
    assert why in (SAID.why_awake(finding(**worse), NOW) or "")


def test_it_wakes_when_its_date_has_passed_and_not_before() -> None:
    assert SAID.until is not None
    assert SAID.why_awake(finding(), SAID.until - timedelta(microseconds=1)) is None
    assert SAID.why_awake(finding(), SAID.until) == "its date has passed"


def test_a_decision_alone_keeps_nothing_quiet_and_lasts_while_the_facts_do() -> None:
    decided = replace(SAID, until=None, decision="ledger")
    assert decided.why_awake(finding(), NOW) == "it was not acknowledged"
    assert decided.why_void(finding(severity="critical")) is None
    assert decided.why_void(finding(observed={"size_bytes": 6})) is not None


def test_every_kind_needs_neon_and_its_own_store_and_most_all_that_were_seen() -> None:
    whole = ["neon-db", "vercel-blob"]
    for kind in KINDS:
        assert {"neon-db", "icp-canister"} <= set(needed_stores(kind, "icp-canister", whole))
    assert needed_stores("missing", "icp-canister", whole) == ["icp-canister", "neon-db"]
    assert needed_stores("lost", None, whole) == whole
    assert needed_stores("orphaned", "vercel-blob", whole) == whole
