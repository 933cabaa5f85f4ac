"""Audits on clusters, beside what one machine finds; and who kills a cluster's workers."""

import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Audited, Box, Hook
from kills import Outcome
from prefect_audit import through_prefect

from tasks import partitions
from tasks.stores.blob import listing

#: So few rows to a partition that there are more partitions than workers.
ROWS = 100
#: So few files at once that more partitions take several passes.
FAN_OUT = 3
WORKERS = 2


class Audits:
    """Audits of one damaged sandbox, which is set back before each."""

    def __init__(self, box: Box, url: str, homes: Path, rows: int = ROWS) -> None:
        self._box, self._url, self._homes, self._rows = box, url, homes, rows
        self._alone: dict[str, Any] | None = None

    def run(
        self, runner: str, home: str | None = None, resume: str | None = None, **before: Hook
    ) -> tuple[Audited, dict[str, Any]]:
        """An audit, and all of what it found and did that does not depend on when and where.

        ``home``: a URL; one that is resumed finds the database as it left it.
        """
        if resume is None:
            self._box.renewed()
        own = self._homes / f"home-{len(list(self._homes.iterdir()))}"
        settings = self._box.settings(own, EDGEKEEPER_TASK_RUNNER=runner)
        if home is not None:
            settings = settings.model_copy(update={"home": home})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(partitions, "ROWS_PER_PARTITION", self._rows)
            patch.setattr(partitions, "FAN_OUT", FAN_OUT)
            patch.setattr(listing, "FEWEST_PAGES", 0)
            patch.setattr(listing, "PAGES_PER_FOLDER", 0)
            audited = through_prefect(
                self._url, settings, before=before, repair="ledger", verify="all", resume=resume
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
