"""The run directory: private, whole files or none, and no formula in a spreadsheet."""

import csv
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import report_samples as samples

from checks.errors import SettingsError, UsageError
from checks.run import FINDINGS, RunRecord, findings_table
from tasks.run_directory import (
    RunDirectory,
    atomic,
    completed_runs,
    create,
    existing,
    former_runs,
    local_home,
    local_path,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_no_secret_is_written_down_that_a_store_repeated(directory: RunDirectory) -> None:
    run, _ = samples.with_sample(3)
    said = "it answered 400: authorization: Bearer vercel_blob_rw_store_hunter2hunter2"
    directory.write_run(run.model_copy(update={"error": said}))
    directory.mark_done("list", detail=said, parts={"capsule": said})
    for path in (directory.run_json, directory.checkpoint):
        assert "hunter2" not in path.read_text("utf-8")
    assert directory.read_run().run_id == run.run_id


def test_everything_is_its_owners_alone(directory: RunDirectory) -> None:
    run, frame = samples.with_sample(30)
    directory.write_run(run)
    directory.write_findings(findings_table(frame))
    directory.mark_done("list")
    for folder in (
        directory.ledger,
        directory.certificates,
        directory.inventory("neon-db"),
        directory.path,
        directory.home,
    ):
        assert mode(folder) == 0o700
    for file in (
        directory.run_json,
        directory.findings_csv,
        directory.findings_parquet,
        directory.checkpoint,
    ):
        assert mode(file) == 0o600


def test_the_record_and_the_findings_come_back_as_written(directory: RunDirectory) -> None:
    run, frame = samples.with_sample(30)
    table = findings_table(frame)
    directory.write_run(run)
    directory.write_findings(table)
    assert directory.read_run() == run
    assert directory.read_findings().equals(table)
    assert pq.read_schema(directory.findings_parquet).equals(FINDINGS)


def test_the_csv_holds_every_finding_and_no_formula(directory: RunDirectory) -> None:
    frame = samples.findings(30)
    frame.loc[3, "location"] = '=HYPERLINK("http://x")'
    frame.loc[4, "explanation"] = 'two\nlines, "quoted"'
    directory.write_findings(findings_table(frame))
    with directory.findings_csv.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert list(rows[0]) == FINDINGS.names
    assert '\'=HYPERLINK("http://x")' in [row["location"] for row in rows]
    assert 'two\\nlines, "quoted"' in [row["explanation"] for row in rows]
    assert rows[0]["first_seen"].endswith("Z")


def test_a_write_that_fails_leaves_the_former_file_and_no_draft(directory: RunDirectory) -> None:
    directory.run_json.write_text("former")

    def write_half() -> None:
        with atomic(directory.run_json) as file:
            file.write(b"half a rec")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert directory.run_json.read_text() == "former"
    assert [path.name for path in directory.path.iterdir()] == ["run.json"]


def test_stages_that_are_done_are_remembered_in_order_with_their_facts(
    directory: RunDirectory,
) -> None:
    assert directory.done_stages() == {}
    directory.mark_done("snapshot-before", rows=12)
    directory.mark_done("list")
    assert list(directory.done_stages().items()) == [
        ("snapshot-before", {"rows": 12}),
        ("list", {}),
    ]
    with pytest.raises(ValueError, match="Bad"):
        directory.mark_done("Bad/stage")
    directory.checkpoint.write_text("{")
    with pytest.raises(UsageError, match="can't be resumed"):
        directory.done_stages()


def test_former_runs_come_newest_first_and_a_broken_one_is_named(tmp_path: Path) -> None:
    for night, text in ((21, None), (22, '{"schema": 1'), (23, None), (24, "")):
        made = create(tmp_path, f"202611{night}T031500Z-00{night}")
        if text is None:
            made.write_run(samples.record(made.run_id))
        elif text:
            made.run_json.write_text(text)
    (tmp_path / "runs" / "not-a-run").mkdir()
    history = former_runs(tmp_path)
    assert [run.run_id for run in history.runs] == [
        "20261123T031500Z-0023",
        "20261121T031500Z-0021",
    ]
    assert len(history.notes) == 2
    assert "0024" in history.notes[0]
    assert former_runs(tmp_path / "nowhere").runs == ()


def test_an_id_that_is_none_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run id"):
        existing(tmp_path, "../../etc")
    with pytest.raises(UsageError, match="there is no run"):
        existing(tmp_path, "20261123T031500Z-7f3a")
    create(tmp_path, "20261123T031500Z-7f3a")
    with pytest.raises(UsageError, match="--resume"):
        create(tmp_path, "20261123T031500Z-7f3a")


def test_a_home_is_a_directory_here_or_a_place_of_its_own_in_the_cache(tmp_path: Path) -> None:
    assert local_home(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert local_home(f"file://{tmp_path}/c") == tmp_path / "c"
    assert local_path("s3://bucket/a") != local_path("s3://bucket/b")
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="EDGEKEEPER_HOME"):
        local_home(str(tmp_path / "file" / "below"))


def test_completed_runs_of_a_flow_are_read_newest_first_and_no_further_than_asked(
    tmp_path: Path,
) -> None:
    for number, (flow, status) in enumerate(
        [("nightly-audit", "clean"), ("backfill", "clean"), ("nightly-audit", "failed"),
         ("nightly-audit", "drift"), ("nightly-audit", "clean")]
    ):  # fmt: skip
        directory = create(tmp_path, f"2026110{number}T031500Z-7f3a")
        directory.write_run(
            RunRecord(run_id=directory.run_id, flow=flow, status=status, started_at=samples.NOW)
        )
    (create(tmp_path, "20261031T031500Z-7f3a").run_json).write_text("{")
    runs = completed_runs(tmp_path, "nightly-audit", before="20261104T031500Z-7f3a")
    assert next(runs).run_id == "20261103T031500Z-7f3a"
    (tmp_path / "runs" / "20261100T031500Z-7f3a" / "run.json").write_text("{")
    assert list(runs) == []  # nobody had read it before
