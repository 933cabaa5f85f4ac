"""Dirt in legacy rows is counted and reported with what to do; what is lost is a finding."""

import json
from pathlib import Path

from legacy_sandbox import LegacySandbox

from checks.legacy import LEGACY
from checks.run import RunRecord, exit_code
from tasks.database import connect
from tasks.schema import apply_schema


def test_every_kind_of_dirt_is_reported_and_none_ends_the_back_fill(
    legacy: LegacySandbox, home: Path
) -> None:
    with legacy.database(("dirty_rows",)) as database:
        with connect(database.url) as conn:
            apply_schema(conn)
        rows = database.app_rows()
        record = database.backfill(home)
        counts = {each.kind: each.count for each in record.legacy}
        videos, documents = (
            database.sql(f"SELECT count(*) FROM {name}")[0][0]  # noqa: S608
            for name in ("videos", "documents")
        )
        assert {kind: counts.get(kind) for kind in LEGACY if kind != "size_only_in_metadata"} == {
            **dict.fromkeys(LEGACY.keys() - {"size_only_in_metadata"}),
            "url_null": 1, "url_empty": 1, "url_relative": 1, "url_foreign": 1,
            "url_with_query": 1, "blob_shared": 1, "blob_gone": 1, "no_time": 1, "owner_gone": 1,
            "size_wrong": videos + 2, "size_unreadable": documents,
            "url_percent_encoded": counts.get("url_percent_encoded"),
        }  # fmt: skip
        gone = next(each for each in record.legacy if each.kind == "blob_gone").samples
        lost = [f"{each.memory_type} {each.memory_id}" for each in record.findings]
        on_icp = {edge[0] for edge in legacy.truth if edge[3] == "icp-canister"}
        assert lost == [each for each in gone if each.split()[1] not in on_icp]
        assert {each.kind for each in record.findings} <= {"lost"}
        assert exit_code(record) == (1 if lost else 0)
        assert database.app_rows() == rows
        directory = home / "runs" / record.run_id
        told = json.loads((directory / "run.json").read_text())
        assert told["legacy"][0]["next_step"] == LEGACY["url_null"].next_step
        assert RunRecord.model_validate(told) == record
        assert LEGACY["owner_gone"].meaning in (directory / "report.html").read_text()


def test_a_budget_of_bytes_is_kept_to_and_the_audits_hash_what_is_left(
    legacy: LegacySandbox, home: Path
) -> None:
    assets = "FROM storage_edges WHERE artifact = 'asset' AND backend <> 'neon-db' AND present"
    with legacy.database(()) as database:
        with connect(database.url) as conn:
            apply_schema(conn)
        budget = 40_000  # about twenty of them
        record = database.backfill(home, budget)
        count = f"SELECT count(*), count(content_hash) {assets}"
        ((edges, hashed),) = database.sql(count)
        assert 0 < hashed < edges
        assert budget <= record.coverage.bytes_this_run < 2 * budget  # what was begun is read
        assert record.limits["left to hash"] == edges - hashed
        database.audit(home, repair="ledger", verify="all")
        assert database.sql(count) == [(edges, edges)]
