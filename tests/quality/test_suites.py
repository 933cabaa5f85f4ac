"""Every check is shown to fail once, alone and naming its row; drift alone fails none."""

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from spooled_samples import IDS, NOW, spool, true_rows

from checks.columns import CHECKED
from checks.run import Checks, new_run_id
from checks.suites import Limits, all_suites
from tasks.audit import AuditOptions, AuditRun
from tasks.quality import CheckResult, run_suites, spooled_tables, summary
from tasks.run_checks import check_tables
from tasks.run_directory import RunDirectory, create
from tasks.settings import load_settings

#: What a store or the ledger holds: one row per key.
STORED = ("ledger", "neon-db", "vercel-blob", "icp-canister")
FUTURE = NOW + timedelta(days=2)
FILLED = {
    "ledger": (
        "artifact",
        "backend",
        "present",
        "sync_state",
        "version",
        "memory_type",
        "memory_id",
    ),
    "neon-db": ("memory_id", "memory_type", "version"),
    "vercel-blob": ("location", "size", "version", "written_at"),
    "icp-canister": ("capsule_id", "memory_id", "asset_there", "version"),
}
DAMAGE = [
    ("ledger", "memory_type", "photo", "memory_type_known"),
    ("ledger", "artifact", "thumbnail", "artifact_known"),
    ("ledger", "backend", "ftp", "backend_known"),
    ("ledger", "sync_state", "syncing", "sync_state_known"),
    ("ledger", "content_hash", "AB" * 32, "content_hash_form"),
    ("ledger", "size_bytes", -1, "size_bytes_not_negative"),
    ("ledger", "created_at", FUTURE, "created_at_past"),
    ("ledger", "updated_at", FUTURE, "updated_at_past"),
    ("ledger", "last_synced_at", FUTURE, "last_synced_at_past"),
    ("ledger", "size_bytes", None, "present_asset_has_size"),
    ("ledger", "sync_state", "failed", "failure_has_reason"),
    ("neon-db", "memory_type", "photo", "memory_type_known"),
    ("neon-db", "content_size", -3, "content_size_not_negative"),
    ("neon-db", "content_sha256", "0" * 63, "content_sha256_form"),
    ("neon-db", "created_at", FUTURE, "created_at_past"),
    ("neon-db", "written_at", FUTURE, "written_at_past"),
    ("vercel-blob", "location", "/images/a.jpg", "location_form"),
    ("vercel-blob", "size", -1, "size_not_negative"),
    ("vercel-blob", "written_at", FUTURE, "written_at_past"),
    ("icp-canister", "memory_type", "photo", "memory_type_known"),
    ("icp-canister", "size", -1, "size_not_negative"),
    ("icp-canister", "declared_sha256", "sha256:00", "declared_sha256_form"),
    ("icp-canister", "created_at", FUTURE, "created_at_past"),
    ("icp-canister", "written_at", FUTURE, "written_at_past"),
    ("icp-canister", "size", None, "asset_has_size"),
    ("gallery-items", "tracked", False, "item_tracked"),
    ("stored-copies", "verified_at", NOW - timedelta(days=181), "verified_lately"),
    *(
        (table, column, None, f"{column}_filled")
        for table, names in FILLED.items()
        for column in names
    ),
]
#: The row of a measure, and the check that watches it.
MEASURES = [(1, "findings_usual"), (3, "coverage_kept"), (5, "run_lately")]
NOT_COUNTED = {
    "present_asset_has_size", "failure_has_reason", "asset_has_size", "item_tracked",
    "verified_lately", "findings_usual", "coverage_kept", "run_lately",
}  # fmt: skip
LIMITS = Limits.at(NOW)


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return create(tmp_path, new_run_id(NOW))


def validated(
    directory: RunDirectory, table: str, rows: list[dict], limits: Limits = LIMITS
) -> list[CheckResult]:
    folder = spool(table, rows, directory.path / "spool" / uuid4().hex)
    return run_suites(directory, limits, tables={table: folder})


@pytest.mark.parametrize("table", CHECKED)
def test_true_tables_pass_every_check_over_every_row(directory: RunDirectory, table: str) -> None:
    rows = true_rows(table)
    results = validated(directory, table, rows)
    assert [result.check for result in results if result.passed is not True] == []
    unconditional = [result for result in results if result.check not in NOT_COUNTED]
    assert {result.rows for result in unconditional} <= {len(rows)}


@pytest.mark.parametrize(("table", "column", "value", "check"), DAMAGE)
def test_one_damaged_value_fails_its_check_alone_and_is_named(
    directory: RunDirectory, table: str, column: str, value: object, check: str
) -> None:
    rows = true_rows(table)
    broken = 4 if table == "stored-copies" else 5  # an asset's edge, a copy in Vercel Blob
    rows[broken][column] = value
    results = validated(directory, table, rows)
    failed = [result for result in results if result.passed is not True]
    assert [result.check for result in failed] == [check]
    assert failed[0].failed_rows == 1
    name = {"ledger": "edge_id", "vercel-blob": "location"}.get(table, "memory_id")
    assert failed[0].sample[0][name] == (
        "null" if rows[broken][name] is None else rows[broken][name]
    )
    assert failed[0].counts is (check not in NOT_COUNTED)
    assert summary(results).failed == (0 if check in NOT_COUNTED else 1)


@pytest.mark.parametrize(("broken", "check"), MEASURES)
def test_a_measure_past_its_limit_fails_its_check_alone_and_is_named(
    directory: RunDirectory, broken: int, check: str
) -> None:
    rows = true_rows("run")
    rows[broken]["value"] = rows[broken]["limit"] + 0.1
    (failed,) = [each for each in validated(directory, "run", rows) if each.passed is not True]
    assert (failed.check, failed.failed_rows, failed.counts) == (check, 1, False)
    assert failed.sample[0]["of"] == rows[broken]["of"]
    assert failed.sample[0]["value"] == str(rows[broken]["value"])
    assert failed.sample[0]["limit"] == str(rows[broken]["limit"])


@pytest.mark.parametrize("table", CHECKED)
def test_a_table_that_is_not_there_passes_no_check(directory: RunDirectory, table: str) -> None:
    results = run_suites(directory, LIMITS, tables={table: directory.path / "nothing"})
    assert {(each.passed, each.rows) for each in results} == {(None, 0)}
    assert all(result.unjudged for result in results)


def test_a_part_of_the_checks_says_of_its_table_that_it_is_not_there(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    run = AuditRun(load_settings(None, home=str(directory.home)), AuditOptions(), directory, NOW)
    results = check_tables(run, {}, "ledger")
    assert results
    assert {(each.table, each.passed) for each in results} == {("ledger", None)}


@pytest.mark.parametrize("table", ["gallery-items", "stored-copies", "run"])
def test_a_check_without_anything_to_judge_neither_passes_nor_fails(
    directory: RunDirectory, table: str
) -> None:
    results = run_suites(directory, LIMITS, tables={table: directory.path / "nothing"})
    results += validated(directory, table, [])
    if table == "stored-copies":
        rows = [row | {"verified_at": None} for row in true_rows(table)]
        results += validated(directory, table, rows)
    assert {result.passed for result in results} == {None}
    assert all(result.unjudged for result in results)
    assert summary(results) == Checks(passed=0, failed=0)


def test_an_old_verification_counts_where_a_person_set_the_limit(directory: RunDirectory) -> None:
    rows = true_rows("stored-copies")
    limits = Limits.at(NOW, timedelta(days=30))
    (failed,) = validated(directory, "stored-copies", rows, limits)
    assert failed.failed_rows == len(IDS)
    assert failed.counts
    assert summary([failed]).failed == 1


def test_what_is_in_its_grace_period_need_not_be_tracked(directory: RunDirectory) -> None:
    rows = true_rows("gallery-items")
    rows[2] |= {"due": False, "tracked": False}
    (result,) = validated(directory, "gallery-items", rows)
    assert result.passed is True


@pytest.mark.parametrize("table", STORED)
def test_a_key_twice_fails_uniqueness_although_the_table_is_partitioned(
    directory: RunDirectory, table: str
) -> None:
    rows = true_rows(table)
    results = validated(directory, table, [*rows, dict(rows[0])])
    failed = [result for result in results if result.passed is not True]
    assert [result.check for result in failed] == ["key_unique"]
    assert failed[0].failed_rows == 2


def test_every_expectation_of_every_suite_is_broken_by_a_case_of_these_tests() -> None:
    broken = {(table, check) for table, _, _, check in DAMAGE}
    broken |= {("run", check) for _, check in MEASURES}
    broken |= {(table, "key_unique") for table in STORED}
    assert broken == {
        (table, expectation.meta["check"])
        for table, suite in all_suites().items()
        for expectation in suite.expectations(LIMITS)
    }


def test_drift_is_for_the_findings_and_fails_no_check(directory: RunDirectory) -> None:
    rows = true_rows("ledger")
    rows[1] |= {"content_hash": None}  # hash_unknown
    rows[3] |= {"sync_state": "migrating", "updated_at": NOW - timedelta(hours=9)}  # stuck
    rows[7] |= {"sync_state": "failed", "present": False, "sync_error": "timed out"}  # sync_failed
    rows[5] |= {"location": "/relative.jpg"}  # invalid_location
    rows[9] |= {"sync_error": "left over"}  # stale_failure
    rows[12] |= {"memory_id": "not-a-uuid"}  # invalid_id
    rows[13] |= {"memory_id": IDS[2].upper()}
    rows[17] |= {"present": False}  # unmarked
    results = validated(directory, "ledger", rows)
    assert summary(results).failed == 0


def test_results_of_many_partitions_are_added_up(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.validation.ROWS_PER_BATCH", 1)
    rows = true_rows("ledger")
    for row in rows:
        row["size_bytes"] = -1
    results = {result.check: result for result in validated(directory, "ledger", rows)}
    assert results["size_bytes_not_negative"].failed_rows == len(rows)
    assert results["size_bytes_not_negative"].rows == len(rows)
    assert len(results["size_bytes_not_negative"].sample) == 20


def test_only_tables_that_were_spooled_are_validated(directory: RunDirectory) -> None:
    assert run_suites(directory, LIMITS) == []
    spool("ledger", true_rows("ledger"), directory.ledger)
    spool("vercel-blob", true_rows("vercel-blob"), directory.inventory("vercel-blob"))
    assert set(spooled_tables(directory)) == {"ledger", "vercel-blob"}
    tables = {result.table for result in run_suites(directory, LIMITS)}
    assert tables == {"ledger", "vercel-blob"}


def test_an_empty_table_is_no_failure(directory: RunDirectory) -> None:
    assert summary(validated(directory, "ledger", [])).failed == 0
