"""The temporary Prefect server: real flow runs, no server left behind, two commands at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flows.server import ServerError, TemporaryServer

ROOT = Path(__file__).resolve().parents[2]
FLOW = """
import os
from pathlib import Path
from flows import server
server.begin(Path(os.environ["EDGEKEEPER_HOME"]))
from flows.engine import flow, name_run, run_flow, task
from prefect.runtime import flow_run, task_run

class Run:
    run_id = "20261123T031500Z-7f3a"

def double(run: Run, partition: int) -> tuple[int, str]:
    return 2 * partition, task_run.get_name()

@flow("doubling")
def doubling(x: int) -> dict[str, object]:
    name_run("20261123T031500Z-7f3a")
    doubled, task_name = task(double).submit(Run(), x).result()
    return {"is": doubled, "task": task_name, "run": flow_run.get_id()}

outcome = run_flow(doubling, x=21)
import httpx
url = server.api_url(Path(os.environ["EDGEKEEPER_HOME"]))
seen = httpx.get(f"{url}/flow_runs/{outcome['run']}").json()
print(outcome["is"], seen["name"], seen["state"]["type"], outcome["task"], sep=", ", end="")
"""
WAITING = """
import os, sys, time
from pathlib import Path
from flows.server import TemporaryServer
server = TemporaryServer(Path(os.environ["EDGEKEEPER_HOME"])).start()
print(server.url(), flush=True)
time.sleep(600)
"""


def start(script: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "EDGEKEEPER_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_two_commands_at_once_get_their_results_from_real_flow_runs(home: Path) -> None:
    both = [start(FLOW, home), start(FLOW, home)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        run_id = "20261123T031500Z-7f3a"
        assert out.split(", ") == ["42", run_id, "COMPLETED", f"{run_id} double 21"]
        assert err == ""


def test_the_server_ends_with_its_command_even_after_sigkill(home: Path) -> None:
    command = start(WAITING, home / "prefect")
    assert command.stdout is not None
    url = command.stdout.readline().strip()
    assert httpx.get(f"{url}/health").json() is True
    command.send_signal(signal.SIGKILL)
    command.communicate(timeout=10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/health", timeout=1)
        except httpx.TransportError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its command")


def test_a_server_that_can_not_start_is_one_error_that_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").write_bytes(b"this is no database" * 100)
    server = TemporaryServer(tmp_path).start()
    with pytest.raises(ServerError, match=r"server\.log"):
        server.url()


def test_the_servers_environment_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("needs /proc")
    monkeypatch.setenv("BLOB_READ_WRITE_TOKEN", "vercel_blob_rw_store1_verysecrettoken")
    server = TemporaryServer(tmp_path).start()
    try:
        assert server._process is not None
        environment = b""
        deadline = time.monotonic() + 10
        while not environment and time.monotonic() < deadline:  # empty until the program has begun
            environment = Path(f"/proc/{server._process.pid}/environ").read_bytes()
        assert b"DO_NOT_TRACK=1" in environment
        assert b"PREFECT_SERVER_ANALYTICS_ENABLED=false" in environment
        assert b"verysecrettoken" not in environment
    finally:
        server.stop()
