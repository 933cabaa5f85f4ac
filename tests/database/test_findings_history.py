"""Findings live across runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.database import Connection
from tasks.findings_history import record_findings, resolve_unseen

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


def finding(fingerprint: str, **more: Any) -> dict[str, Any]:
    doc = {"observed": {"size": float("nan"), "text": "a\x00b"}}
    return {"fingerprint": fingerprint, "kind": "orphaned", "severity": "info",
            "backend": "vercel-blob", "location": "a", "doc": doc, **more}  # fmt: skip


def test_a_finding_counts_once_per_run_and_remembers_how_it_was_first_seen(
    conn: Connection,
) -> None:
    record_findings(conn, "r1", [finding("f"), finding("f")], complete=True, at=START)
    record_findings(conn, "r1", [finding("f")], complete=True, at=START)
    history = record_findings(
        conn, "r2", [finding("f", doc={"etag": 2})], complete=False, at=START + DAY
    )
    (row,) = history.to_dict("records")
    assert (row["runs_seen"], row["complete_runs_seen"]) == (2, 1)
    assert (row["first_seen"], row["last_seen"]) == (START, START + DAY)
    first, last = conn.execute("SELECT first_doc, doc FROM audit.finding").fetchone() or ({}, {})
    assert (first["observed"], last) == ({"size": None, "text": "a\ufffdb"}, {"etag": 2})


def test_what_is_not_seen_any_more_is_resolved_only_where_the_run_can_tell(
    conn: Connection,
) -> None:
    findings = [finding("blob"), finding("icp", backend="icp-canister"), finding("lost", backend=None),
                finding("kept"), finding("other", kind="hash_mismatch")]  # fmt: skip
    record_findings(conn, "r1", findings, complete=True, at=START)
    resolved = resolve_unseen(
        conn,
        "r2",
        backends=["vercel-blob"],
        without_backend=False,
        kinds=["orphaned"],
        keep=["kept"],
    )
    assert resolved == ["blob"]
    assert resolve_unseen(conn, "r1", backends=["icp-canister"], without_backend=True) == []


def test_a_resolved_finding_that_comes_back_begins_anew(conn: Connection) -> None:
    record_findings(conn, "r1", [finding("f")], complete=True, at=START)
    resolve_unseen(conn, "r2", backends=["vercel-blob"], without_backend=True)
    (row,) = record_findings(
        conn, "r3", [finding("f")], complete=True, at=START + 20 * DAY
    ).to_dict("records")
    assert (row["runs_seen"], row["complete_runs_seen"], row["first_seen"]) == (
        1,
        1,
        START + 20 * DAY,
    )
    open_ones = conn.execute(
        "SELECT count(*) FROM audit.finding WHERE resolved_at IS NULL"
    ).fetchone()
    assert open_ones == (1,)


def test_thousands_of_findings_go_in_batches(conn: Connection) -> None:
    many = [finding(f"{number:016x}") for number in range(6000)]
    assert len(record_findings(conn, "r1", many, complete=True)) == 6000
