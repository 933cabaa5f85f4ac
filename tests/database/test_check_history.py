"""The data-quality checks across runs: a row per run and check, again for a resumed run."""

from tasks.check_history import record_checks
from tasks.database import Connection
from tasks.quality import CheckResult

FAILED = CheckResult(
    "ledger", "size_bytes_not_negative", "No size is negative.", passed=False, counts=True,
    rows=400, failed_rows=1, sample=({"edge_id": "e-7\x00", "size_bytes": "-17"},),
)  # fmt: skip
PASSED = CheckResult(
    "vercel-blob", "key_unique", "Once.", passed=True, counts=False, rows=9, failed_rows=0
)


def test_every_check_of_a_run_is_a_row_and_a_resumed_run_has_one_of_each(conn: Connection) -> None:
    record_checks(conn, "20261123T031500Z-7f3a", [FAILED, PASSED])
    record_checks(conn, "20261123T031500Z-7f3a", [FAILED])
    record_checks(conn, "20261124T031500Z-7f3a", [PASSED])
    record_checks(conn, "20261125T031500Z-7f3a", [])
    found = conn.execute(
        "SELECT run_id, check_name, success, severity, observed FROM audit.check_result ORDER BY 1, 2"
    ).fetchall()
    assert [(run_id[:8], *rest) for run_id, *rest, _ in found] == [
        ("20261123", "ledger.size_bytes_not_negative", False, "warning"),
        ("20261123", "vercel-blob.key_unique", True, "info"),
        ("20261124", "vercel-blob.key_unique", True, "info"),
    ]
    observed = found[0][4]
    assert (observed["rows"], observed["failed_rows"]) == (400, 1)
    assert observed["sample"] == [{"edge_id": "e-7\N{REPLACEMENT CHARACTER}", "size_bytes": "-17"}]
