"""Findings as they are read: one identity across runs and programs, and no row too odd to tell of."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.describe import describe, identify, plain_records
from checks.fingerprint import fingerprint
from checks.kinds import IDENTITY, KINDS
from checks.model import Backend
from checks.run import FINDINGS, findings_table
from checks.states import Object

ALWAYS = {"memory_id", "memory_type"}
_text = st.text(st.characters(exclude_categories=()), max_size=30)
_value = st.none() | _text
_cases = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(sorted(KINDS)),
        "memory_id": _value, "memory_type": _value,
        "artifact": st.sampled_from(["metadata", "asset", None]),
        "backend": st.sampled_from([each.value for each in Backend]),
        **dict.fromkeys(("size_bytes", "object_size", "read_size"), st.none() | st.integers()),
    },
    optional={
        **dict.fromkeys(
            ("location", "object_location", "edge_id", "sync_error", "content_hash", "sha256",
             "read_detail", "location_problem", "row_url_problem", "sync_state"), _value,
        ),
        **dict.fromkeys(
            ("updated_at", "object_written_at"), st.none() | st.datetimes(timezones=st.just(UTC))
        ),
        **dict.fromkeys(
            ("present", "malformed", "confirmed", "verified_elsewhere"), st.none() | st.booleans()
        ),
        "outcome": st.sampled_from([None, "read", "gone", "changed", "failed"]),
    },
)  # fmt: skip


@given(_cases, st.sampled_from(list(Object)))
@settings(max_examples=150, deadline=None)
def test_no_row_is_too_odd_to_be_described(case: dict[str, Any], state: Object) -> None:
    row = describe({**case, "object_state": state.value})
    assert set(row) <= set(FINDINGS.names)
    assert len(row["fingerprint"]) == 16
    assert row["explanation"]
    for side in ("expected", "observed"):
        assert isinstance(json.loads(row[side]), dict)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_row_of_nulls_becomes_a_finding_that_can_be_kept(kind: str) -> None:
    names = ("memory_id", "memory_type", "artifact", "location", "object_location", "edge_id",
             "size_bytes", "object_size", "updated_at", "outcome", "sync_error")  # fmt: skip
    case = dict.fromkeys(names) | {"kind": kind, "backend": "neon-db", "object_state": 1}
    row = describe(case) | {"first_seen": datetime(2026, 1, 1, tzinfo=UTC), "runs_seen": 1}
    assert findings_table(pd.DataFrame([row])).num_rows == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_finding_is_identified_by_its_grains_fields_alone(kind: str) -> None:
    case = {
        "memory_id": "m", "memory_type": "image", "artifact": "asset", "backend": "vercel-blob",
        "location": "edge's", "object_location": "a/b.jpg", "gallery_id": "g",
    }  # fmt: skip
    used = {name for name, value in identify(kind, case).items() if value is not None}
    wanted = set(IDENTITY[KINDS[kind].grain])
    wanted |= {"backend"} if kind == "icp_only" else set()
    wanted -= {"memory_type"} if kind == "type_mismatch" else set()
    assert used == wanted


def test_the_identity_of_an_object_is_where_it_was_seen() -> None:
    case = {"backend": "vercel-blob", "location": "edge's", "object_location": "a/b.jpg"}
    assert identify("orphaned", case)["location"] == "a/b.jpg"


@pytest.mark.parametrize(
    "location",
    [None, "plain.jpg", "déjà vu/ÄÖÜ.jpg", "写真/家族.jpg", "🎉.png", 'a"b\\c', "x\u2028y"],
)
def test_the_fingerprint_is_what_the_contract_says_in_any_script(location: str | None) -> None:
    identity = ["orphaned", None, None, None, "vercel-blob", location, None]
    text = json.dumps(identity, separators=(",", ":"), ensure_ascii=False)
    wanted = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert fingerprint("orphaned", backend="vercel-blob", location=location) == wanted


def test_a_lone_surrogate_has_a_fingerprint_too() -> None:
    assert len(fingerprint("orphaned", location="\ud800")) == 16


def test_null_and_the_empty_text_are_two_things() -> None:
    assert fingerprint("missing", memory_id="") != fingerprint("missing")


def test_plain_records_know_one_kind_of_nothing() -> None:
    frame = pd.DataFrame(
        {"a": [1.5, float("nan")], "b": [pd.NaT, pd.Timestamp(0, tz="UTC")],
         "c": pd.array([None, 2], "Int64"), "d": ["x", None]}
    )  # fmt: skip
    first, second = plain_records(frame)
    assert first["b"] is None
    assert first["c"] is None
    assert second["a"] is None
    assert second["d"] is None
    assert second["c"] == 2
