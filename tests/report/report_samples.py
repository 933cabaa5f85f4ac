"""Runs as they might have happened, for tests and for looking at the page."""

import json
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pandas as pd

from checks.fingerprint import fingerprint
from checks.model import RepairPolicy, StoreState
from checks.run import (
    Amount,
    Checks,
    Coverage,
    Edges,
    Open,
    Repairs,
    RunRecord,
    Stage,
    StoreCoverage,
    StoreSummary,
    settled,
    with_findings,
)

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)

#: kind, severity, artifact, backend, expected, observed, evidence, explanation, repair, detail
_CASES = [
    (
        "lost",
        "critical",
        "asset",
        None,
        {"present": True, "size_bytes": 4_213_907},
        {"vercel-blob": "not there", "icp-canister": "not there"},
        "lookup",
        "The row's url and an edge promise the file, and neither Vercel Blob nor the canister holds it.",
        "none",
        None,
    ),
    (
        "hash_mismatch",
        "critical",
        "asset",
        "vercel-blob",
        {
            "content_hash": "9c56cc51b374c3ba189210d5b6d4bf57790d351c96c47c02190ecf1e430635ab",
            "size_bytes": 88_120,
        },
        {
            "content_hash": "02f5c1a1f7f3a8a1d47c0f9f2f02a2ea9f65e67b45dcf1d2ed1f9a2c55c0a1b7",
            "size_bytes": 88_120,
        },
        "sha256",
        "The bytes were read twice and differ from the ledger; the object was not written since it was verified on 2 November.",
        "none",
        "no other verified replica holds the recorded bytes",
    ),
    (
        "hash_mismatch",
        "warning",
        "asset",
        "icp-canister",
        {"content_hash": "5d41402abc4b2a76b9719d911017c592e01a3ad19dd28d0cf7e0f1b7d3d9a4a8"},
        {"content_hash": "7d793037a0760186574b0282f2f435e7c1bf2f0c4a41d2ad4c3f7d3a1e3f8c11"},
        "certified",
        "The canister's bytes differ from the ledger; the copy in Vercel Blob was hashed in this run and is right.",
        "proposed",
        "copy from vercel-blob",
    ),
    (
        "missing",
        "warning",
        "asset",
        "vercel-blob",
        {"present": True, "size_bytes": 1_204_556},
        {"present": False},
        "lookup",
        "Not in the listing, and a direct look-up says it is not there; the canister holds a verified copy.",
        "proposed",
        None,
    ),
    (
        "missing",
        "warning",
        "metadata",
        "icp-canister",
        {"present": True},
        {"present": False},
        "certified",
        "The canister certifies that it holds no such memory.",
        "applied",
        "present=false, sync_state=failed",
    ),
    (
        "stuck",
        "warning",
        "asset",
        "icp-canister",
        {"sync_state": "migrating"},
        {"present": True, "size_bytes": 20_113},
        "lookup",
        "Migrating for 9 hours and no Store Forever run claims it; the copy is complete.",
        "proposed",
        None,
    ),
    (
        "unmarked",
        "warning",
        "asset",
        "icp-canister",
        {"present": False},
        {"present": True, "size_bytes": 18_020},
        "lookup",
        "The ledger says it is not there; the canister holds it.",
        "applied",
        "present=true, sync_state=idle",
    ),
    (
        "sync_failed",
        "warning",
        "asset",
        "icp-canister",
        {"present": False, "sync_state": "failed", "sync_error": "upload: chunk 3 of 7 timed out"},
        {"present": False},
        "lookup",
        "Store Forever failed on 21 November and nothing arrived.",
        "proposed",
        None,
    ),
    (
        "invalid_location",
        "warning",
        "asset",
        "vercel-blob",
        {"location": "/uploads/IMG_0042.jpg"},
        {"problem": "it is a relative path where a URL belongs"},
        "listing",
        "The row's url is a relative path, so it names no object of the store.",
        "none",
        None,
    ),
    (
        "deleted_memory",
        "warning",
        None,
        None,
        {"row": "there"},
        {"row": "gone", "edges": 3},
        "lookup",
        "The row is gone from Neon; three edges and one blob are left of it.",
        "proposed",
        None,
    ),
    (
        "hash_unknown",
        "info",
        "asset",
        "vercel-blob",
        {"content_hash": None},
        {"present": True, "size_bytes": 33_870},
        "listing",
        "The object is there; nobody recorded its hash.",
        "none",
        None,
    ),
    (
        "orphaned",
        "info",
        None,
        "vercel-blob",
        None,
        {"size_bytes": 501_200, "written_at": "2026-10-30T18:02:11Z"},
        "listing",
        "Nothing in Neon or the canister refers to it.",
        "none",
        "seen in 2 of the 3 runs that are needed before it may be removed",
    ),
    (
        "duplicate_content",
        "info",
        None,
        None,
        None,
        {"memories": 3, "bytes_saved": 2_409_112},
        "sha256",
        "Three memories hold the same bytes; keeping them once would save 2.4 MB.",
        "none",
        None,
    ),
]
_FOLDERS = {
    "image": "images",
    "video": "videos",
    "document": "documents",
    "audio": "audio",
    "note": "notes",
}


def findings(number: int, *, seed: int = 7, now: datetime = NOW) -> pd.DataFrame:
    """A frame of ``number`` findings, the rarer and graver kinds fewer."""
    chance = random.Random(seed)
    weights = [2, 1, 2, 7, 3, 4, 5, 4, 2, 2, 9, 6, 2]
    picked = _CASES[: min(number, len(_CASES))] + chance.choices(
        _CASES, weights, k=max(0, number - len(_CASES))
    )
    return pd.DataFrame([_row(case, chance, now) for case in picked], columns=_COLUMNS)


_COLUMNS = [
    "fingerprint", "kind", "severity", "memory_id", "memory_type", "artifact", "backend",
    "location", "gallery_id", "expected", "observed", "evidence", "explanation", "repair",
    "repair_detail", "first_seen", "runs_seen", "acknowledged_until",
]  # fmt: skip


def _row(case: tuple, chance: random.Random, now: datetime) -> dict:
    kind, severity, artifact, backend, expected, observed, evidence, explanation, repair, detail = (
        case
    )
    memory_id = str(UUID(int=chance.getrandbits(128), version=4))
    memory_type = chance.choice(["image", "image", "image", "video", "document", "audio"])
    location = None
    if backend == "vercel-blob":
        location = f"{_FOLDERS[memory_type]}/{chance.randint(2023, 2026)}/{memory_id[:8]}-IMG_{chance.randint(100, 9999)}.jpg"
    if backend == "icp-canister":
        location = f"icp://capsule_1730000000/{memory_id}"
    if kind in ("orphaned", "duplicate_content"):
        memory_id = memory_type = None
    if kind == "duplicate_content":
        location = f"sha256:{chance.getrandbits(256):064x}"
    days = chance.choice([0, 0, 0, 1, 3, 12])
    return {
        "fingerprint": fingerprint(kind, memory_id=memory_id, location=location), "kind": kind, "severity": severity,
        "memory_id": memory_id, "memory_type": memory_type, "artifact": artifact, "backend": backend,
        "location": location, "gallery_id": None,
        "expected": json.dumps(expected) if expected else None, "observed": json.dumps(observed),
        "evidence": evidence, "explanation": explanation, "repair": repair, "repair_detail": detail,
        "first_seen": now - timedelta(days=days), "runs_seen": days + 1,
        "acknowledged_until": now + timedelta(days=30) if kind == "deleted_memory" and chance.random() < 0.5 else None,
    }  # fmt: skip


STORES_COVERED = {
    "vercel-blob": StoreCoverage(
        assets=98_771,
        bytes=214_338_115_004,
        oldest=NOW - timedelta(days=41),
        unverifiable=3,
        verified={
            "7d": Amount(assets=20_000, bytes=34_000_000_000),
            "30d": Amount(assets=60_401, bytes=140_000_000_000),
            "90d": Amount(assets=80_401, bytes=180_000_000_000),
            "ever": Amount(assets=80_401, bytes=180_000_000_000),
        },
    ),
    "icp-canister": StoreCoverage(assets=61_040, bytes=131_220_660_120),
}


def record(run_id: str = "20261123T031500Z-7f3a", **more: object) -> RunRecord:
    """An audit over three stores; without findings until they are added."""
    parts = {
        "run_id": run_id, "flow": "nightly-audit", "started_at": NOW, "finished_at": NOW + timedelta(minutes=6, seconds=48),
        "repair": RepairPolicy.LEDGER,
        "stores": {
            "neon-db": StoreSummary(state=StoreState.COMPLETE, objects=104_212, bytes=0, seconds=3.8, requests=14),
            "vercel-blob": StoreSummary(state=StoreState.COMPLETE, objects=98_771, bytes=214_338_115_004, seconds=71.2, requests=99),
            "icp-canister": StoreSummary(state=StoreState.COMPLETE, objects=61_040, bytes=131_220_660_120, seconds=164.0, requests=1_237),
        },
        "edges": Edges(total=328_440, compared=328_440, agree=328_379),
        "coverage": Coverage(assets=159_811, hashed_this_run=3_870, bytes_this_run=4_998_220_118, hash_ever_verified=121_440, oldest_verification=NOW - timedelta(days=41), unverifiable=3, left_this_run=38_370, full_cycle_runs=70, stores=STORES_COVERED),
        "checks": Checks(passed=45, failed=0), "version": "0.1.0",
        "versions": {"python": "3.11.2", "prefect": "3.8.8", "great-expectations": "1.24.0"},
        "stages": (Stage(name="snapshot before", seconds=4.1, peak_rss_mb=212), Stage(name="list", seconds=168.4, peak_rss_mb=268), Stage(name="snapshot after", seconds=3.9, peak_rss_mb=268), Stage(name="compare", seconds=6.2, peak_rss_mb=655), Stage(name="confirm", seconds=9.0, peak_rss_mb=655), Stage(name="repair", seconds=1.3, peak_rss_mb=655), Stage(name="verify", seconds=201.5, peak_rss_mb=655), Stage(name="report", seconds=7.4, peak_rss_mb=690)),
        "settings": {"DATABASE_URL": "postgresql://app:***@ep-x.eu-central-1.aws.neon.tech/db", "BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_AbC123_****", "EDGEKEEPER_VERIFY_BUDGET": "5 GB", "EDGEKEEPER_GRACE_MINUTES": "60"},
        "limits": {"breaker_percent": 1.0, "verify_budget": "5 GB"},
    }  # fmt: skip
    return RunRecord.model_validate({**parts, **more})


def with_sample(number: int, **more: object) -> tuple[RunRecord, pd.DataFrame]:
    """A settled record and the frame of its findings."""
    frame = findings(number)
    applied = int((frame["repair"] == "applied").sum())
    run = record(repairs=Repairs(applied=applied), **more)
    return settled(with_findings(run, frame, now=NOW)), frame


def history(runs: int = 24) -> list[RunRecord]:
    """Former audits, newest first, with now and then something open."""
    chance = random.Random(3)
    former = []
    for night in range(1, runs + 1):
        started = NOW - timedelta(days=night)
        bad = night in (9, 10, 11)
        former.append(
            settled(
                record(
                    f"{started:%Y%m%dT%H%M%SZ}-{chance.getrandbits(16):04x}",
                    started_at=started,
                    finished_at=started + timedelta(seconds=chance.randint(300, 500)),
                    open=Open(critical=chance.randint(1, 4) if bad else 0, warning=chance.choice([0, 0, 4, 9, 16]), info=chance.randint(3, 22)),
                    findings_total=chance.randint(20, 60),
                )
            )
        )  # fmt: skip
    return former
