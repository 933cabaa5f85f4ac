# ruff: noqa: PD011 - the values are a repair's, not a frame's
"""What a ledger repair changes for each kind, and what it leaves alone."""

from typing import Any

import pandas as pd
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
    OTHER_HASH,
    Sample,
    changed,
    sound,
    without,
)  # fmt: skip

from checks.describe import describe, plain_records
from checks.kinds import KINDS
from checks.repairs import EdgeRepair, plan

RUN = "20261123T031500Z-7f3a"


def planned(sample: Sample) -> list[EdgeRepair]:
    judged = sample.judged()

    def marked(frame: pd.DataFrame) -> pd.DataFrame:
        prints = [describe(case)["fingerprint"] for case in plain_records(frame)]
        return frame.assign(fingerprint=prints)

    return list(plan(marked(judged.findings), marked(judged.parts), RUN))


def only(sample: Sample) -> EdgeRepair:
    (repair,) = planned(sample)
    return repair


def test_missing_becomes_a_failure_that_says_what_was_seen_and_who_wrote_it() -> None:
    sample = sound()
    sample.blobs.clear()
    repair = only(sample)
    assert (repair.action, repair.artifact, repair.backend) == ("update", "asset", "vercel-blob")
    assert (repair.edge_id, repair.version) == ("asset@vercel-blob", "1")
    assert repair.values["present"] is False
    assert repair.values["sync_state"] == "failed"
    assert RUN in repair.values["sync_error"]
    assert repair.takes_away


def test_untracked_is_inserted_as_observed_and_only_while_the_row_is_there() -> None:
    repair = only(without(sound(), "asset", BLOB))
    assert (repair.action, repair.edge_id, repair.row_must_exist) == ("insert", None, True)
    assert repair.values == {
        "present": True, "sync_state": "idle", "sync_error": None,
        "location": f"images/{ID}.jpg", "size_bytes": 10,
    }  # fmt: skip
    assert not repair.takes_away


def test_a_hash_is_written_only_where_the_bytes_were_read() -> None:
    sample = without(sound(), "asset", BLOB)
    sample.replicas[0]["declared_sha256"] = OTHER_HASH
    assert "content_hash" not in only(sample).values
    assert only(sample.read(BLOB)).values["content_hash"] == HASH


def test_unmarked_is_marked_and_cleared_of_its_error() -> None:
    sample = changed(
        sound(), "asset", ICP, present=False, sync_error="x", location=None, sync_state="failed"
    )
    values = only(sample).values
    assert (values["present"], values["sync_state"], values["sync_error"]) == (True, "idle", None)
    assert values["location"] == f"icp://{CAPSULE}/{ID}"


def test_a_neon_edge_gets_no_location() -> None:
    assert "location" not in only(changed(sound(), "metadata", NEON, present=False)).values


def test_a_stuck_copy_becomes_idle_where_it_is_there_and_failed_where_not() -> None:
    there = changed(sound(), "asset", ICP, present=False, sync_state="migrating", updated_at=OLD)
    assert only(there).values["present"] is True
    assert only(there).values["sync_state"] == "idle"
    gone = Sample().row().blob().edge("metadata", NEON)
    gone.edge("asset", BLOB, content_hash=HASH)
    gone.edge("asset", ICP, present=False, sync_state="migrating", updated_at=OLD)
    assert only(gone).values["present"] is False
    assert only(gone).values["sync_state"] == "failed"
    assert not only(gone).takes_away


def test_an_outdated_failure_is_cleared_and_nothing_else() -> None:
    repair = only(changed(sound(), "asset", BLOB, sync_state="failed", sync_error="x"))
    assert repair.values == {"sync_state": "idle", "sync_error": None}


def test_a_link_turns_the_canisters_asset_off() -> None:
    sample = sound()
    sample.replicas[0]["asset_there"] = False
    repair = only(sample)
    assert repair.values == {"present": False, "sync_state": "idle"}
    assert repair.takes_away


def test_a_hash_in_another_form_is_put_into_the_canonical_one_and_nothing_else() -> None:
    sample = changed(sound(), "asset", BLOB, content_hash=HASH.upper(), row_problem="its hash")
    assert only(sample).values == {"content_hash": HASH}
    for bad in ({"content_hash": "x"}, {"size_bytes": -1}):
        assert not planned(changed(sound(), "asset", BLOB, row_problem="bad", **bad))


def test_a_dangling_edge_is_deleted() -> None:
    repair = only(Sample().edge("metadata", NEON))
    assert (repair.action, repair.values, repair.takes_away) == ("delete", {}, True)


def test_of_a_deleted_memory_only_the_edges_of_what_is_gone_are_turned_off() -> None:
    sample = sound()
    sample.rows.clear()
    repair = only(sample)
    assert (repair.artifact, repair.backend) == ("metadata", "neon-db")
    assert repair.values["present"] is False


def test_of_a_deleted_memory_without_an_edge_for_neon_one_is_made_that_says_so() -> None:
    sample = without(sound(), "metadata", NEON)
    sample.rows.clear()
    repair = only(sample)
    assert (repair.action, repair.artifact, repair.backend) == ("insert", "metadata", "neon-db")
    assert repair.values == {"present": False, "sync_state": "idle"}
    assert (repair.row_must_exist, repair.takes_away) == (False, True)


def test_an_edge_for_neon_that_can_not_be_read_is_turned_off_too_when_the_memory_is_deleted() -> (
    None
):
    sample = changed(sound(), "metadata", NEON, present=None, row_problem="it does not say")
    sample.rows.clear()
    repair = only(sample)
    assert (repair.action, repair.backend) == ("update", "neon-db")
    assert repair.values["present"] is False


def test_a_memory_on_icp_alone_gets_its_edges_while_neon_has_no_row() -> None:
    repairs = planned(Sample().replica())
    assert {(each.action, each.artifact, each.backend, each.row_must_exist) for each in repairs} == {
        ("insert", "metadata", "icp-canister", False), ("insert", "asset", "icp-canister", False),
    }  # fmt: skip
    assert len({each.fingerprint for each in repairs}) == 1


def test_a_location_is_put_right_where_the_rows_url_says_where_the_object_is() -> None:
    sample = changed(sound(), "asset", BLOB, malformed=True, location="https://else.example/x")
    assert only(sample).values == {"location": f"images/{ID}.jpg"}
    sample.blobs.clear()
    assert planned(sample) == []


def test_the_apps_own_url_is_no_business_of_a_repair() -> None:
    sample = sound()
    sample.rows[0].update(pathname=None, url=None, url_problem="it is empty")
    assert planned(sample) == []


def test_a_hash_that_lacked_is_filled_once_the_bytes_were_read() -> None:
    sample = changed(sound(), "asset", BLOB, content_hash=None)
    assert planned(sample) == []
    assert only(sample.read(BLOB)).values == {"content_hash": HASH, "size_bytes": 10}


def test_a_hash_that_contradicts_the_assets_other_edge_is_not_recorded() -> None:
    sample = changed(sound(), "asset", BLOB, content_hash=None)
    assert planned(sample.read(BLOB, OTHER_HASH)) == []


def test_a_ledger_that_is_behind_follows_what_was_read_unless_another_copy_proves_it_right() -> (
    None
):
    def behind() -> Sample:
        sample = without(sound(), "asset", ICP)
        sample.replicas.clear()
        without(sample, "metadata", ICP)
        sample.blobs[0].update(object_written_at=NOW, object_size=12)
        return sample

    assert planned(behind()) == []
    assert only(behind().read(BLOB, OTHER_HASH, 12)).values == {
        "content_hash": OTHER_HASH, "size_bytes": 12,
    }  # fmt: skip
    proven = sound().read(BLOB, OTHER_HASH, 12).read(ICP, HASH, 10)
    proven.blobs[0].update(object_written_at=NOW, object_size=12)
    assert planned(proven) == []


@pytest.mark.parametrize("outcome", [{"sha256": OTHER_HASH}, {"sha256": HASH, "size": 9}])
def test_rot_is_never_written_into_the_ledger(outcome: dict[str, Any]) -> None:
    assert planned(sound().read(BLOB, **outcome)) == []


def test_what_has_no_ledger_repair_gets_none() -> None:
    lost = Sample().row().edge("metadata", NEON)
    assert planned(lost) == []
    failed = Sample().row().blob().edge("metadata", NEON).edge("asset", BLOB, content_hash=HASH)
    failed.edge("asset", ICP, present=False, sync_state="failed")
    assert planned(failed) == []


def test_repairs_that_take_something_away_are_those_whose_kinds_say_so() -> None:
    for kind in KINDS.values():
        assert not kind.takes_away or kind.ledger_repair
    gone = sound()
    gone.blobs.clear()
    gone.replicas.clear()
    for repair in planned(gone):
        assert repair.takes_away == KINDS[repair.kind].takes_away
