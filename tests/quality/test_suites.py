"""Every check is shown to fail once, alone and naming its row; drift alone fails none."""

from datetime import timedelta
from pathlib import Path

import pytest
from spooled_samples import IDS, NOW, SCHEMAS, spool, true_rows

from checks.run import new_run_id
from tasks.quality import CheckResult, run_suites, spooled_tables, summary
from tasks.run_directory import RunDirectory, create

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
    *(
        (table, column, None, f"{column}_filled")
        for table, names in FILLED.items()
        for column in names
    ),
]
NOT_COUNTED = {"present_asset_has_size", "failure_has_reason", "asset_has_size"}


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return create(tmp_path, new_run_id(NOW))


def validated(directory: RunDirectory, table: str, rows: list[dict]) -> list[CheckResult]:
    folder = spool(table, rows, directory.path / "spool" / table)
    return run_suites(directory, now=NOW, tables={table: folder}, data_docs=False)


@pytest.mark.parametrize("table", SCHEMAS)
def test_true_tables_pass_every_check_over_every_row(directory: RunDirectory, table: str) -> None:
    rows = true_rows(table)
    results = validated(directory, table, rows)
    assert [result.check for result in results if not result.passed] == []
    unconditional = [result for result in results if result.check not in NOT_COUNTED]
    assert {result.rows for result in unconditional} == {len(rows)}


@pytest.mark.parametrize(("table", "column", "value", "check"), DAMAGE)
def test_one_damaged_value_fails_its_check_alone_and_is_named(
    directory: RunDirectory, table: str, column: str, value: object, check: str
) -> None:
    rows = true_rows(table)
    rows[5][column] = value  # an asset edge in the ledger
    results = validated(directory, table, rows)
    failed = [result for result in results if not result.passed]
    assert [result.check for result in failed] == [check]
    assert failed[0].failed_rows == 1
    name = {"ledger": "edge_id", "vercel-blob": "location"}.get(table, "memory_id")
    assert failed[0].sample[0][name] == ("null" if rows[5][name] is None else rows[5][name])
    assert failed[0].counts is (check not in NOT_COUNTED)
    assert summary(results).failed == (0 if check in NOT_COUNTED else 1)


@pytest.mark.parametrize("table", SCHEMAS)
def test_a_key_twice_fails_uniqueness_although_the_table_is_partitioned(
    directory: RunDirectory, table: str
) -> None:
    rows = true_rows(table)
    results = validated(directory, table, [*rows, dict(rows[0])])
    failed = [result for result in results if not result.passed]
    assert [result.check for result in failed] == ["key_unique"]
    assert failed[0].failed_rows == 2


def test_every_check_is_damaged_by_these_tests(directory: RunDirectory) -> None:
    damaged = {(table, check) for table, _, _, check in DAMAGE}
    for table in SCHEMAS:
        for result in validated(directory, table, true_rows(table)):
            assert result.check == "key_unique" or (table, result.check) in damaged


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
    assert run_suites(directory, now=NOW, data_docs=False) == []
    spool("ledger", true_rows("ledger"), directory.ledger)
    spool("vercel-blob", true_rows("vercel-blob"), directory.inventory("vercel-blob"))
    assert set(spooled_tables(directory)) == {"ledger", "vercel-blob"}
    tables = {result.table for result in run_suites(directory, now=NOW, data_docs=False)}
    assert tables == {"ledger", "vercel-blob"}


def test_an_empty_table_is_no_failure(directory: RunDirectory) -> None:
    assert summary(validated(directory, "ledger", [])).failed == 0
