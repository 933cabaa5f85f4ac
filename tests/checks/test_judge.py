"""What is concluded about one memory: a test for each state it can be in."""

from typing import Any

import pytest
from partition_samples import (
    BLOB,
    CAPSULE,
    HASH,
    ICP,
    ID,
    NEON,
    NOW,
    OLD,
    OLDER,
    OTHER_HASH,
    YOUNG,
    Sample,
    changed,
    seeing,
    sound,
    view,
    without,
)  # fmt: skip

from checks.cases import View
from checks.describe import describe, plain_records
from checks.kinds import KINDS
from checks.model import Backend, StoreState

COMPLETE, UNREACHABLE = StoreState.COMPLETE, StoreState.UNREACHABLE
INCOMPLETE, NOT_CONFIGURED = StoreState.INCOMPLETE, StoreState.NOT_CONFIGURED


def in_web(**known: Any) -> Sample:
    """An image that was never copied to the canister."""
    known = known or {"content_hash": HASH, "size_bytes": 10}
    return (
        Sample().row().blob().edge("metadata", NEON)
        .edge("asset", BLOB, location=f"images/{ID}.jpg", **known)
    )  # fmt: skip


# All is well ------------------------------------------------------------------------------------


def test_a_memory_that_is_where_the_ledger_says_agrees() -> None:
    judged = sound().judged()
    assert judged.findings.empty
    assert (judged.edges, judged.compared, judged.agree) == (4, 4, 4)


def test_a_note_has_its_text_in_neon() -> None:
    note = Sample().row(memory_type="note", content_size=5, pathname=None)
    note.edge("metadata", NEON, memory_type="note")
    note.edge("asset", NEON, memory_type="note", size_bytes=5, content_hash=HASH)
    assert note.kinds() == []


# One edge ---------------------------------------------------------------------------------------


def test_an_edge_whose_object_is_gone_is_missing() -> None:
    sample = sound()
    sample.blobs.clear()
    assert sample.kinds() == ["missing asset@vercel-blob"]


def test_an_object_without_an_edge_is_untracked() -> None:
    sample = without(sound(), "asset", BLOB)
    assert sample.kinds() == ["untracked asset@vercel-blob"]


def test_an_object_that_the_ledger_denies_is_unmarked() -> None:
    sample = changed(sound(), "asset", ICP, present=False)
    assert sample.kinds() == ["unmarked asset@icp-canister"]


@pytest.mark.parametrize("kind", ["untracked", "unmarked"])
@pytest.mark.parametrize("young", ["object", "row"])
def test_what_is_young_is_in_flight_until_its_grace_is_over(kind: str, young: str) -> None:
    sample = sound()
    if kind == "untracked":
        without(sample, "asset", BLOB)
    else:
        changed(sample, "asset", BLOB, present=False)
    if young == "object":
        sample.blobs[0]["object_written_at"] = YOUNG
    else:
        sample.rows[0]["created_at"] = YOUNG
    assert sample.kinds() == []
    assert sample.kinds(view(grace_after=NOW)) == [f"{kind} asset@vercel-blob"]


def test_the_age_of_an_edge_is_no_grace_for_anything() -> None:
    sample = sound()
    sample.blobs.clear()
    changed(sample, "asset", BLOB, updated_at=YOUNG, created_at=YOUNG)
    assert sample.kinds() == ["missing asset@vercel-blob"]


def test_a_copy_that_failed_and_left_nothing_is_reported_as_failed() -> None:
    sample = in_web().edge("asset", ICP, present=False, sync_state="failed", sync_error="x")
    assert sample.kinds() == ["sync_failed asset@icp-canister"]


@pytest.mark.parametrize("trace", [{"sync_state": "failed"}, {"sync_error": "timed out"}])
def test_a_failure_of_what_is_there_is_outdated(trace: dict[str, str]) -> None:
    assert changed(sound(), "asset", BLOB, **trace).kinds() == ["stale_failure asset@vercel-blob"]


def test_a_copy_under_way_is_stuck_after_its_time_and_not_before() -> None:
    sample = in_web().edge("asset", ICP, present=False, sync_state="migrating", updated_at=OLD)
    assert sample.kinds() == ["stuck asset@icp-canister"]
    changed(sample, "asset", ICP, updated_at=YOUNG)
    assert sample.kinds() == []


def test_a_stuck_copy_of_something_gone_is_missing() -> None:
    sample = changed(sound(), "asset", BLOB, sync_state="migrating")
    sample.blobs.clear()
    assert sample.kinds() == ["missing asset@vercel-blob"]


def test_a_link_on_the_canister_is_no_copy() -> None:
    sample = sound()
    sample.replicas[0]["asset_there"] = False
    assert sample.kinds() == ["external_only asset@icp-canister"]


def test_a_location_that_names_nothing_supersedes_what_is_missing() -> None:
    sample = changed(sound(), "asset", BLOB, malformed=True, location=None)
    sample.blobs.clear()
    assert sample.kinds() == ["invalid_location asset@vercel-blob"]


def test_a_row_whose_url_names_nothing_is_reported_on_its_asset() -> None:
    sample = sound()
    sample.rows[0].update(pathname=None, url="/uploads/x", url_problem="it is relative")
    assert sample.kinds() == ["invalid_location asset@vercel-blob"]


# Rows that can't be read ------------------------------------------------------------------------


def test_a_row_with_an_impossible_value_is_reported_and_nothing_else_is_concluded_from_it() -> None:
    sample = changed(sound(), "asset", BLOB, row_problem="its size is negative", size_bytes=-1)
    assert sample.kinds() == ["invalid_row asset@vercel-blob"]
    sample.blobs.clear()
    assert sample.kinds() == ["invalid_row asset@vercel-blob"]


def test_an_impossible_value_does_not_hide_that_a_file_is_lost() -> None:
    sample = changed(in_web(), "asset", BLOB, row_problem="its size is negative")
    sample.blobs.clear()
    assert sample.kinds() == ["invalid_row asset@vercel-blob", "lost asset@vercel-blob"]


def test_a_row_with_two_things_wrong_is_one_finding_that_names_both() -> None:
    sample = changed(sound(), "asset", BLOB, malformed=True, row_problem="its size is negative")
    found = sample.judged().findings
    assert found[["kind", "besides"]].to_numpy().tolist() == [["invalid_location", "invalid_row"]]


def test_a_row_that_does_not_say_whether_it_is_there_proves_no_deletion() -> None:
    sample = sound()
    sample.rows.clear()
    changed(sample, "metadata", NEON, present=None, row_problem="it does not say")
    assert sample.kinds() == ["deleted_memory metadata@icp-canister"]


# Contents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "size", "sha256", "kind"),
    [
        (OLDER, 10, HASH, None),
        (OLDER, 11, OTHER_HASH, "size_mismatch"),
        (OLDER, 10, OTHER_HASH, "hash_mismatch"),
        (NOW, 11, OTHER_HASH, "stale_hash"),
        (NOW, 10, OTHER_HASH, "stale_hash"),
        (NOW, 10, HASH, None),
    ],
)
def test_other_bytes_are_rot_unless_they_were_written_after_the_edge(
    written: Any, size: int, sha256: str, kind: str | None
) -> None:
    sample = sound().read(BLOB, sha256, size)
    sample.blobs[0]["object_written_at"] = written
    found = [each for each in sample.kinds() if each.endswith(f"@{BLOB}")]
    assert found == ([f"{kind} asset@vercel-blob"] if kind else [])


def test_another_size_is_seen_without_reading() -> None:
    sample = sound()
    sample.blobs[0]["object_size"] = 9
    assert sample.kinds() == ["size_mismatch asset@vercel-blob"]


def test_an_unknown_size_or_hash_never_differs() -> None:
    sample = changed(sound(), "asset", ICP, size_bytes=None)
    sample.replicas[0]["size"] = None
    assert sample.kinds() == []


def test_an_edge_without_a_hash_is_told_apart_from_one_that_agrees() -> None:
    assert changed(sound(), "asset", BLOB, content_hash=None).kinds() == [
        "hash_unknown asset@vercel-blob"
    ]


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [("gone", "missing"), ("changed", "unverifiable"), ("failed", "unverifiable")],
)
def test_what_reading_showed_counts_more_than_what_was_listed(outcome: str, kind: str) -> None:
    sample = sound().read(ICP, outcome=outcome, sha256=None, read_size=None)
    assert sample.kinds() == [f"{kind} asset@icp-canister"]


# The whole memory -------------------------------------------------------------------------------


def test_edges_of_what_exists_nowhere_dangle() -> None:
    sample = Sample().edge("metadata", NEON).edge("asset", BLOB)
    assert sample.kinds() == ["dangling_edge asset@vercel-blob", "dangling_edge metadata@neon-db"]


def test_a_young_copy_keeps_an_edge_from_dangling() -> None:
    sample = (
        Sample()
        .edge("metadata", NEON)
        .edge("asset", ICP, present=False, sync_state="migrating", updated_at=YOUNG)
    )
    assert sample.kinds() == []


def test_a_memory_whose_row_is_gone_is_one_finding() -> None:
    sample = sound()
    sample.rows.clear()
    judged = sample.judged()
    assert judged.findings["kind"].tolist() == ["deleted_memory"]
    assert judged.parts[["artifact", "backend"]].to_numpy().tolist() == [["metadata", "neon-db"]]


def test_what_a_deleted_memory_left_is_an_orphan_once_the_ledger_says_it_is_deleted() -> None:
    sample = sound()
    sample.rows.clear()
    changed(sample, "metadata", NEON, present=False)
    assert sample.kinds() == ["orphaned metadata@icp-canister"]


def test_an_edge_of_a_deleted_memory_that_claims_too_much_is_reported_again() -> None:
    sample = sound()
    sample.rows.clear()
    sample.blobs.clear()
    changed(sample, "metadata", NEON, present=False)
    assert "deleted_memory" in sample.judged().findings["kind"].tolist()


def test_a_memory_that_neon_never_had_lives_on_icp_alone() -> None:
    judged = Sample().replica().judged()
    assert judged.findings["kind"].tolist() == ["icp_only"]
    assert sorted(judged.parts["artifact"]) == ["asset", "metadata"]


def test_a_tracked_memory_on_icp_alone_agrees() -> None:
    sample = Sample().replica().edge("metadata", ICP).edge("asset", ICP, content_hash=HASH)
    assert sample.kinds() == []


def test_a_canister_memory_goes_by_the_type_that_neon_knows() -> None:
    sample = sound()
    sample.replicas[0]["memory_type"] = "document"
    assert sample.kinds() == []


def test_one_id_under_two_types_is_one_finding() -> None:
    sample = sound().row(memory_type="video")
    assert [each.split()[0] for each in sample.kinds()] == ["type_mismatch"]


# Lost -------------------------------------------------------------------------------------------


def test_a_memory_that_no_store_holds_is_lost_beside_its_missing_edges() -> None:
    sample = in_web()
    sample.blobs.clear()
    assert sample.kinds() == ["lost asset@vercel-blob", "missing asset@vercel-blob"]


def test_the_rows_url_is_a_promise_too() -> None:
    sample = Sample().row().edge("metadata", NEON)
    assert sample.kinds() == ["lost asset@vercel-blob"]


def test_bytes_that_reading_did_not_find_hold_nothing() -> None:
    sample = sound().read(ICP, outcome="gone", sha256=None, read_size=None)
    sample.blobs.clear()
    assert "lost asset@vercel-blob" in sample.kinds()


def test_a_copy_anywhere_keeps_a_memory_from_being_lost() -> None:
    sample = sound()
    sample.blobs.clear()
    assert "lost asset@vercel-blob" not in sample.kinds()


def test_nothing_is_lost_while_a_copy_is_under_way_or_a_location_is_unreadable() -> None:
    for trace in (
        {"sync_state": "migrating", "updated_at": YOUNG},
        {"malformed": True, "location": "https://elsewhere.example/x"},
    ):
        sample = changed(in_web(), "asset", BLOB, **trace)
        sample.blobs.clear()
        assert "lost" not in {each.split()[0] for each in sample.kinds()}


@pytest.mark.parametrize("state", [INCOMPLETE, UNREACHABLE])
def test_nothing_is_lost_where_a_store_could_not_be_looked_at(state: StoreState) -> None:
    sample = in_web()
    sample.blobs.clear()
    assert sample.kinds(seeing(ICP=state)) == ["missing asset@vercel-blob"]


def test_a_store_that_is_not_configured_holds_nothing_unless_the_ledger_has_edges_there() -> None:
    sample = in_web()
    sample.blobs.clear()
    assert "lost asset@vercel-blob" in sample.kinds(seeing(ICP=NOT_CONFIGURED))
    sample.edge("asset", ICP)
    assert "lost asset@vercel-blob" not in sample.kinds(seeing(ICP=NOT_CONFIGURED))


# Unknown is not absent --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [BLOB, ICP])
@pytest.mark.parametrize("state", [INCOMPLETE, UNREACHABLE, NOT_CONFIGURED])
def test_of_a_store_that_was_not_seen_whole_nothing_is_missing(
    backend: Backend, state: StoreState
) -> None:
    sample = sound()
    sample.blobs.clear()
    sample.replicas.clear()
    unseen = seeing(**{backend.name: state})
    assert not [each for each in sample.kinds(unseen) if each.endswith(f"@{backend}")]
    judged = sample.judged(unseen)
    assert judged.compared == judged.edges - sum(e["backend"] == backend for e in sample.edges)


def test_where_neon_was_not_read_nothing_at_all_is_said() -> None:
    sample = sound()
    sample.rows.clear()
    sample.blobs.clear()
    assert sample.kinds(seeing(NEON=UNREACHABLE)) == []


def unseen(memory_type: str) -> View:
    """What is seen where the table of one type is not."""
    stores = dict.fromkeys(Backend, COMPLETE) | {NEON: INCOMPLETE}
    return view(stores=stores, unknown_types=frozenset({memory_type}))


def test_an_unseen_table_makes_the_memories_of_its_type_unknown_and_no_others() -> None:
    sample = sound()
    sample.blobs.clear()
    assert sample.kinds(unseen("video")) == ["missing asset@vercel-blob"]
    sample.rows.clear()
    assert sample.kinds(unseen("image")) == []


def test_an_edge_does_not_dangle_while_its_memory_may_be_in_a_table_that_is_unseen() -> None:
    """One id may be used under another type than the edge's, which then is for a person."""
    sample = Sample().edge("metadata", NEON)
    assert sample.kinds() == ["dangling_edge metadata@neon-db"]
    assert sample.kinds(unseen("video")) == []


def test_the_canister_is_judged_capsule_by_capsule() -> None:
    partial = view(
        stores=dict.fromkeys(Backend, COMPLETE) | {ICP: INCOMPLETE},
        unknown_capsules=frozenset({"capsule_two"}),
    )
    sample = sound()
    sample.replicas.clear()
    assert sample.kinds(partial) == ["missing asset@icp-canister", "missing metadata@icp-canister"]
    for artifact in ("metadata", "asset"):
        changed(sample, artifact, ICP, location=f"icp://capsule_two/{ID}")
    assert sample.kinds(partial) == []
    for artifact in ("metadata", "asset"):
        changed(sample, artifact, ICP, location=None)
    assert sample.kinds(partial) == []


def test_what_was_seen_in_a_partial_listing_is_there() -> None:
    partial = view(
        stores=dict.fromkeys(Backend, COMPLETE) | {ICP: INCOMPLETE},
        unknown_capsules=frozenset({CAPSULE}),
    )
    sample = without(sound(), "asset", ICP)
    assert sample.kinds(partial) == ["untracked asset@icp-canister"]


# How grave --------------------------------------------------------------------------------------


def severity(sample: Sample, kind: str) -> str:
    found = sample.judged().findings
    (case,) = plain_records(found[found["kind"] == kind])
    return str(describe(case)["severity"])


def test_missing_bytes_are_critical_unless_another_copy_was_verified() -> None:
    sample = sound()
    sample.blobs.clear()
    assert severity(sample, "missing") == "critical"
    assert severity(sample.read(ICP), "missing") == "warning"


def test_a_copy_that_does_not_equal_its_edge_verifies_nothing() -> None:
    sample = sound().read(ICP, OTHER_HASH)
    sample.blobs.clear()
    assert severity(sample, "missing") == "critical"


def test_lost_is_critical_and_missing_metadata_a_warning() -> None:
    lost = in_web()
    lost.blobs.clear()
    assert severity(lost, "lost") == "critical"
    sample = Sample().row().blob().edge("metadata", NEON).edge("asset", BLOB, content_hash=HASH)
    sample.edge("metadata", ICP, location=f"icp://{CAPSULE}/{ID}")
    assert severity(sample, "missing") == "warning"


def test_kinds_for_information_are_never_more() -> None:
    assert severity(Sample().replica(), "icp_only") == "info"
    assert severity(changed(sound(), "asset", BLOB, content_hash=None), "hash_unknown") == "info"
    assert {name for name, kind in KINDS.items() if kind.always_info} == {
        "icp_only", "hash_unknown", "duplicate_content", "orphaned", "unclassified",
    }  # fmt: skip
