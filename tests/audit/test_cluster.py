"""The nightly audit on clusters of two worker processes: what one machine finds, kills or not."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Audited, Box, Hook
from kills import Outcome
from prefect_audit import through_prefect

from tasks import partitions

pytestmark = pytest.mark.timeout(900)  # each test takes less than a minute on an idle machine
#: So few rows to a partition that there are more partitions than workers.
ROWS = 100
WORKERS = 2


class Audits:
    """Audits of one damaged sandbox, which is set back before each."""

    def __init__(self, box: Box, url: str, homes: Path) -> None:
        self._box, self._url, self._homes = box, url, homes
        self._alone: dict[str, Any] | None = None

    def run(self, runner: str, **before: Hook) -> tuple[Audited, dict[str, Any]]:
        """An audit, and all of what it found and did that does not depend on when and where."""
        self._box.revive()
        self._box.set_back()
        home = self._homes / f"home-{len(list(self._homes.iterdir()))}"
        settings = self._box.settings(home, EDGEKEEPER_TASK_RUNNER=runner)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partitions, "ROWS_PER_PARTITION", ROWS)
            audited = through_prefect(
                self._url, settings, before=before, repair="ledger", verify="all"
            )
        return audited, self._outcome(audited)

    @property
    def alone(self) -> dict[str, Any]:
        """What one machine finds and does."""
        if self._alone is None:
            audited, self._alone = self.run("threads")
            assert audited.record.repairs.applied
        return self._alone

    def _outcome(self, audited: Audited) -> dict[str, Any]:
        record = audited.record
        coverage = record.coverage.model_dump()
        moments = [coverage.pop("oldest_verification")]
        moments += [own.pop("oldest") for own in coverage["stores"].values()]
        assert all(moments)
        return asdict(Outcome.of(self._box, record.to_dict())) | {
            "status": record.status, "counts": dict(record.counts), "coverage": coverage,
            "checks": record.checks.model_dump(), "breaker": record.breaker,
            "stores": {name: (own.state, own.objects) for name, own in record.stores.items()},
        }  # fmt: skip


@pytest.fixture(scope="module")
def audits(_shared: Box, prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Audits:
    return Audits(_shared, prefect_url, tmp_path_factory.mktemp("homes"))


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A Dask cluster: its scheduler in this process, each worker in one of its own."""
    distributed = pytest.importorskip("distributed", reason="edgekeeper[dask] is not installed")
    pytest.importorskip("prefect_dask", reason="edgekeeper[dask] is not installed")
    with distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


class Killer:
    """Kills one of a Dask cluster's workers by SIGKILL while it is in the middle of a task."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.killed: list[int] = []

    def __call__(self) -> None:
        """Waits for that in a thread of its own."""
        threading.Thread(target=self._kill, daemon=True).start()

    def _kill(self) -> None:
        before = len(self.killed)
        while len(self.killed) == before:
            for nanny in self._cluster.workers.values():
                if self._working(nanny):
                    time.sleep(0.2)
                    if self._working(nanny):
                        self.killed.append(nanny.pid)
                        os.kill(nanny.pid, signal.SIGKILL)
                        break
            time.sleep(0.01)

    def _working(self, nanny: Any) -> bool:
        worker = self._cluster.scheduler.workers.get(nanny.worker_address)
        return bool(worker and worker.processing)


def test_a_dask_cluster_finds_what_one_machine_finds(audits: Audits, dask: Any) -> None:
    audited, outcome = audits.run(f"dask:{dask.scheduler_address}")
    assert outcome == audits.alone
    stages = [each.name for each in audited.record.stages]
    for part in ("compare-", "quality-checks-", "verify-"):
        assert len([name for name in stages if name.startswith(part)]) >= WORKERS


def test_workers_killed_in_the_middle_of_their_work_change_nothing(
    audits: Audits, dask: Any
) -> None:
    kill = Killer(dask)
    _, outcome = audits.run(f"dask:{dask.scheduler_address}", list=kill, verify=kill, conclude=kill)
    assert len(kill.killed) == 3
    assert outcome == audits.alone
