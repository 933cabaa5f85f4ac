"""The sandbox's processes: they start, answer, survive a restart and never outlive their master."""

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from ic.identity import Identity
from typer.testing import CliRunner

from edgekeeper.cli.sandbox import app
from sandbox import supervisor
from sandbox.directory import HOST, SandboxDirectory, dotenv
from sandbox.errors import SandboxError
from sandbox.identity import principal_of
from sandbox.postgres import accepts

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 20


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[SandboxDirectory]:
    directory = SandboxDirectory.of(tmp_path / "a sandbox")
    yield directory
    if directory.path.exists():
        supervisor.stop(directory)


def wait_until_down(directory: SandboxDirectory) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while supervisor.running(directory) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    choices = directory.choices
    for port in (choices.postgres_port, choices.blob_port, choices.icp_port):
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, port)) != 0


def test_all_three_answer_by_the_settings_it_writes(directory: SandboxDirectory) -> None:
    supervisor.run_detached(directory, None)
    settings = directory.settings()
    with psycopg.connect(settings["DATABASE_URL"]) as connection:
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SELECT count(*) FROM storage_edges").fetchone() == (0,)
    token = {"authorization": f"Bearer {settings['BLOB_READ_WRITE_TOKEN']}"}
    listing = httpx.get(settings["VERCEL_BLOB_API_URL"], headers=token).raise_for_status()
    assert listing.json()["blobs"] == []
    status = httpx.get(settings["IC_URL"] + "/api/v2/status").raise_for_status()
    assert bytes.fromhex(settings["IC_ROOT_KEY"]) in status.content
    assert all(
        Path(settings[name]).is_absolute() for name in ("IC_IDENTITY_PEM", "EDGEKEEPER_HOME")
    )


def test_secrets_are_readable_by_their_owner_only(directory: SandboxDirectory) -> None:
    supervisor.run_detached(directory, None)
    for path in (directory.env_file, directory.identity, directory.choices_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(directory.database_url.replace(directory.choices.database_password, "x"))


def test_it_runs_below_a_directory_that_only_its_owner_may_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    directory = SandboxDirectory.of(tmp_path / "box")
    try:
        supervisor.run_detached(directory, None)
        assert accepts(directory.database_url)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    finally:
        supervisor.stop(directory)


def test_the_identity_is_one_that_ic_py_reads(directory: SandboxDirectory) -> None:
    directory.make(None)
    identity = Identity.from_pem(directory.identity.read_text())
    assert str(identity.sender()) == principal_of(directory.identity)


def test_data_ports_and_keys_survive_a_restart(directory: SandboxDirectory) -> None:
    supervisor.run_detached(directory, None)
    settings = directory.settings()
    with psycopg.connect(directory.database_url) as connection:
        connection.execute("INSERT INTO users (name) VALUES ('somebody')")
    assert supervisor.stop(directory)
    wait_until_down(directory)
    assert not supervisor.stop(directory)
    begun = time.monotonic()
    supervisor.run_detached(directory, None)
    assert time.monotonic() - begun < 10
    assert SandboxDirectory.of(directory.path).settings() == settings
    with psycopg.connect(directory.database_url) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("somebody",)]


def test_servers_end_with_a_supervisor_that_is_killed(directory: SandboxDirectory) -> None:
    supervisor.run_detached(directory, None)
    process_id = supervisor.running(directory)
    assert process_id
    os.kill(process_id, signal.SIGKILL)
    wait_until_down(directory)
    supervisor.run_detached(directory, None)
    assert accepts(directory.database_url)


def test_a_process_id_left_behind_is_not_taken_for_a_supervisor(
    directory: SandboxDirectory,
) -> None:
    directory.make(None)
    directory.lock_file.write_text(str(os.getpid()))
    assert supervisor.running(directory) is None
    assert not supervisor.stop(directory)


def test_a_second_supervisor_is_refused(directory: SandboxDirectory) -> None:
    supervisor.run_detached(directory, None)
    with pytest.raises(SandboxError, match="already running"):
        supervisor.run_detached(directory, None)


def test_a_taken_port_is_named(directory: SandboxDirectory) -> None:
    directory.make(None)
    port = directory.choices.blob_port
    taken = pytest.raises(SandboxError, match=f"port {port} of the blob")
    with socket.create_server((HOST, port)), taken:
        supervisor.run_detached(directory, None)
    wait_until_down(directory)


def test_ctrl_c_stops_everything_cleanly(directory: SandboxDirectory) -> None:
    code = (
        "import sys; from pathlib import Path; from sandbox import supervisor;"
        "from sandbox.directory import SandboxDirectory;"
        "got = supervisor.run(SandboxDirectory.of(Path(sys.argv[1])), None,"
        " lambda: print('ready', flush=True)); print(got.name)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(directory.path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        process_group=0,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        rest, _ = process.communicate(timeout=WAIT_SECONDS)
    assert rest == "SIGINT\n"
    wait_until_down(directory)


def test_another_variant_than_the_first_is_refused(directory: SandboxDirectory) -> None:
    directory.make("document")
    with pytest.raises(SandboxError, match="variant 'document'"):
        directory.make("deployed")


def test_a_directory_without_sandbox_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="sandbox up --dir"):
        SandboxDirectory.existing(tmp_path)


def test_settings_with_spaces_and_quotes_are_quoted_for_dotenv_and_shell() -> None:
    assert dotenv({"A": "/a b/it's", "B": "plain"}) == "A='/a b/it\\'s'\nB=plain\n"
    assert shlex.split(f"A={shlex.quote('/a b')}") == ["A=/a b"]


def test_the_commands_work_together(tmp_path: Path) -> None:
    box = ["--dir", str(tmp_path / "box")]
    truth = tmp_path / "truth.json"
    command = CliRunner()
    try:
        up = command.invoke(app, ["up", *box, "--detach"])
        assert (up.exit_code, "DATABASE_URL=postgresql://" in up.stdout) == (0, True)
        assert command.invoke(app, ["up", *box, "--detach"]).exit_code == 0
        assert command.invoke(app, ["up", *box]).exit_code == 2
        exports = command.invoke(app, ["env", *box]).stdout.splitlines()
        assert all(line.startswith("export ") for line in exports)
        filled = command.invoke(app, ["seed", *box, "--memories", "120", "--json", "-"])
        assert json.loads(filled.stdout)["memories"] == 120
        options = ["--drift", "orphaned=2,missing=1", "--truth", str(truth), "--json", "-"]
        damaged = command.invoke(app, ["drift", *box, *options])
        assert json.loads(damaged.stdout)["counts"] == {"orphaned": 2, "missing": 1}
        assert len(json.loads(truth.read_text())["findings"]) == 3
    finally:
        assert command.invoke(app, ["down", *box]).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["env"],
        ["down"],
        ["seed", "--memories", "5"],
        ["seed", "--memories", "5", "--drift", "all"],
        ["seed", "--memories", "5", "--drift", "all", "--truth", "t", "--legacy"],
        ["drift", "--truth", "t", "--drift", "nonsense=1"],
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
