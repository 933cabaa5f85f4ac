"""What was measured, as Markdown: medians, and ratios of what was measured in the same round."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.audits import Audited
from benchmarks.peers import Peer
from benchmarks.reading import MIB, SHAPES, SMALL_OBJECTS, Reading

_PARTS = {
    "snapshot of ledger, rows and references": ("snapshot",),
    "listing Vercel Blob": ("list-vercel-blob",),
    "listing the canister, beside it": ("list-icp-canister",),
    "matching under the memory's key": ("resolve",),
    "comparing and confirming": ("compare-", "orphans"),
    "data-quality checks, beside these two": ("quality-checks",),
    "report": ("report",),
}
_PEERS = {
    "snapshot": "`COPY storage_edges` by psycopg, thrown away",
    "list-vercel-blob": "every page by plain httpx, one after the other",
    "list-icp-canister": "every page by ic-py, one after the other, neither verified nor decoded",
}


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n"


def audit_table(audits: Sequence[Audited]) -> str:
    """The audit as a whole and its parts."""
    record = audits[0].record
    rows = [
        ("the whole command", _middle(audits, lambda each: each.seconds)),
        *(
            (name, _middle(audits, lambda each, stages=stages: each.stage(*stages)))  # type: ignore[misc]
            for name, stages in _PARTS.items()
        ),
    ]
    edges = record["edges"]["total"]
    lines = [f"Audit of {edges:,} edges, nothing hashed, {record['findings_total']:,} findings"]
    lines += ["", "| part | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in rows]
    lines += [f"| processor time | {_middle(audits, lambda each: each.cpu):.1f} |"]
    peak = _middle(audits, lambda each: each.peak_mb)
    lines += ["", f"Peak memory of the command: {peak:,.0f} MB", ""]
    return "\n".join(lines)


def peer_table(audits: Sequence[Audited], peers: Sequence[Mapping[str, Peer]]) -> str:
    """Parts of the audit beside the least code that fetches the same."""
    lines = ["| part | edgekeeper | peer | ratio | what the peer is |", "|---|---|---|---|---|"]
    for stage, what in _PEERS.items():
        own = [audit.stage(stage) for audit in audits]
        other = [each[stage].seconds for each in peers]
        ratio = median(a / b for a, b in zip(own, other, strict=True))
        lines.append(
            f"| {stage} | {median(own):.1f} s | {median(other):.1f} s | {ratio:.1f} | {what} |"
        )
    return "\n".join([*lines, ""])


def reading_table(reads: Sequence[Reading]) -> str:
    """Throughput of hashing, what a small object costs, and memory."""
    lines = [
        "| MiB/s | hashlib, a thread each | client | of hashlib | its processor time | rclone |",
        "|---|---|---|---|---|---|",
    ]
    for shape, (number, size) in SHAPES.items():
        amount = number * size / MIB
        speeds = [amount / median(each.hashlib[shape] for each in reads),
                  amount / median(each.store[shape] for each in reads)]  # fmt: skip
        ratio = median(each.hashlib[shape] / each.store[shape] for each in reads)
        cpu = median(each.cpu[shape][0] / each.cpu[shape][1] for each in reads)
        others = [seconds for each in reads if (seconds := each.rclone[shape]) is not None]
        peer = f"{amount / median(others):,.0f}" if others else "not installed"
        lines.append(
            f"| {shape} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {ratio:.2f} | {cpu:.2f} | {peer} |"
        )
    small = median(each.small_seconds for each in reads) / SMALL_OBJECTS
    cpu = median(each.small_cpu for each in reads) / SMALL_OBJECTS
    lines += ["", "hashlib and the client: SHA-256 and MD5; rclone hashsum: SHA-256 alone."]
    lines += ["", f"A small object: {small * 1000:.1f} ms, of which {cpu * 1000:.1f} ms are ours."]
    peaks = ", ".join(
        f"{median(each.peaks[size] for each in reads):,.0f} MB for {size / MIB:,.0f} MiB"
        for size in reads[0].peaks
    )
    lines += ["", f"The most memory of a process that reads one object: {peaks}."]
    return "\n".join([*lines, ""])


def _middle(audits: Sequence[Audited], value: Callable[[Audited], float]) -> float:
    return median(map(value, audits))
