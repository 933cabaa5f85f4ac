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


def test_deploying_all_makes_every_flow_a_deployment(api: str, tmp_path: Path) -> None:
    prefect(api, "work-pool", "create", "--type", "process", "edgekeeper", home=tmp_path)
    prefect(api, "deploy", "--all", home=tmp_path)
    found = {each["name"]: each for each in httpx.post(f"{api}/deployments/filter").json()}
    assert set(found) == {"nightly", "initial", "gallery", "store-forever"}
    (schedule,) = found["nightly"]["schedules"]
    assert schedule["schedule"]["cron"] == "15 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    wanted = {"repair": "ledger", "verify": "5GB", "verify_minutes": 120}
    assert found["nightly"]["parameters"] == wanted
    assert {each["work_pool_name"] for each in found.values()} == {"edgekeeper"}
    for name, deployment in found.items():
        assert (deployment["schedules"] != []) is (name == "nightly")
        properties = deployment["parameter_openapi_schema"]["properties"]
        assert set(deployment["parameters"]) <= set(properties)
        assert all(each.get("description") for each in properties.values()), name
        one_at_a_time = deployment["global_concurrency_limit"]
        assert (one_at_a_time is None) is (name == "gallery")
