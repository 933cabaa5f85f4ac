"""Nothing is repaired on a guess: what looks mendable, and is not."""

from partition_samples import (
    BLOB,
    NOW,
    OLD,
    OTHER_HASH,
    Sample,
    changed,
    sound,
    view,
)  # fmt: skip
from test_repairs import only, planned

OLD_MIGRATION = {"sync_state": "migrating", "present": False}


def test_a_stuck_copy_that_is_not_all_there_has_failed() -> None:
    sample = changed(sound(), "asset", BLOB, **OLD_MIGRATION)
    sample.blobs[0]["object_size"] = 4
    repair = only(sample)
    assert repair.kind == "stuck"
    assert (repair.values["present"], repair.values["sync_state"]) == (False, "failed")


def test_a_stuck_copy_of_other_bytes_has_failed() -> None:
    sample = changed(sound(), "asset", BLOB, **OLD_MIGRATION).read(BLOB, OTHER_HASH)
    assert only(sample).values["sync_state"] == "failed"


def test_an_unmarked_object_of_another_size_is_not_marked_as_present() -> None:
    sample = changed(sound(), "asset", BLOB, present=False)
    sample.blobs[0]["object_size"] = 4
    assert sample.kinds() == ["size_mismatch asset@vercel-blob"]
    assert planned(sample) == []


def _written_later() -> Sample:
    sample = sound()
    sample.blobs[0]["object_written_at"] = NOW
    return sample


def _in_blob_alone(sample: Sample) -> Sample:
    sample.edges = [edge for edge in sample.edges if edge["backend"] != "icp-canister"]
    sample.replicas.clear()
    return sample


def test_the_ledger_follows_bytes_that_were_written_after_it_if_its_hash_was_never_seen() -> None:
    repair = only(_in_blob_alone(_written_later()).read(BLOB, OTHER_HASH))
    assert (repair.kind, repair.values["content_hash"]) == ("stale_hash", OTHER_HASH)


def test_the_ledger_follows_nothing_that_another_edge_contradicts() -> None:
    assert planned(_written_later().read(BLOB, OTHER_HASH)) == []


def test_the_ledger_never_gives_up_a_hash_that_was_once_verified() -> None:
    sample = _in_blob_alone(_written_later()).read(BLOB, OTHER_HASH).verified(BLOB, version="e0")
    assert sample.kinds() == ["stale_hash asset@vercel-blob"]
    assert planned(sample) == []


def test_an_object_written_between_listing_and_reading_is_in_flight() -> None:
    assert sound().read(BLOB, OTHER_HASH, read_version="e2").kinds() == []
    rot = sound().read(BLOB, OTHER_HASH, read_version="e1").kinds()
    assert rot == ["hash_mismatch asset@vercel-blob"]


def test_a_failure_is_not_cleared_where_the_bytes_could_not_be_read() -> None:
    sample = changed(sound(), "asset", BLOB, sync_state="failed").read(BLOB, outcome="failed")
    assert sample.kinds() == ["unverifiable asset@vercel-blob"]


def test_a_foreign_url_is_no_excuse_where_the_edge_says_where_the_bytes_should_be() -> None:
    sample = sound()
    sample.rows[0] |= {"url": "https://elsewhere.example/a", "pathname": None, "url_problem": "x"}
    sample = changed(sample, "asset", BLOB, named="images/a.jpg")
    sample.blobs.clear()
    sample = _in_blob_alone(sample)
    assert "lost asset@vercel-blob" in sample.kinds()


def test_an_edge_without_a_time_of_change_is_as_old_as_its_creation() -> None:
    sample = changed(sound(), "asset", BLOB, updated_at=None, created_at=OLD)
    sample.blobs[0]["object_written_at"] = NOW
    assert "stale_hash asset@vercel-blob" in sample.read(BLOB, OTHER_HASH).kinds(view())
