"""What a listing is held against: the ledger, the memory rows, and what the last runs saw."""

from pathlib import Path

import httpx
import pytest
from damaged_sandbox import BLOB, Box

from checks.model import Backend, StoreState
from checks.run import StoreSummary
from tasks.expectation import judge_shrinkage
from tasks.stores.protocol import ListingReport


def asking(box: Box) -> httpx.Client:
    """A client of the blob stand-in."""
    token = box.directory.choices.blob_token
    return httpx.Client(
        base_url=box.directory.blob_origin, headers={"authorization": f"Bearer {token}"}
    )


def judged(objects: int, before: StoreSummary | None) -> ListingReport:
    report = ListingReport(StoreState.COMPLETE, objects=objects)
    judge_shrinkage(report, Backend.BLOB, before)
    return report


@pytest.mark.parametrize(
    ("before", "now", "state"),
    [
        (100, 50, "complete"), (100, 49, "incomplete"), (100, 0, "incomplete"),
        (20, 9, "incomplete"), (19, 0, "complete"), (None, 0, "complete"), (40, 4_000, "complete"),
    ],
)  # fmt: skip
def test_less_than_half_of_what_was_there_proves_nothing_yet(
    before: int | None, now: int, state: str
) -> None:
    former = None if before is None else StoreSummary(state=StoreState.COMPLETE, objects=before)
    report = judged(now, former)
    assert report.state == state
    assert report.shrunk_from == (before if state == "incomplete" else None)
    assert state == "complete" or str(before) in (report.detail or "")


def test_a_listing_that_broke_off_is_not_judged_by_its_length() -> None:
    report = ListingReport(StoreState.INCOMPLETE, objects=3, detail="it broke off")
    judge_shrinkage(report, Backend.BLOB, StoreSummary(state=StoreState.COMPLETE, objects=100))
    assert (report.detail, report.shrunk_from) == ("it broke off", None)


def test_a_store_that_was_cleared_out_is_believed_when_a_second_run_sees_the_same(
    sound: Box, home: Path
) -> None:
    before = sound.audit(home).record.stores[BLOB].objects
    edges = sound.edges(BLOB)
    with asking(sound) as http:
        page = http.get("/api/blob", params={"limit": 10}).json()
    left = {"status": 200, "body": {"blobs": page["blobs"], "hasMore": False}}
    sound.fault(BLOB, "status", left, method="GET", path_regex=r"\?limit=\d{3,}$")
    gone = {"status": 404, "body": {"error": {"code": "not_found", "message": "gone"}}}
    sound.fault(BLOB, "status", gone, method="GET", path_regex=r"\?url=")
    first = sound.audit(home, repair="ledger")
    assert first.record.stores[BLOB].state == "incomplete"
    assert first.record.stores[BLOB].shrunk_from == before
    assert first.code == 3
    assert not first.of("missing", backend=BLOB)
    assert sound.edges(BLOB) == edges
    second = sound.audit(home)
    assert second.record.stores[BLOB].state == "complete"
    assert len(second.of("missing", backend=BLOB)) > 10


def test_a_listing_that_leaves_out_what_direct_looks_find_was_not_whole(
    sound: Box, home: Path
) -> None:
    edges = sound.edges(BLOB)
    with asking(sound) as http:
        page = http.get("/api/blob").json()
    with_gaps = [each for number, each in enumerate(page["blobs"]) if number % 20]
    answer = {"status": 200, "body": {"blobs": with_gaps, "hasMore": False}}
    sound.revive()
    sound.fault(BLOB, "status", answer, method="GET", path_regex=r"\?limit=\d{3,}$")
    done = sound.audit(home, repair="ledger")
    assert done.record.stores[BLOB].state == "incomplete"
    assert "left out" in (done.record.stores[BLOB].detail or "")
    assert done.code == 3
    assert not done.record.findings
    assert sound.edges(BLOB) == edges
