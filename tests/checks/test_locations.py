"""The edge's location and the row's url name different objects: no file is called missing."""

from typing import Any

import pytest
from partition_samples import BLOB, ID, NOW, Sample, changed, seeing, sound
from test_repairs import planned

from checks.describe import describe, plain_records
from checks.model import StoreState

NEW = "images/new.jpg"


def renamed(**edge: Any) -> Sample:
    """The row's url names another file than the edge; both are there."""
    sample = changed(sound(), "asset", BLOB, named=f"images/{ID}.jpg", **edge)
    sample.rows[0]["pathname"] = NEW
    return sample.blob(object_location=NEW, object_version="e2", of_row=True)


def told(sample: Sample) -> str:
    (case,) = plain_records(sample.judged().findings)
    return str(describe(case)["explanation"])


def test_two_names_for_one_file_are_a_conflict_that_no_repair_touches() -> None:
    assert renamed().kinds() == ["location_conflict asset@vercel-blob"]
    assert planned(renamed()) == []
    assert NEW in told(renamed())
    assert f"images/{ID}.jpg" in told(renamed())


def test_a_file_that_the_app_moved_is_not_missing_and_its_edge_not_turned_off() -> None:
    sample = renamed()
    del sample.blobs[0]
    assert sample.kinds() == ["location_conflict asset@vercel-blob"]
    assert planned(sample) == []
    assert "may have moved it" in told(sample)


def test_a_moved_file_without_any_copy_is_not_lost() -> None:
    sample = renamed()
    del sample.blobs[0]
    sample.replicas.clear()
    sample.edges = [edge for edge in sample.edges if edge["backend"] != "icp-canister"]
    assert sample.kinds() == ["location_conflict asset@vercel-blob"]


def test_where_neither_name_leads_anywhere_the_file_is_missing() -> None:
    sample = renamed()
    sample.blobs.clear()
    assert sample.kinds() == ["missing asset@vercel-blob"]


def test_a_url_whose_file_never_came_is_a_conflict() -> None:
    sample = renamed()
    del sample.blobs[1]
    assert sample.kinds() == ["location_conflict asset@vercel-blob"]
    assert "(not there)" in told(sample)


def test_the_same_name_and_an_unusable_one_are_no_conflict() -> None:
    assert changed(sound(), "asset", BLOB, named=f"images/{ID}.jpg").kinds() == []
    sample = changed(sound(), "asset", BLOB, named="images/b.jpg")
    sample.rows[0] |= {"pathname": None, "url_problem": "it is foreign", "url": "https://x/y"}
    assert sample.kinds() == ["invalid_location asset@vercel-blob"]


@pytest.mark.parametrize("trace", [{"sync_state": "migrating", "updated_at": NOW}])
def test_nothing_is_said_while_a_copy_is_under_way(trace: dict[str, Any]) -> None:
    assert renamed(**trace).kinds() == []


def test_nothing_is_said_where_the_store_was_not_seen_whole_and_the_file_not_seen() -> None:
    sample = renamed()
    del sample.blobs[0]
    assert sample.kinds(seeing(BLOB=StoreState.INCOMPLETE)) == []


def test_rot_is_graver_than_two_names_and_says_so() -> None:
    sample = renamed()
    sample.blobs[0]["object_size"] = 4
    assert sample.kinds() == ["size_mismatch asset@vercel-blob"]
    assert "also location_conflict" in told(sample)


def test_what_is_graver_names_what_is_not() -> None:
    sample = changed(sound(), "asset", BLOB, present=False)
    sample.blobs[0]["object_size"] = 4
    assert "also unmarked" in told(sample)
    hanging = changed(sound(), "asset", BLOB, sync_state="migrating")
    hanging.blobs.clear()
    assert "also stuck" in told(hanging)
