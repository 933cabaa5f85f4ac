"""The whole audit of a sandbox, and the least code that fetches the same."""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import httpx

from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Rounds, Scale
from benchmarks.peers import PEERS, blobs_by_folder, peers
from benchmarks.sandboxes import environment, seeded_sandbox
from benchmarks.tables import markdown, middle, number, ratio
from sandbox.directory import SandboxDirectory
from tasks.stores.blob.asking import PAGE_LIMIT
from tasks.stores.blob.listing import worth_cutting

_KB_PER_MB = 1024
WHOLE = "the whole command"
#: Milliseconds that are added to every request.
LATENCIES = (30, 100)
#: With more memories than these only the audit itself is measured: ic-py would need an hour.
_MOST_BESIDE = 200_000
#: Requests to the canister that the sandbox's settings let be under way at once.
_AT_ONCE = 32
_PARTS = {
    "snapshot of ledger, rows and references": ("snapshot",),
    "listing Vercel Blob": ("list-vercel-blob",),
    "listing the canister, beside it": ("list-icp-canister",),
    "matching under the memory's key": ("resolve",),
    "comparing and confirming": ("compare-", "orphans"),
    "data-quality checks, beside these two": ("quality-checks",),
    "report": ("report",),
}
_LISTINGS = {
    "listing Vercel Blob": "vercel-blob",
    "listing the canister, beside it": "icp-canister",
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
        yield lambda: _round(sandbox, alone=scale.memories > _MOST_BESIDE)


def _round(sandbox: Path, *, alone: bool) -> list[Measurement]:
    """The audit and, unless it is to be ``alone``, its peers and the audit of slower stores."""
    done = audited(sandbox)
    measured = [_whole(done, 0)]
    measured += [_part(done, part, stages) for part, stages in _PARTS.items()]
    if alone:
        return measured
    by_stage = {stages[0]: part for part, stages in _PARTS.items()}
    for stage, peer in peers(sandbox).items():
        part = by_stage[stage]
        measured.append(Measurement(part, PEERS[stage], peer.seconds, rows=peer.rows))
    chain = _chain(blobs_by_folder(environment(sandbox)))
    for milliseconds in LATENCIES:
        with slowed(sandbox, milliseconds):
            later = audited(sandbox)
        measured += _slowed(done, later, milliseconds, chain)
    return measured


def _whole(done: Audited, milliseconds: int) -> Measurement:
    """The whole command. Its requests are those of all stages to both stores."""
    case = f"{WHOLE}, {milliseconds} ms later" if milliseconds else WHOLE
    usage = done.record["usage"]
    requests = sum(usage[name] for name in ("blob_simple", "blob_advanced", "icp_requests"))
    edges = done.record["edges"]["total"]
    also = {"requests": float(requests)}
    return Measurement(case, OURS, done.seconds, done.cpu, 0, edges, done.peak_mb, also)


def _part(done: Audited, part: str, stages: Sequence[str]) -> Measurement:
    """One part, with its share of the whole command."""
    seconds = done.stage(*stages)
    also = {"share": 100 * seconds / done.seconds}
    if part in _LISTINGS:
        also["requests"] = float(_requests(done, _LISTINGS[part]))
    return Measurement(part, OURS, seconds, rows=done.record["edges"]["total"], also=also)


def _chain(blobs: Counter[str]) -> int:
    """Pages of the blob store of which each names the next: of all, or of the largest folder."""
    if not worth_cutting(blobs.total(), len(blobs)):
        return ceil(blobs.total() / PAGE_LIMIT)
    return 1 + ceil(max(blobs.values()) / PAGE_LIMIT)


def _slowed(done: Audited, later: Audited, milliseconds: int, chain: int) -> Iterator[Measurement]:
    """What slower stores make of the whole and of the listings, held against what they have to.

    ``chain``: pages of the blob store that have to come one after the other.
    """
    after_one_another = {
        "vercel-blob": chain, "icp-canister": _requests(later, "icp-canister") / _AT_ONCE
    }  # fmt: skip
    bounds = {
        part: after_one_another[store] * milliseconds / 1000 for part, store in _LISTINGS.items()
    }
    whole = _whole(later, milliseconds)
    # The canister's galleries are asked for one by one, and are in no listing.
    others = whole.also["requests"] - sum(_requests(later, store) for store in _LISTINGS.values())
    least = done.seconds + max(bounds.values()) + others * milliseconds / 1000 / _AT_ONCE
    yield replace(whole, also=whole.also | {"bound": least})
    for part, bound in bounds.items():
        own = _part(later, part, _PARTS[part])
        least = max(bound, done.stage(*_PARTS[part]))
        case = f"{part}, {milliseconds} ms later"
        yield replace(own, case=case, also=own.also | {"bound": least})


def _requests(done: Audited, store: str) -> int:
    """The requests that listing a store took."""
    return int(done.record["stores"][store]["requests"])


@contextmanager
def slowed(sandbox: Path, milliseconds: int) -> Iterator[None]:
    """Every request to the blob store and to the canister is answered so much later."""
    named = environment(sandbox)
    origins = (SandboxDirectory.of(sandbox).blob_origin, named["IC_URL"])
    rules = {"rules": [{"action": "delay", "value": milliseconds}]}
    with httpx.Client(trust_env=False) as client:
        for origin in origins:
            client.post(f"{origin}/__faults", json=rules).raise_for_status()
        try:
            yield
        finally:
            for origin in origins:
                client.delete(f"{origin}/__faults").raise_for_status()


def table(rounds: Rounds) -> str:
    """The audit as a whole, its parts, and parts beside the least code that fetches the same."""
    lines: list[Sequence[object]] = []
    for place, first in enumerate(rounds[0]):
        some = [each[place] for each in rounds]
        seconds, bound = middle(some, "seconds"), middle(some, "bound")
        beside = "" if first.way == OURS else number(ratio(rounds, place), 1)
        held = median(each.seconds / each.also["bound"] for each in some) if bound else None  # type: ignore[operator]
        lines.append(
            [first.case, first.way, number(seconds, 1), number(middle(some, "share")),
             number(middle(some, "cpu"), 1), number(middle(some, "peak_mb")),
             number(middle(some, "requests")), beside, number(bound, 1), number(held, 2)]
        )  # fmt: skip
    heads = ["part", "by", "s", "% of it", "CPU s", "peak MB", "requests", "time ÷ it",
             "at least s", "time ÷ that"]  # fmt: skip
    return markdown(heads, lines)


BENCHMARK = Benchmark(
    "audit",
    "The whole audit",
    "`edgekeeper audit --verify 0` of a seeded sandbox whose memories are all stored forever: "
    "every store listed, everything compared, nothing hashed; its stages run side by side where "
    "they can. Then the same with every request to the blob store and to the canister answered "
    "later: a listing needs at least that for each page of the longest row in which one names the "
    "next (the blob store's largest folder, or all of a store that is not cut by folders; of the "
    "canister's requests 32 go at once), or what it needed without; the command what it needed "
    "without, the slower listing's, and that of its other requests, of which 32 go at once too.",
    prepared,
    table,
)
