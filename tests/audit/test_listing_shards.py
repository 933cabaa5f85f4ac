"""Listings that a cluster's workers make in shards, whatever becomes of some: all or unknown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Box

from checks.model import Backend, StoreState
from checks.run import StoreSummary
from tasks import audit, listings, observe
from tasks.expectation import judge_shrinkage
from tasks.partitions import rows_in
from tasks.stores.blob import listing
from tasks.stores.protocol import ListingReport, Shard

STORES = [Backend.BLOB, Backend.ICP]


class Attempt:
    """One attempt at a run, with a snapshot."""

    def __init__(self, run: audit.AuditRun) -> None:
        self.run = run
        self.facts = observe.snapshot(run)

    def shards(self, backend: Backend) -> list[Shard]:
        return listings.listing_shards(self.run, backend, self.facts)

    def listed(self, backend: Backend, shards: list[Shard]) -> dict[Shard, ListingReport]:
        number = len(shards)
        return {
            shard: listings.list_shard(self.run, backend, shard, self.facts, number)
            for shard in shards
        }

    def put_together(self, backend: Backend, reports: dict[Shard, ListingReport]) -> ListingReport:
        return listings.put_together(self.run, backend, self.facts, reports)

    def rows(self, backend: Backend) -> int | None:
        return rows_in(self.run.directory.inventory(backend.value), self.facts["partitions"])


@pytest.fixture(autouse=True)
def cut_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FEWEST_PAGES", 0)
    monkeypatch.setattr(listing, "PAGES_PER_FOLDER", 0)


@pytest.fixture
def attempt(sound: Box, home: Path) -> Iterator[Attempt]:
    with audit.under_way(sound.settings(home), audit.AuditOptions(), abreast=3) as (run, _):
        yield Attempt(run)


def whole(sound: Box, home: Path, backend: Backend) -> ListingReport:
    with audit.under_way(sound.settings(home / "alone"), audit.AuditOptions()) as (run, _):
        return listings.list_store(run, backend, observe.snapshot(run))


@pytest.mark.parametrize("backend", STORES)
def test_shards_are_put_together_to_what_one_listing_gives(
    backend: Backend, attempt: Attempt, sound: Box, home: Path
) -> None:
    shards = attempt.shards(backend)
    assert len(shards) == 3
    report = attempt.put_together(backend, attempt.listed(backend, shards))
    alone = whole(sound, home, backend)
    assert report.state is alone.state is StoreState.COMPLETE
    assert report.objects == alone.objects == attempt.rows(backend)
    assert report.bytes == alone.bytes
    assert not attempt.run.directory.shards(backend.value).exists()
    assert attempt.shards(backend) == []  # it is done


@pytest.mark.parametrize("backend", STORES)
def test_a_shard_whose_files_are_gone_is_listed_again(backend: Backend, attempt: Attempt) -> None:
    """As after an attempt that died when it had made them one, and before it said so."""
    shards = attempt.shards(backend)
    reports = attempt.listed(backend, shards)
    lost = attempt.run.directory.shard(backend.value, shards[0].id)
    next(iter(lost.glob("part-*.parquet"))).unlink()
    assert attempt.listed(backend, shards) == reports  # the stage says that it is done
    report = attempt.put_together(backend, reports)
    assert (report.state, report.objects) == (StoreState.COMPLETE, attempt.rows(backend))
    assert report.objects == sum(each.objects for each in reports.values())


def test_nothing_is_cut_where_one_machine_does_all_or_the_store_does_not_answer(
    attempt: Attempt, sound: Box, home: Path
) -> None:
    with audit.under_way(sound.settings(home / "alone"), audit.AuditOptions()) as (run, _):
        assert Attempt(run).shards(Backend.ICP) == []
    sound.kill("icp")
    assert attempt.shards(Backend.ICP) == []
    sound.revive()


def test_capsules_of_a_shard_that_was_not_looked_at_are_unknown_and_no_others(
    attempt: Attempt, sound: Box
) -> None:
    shards = attempt.shards(Backend.ICP)
    reports = attempt.listed(Backend.ICP, shards[1:])
    sound.kill("icp")
    reports |= attempt.listed(Backend.ICP, shards[:1])
    sound.revive()
    report = attempt.put_together(Backend.ICP, reports)
    assert report.state is StoreState.INCOMPLETE
    assert set(report.unknown_parts) == set(shards[0].names)
    others = {Backend.BLOB: ListingReport(StoreState.COMPLETE)}
    view = observe.view_of(
        attempt.run, attempt.facts,
        {Backend.NEON: observe.neon_report(attempt.facts), Backend.ICP: report, **others},
    )  # fmt: skip
    assert view.unknown_capsules == set(shards[0].names)


def test_where_anything_may_be_lacking_no_capsule_is_taken_for_whole(attempt: Attempt) -> None:
    """A listing that is suddenly short, and of which one capsule is unknown besides."""

    def unknown(report: ListingReport) -> Any:
        reports = {Backend.NEON: observe.neon_report(attempt.facts), Backend.ICP: report,
                   Backend.BLOB: ListingReport(StoreState.COMPLETE)}  # fmt: skip
        view = observe.view_of(attempt.run, attempt.facts, reports)
        return view.stores[Backend.ICP], view.unknown_capsules

    report = ListingReport(StoreState.COMPLETE, objects=10, unknown_parts={"one": "why"})
    assert unknown(report) == (StoreState.COMPLETE, {"one"})
    judge_shrinkage(report, Backend.ICP, StoreSummary(state=StoreState.COMPLETE, objects=1_000))
    assert unknown(report) == (StoreState.INCOMPLETE, frozenset())
    stopped = observe.after_reading({Backend.ICP: report}, {"unknown": {Backend.ICP.value: "gone"}})
    assert stopped[Backend.ICP].doubted
