"""The whole audit of a sandbox, and the least code that fetches the same."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Rounds, Scale
from benchmarks.peers import PEERS, peers
from benchmarks.sandboxes import environment, seeded_sandbox
from benchmarks.tables import markdown, middle, number, ratio

_KB_PER_MB = 1024
WHOLE = "the whole command"
_PARTS = {
    "snapshot of ledger, rows and references": ("snapshot",),
    "listing Vercel Blob": ("list-vercel-blob",),
    "listing the canister, beside it": ("list-icp-canister",),
    "matching under the memory's key": ("resolve",),
    "comparing and confirming": ("compare-", "orphans"),
    "data-quality checks, beside these two": ("quality-checks",),
    "report": ("report",),
}


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit took.

    Attributes:
        seconds: from the start of the command to its end.
        cpu: seconds of the command on any core, its Prefect server not counted.
        peak_mb: the most memory that the command ever held.
        record: its ``run.json``.
    """

    seconds: float
    cpu: float
    peak_mb: float
    record: dict[str, Any]

    def stage(self, *names: str) -> float:
        """Seconds of the stages whose names begin with one of ``names``, added up."""
        stages = self.record["stages"]
        return sum(float(each["seconds"]) for each in stages if each["name"].startswith(names))


def audited(directory: Path, *options: str) -> Audited:
    """Runs ``edgekeeper audit --verify 0`` on the sandbox in ``directory``."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "run.json"
        command = [sys.executable, "-m", "edgekeeper", "audit", "--verify", "0", "--quiet"]
        began = monotonic()
        process = subprocess.Popen(
            [*command, *options, "--json", str(path)], env=environment(directory)
        )
        _, _, used = os.wait4(process.pid, 0)
        seconds = monotonic() - began
        record = json.loads(path.read_bytes())
    return Audited(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / _KB_PER_MB, record)


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A seeded sandbox."""
    with seeded_sandbox(scale.memories, scale.directory) as sandbox:
        yield lambda: _round(sandbox)


def _round(sandbox: Path) -> list[Measurement]:
    done = audited(sandbox)
    edges = done.record["edges"]["total"]
    measured = [Measurement(WHOLE, OURS, done.seconds, done.cpu, 0, edges, done.peak_mb)]
    measured += [
        Measurement(part, OURS, done.stage(*stages), rows=edges) for part, stages in _PARTS.items()
    ]
    found = peers(sandbox)
    by_stage = {stages[0]: part for part, stages in _PARTS.items()}
    for stage, way in PEERS.items():
        peer = found[stage]
        measured.append(Measurement(by_stage[stage], way, peer.seconds, rows=peer.rows))
    return measured


def table(rounds: Rounds) -> str:
    """The audit as a whole, its parts, and parts beside the least code that fetches the same."""
    lines: list[Sequence[object]] = []
    for place, first in enumerate(rounds[0]):
        some = [each[place] for each in rounds]
        beside = "" if first.way == OURS else number(ratio(rounds, place), 1)
        lines.append(
            [first.case, first.way, number(middle(some, "seconds"), 1),
             number(middle(some, "cpu"), 1), number(middle(some, "peak_mb")), beside]
        )  # fmt: skip
    return markdown(["part", "by", "s", "CPU s", "peak MB", "time ÷ it"], lines)


BENCHMARK = Benchmark(
    "audit",
    "The whole audit",
    "`edgekeeper audit --verify 0` of a seeded sandbox whose memories are all stored forever: "
    "every store listed, everything compared, nothing hashed.",
    prepared,
    table,
)
