"""``prefect.yaml``, ``deploy/`` and the ``Dockerfile``: they name what is there.

What a real server makes of them: ``tests/pages/test_prefect.py``.
"""

import importlib
import inspect
import json
import runpy
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


DEPLOYED = ("prefect.yaml", "deploy/docker.yaml", "deploy/kubernetes.yaml")
SECRETS = (
    "DATABASE_URL", "DATABASE_URL_UNPOOLED", "BLOB_READ_WRITE_TOKEN", "IC_IDENTITY_PEM"
)  # fmt: skip


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
