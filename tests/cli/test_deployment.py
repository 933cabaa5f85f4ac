"""``prefect.yaml``: a real Prefect server takes every deployment in it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.server import QUIET, TemporaryServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[str]:
    server = TemporaryServer(tmp_path / "prefect").start()
    try:
        yield server.url()
    finally:
        server.stop()


def prefect(api: str, *arguments: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={
            **os.environ, **QUIET, "PREFECT_API_URL": api, "PREFECT_HOME": str(home),
            "EDGEKEEPER_SOURCE": str(ROOT),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_deploying_all_makes_the_nightly_audit_and_the_back_fill(api: str, tmp_path: Path) -> None:
    prefect(api, "work-pool", "create", "--type", "process", "edgekeeper", home=tmp_path)
    prefect(api, "deploy", "--all", home=tmp_path)
    found = {each["name"]: each for each in httpx.post(f"{api}/deployments/filter").json()}
    assert set(found) == {"nightly", "initial"}
    (schedule,) = found["nightly"]["schedules"]
    assert schedule["schedule"]["cron"] == "15 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert found["nightly"]["parameters"] == {"repair": "ledger", "verify": "5GB"}
    assert found["initial"]["schedules"] == []
    assert {each["work_pool_name"] for each in found.values()} == {"edgekeeper"}
    limits = {each["global_concurrency_limit"]["limit"] for each in found.values()}
    assert limits == {1}
