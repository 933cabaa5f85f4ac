"""Whose bytes are right: rot, writing, outdated copies, and what nobody can decide."""

import json
from typing import Any

import pytest
from partition_samples import (
    BLOB,
    HASH,
    ICP,
    ID,
    NEON,
    NOW,
    OLD,
    OLDER,
    OTHER_HASH,
    Sample,
    changed,
    sound,
)  # fmt: skip
from test_repairs import planned

from checks.describe import describe, plain_records
from checks.kinds import KINDS

THIRD_HASH = "c" * 64


def told(sample: Sample, kind: str) -> dict[str, Any]:
    """The one finding of a kind, as everybody reads it."""
    found = sample.judged().findings
    (case,) = plain_records(found[found["kind"] == kind])
    return describe(case)


def replaced(size: int = 10) -> Sample:
    """A photo that was written after it was copied and after its edge."""
    sample = sound()
    sample.blobs[0].update(object_written_at=NOW, object_size=size)
    return sample


def note(**row: Any) -> Sample:
    """A note in Neon and on the canister, as the ledger says."""
    facts: dict[str, Any] = {"content_hash": HASH, "size_bytes": 5, "memory_type": "note"}
    return (
        Sample()
        .row(**{"memory_type": "note", "content_size": 5, "pathname": None, "written_at": OLDER}
             | row)
        .replica(memory_type="note", size=5)
        .edge("metadata", NEON, memory_type="note")
        .edge("asset", NEON, **facts)
        .edge("metadata", ICP, memory_type="note")
        .edge("asset", ICP, **facts)
    )  # fmt: skip


# Rot and writing --------------------------------------------------------------------------------


def test_what_is_in_the_version_that_was_verified_is_rot_however_young_it_is() -> None:
    sample = replaced().read(BLOB, OTHER_HASH).verified(BLOB, version="e1")
    assert sample.kinds() == ["hash_mismatch asset@vercel-blob"]


def test_what_is_in_another_version_than_was_verified_was_written_however_old_it_is() -> None:
    sample = sound().read(BLOB, OTHER_HASH).verified(BLOB, version="e0")
    assert sample.kinds() == ["stale_hash asset@vercel-blob"]


def test_that_other_bytes_were_verified_says_nothing_of_these() -> None:
    sample = sound().read(BLOB, OTHER_HASH).verified(BLOB, THIRD_HASH, version="e0")
    assert sample.kinds() == ["hash_mismatch asset@vercel-blob"]


def test_a_note_whose_time_of_change_is_not_kept_is_neither_rot_nor_written() -> None:
    sample = note(written_at=None).read(NEON, OTHER_HASH, 5, memory_type="note")
    assert sample.kinds() == ["replica_divergence asset@neon-db"]
    assert "not known" in told(sample, "replica_divergence")["explanation"]


def test_bytes_that_are_not_those_of_an_edge_of_unknown_age_are_neither_rot_nor_written() -> None:
    sample = sound().read(BLOB, OTHER_HASH)
    for edge in sample.edges:
        edge.update(created_at=None, updated_at=None)
    assert sample.kinds() == ["replica_divergence asset@vercel-blob"]
    assert "not known" in told(sample, "replica_divergence")["explanation"]


def test_a_row_that_was_written_since_its_text_was_verified_was_edited() -> None:
    sample = note(written_at=None).read(NEON, OTHER_HASH, 5, memory_type="note")
    sample.verified(NEON, version="6", memory_type="note")
    assert sample.kinds() == ["stale_hash asset@neon-db"]


# Outdated copies --------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [True, False])
def test_a_copy_of_something_that_was_replaced_since_is_outdated(read: bool) -> None:  # noqa: FBT001
    sample = replaced(12)
    if read:
        sample.read(BLOB, OTHER_HASH, 12).read(ICP)
    assert sample.kinds() == ["outdated_replica asset@icp-canister", "stale_hash asset@vercel-blob"]
    assert planned(sample) == []


def test_an_edited_note_makes_its_copy_outdated() -> None:
    sample = note(written_at=NOW).read(NEON, OTHER_HASH, 5, memory_type="note")
    assert sample.kinds() == ["outdated_replica asset@icp-canister", "stale_hash asset@neon-db"]


def test_a_ledger_that_knows_both_versions_still_calls_the_older_copy_outdated() -> None:
    sample = changed(sound(), "asset", BLOB, content_hash=OTHER_HASH)
    sample.blobs[0]["object_written_at"] = OLD
    assert sample.kinds() == ["outdated_replica asset@icp-canister"]


def test_rot_in_the_original_makes_no_copy_outdated() -> None:
    sample = sound().read(BLOB, OTHER_HASH).read(ICP)
    sample.blobs[0]["object_written_at"] = OLD  # after the copy, not after the edge
    changed(sample, "asset", BLOB, updated_at=NOW)
    assert sample.kinds() == ["hash_mismatch asset@vercel-blob"]


def test_rot_in_a_copy_is_rot_although_the_original_is_younger() -> None:
    sample = sound().read(BLOB).read(ICP, OTHER_HASH)
    sample.blobs[0]["object_written_at"] = OLD
    assert sample.kinds() == ["hash_mismatch asset@icp-canister"]


# What nobody can decide -------------------------------------------------------------------------


def test_edges_that_contradict_each_other_are_for_a_person() -> None:
    sample = changed(sound(), "asset", ICP, content_hash=OTHER_HASH)
    assert sample.kinds() == ["replica_divergence asset@vercel-blob"]
    assert planned(sample) == []
    assert planned(sample.read(BLOB).read(ICP, OTHER_HASH)) == []


def test_copies_that_agree_against_the_ledger_prove_nothing() -> None:
    sample = sound().read(BLOB, OTHER_HASH).read(ICP, OTHER_HASH)
    assert sample.kinds() == ["replica_divergence asset@vercel-blob"]
    assert "same bytes" in told(sample, "replica_divergence")["explanation"]
    assert planned(sample) == []


def test_the_ledger_follows_copies_that_were_written_after_it_if_its_hash_was_never_seen() -> None:
    sample = replaced().read(BLOB, OTHER_HASH).read(ICP, OTHER_HASH)
    assert sample.kinds() == ["stale_hash asset@icp-canister", "stale_hash asset@vercel-blob"]
    assert {each.backend: each.values["content_hash"] for each in planned(sample)} == {
        "vercel-blob": OTHER_HASH, "icp-canister": OTHER_HASH,
    }  # fmt: skip


@pytest.mark.parametrize("backend", [BLOB, ICP])
def test_the_ledger_keeps_a_hash_that_any_copy_was_once_verified_to_have(backend: Any) -> None:
    sample = replaced().read(BLOB, OTHER_HASH).read(ICP, OTHER_HASH).verified(backend, version="0")
    assert sample.kinds() == ["replica_divergence asset@vercel-blob"]
    assert planned(sample) == []


def test_copies_that_differ_and_no_hash_to_tell_them_apart_are_for_a_person() -> None:
    sample = changed(sound(), "asset", BLOB, content_hash=None)
    changed(sample, "asset", ICP, content_hash=None)
    assert "replica_divergence" not in {each.split()[0] for each in sample.kinds()}
    sample.read(BLOB).read(ICP, OTHER_HASH)
    assert sample.kinds() == ["replica_divergence asset@vercel-blob"]
    assert planned(sample) == []


def test_a_copy_that_is_not_there_contradicts_nothing() -> None:
    sample = changed(sound(), "asset", ICP, content_hash=OTHER_HASH)
    sample.blobs.clear()
    assert sample.kinds() == ["missing asset@vercel-blob"]


def test_only_rot_is_ever_repaired_by_copying_over_bytes_that_are_there() -> None:
    of_contents = {"hash_mismatch", "size_mismatch", "stale_hash", "outdated_replica",
                   "replica_divergence", "hash_unknown", "unverifiable"}  # fmt: skip
    assert {name for name in of_contents if KINDS[name].content_repair} == {
        "hash_mismatch", "size_mismatch",
    }  # fmt: skip


# How grave --------------------------------------------------------------------------------------


def _missing_file() -> Sample:
    sample = sound()
    sample.blobs.clear()
    return sample


@pytest.mark.parametrize(
    ("remembered", "severity"),
    [
        ({"version": "5"}, "warning"),
        ({"version": "4"}, "critical"),
        ({"version": "5", "known_outcome": "differed"}, "critical"),
        ({"version": "5", "sha256": OTHER_HASH}, "critical"),
    ],
)
def test_a_copy_that_was_verified_and_not_written_since_counts_in_nights_that_do_not_read_it(
    remembered: dict[str, Any], severity: str
) -> None:
    sample = _missing_file().verified(ICP, **remembered)
    assert told(sample, "missing")["severity"] == severity


def test_what_is_read_now_counts_more_than_what_is_remembered() -> None:
    sample = _missing_file().verified(ICP, version="5").read(ICP, OTHER_HASH)
    assert told(sample, "missing")["severity"] == "critical"


def test_contradicting_edges_are_a_warning_where_each_copy_is_what_its_edge_says() -> None:
    sample = changed(sound(), "asset", ICP, content_hash=OTHER_HASH)
    assert told(sample, "replica_divergence")["severity"] == "critical"
    sample.read(BLOB).read(ICP, OTHER_HASH)
    assert told(sample, "replica_divergence")["severity"] == "warning"


# What is said -----------------------------------------------------------------------------------


def test_a_sentence_says_when_it_changed_and_who_still_agrees() -> None:
    said = told(replaced().read(BLOB, OTHER_HASH).read(ICP), "stale_hash")["explanation"]
    assert "written 23 Nov 2026, 30 days after the ledger's row (24 Oct 2026)" in said
    assert "The canister and the ledger still agree" in said
    assert "a person has to say" in said


def test_a_sentence_about_rot_says_since_when_it_was_right() -> None:
    said = told(sound().read(BLOB, OTHER_HASH).verified(BLOB), "hash_mismatch")["explanation"]
    assert "since it was last verified, on 13 Nov 2026" in said
    assert "The canister has a copy that was not read" in said


def test_a_sentence_about_a_copy_that_was_not_read_now_says_when_it_was() -> None:
    said = told(_missing_file().verified(ICP, version="5"), "missing")["explanation"]
    assert "last read, on 13 Nov 2026, and it was not written since" in said


def test_a_sentence_about_a_divergence_has_both_facts() -> None:
    sample = sound().read(BLOB, OTHER_HASH).read(ICP, OTHER_HASH)
    said = told(sample, "replica_divergence")["explanation"]
    assert HASH[:12] in said
    assert OTHER_HASH[:12] in said
    assert "Vercel Blob" in said
    assert "canister" in said


def test_an_outdated_copy_says_when_both_were_written() -> None:
    sample = replaced(12).read(BLOB, OTHER_HASH, 12).read(ICP)
    said = told(sample, "outdated_replica")["explanation"]
    assert "of 24 Sep 2026" in said
    assert "the original in Vercel Blob was written 23 Nov 2026" in said


def test_other_replicas_are_kept_with_what_is_needed_to_look_at_them_again() -> None:
    found = replaced(12).judged().findings
    others = json.loads(found.loc[found["kind"] == "outdated_replica", "others"].iloc[0])
    assert [(each["backend"], each["location"], each["version"]) for each in others] == [
        ("vercel-blob", f"images/{ID}.jpg", "e1")
    ]
