"""The run record: the contract's shape, the status, the exit code."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest
import report_samples as samples
from pydantic import ValidationError

from checks.model import RunStatus, StoreState
from checks.run import (
    FINDINGS,
    Checks,
    GalleryVerdict,
    Open,
    RunRecord,
    StoreSummary,
    exit_code,
    findings_table,
    new_run_id,
    settled,
    status_of,
    with_findings,
)
from tasks import publish, run_directory
from tasks.audit import AuditOptions, AuditRun
from tasks.comparison import Concluded
from tasks.settings import load_settings

NOW = samples.NOW
CONTRACT = [
    "schema", "run_id", "flow", "status", "started_at", "finished_at", "repair", "stores", "edges",
    "coverage", "counts", "repairs", "checks", "findings", "report",
]  # fmt: skip
FINDING = [
    "fingerprint", "kind", "severity", "memory_id", "memory_type", "artifact", "backend",
    "location", "gallery_id", "expected", "observed", "evidence", "explanation", "repair",
    "repair_detail", "first_seen", "runs_seen",
]  # fmt: skip


def one(kind: str = "missing", **columns: object) -> pd.DataFrame:
    """A frame of one open warning, with some columns changed."""
    frame = samples.findings(30)
    frame = frame[(frame["kind"] == kind) & (frame["repair"] == "proposed")].head(1)
    return frame.assign(**{name: [value] for name, value in columns.items()})


def judged(frame: pd.DataFrame, **parts: object) -> RunRecord:
    return settled(with_findings(samples.record(**parts), frame, now=NOW))


def test_a_run_id_sorts_by_time_in_utc() -> None:
    there = datetime(2026, 11, 23, 4, 15, tzinfo=timezone(timedelta(hours=1)))
    assert new_run_id(there).startswith("20261123T031500Z-")
    assert len(new_run_id(there)) == len("20261123T031500Z-7f3a")


def test_the_json_has_the_contracts_keys_in_its_order() -> None:
    run, _ = samples.with_sample(30)
    body = json.loads(run.to_json())
    assert [key for key in body if key in CONTRACT] == CONTRACT
    assert body["schema"] == "edgekeeper.run/1"
    assert body["started_at"] == "2026-11-23T03:15:00Z"
    assert body["repair"] == "ledger"
    assert [key for key in body["findings"][0] if key in FINDING] == FINDING
    lost = next(finding for finding in body["findings"] if finding["kind"] == "lost")
    assert lost["expected"] == {"present": True, "size_bytes": 4_213_907}
    assert "findings_truncated" not in body
    assert "gallery" not in body
    assert sum(body["counts"].values()) == len(body["findings"]) == 30
    assert list(body["stores"]["neon-db"])[:6] == [
        "state",
        "objects",
        "bytes",
        "seconds",
        "requests",
        "detail",
    ]


def test_a_record_read_back_is_the_one_written_whatever_a_newer_version_added() -> None:
    run, _ = samples.with_sample(30)
    assert RunRecord.from_json(run.to_json()) == run
    newer = json.loads(run.to_json()) | {"moon_phase": "full"}
    assert RunRecord.from_json(json.dumps(newer)) == run
    with pytest.raises(ValidationError):
        RunRecord.from_json(json.dumps(newer | {"schema": "edgekeeper.run/2"}))


def test_times_are_whole_seconds_in_utc_whatever_zone_they_came_in() -> None:
    there = datetime(2026, 11, 23, 4, 15, 9, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert (
        json.loads(samples.record(started_at=there).to_json())["started_at"]
        == "2026-11-23T03:15:09Z"
    )


def test_beyond_ten_thousand_the_json_is_cut_and_says_so_but_everything_is_counted() -> None:
    run, _ = samples.with_sample(10_001)
    body = run.to_dict()
    assert body["findings_truncated"] is True
    assert len(body["findings"]) == 10_000
    assert sum(body["counts"].values()) == 10_001 == body["findings_total"]
    assert body["findings"][0]["severity"] == "critical"
    exact, _ = samples.with_sample(10_000)
    assert not exact.findings_truncated


def test_the_output_can_not_drive_a_terminal() -> None:
    run = judged(one(location="a\x1b[2J\u202eb\u009b", explanation="\u2028"))
    assert run.to_json().replace("\n", "").isprintable()
    assert run.to_json().isascii()


def test_a_frame_lacking_a_column_or_with_a_made_up_severity_is_refused() -> None:
    with pytest.raises(ValueError, match="severity"):
        findings_table(one().drop(columns="severity"))
    with pytest.raises(ValueError, match="fatal"):
        findings_table(one(severity="fatal"))


def test_nan_and_none_are_both_null_and_no_findings_are_none() -> None:
    frame = samples.findings(30)
    frame["gallery_id"] = float("nan")
    assert findings_table(frame).column("gallery_id").null_count == 30
    empty = pd.DataFrame({name: [] for name in FINDINGS.names})
    assert findings_table(empty).num_rows == 0


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({}, "drift", 1),
        ({"severity": "critical"}, "drift", 1),
        ({"severity": "info"}, "clean", 0),
        ({"repair": "applied"}, "clean", 0),
        ({"repair": "applied", "stays_open": True}, "drift", 1),
        ({"repair": "superseded"}, "drift", 1),
        ({"repair": "failed"}, "drift", 1),
        ({"acknowledged_until": NOW + timedelta(days=1)}, "clean", 0),
        ({"acknowledged_until": NOW - timedelta(days=1)}, "drift", 1),
    ],
)
def test_one_finding_decides_the_status_by_what_became_of_it(
    changes: dict[str, object], status: str, code: int
) -> None:
    run = judged(one(**changes))
    assert (run.status, exit_code(run)) == (status, code)
    assert run.findings[0].is_open(NOW) is (code == 1 or changes.get("severity") == "info")


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({}, 0),
        ({"checks": Checks(passed=3, failed=1)}, 1),
        (
            {
                "stores": {
                    "neon-db": StoreSummary(state=StoreState.COMPLETE),
                    "icp-canister": StoreSummary(),
                }
            },
            0,
        ),
        ({"stores": {"neon-db": StoreSummary(state=StoreState.INCOMPLETE)}}, 3),
        ({"stores": {"neon-db": StoreSummary(state=StoreState.UNREACHABLE)}}, 3),
        (
            {
                "stores": {
                    "neon-db": StoreSummary(
                        state=StoreState.COMPLETE, unknown_parts={"capsule_9": "refused"}
                    )
                }
            },
            3,
        ),
        ({"inconclusive": ("the breaker refused",)}, 3),
        ({"inconclusive": ("x",), "open": Open(critical=1)}, 3),
        ({"error": "it broke", "inconclusive": ("x",)}, 5),
        ({"interrupted": True, "error": "stopped"}, 130),
        ({"gallery": GalleryVerdict(id="g", verdict="standard_storage")}, 0),
        ({"gallery": GalleryVerdict(id="g", verdict="partially_on_icp")}, 0),
        ({"gallery": GalleryVerdict(id="g", verdict="empty")}, 1),
        ({"gallery": GalleryVerdict(id="g", verdict="not_found")}, 1),
        ({"gallery": GalleryVerdict(id="g", verdict="incomplete")}, 1),
        ({"gallery": GalleryVerdict(id="g", verdict="unknown")}, 3),
    ],
)
def test_the_graver_reason_decides_the_exit_code(parts: dict[str, object], code: int) -> None:
    assert exit_code(settled(samples.record(**parts))) == code


def test_the_status_is_one_of_the_contracts_four() -> None:
    assert {status.value for status in RunStatus} == {"clean", "drift", "inconclusive", "failed"}
    assert status_of(samples.record(started_at=datetime.now(UTC))) is RunStatus.CLEAN


def test_samples_of_all_partitions_are_counted_together(tmp_path: Path) -> None:
    directory = run_directory.create(tmp_path, "20261123T031500Z-7f3a")
    run = AuditRun(load_settings(None, home=str(tmp_path)), AuditOptions(), directory, NOW)
    concluded = [
        Concluded(sampled={"missing in vercel-blob": 501, "lost in any store": 500}),
        Concluded(in_flight=2),
        Concluded(sampled={"missing in vercel-blob": 625}, limits={"galleries": "too many"}),
    ]
    limits = publish._limits(run, concluded)
    told = {name: value for name, value in limits.items() if "by_sample" in name}
    assert told == {
        "confirmed_by_sample: missing in vercel-blob": 1126,
        "confirmed_by_sample: lost in any store": 500,
    }
    assert (limits["in_flight"], limits["galleries"]) == (2, "too many")
