"""The audit as a person calls it: exit codes, the record, files without secrets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from damaged_sandbox import BLOB, Box, command_line, identity
from test_store_faults import LIST
from test_truth import expected

from tasks.database import connector
from tasks.lease import held


def secrets(box: Box) -> list[str]:
    token = box.directory.choices.blob_token
    pem = box.directory.identity.read_text("ascii").splitlines()
    return [
        token, token.rpartition("_")[2], box.directory.choices.database_password,
        max(pem, key=len),
    ]  # fmt: skip


def files_below(home: Path) -> Iterator[Path]:
    yield from (path for path in home.rglob("*") if path.is_file())


def check_no_secret(box: Box, home: Path, *outputs: str) -> None:
    wanted = [each.encode() for each in secrets(box)]
    for path in files_below(home):
        content = path.read_bytes()
        assert not [each for each in wanted if each in content], path
    for text in outputs:
        assert not [each for each in secrets(box) if each in text]


def test_the_program_finds_the_truth_repairs_it_and_keeps_its_secrets(box: Box, home: Path) -> None:
    pem = box.directory.identity.read_text("ascii")
    done = command_line(
        box, home, "audit", "--verify", "all", "--repair", "ledger", "--allow-percent", "100",
        "--json", "-", "--verbose", IC_IDENTITY_PEM=pem,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    record = json.loads(done.stdout)
    found = {identity(each) for each in record["findings"]}
    assert found == expected(box, "listing", "bytes")
    assert record["status"] == "drift"
    assert record["repairs"]["applied"]
    assert record["checks"]["passed"]
    run = home / "runs" / record["run_id"]
    assert json.loads((run / "run.json").read_text("utf-8")) == record
    check_quality_is_kept(box, record, run)
    check_no_secret(box, home, done.stdout, done.stderr)


def check_quality_is_kept(box: Box, record: dict[str, Any], run: Path) -> None:
    """Every check is a row, those of the galleries and of the run itself too, and on the pages."""
    with psycopg.connect(box.directory.database_url) as conn:
        kept = dict(
            conn.execute(
                "SELECT check_name, success FROM audit.check_result WHERE run_id = %s",
                [record["run_id"]],
            ).fetchall()
        )
    assert sum(success is True for success in kept.values()) == record["checks"]["passed"]
    assert kept["stored-copies.verified_lately"] is True
    assert kept["gallery-items.item_tracked"] is not None
    assert kept["run.findings_usual"] is None  # it is the first
    assert "Fewer than 3 audits before this one" in (run / "report.html").read_text("utf-8")
    assert "Fewer than 3 audits before this one" in (run / "data-docs/index.html").read_text(
        "utf-8"
    )


def test_a_failed_store_is_exit_3_and_its_error_holds_no_secret(
    box: Box, home: Path, prefect_url: str
) -> None:
    box.fault(BLOB, "status", 403, **LIST)
    done = command_line(box, home, "audit", "--verbose", "--json", "-", PREFECT_API_URL=prefect_url)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["stores"][BLOB]["state"] == "incomplete"
    check_no_secret(box, home, done.stdout, done.stderr)


def test_a_second_writing_run_is_exit_4(sound: Box, home: Path, prefect_url: str) -> None:
    sound.audit(home)
    connecting = connector(sound.directory.database_url)
    with held(connecting, "20260101T000000Z-aaaa", flow="nightly-audit", policy="ledger"):
        done = command_line(
            sound, home, "audit", "--repair", "ledger", "--json", "-", PREFECT_API_URL=prefect_url
        )
    assert done.returncode == 4
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 or "lease" in done.stderr


def test_another_stores_token_is_exit_2_and_leaves_no_run(
    sound: Box, home: Path, prefect_url: str
) -> None:
    sound.audit(home)
    runs = len(list((home / "runs").iterdir()))
    other = "vercel_blob_rw_AnotherStore1234_0123456789abcdef"
    done = command_line(
        sound, home, "audit", BLOB_READ_WRITE_TOKEN=other, PREFECT_API_URL=prefect_url
    )
    assert done.returncode == 2
    assert "--accept-new-store" in done.stderr
    assert other not in done.stderr
    assert len(list((home / "runs").iterdir())) == runs
