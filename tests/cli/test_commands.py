"""The command line's contract: exit codes, one line for each problem, no traceback, no secret."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "vercel_blob_rw_store1_verysecrettoken"
PASSWORD = "hunter2hunter2"


def run(
    *arguments: str, cwd: Path, seconds: float = 60, **settings: str
) -> subprocess.CompletedProcess[str]:
    keep = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "edgekeeper", *arguments],
        cwd=cwd, env={**environment, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def closed_port() -> str:
    return f"postgresql://app:{PASSWORD}@127.0.0.1:1/app"


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = {"prefect", "pandas", "pyarrow", "psycopg", "httpx", "great_expectations", "sandbox"}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgekeeper", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()
    }
    assert not heavy & loaded


@pytest.mark.parametrize(
    "command",
    ["audit", "verify", "findings", "ack", "resolve", "report", "revert", "prune", "plan",
     "store-forever", "quarantine list", "quarantine restore", "presence gallery",
     "presence memory", "presence syncs", "serve", "doctor", "schema status", "schema apply",
     "backfill", "demo", "sandbox up", "sandbox down", "sandbox env", "sandbox seed",
     "sandbox drift"],
)  # fmt: skip
def test_every_command_has_examples_exit_codes_and_the_shared_options(
    command: str, tmp_path: Path
) -> None:
    shown = run(*command.split(), "--help", cwd=tmp_path, COLUMNS="200").stdout
    for part in ("Example:", "Exit codes:", "--json", "--quiet", "--no-color"):
        assert part in shown


def test_a_setting_that_is_missing_is_one_line_and_nothing_is_started(tmp_path: Path) -> None:
    done = run("audit", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert "DATABASE_URL is not set" in done.stderr
    assert not (tmp_path / ".edgekeeper" / "prefect").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("BLOB_READ_WRITE_TOKEN", "notatokenbutsecret"),
        ("DATABASE_URL", "mysql://app:hunter2hunter2@db/app"),
        ("EDGEKEEPER_TASK_RUNNER", "celery"),
        ("EDGEKEEPER_TASK_RUNNER", "dask:tls://[hunter2hunter2"),
        ("EDGEKEEPER_TASK_RUNNER", "ray:ray://app:hunter2hunter2@head:10001"),
        ("EDGEKEEPER_VERIFY_BUDGET", "many"),
        ("CANISTER_ID_BACKEND", "NOT-A-CANISTER"),
        ("IC_URL", "http://example.org"),
        ("IC_URL", "https://app:hunter2hunter2@icp-api.io"),
        ("VERCEL_BLOB_API_URL", "https://hunter2hunter2@vercel.com/api/blob"),
        ("IC_ROOT_KEY", "fetch"),
        ("DATABASE_URL", "postgresql://localhost/db?host=db.example&sslmode=disable"),
        ("DATABASE_URL", "postgresql://localhost/db?hostaddr=192.0.2.1&sslmode=%70refer"),
        ("DATABASE_URL", "postgresql://app:hunter2hunter2@db:99999/app"),
        ("DATABASE_URL", "postgresql://app:hunter2hunter2@d\u2100b/app"),
        ("EDGEKEEPER_HEARTBEAT_URL", "hunter2hunter2"),
        ("EDGEKEEPER_GRACE_MINUTES", "anhour"),
    ],
)
def test_a_malformed_setting_is_named_and_its_value_is_not_repeated(
    variable: str, value: str, tmp_path: Path
) -> None:
    done = run("doctor", cwd=tmp_path, **{variable: value})
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert variable in done.stderr
    assert value == "fetch" or value not in done.stdout + done.stderr


def test_home_is_not_taken_for_the_home_of_runs(tmp_path: Path) -> None:
    shown = json.loads(run("doctor", "--json", "-", cwd=tmp_path, HOME="/nowhere").stdout)
    assert shown["settings"]["EDGEKEEPER_HOME"] == ".edgekeeper"


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--repair", "everything"),
        ("audit", "--store", "walrus"),
        ("audit", "--no-such-option"),
        ("audit", "--allow-percent", "101"),
        ("no-such-command",),
        ("revert",),
        ("prune",),
        ("prune", "--keep-days", "3"),
        ("ack", "0123456789abcdef"),
        ("ack", "0123456789abcdef", "--until", "yesterday", "--reason", "why"),
        ("ack", "0123456789abcdef", "--until", "2020-01-01", "--reason", "why"),
        ("ack", "0123456789abcdef", "--until", "2999-01-01", "--reason", " "),
        ("ack", "0123456789abcdef", "--withdraw", "--reason", "why"),
        ("findings", "--kind", "no-such-kind"),
        ("report", "../../etc"),
        ("doctor", "--json", "no/such/directory/out.json"),
        ("audit", "--verify", "lots"),
    ],
)
def test_a_wrong_call_is_exit_2_without_a_traceback(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path, DATABASE_URL=closed_port())
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_prints_no_secret_and_names_the_store_that_is_down(tmp_path: Path) -> None:
    done = run(
        "doctor", "--json", "-", cwd=tmp_path, DATABASE_URL=closed_port(),
        BLOB_READ_WRITE_TOKEN=TOKEN, VERCEL_BLOB_API_URL="http://127.0.0.1:1/api/blob",
        EDGEKEEPER_API_TOKEN="averylongbearertoken", seconds=120,
    )  # fmt: skip
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert {each["store"]: each["state"] for each in told["stores"]} == {
        "Neon": "unreachable", "Vercel Blob": "unreachable", "ICP canister": "not configured",
    }  # fmt: skip
    for secret in (TOKEN, "verysecrettoken", PASSWORD, "averylongbearertoken"):
        assert secret not in done.stdout + done.stderr


def test_doctor_without_a_database_says_that_nothing_can_be_done(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path)
    assert done.returncode == 2
    assert "without DATABASE_URL nothing can be done" in done.stderr


def test_doctor_calls_an_identity_that_is_not_there_a_setting_and_not_an_outage(
    tmp_path: Path,
) -> None:
    done = run(
        "doctor", "--quiet", cwd=tmp_path, CANISTER_ID_BACKEND="bkyz2-fmaaa-aaaaa-qaaaq-cai",
        IC_URL="http://127.0.0.1:1", IC_IDENTITY_PEM="/no/such/file", DATABASE_URL=closed_port(),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert "IC_IDENTITY_PEM names a file that could not be read" in done.stderr


def test_doctor_refuses_a_home_that_can_not_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("doctor", cwd=tmp_path, EDGEKEEPER_HOME=str(tmp_path / "file" / "home"))
    assert done.returncode == 2
    assert "EDGEKEEPER_HOME is not usable" in done.stderr


def test_doctor_waits_ten_seconds_for_stores_that_accept_and_never_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = run(
            "doctor", "--json", "-", cwd=tmp_path, DATABASE_URL=f"postgresql://app:x@{origin}/app",
            BLOB_READ_WRITE_TOKEN=TOKEN, VERCEL_BLOB_API_URL=f"http://{origin}/api/blob",
            CANISTER_ID_BACKEND="bkyz2-fmaaa-aaaaa-qaaaq-cai", IC_URL=f"http://{origin}",
        )  # fmt: skip
        assert time.monotonic() - began < 60
    assert done.returncode == 3
    assert [each["state"] for each in json.loads(done.stdout)["stores"]] == ["unreachable"] * 3


def test_an_error_nobody_expected_is_one_line_and_its_traceback_is_in_the_log(
    tmp_path: Path,
) -> None:
    script = (
        "import edgekeeper.cli.doctor as doctor\n"
        "def broken(settings): raise RuntimeError('postgresql://app:hunter2hunter2@db/app')\n"
        "doctor._diagnoses = broken\n"
        "import sys; sys.argv = ['edgekeeper', 'doctor']\n"
        "from edgekeeper.cli import main; main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    log = tmp_path / ".edgekeeper" / "log.jsonl"
    assert str(log) in done.stderr.replace("\n", "")
    event = json.loads(log.read_text("utf-8").splitlines()[-1])
    assert "RuntimeError" in event["exception"]
    assert PASSWORD not in log.read_text("utf-8") + done.stderr
    assert log.stat().st_mode & 0o077 == 0
