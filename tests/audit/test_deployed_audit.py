"""The nightly deployment on a real Prefect server, run by a worker: states and artifacts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from damaged_sandbox import BLOB, Box
from dotenv import dotenv_values

from flows.server import QUIET, TemporaryServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TemporaryServer]:
    started = TemporaryServer(tmp_path / "prefect").start()
    yield started
    started.stop()


class Deployment:
    """The nightly deployment; each run is triggered over the API and done by a worker."""

    def __init__(self, api: str, box: Box, home: Path) -> None:
        self.api, self.home = api, home
        stores = {k: v for k, v in dotenv_values(box.directory.path / ".env").items() if v}
        self.environment = {
            **os.environ, **QUIET, **stores, "PREFECT_API_URL": api, "PREFECT_HOME": str(home),
            "EDGEKEEPER_SOURCE": str(ROOT), "EDGEKEEPER_HOME": str(home / "runs-of-the-worker"),
        }  # fmt: skip
        self._prefect("work-pool", "create", "--type", "process", "edgekeeper")
        self._prefect("deploy", "--name", "nightly-audit/nightly")
        (found,) = httpx.post(f"{api}/deployments/filter").json()
        self.id = found["id"]

    def _prefect(self, *arguments: str, **more: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=ROOT, env=self.environment | more, capture_output=True, text=True, timeout=280,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, parameters: dict[str, Any], **settings: str) -> dict[str, Any]:
        """The flow run as the API has it after a worker has done it."""
        made = httpx.post(
            f"{self.api}/deployments/{self.id}/create_flow_run", json={"parameters": parameters}
        ).raise_for_status()
        worker = ("worker", "start", "--pool", "edgekeeper", "--run-once", "--type", "process")
        self._prefect(*worker, **settings)
        done: dict[str, Any] = httpx.get(f"{self.api}/flow_runs/{made.json()['id']}").json()
        return done

    def artifacts(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        wanted = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
        found = httpx.post(f"{self.api}/artifacts/filter", json=wanted).json()
        return {each["key"]: each for each in found}


@pytest.mark.timeout(600)
def test_a_worker_runs_the_nightly_audit_and_prefect_shows_how_it_ended(
    box: Box, server: TemporaryServer, tmp_path: Path
) -> None:
    deployment = Deployment(server.url(), box, tmp_path)
    drift = deployment.run({"repair": "none", "verify": "0", "verify_minutes": None})
    assert (drift["state"]["type"], drift["state"]["name"]) == ("COMPLETED", "Drift")
    assert "findings are open" in drift["state"]["message"]
    left = deployment.artifacts(drift)
    assert {key.removeprefix("nightly-audit-") for key in left} == {
        "summary", "findings", "report", "progress",
    }  # fmt: skip
    assert "| missing |" in left["nightly-audit-summary"]["data"]
    assert left["nightly-audit-progress"]["data"] == 100
    (home,) = (deployment.home / "runs-of-the-worker" / "runs").iterdir()
    assert drift["name"] == home.name  # one name in Prefect and on disk

    box.kill("blob")
    try:
        blind = deployment.run({"repair": "none", "verify": "0", "verify_minutes": None})
    finally:
        box.revive()
    assert (blind["state"]["type"], blind["state"]["name"]) == ("COMPLETED", "Inconclusive")
    assert BLOB in deployment.artifacts(blind)["nightly-audit-summary"]["data"]

    failed = deployment.run({"repair": "everything"})
    assert failed["state"]["type"] == "FAILED"
    assert "is no repair policy" in failed["state"]["message"]
