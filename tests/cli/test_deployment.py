"""``prefect.yaml`` and ``deploy/``: a real Prefect server takes every deployment in them."""

import asyncio
import importlib
import inspect
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.workers.process import ProcessJobConfiguration

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
    return run("-m", "prefect", "--no-prompt", *arguments, api=api, home=home)


def run(*arguments: str, api: str, home: Path, given: str | None = None) -> str:
    """What Python prints with these arguments, beside that server."""
    done = subprocess.run(
        [sys.executable, *arguments], input=given,
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
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


DEPLOYED = ("prefect.yaml", "deploy/docker.yaml", "deploy/kubernetes.yaml")
SECRETS = (
    "DATABASE_URL", "DATABASE_URL_UNPOOLED", "BLOB_READ_WRITE_TOKEN", "IC_IDENTITY_PEM"
)  # fmt: skip
SAVE = """
import sys
from prefect.blocks.system import Secret
for name in sys.argv[1:]:
    Secret(value=f"the secret of {name}").save(name)
"""


@pytest.mark.parametrize("name", DEPLOYED)
def test_each_file_deploys_flows_that_are_there_with_parameters_that_they_have(name: str) -> None:
    deployed = yaml.safe_load((ROOT / name).read_text("utf-8"))
    assert {each["name"] for each in deployed["deployments"]} == {
        "nightly", "initial", "gallery", "store-forever"
    }  # fmt: skip
    for each in deployed["deployments"]:
        path, function = each["entrypoint"].split(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        flow = getattr(module, function)
        assert set(each["parameters"]) <= set(inspect.signature(flow.fn).parameters)


@pytest.mark.parametrize("name", DEPLOYED[1:])
def test_on_every_kind_of_pool_the_deployments_are_the_same(name: str) -> None:
    ours, usual = (
        [
            {key: value for key, value in each.items() if key != "work_pool"}
            for each in yaml.safe_load((ROOT / path).read_text("utf-8"))["deployments"]
        ]
        for path in (name, "prefect.yaml")
    )
    assert ours == usual


def test_the_image_holds_every_package_and_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    copied = {line.split()[1] for line in lines if line.startswith("COPY ")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"sql"}
    assert {"checks", "tasks", "flows", "edgekeeper", "sandbox"} <= packages
    assert packages - {"tests", "benchmarks"} <= copied
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001"]


@pytest.mark.timeout(900)  # six commands, each of which loads Prefect: seconds on an idle machine
def test_a_worker_gets_the_secrets_and_nothing_on_the_server_shows_them(
    api: str, tmp_path: Path
) -> None:
    references = json.loads((ROOT / "deploy" / "secrets.json").read_text("utf-8"))
    assert tuple(references) == SECRETS
    blocks = {name: text.split(".")[-1].removesuffix(" }}") for name, text in references.items()}
    run("-c", SAVE, *blocks.values(), api=api, home=tmp_path)
    template = prefect(
        api, "work-pool", "get-default-base-job-template", "--type", "process", home=tmp_path
    )
    pool = tmp_path / "pool.json"
    pool.write_text(run("deploy/work_pool.py", api=api, home=tmp_path, given=template))
    prefect(
        api, "work-pool", "create", "--type", "process", "--base-job-template", str(pool),
        "edgekeeper", home=tmp_path,
    )  # fmt: skip
    prefect(api, "deploy", "--name", "nightly", home=tmp_path)

    (deployment,) = httpx.post(f"{api}/deployments/filter").json()
    shown = httpx.get(f"{api}/work_pools/edgekeeper").json()
    assert "the secret of" not in json.dumps([deployment, shown])
    environment = asyncio.run(workers_environment(api, shown, deployment))
    for name, block in blocks.items():
        assert environment[name] == f"the secret of {block}"
    assert environment["DO_NOT_TRACK"] == "1"


async def workers_environment(
    api: str, pool: dict[str, Any], deployment: dict[str, Any]
) -> dict[str, str | None]:
    """What a worker of the pool gives a run of the deployment, by the worker's own code."""
    with temporary_settings({PREFECT_API_URL: api}):
        async with get_client() as client:
            configuration = await ProcessJobConfiguration.from_template_and_values(
                pool["base_job_template"], deployment["job_variables"], client=client
            )
    return configuration.env


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_prefects_templates_of_containers_take_what_edgekeeper_adds(kind: str) -> None:
    from prefect.server.api import collections  # noqa: PLC0415 - where the templates lie

    bundled = Path(collections.__file__).parent / "collections_data" / "views"
    known = json.loads((bundled / "aggregate-worker-metadata.json").read_text("utf-8"))
    template = known[f"prefect-{kind}"][kind]["default_base_job_configuration"]
    made = runpy.run_path(str(ROOT / "deploy" / "work_pool.py"))["edgekeepers"](template)
    configured = yaml.safe_load((ROOT / "deploy" / f"{kind}.yaml").read_text("utf-8"))
    wanted = set(configured["definitions"]["pool"]["job_variables"])
    assert wanted <= set(made["variables"]["properties"])
    if kind == "docker":
        assert set(made["variables"]["properties"]["env"]["default"]) == set(SECRETS)
        return
    pod = made["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "edgekeeper"}}]
    assert container["volumeMounts"][0]["name"] == pod["volumes"][0]["name"]
    assert "prefect.blocks" not in json.dumps(made)
