"""A line that is read in shares: the same assets as one machine reads, also after a kill."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from damaged_sandbox import Box

from checks.model import Backend
from tasks import audit, listings, observe, read_so_far, rolling, verification
from tasks.allowance import Allowance
from tasks.settings import ALL_BYTES
from tasks.stores.protocol import HashedObject

SHARES = 3


class Reader:
    """Reads a sandbox's bytes, alone or in shares as a cluster's workers do."""

    def __init__(self, box: Box, homes: Path) -> None:
        self._box, self._homes = box, homes
        self.kills = 0

    def read(
        self, budget: int, abreast: int = 1, *, minutes: float | None = None
    ) -> tuple[dict[str, Any], set[Any]]:
        """The stage's facts, and which assets were read."""
        self._box.set_back()
        settings = self._box.settings(self._homes / f"home-{budget}-{abreast}-{minutes}")
        options = audit.AuditOptions(verify_budget=budget, verify_minutes=minutes)
        with audit.under_way(settings, options, abreast=abreast) as (run, _):
            facts = observe.snapshot(run)
            reports = {Backend.NEON: observe.neon_report(facts)}
            for backend in (Backend.BLOB, Backend.ICP):
                reports[backend] = listings.list_store(run, backend, facts)
            observe.resolve(run, facts)

            def spread(shares: list[rolling.Share], seen: Any) -> Iterable[Mapping[str, Any]]:
                done = {share.name: self._done(run, share, seen) for share in reversed(shares)}
                return [done[share.name] for share in shares]

            reading = rolling.verify(run, facts, reports, None, spread)
            found = read_so_far.ReadSoFar.of(run.workspace(facts["partitions"])).replicas()
        kept = {name: reading[name] for name in ("read", "bytes", "unknown", "left")}
        return kept, _set(found)

    def _done(self, run: audit.AuditRun, share: rolling.Share, seen: Any) -> Mapping[str, Any]:
        while True:
            try:
                return rolling.read_share(run, share, seen)
            except KilledError:
                self.kills += 1


class KilledError(Exception):
    """Stands for the end of a worker."""


def _set(replicas: pd.MultiIndex) -> set[Any]:
    assert replicas.is_unique
    return set(replicas)


@pytest.fixture
def reader(sound: Box, tmp_path: Path) -> Iterator[Reader]:
    yield Reader(sound, tmp_path)
    sound.revive()


@pytest.mark.parametrize("budget", [1, 200_000, ALL_BYTES])
def test_shares_read_what_one_machine_reads(budget: int, reader: Reader) -> None:
    alone, assets = reader.read(budget)
    spread, shared = reader.read(budget, SHARES)
    assert assets
    assert shared == assets
    assert spread == alone
    assert (alone["left"] == 0) is (budget == ALL_BYTES)


def test_once_the_minutes_are_over_no_more_is_begun_than_is_assured(reader: Reader) -> None:
    reading, assets = reader.read(ALL_BYTES, SHARES, minutes=1e-6)
    assert len(assets) <= 1
    assert reading["left"] > 0


class SlowFirst:
    """A store whose objects take the longer the earlier they stand in the line."""

    backend = Backend.BLOB

    async def read(self, location: str, _into: Any = None) -> HashedObject:
        await asyncio.sleep(0.05 / (1 + int(location)))
        return HashedObject(10, "a" * 64, "b" * 32, location)


@pytest.mark.parametrize("budget", [55, 100, 395])
def test_what_is_begun_is_the_beginning_of_the_line(budget: int) -> None:
    line = [
        {"backend": "vercel-blob", "object_location": str(number), "object_size": 30}
        for number in range(60)
    ]
    allowance, read = Allowance(budget), []

    async def keep(_reading: Any, rows: list[dict[str, Any]]) -> None:
        read.extend(int(row["read_version"]) for row in rows)

    stores: dict[Backend, Any] = {Backend.BLOB: SlowFirst()}
    asyncio.run(verification.read_assets(iter(line), stores, keep, allowance=allowance))
    assert sorted(read) == list(range(allowance.begun))
    assert 0 < allowance.begun < 60


@pytest.mark.parametrize(("shares", "budget"), [(SHARES, ALL_BYTES), (12, 250_000)])
def test_a_share_whose_worker_dies_goes_on_with_what_was_not_kept(
    shares: int, budget: int, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, assets = reader.read(budget, shares)
    monkeypatch.setattr(verification, "_PORTION", 2)
    write, times = read_so_far.Portions._write, Counter[str]()

    def dying(self: Any, *values: Any) -> None:
        share = str(self._share).rpartition("-")[2]
        times[share] += 1
        if (share, times[share]) in (("2", 1), ("1", 2)):  # when 10 and 11, if any, are done
            raise KilledError
        write(self, *values)

    monkeypatch.setattr(read_so_far.Portions, "_write", dying)
    again, shared = reader.read(budget, shares, minutes=10_000)
    assert reader.kills == 2
    assert shared == assets
    assert again["left"] == whole["left"]
