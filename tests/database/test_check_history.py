"""The data-quality checks across runs: a row per run and check, again for a resumed run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from checks.model import StoreState
from checks.run import Edges, RunRecord, StoreSummary
from tasks.audit import AuditOptions, AuditRun
from tasks.check_history import former_measures, record_checks
from tasks.database import Connection
from tasks.quality import CheckResult, summary
from tasks.run_checks import check_run
from tasks.run_directory import create
from tasks.settings import load_settings

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


def test_what_could_not_be_judged_is_neither_a_success_nor_a_failure(conn: Connection) -> None:
    unjudged = replace(PASSED, passed=None, unjudged="It is the first run.")
    record_checks(conn, "20261123T031500Z-7f3a", [unjudged])
    found = conn.execute("SELECT success, unjudged FROM audit.check_result").fetchall()
    assert found == [(None, "It is the first run.")]


def test_a_run_is_given_what_those_before_it_measured_the_newest_first(conn: Connection) -> None:
    for day in (21, 22, 23, 24):
        kept = replace(PASSED, measured={"day": day})
        record_checks(conn, f"202611{day}T031500Z-7f3a", [FAILED, kept])
    record_checks(conn, "20261120T031500Z-7f3a", [PASSED])
    found = former_measures(conn, "vercel-blob.key_unique", "20261124T031500Z-7f3a", 2)
    assert found == [
        ("20261123T031500Z-7f3a", {"day": 23}), ("20261122T031500Z-7f3a", {"day": 22})
    ]  # fmt: skip


def night(conn: Connection, home: Path, day: int, **counts: int) -> dict[str, CheckResult]:
    """The checks of an audit at its end, by name."""
    at = datetime(2026, 11, day, 3, 15, tzinfo=UTC)
    directory = create(home, f"{at:%Y%m%dT%H%M%SZ}-7f3a")
    run = AuditRun(load_settings(None, home=str(home)), AuditOptions(), directory, at)
    record = RunRecord(
        run_id=run.run_id, flow=run.flow, started_at=at, finished_at=at + timedelta(minutes=6),
        counts=counts, edges=Edges(total=10_000, compared=10_000),
        stores={"neon-db": StoreSummary(state=StoreState.COMPLETE)},
    )  # fmt: skip
    results = check_run(conn, run, record, [PASSED])
    assert (directory.data_docs / "index.html").is_file()
    return {each.check: each for each in results}


def test_a_night_is_held_against_those_before_it(conn: Connection, tmp_path: Path) -> None:
    first = night(conn, tmp_path, 1, missing=4)
    assert {each.passed for each in first.values()} == {True, None}
    assert first["findings_usual"].unjudged
    for day in (2, 3):
        night(conn, tmp_path, day, missing=4)
    usual, strange = night(conn, tmp_path, 4, missing=5), night(conn, tmp_path, 9, missing=40)
    assert usual["findings_usual"].passed is usual["run_lately"].passed is True
    assert strange["findings_usual"].passed is strange["run_lately"].passed is False
    named = strange["findings_usual"].sample
    assert [(row["of"], row["value"]) for row in named] == [
        ("all kinds", "40.0"), ("missing", "40.0")
    ]  # fmt: skip
    assert strange["run_lately"].sample[0]["of"] == "20261104T031500Z-7f3a"
    assert summary(list(strange.values())).failed == 0
    rows = conn.execute(
        "SELECT check_name FROM audit.check_result WHERE success IS FALSE ORDER BY 1"
    ).fetchall()
    assert rows == [("run.findings_usual",), ("run.run_lately",)]
