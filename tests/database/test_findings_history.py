"""Findings live across runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from checks.kinds import needed_stores
from tasks.database import Connection
from tasks.findings_history import record_findings, resolve_unseen

DAY = timedelta(days=1)
ALL = ["neon-db", "vercel-blob", "icp-canister"]
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
    findings = [
        finding("blob", needs=["neon-db", "vercel-blob"]),
        finding("icp", backend="icp-canister", needs=["neon-db", "icp-canister"]),
        finding("lost", backend=None, needs=ALL),
        finding("kept", needs=["neon-db", "vercel-blob"]),
        finding("of an older version"),
    ]
    record_findings(conn, "r1", findings, complete=True, at=START)
    assert resolve_unseen(conn, "r1", whole=ALL) == []
    assert resolve_unseen(conn, "r2", whole=["vercel-blob"]) == []
    resolved = resolve_unseen(conn, "r2", whole=["neon-db", "vercel-blob"], keep=["kept"])
    assert sorted(resolved) == ["blob", "of an older version"]
    assert sorted(resolve_unseen(conn, "r3", whole=ALL)) == ["icp", "kept", "lost"]


def test_what_no_store_holds_is_resolved_where_one_of_them_is_not_configured(
    conn: Connection,
) -> None:
    two = ["neon-db", "vercel-blob"]
    lost = {"kind": "lost", "backend": None}
    found = finding("f", **lost, needs=needed_stores("lost", None, two))
    record_findings(conn, "r1", [found], complete=False, at=START)
    assert resolve_unseen(conn, "r2", whole=["neon-db"]) == []
    assert resolve_unseen(conn, "r2", whole=two) == ["f"]
    found = finding("f", **lost, needs=needed_stores("lost", None, ALL))
    record_findings(conn, "r3", [found], complete=True, at=START)
    assert resolve_unseen(conn, "r4", whole=two) == []  # ICP, where it was not either, is not seen


def test_what_only_the_bytes_had_shown_stays_open_until_they_are_read_again(
    conn: Connection,
) -> None:
    ids = {"memory_id": "m", "memory_type": "image", "artifact": "asset"}
    doc = {"evidence": "sha256"}
    one = finding("one", kind="hash_mismatch", doc=doc, needs=["neon-db"], **ids)
    both = finding(
        "both", kind="replica_divergence", doc=doc, needs=["neon-db"], **ids | {"backend": None}
    )
    record_findings(conn, "r1", [one, both], complete=True, at=START)
    assert resolve_unseen(conn, "r2", whole=ALL) == []
    read = (
        "INSERT INTO audit.verification (memory_id, memory_type, backend, at, method, outcome, "
        "run_id) VALUES ('m', 'image', 'vercel-blob', now(), 'sha256', 'read', 'r2')"
    )
    conn.execute(read)
    assert sorted(resolve_unseen(conn, "r2", whole=ALL)) == ["both", "one"]


def test_a_resolved_finding_that_comes_back_begins_anew(conn: Connection) -> None:
    record_findings(conn, "r1", [finding("f")], complete=True, at=START)
    resolve_unseen(conn, "r2", whole=ALL)
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
