"""Histories of an audit that is killed again and again, and what must come of each."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit_forks import STAGES
from damaged_sandbox import Box

from tasks.run_directory import existing, run_ids

HERE = Path(__file__).parent
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
#: A process that forks should have one thread: libraries start theirs when they are imported.
_NO_THREADS = {
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
#: What differs from run to run, or is no more than where the run's files lie.
_TIMES = ("first_seen",)
_JOURNAL = (
    "SELECT kind, action, fingerprint, coalesce(after, before) ->> 'memory_id', "
    "coalesce(after, before) ->> 'artifact', coalesce(after, before) ->> 'backend', count(*) "
    "FROM audit.repair GROUP BY 1, 2, 3, 4, 5, 6"
)


class Forks:
    """The process that runs audits on demand, see ``audit_forks``, or what another script does."""

    def __init__(self, errors: Path, script: Path = HERE / "audit_forks.py") -> None:
        search = os.pathsep.join(map(str, (HERE, script.parent, HERE.parents[1])))
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(script)], stderr=log, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env={**os.environ, **_NO_THREADS, "PYTHONPATH": search},
            )  # fmt: skip
        assert self._answer() == "ready"

    def run(self, **order: Any) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(frozen=True)
class Outcome:
    """What an audit left: its findings, the ledger and the journal, times and run ids aside."""

    findings: dict[str, dict[str, Any]]
    ledger: list[str]
    journal: list[tuple[Any, ...]]
    history: list[tuple[Any, ...]]
    repairs: dict[str, int]

    @classmethod
    def of(cls, box: Box, record: dict[str, Any]) -> "Outcome":
        found = json.loads(_RUN_ID.sub("a run", json.dumps(record["findings"])))
        rows = box.edges(physical=False).values()
        history = "SELECT fingerprint, runs_seen, resolved_at IS NULL FROM audit.finding ORDER BY 1"
        return cls(
            {each["fingerprint"]: {name: value for name, value in each.items() if name not in _TIMES}
             for each in found},
            # new rows have ids and times of their own
            sorted(_RUN_ID.sub("a run", repr((*row[:9], row[10]))) for row in rows),
            sorted(box.sql(_JOURNAL), key=repr),
            box.sql(history),
            record["repairs"],
        )  # fmt: skip


@dataclass
class Campaign:
    """Audits of one damaged sandbox, undisturbed once and then killed."""

    box: Box
    forks: Forks
    instants: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    undisturbed: Outcome | None = None

    def begin(self, home: Path) -> "Campaign":
        """Runs the audit that nothing disturbs."""
        self.box.set_back()
        home.mkdir()
        began, ticks = time.monotonic(), home / "ticks.json"
        assert self._run(home, ticks=str(ticks)) == 0
        self.seconds = time.monotonic() - began
        self.instants = Counter(json.loads(ticks.read_text("utf-8")))
        self.undisturbed = Outcome.of(self.box, _record(home))
        return self

    def killed_in(self, home: Path, places: list[tuple[str, int]]) -> int:
        """A history that is killed at chosen instants of stages, then left alone and checked."""
        return self._history(home, [{"stage": stage, "instant": at} for stage, at in places])

    def killed_at_random(self, home: Path, rng: random.Random, kills: int) -> int:
        """A history that is killed at random: after a time, or at an instant of some stage."""
        orders: list[dict[str, Any]] = []
        for _ in range(kills):
            if rng.random() < 1 / 3:
                orders.append({"seconds": rng.uniform(0, self.seconds / 2)})
            else:
                stage = rng.choice(("before", *STAGES))
                at = rng.randint(1, max(self.instants[stage], 1))
                orders.append({"stage": None if stage == "before" else stage, "instant": at})
        return self._history(home, orders)

    def _history(self, home: Path, orders: list[dict[str, Any]]) -> int:
        """Kills as ordered, lets the run end, checks what it left; how many kills it survived."""
        self.box.set_back()
        home.mkdir()
        ends = [self._run(home, **order) for order in orders]
        assert set(ends) <= {-signal.SIGKILL, 0, 2}, ends
        last = self._run(home)
        assert last == 0 or (last == 2 and _finished(home)), (ends, last)
        outcome = Outcome.of(self.box, _record(home))
        assert self.undisturbed is not None
        for name in Outcome.__dataclass_fields__:
            assert getattr(outcome, name) == getattr(self.undisturbed, name), (name, orders)
        return ends.count(-signal.SIGKILL)

    def _run(self, home: Path, **order: Any) -> int:
        settings = self.box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}
        options = {"repair": "ledger", "verify": "30000", "resume": _to_resume(home)}
        return self.forks.run(settings=settings, options=options, **order)


def _to_resume(home: Path) -> str | None:
    """The run that had begun when it was killed, if one had."""
    begun = [name for name in run_ids(home) if "begun" in existing(home, name).done_stages()]
    return begun[0] if begun else None


def _finished(home: Path) -> bool:
    run_id = _to_resume(home)
    return run_id is not None and existing(home, run_id).run_json.exists()


def _record(home: Path) -> dict[str, Any]:
    run_id = _to_resume(home)
    assert run_id is not None
    record: dict[str, Any] = json.loads(existing(home, run_id).run_json.read_text("utf-8"))
    return record
