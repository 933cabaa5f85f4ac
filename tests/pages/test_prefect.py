"""`docs/nightly.md` and the README's lines for Prefect: on a real server, with a worker."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from damaged_sandbox import BLOB, Box
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.templating import apply_values
from prefect.workers.process import ProcessJobConfiguration
from prefect_server import PrefectServer, free_port
from shell import Page, Shell, export

from tests.pages.shown import ROOT

pytestmark = pytest.mark.timeout(900)  # a minute each on an idle machine; a busy one is no failure
REFERENCES = json.loads((ROOT / "deploy" / "secrets.json").read_text("utf-8"))
KUBECTL = shutil.which("kubectl")
IN_A_POOL = ("A server of one's own", "Secrets as blocks", "A pool of processes", "Afterwards",
             "Old runs")  # fmt: skip


def environment(box: Box, home: Path) -> dict[str, str]:
    """The sandbox's settings, as a worker has them."""
    return box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}


@pytest.mark.runs("docs/nightly.md", *IN_A_POOL)
def test_a_worker_of_the_nightly_page_audits_with_secrets_from_blocks(
    page: Page, new_shell: Callable[[Path], Shell], source: Path, box: Box, home: Path
) -> None:
    shell = new_shell(source)
    port = free_port()
    server = PrefectServer(f"http://127.0.0.1:{port}/api")
    shell.run(export({"PREFECT_SERVER_API_PORT": str(port), "COLUMNS": "200"}))
    page.run(
        "A server of one's own", shell, filled={"http://127.0.0.1:4200/api": server.url},
        lasting={"prefect server start": server.answers},
    )  # fmt: skip
    given = environment(box, home)
    shell.run(export(given))
    page.run("Secrets as blocks", shell)
    shell.run(f"unset {' '.join(REFERENCES)}")  # from here on the blocks alone have them
    page.run(
        "A pool of processes", shell,
        lasting={"prefect worker start": lambda: server.has_worker("edgekeeper")},
    )  # fmt: skip
    deployed(server, "edgekeeper")
    shows_no_secret(server, given)

    said = page.run("Afterwards", shell)
    (run_id,) = re.findall(r"UUID: (\S+)", said["prefect deployment run nightly-audit/nightly"])
    assert run_id in said["prefect flow-run ls"]
    run = server.ended(run_id)
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Clean"), run["state"]
    (directory,) = (home / "runs").iterdir()
    assert directory.name == run["name"]  # one name in Prefect and on disk
    mended = json.loads((directory / "run.json").read_text("utf-8"))["repairs"]["applied"]
    assert mended == len(box.truth)
    shell.run(export(given))
    page.run("Old runs", shell)


def deployed(server: PrefectServer, pool: str) -> None:
    """Every flow is a deployment on the pool, and the nightly one has its schedule."""
    found = server.deployments()
    assert set(found) == {"nightly", "initial", "gallery", "store-forever"}
    assert {each["work_pool_name"] for each in found.values()} == {pool}
    (schedule,) = found["nightly"]["schedules"]
    assert schedule["schedule"]["cron"] == "15 3 * * *"
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    wanted = {"repair": "ledger", "verify": "5GB", "verify_minutes": 120}
    assert found["nightly"]["parameters"] == wanted
    for name, deployment in found.items():
        assert (deployment["schedules"] != []) is (name == "nightly")
        properties = deployment["parameter_openapi_schema"]["properties"]
        assert set(deployment["parameters"]) <= set(properties)
        assert all(each.get("description") for each in properties.values()), name
        one_at_a_time = deployment["global_concurrency_limit"]
        assert (one_at_a_time is None) is (name == "gallery")


def shows_no_secret(server: PrefectServer, given: Mapping[str, str]) -> None:
    """A worker gets every secret, and neither pool nor deployment has one."""
    pool, nightly = server.get("work_pools/edgekeeper"), server.deployments()["nightly"]
    for name in REFERENCES:
        assert given[name] not in json.dumps([pool, nightly])
    workers = asyncio.run(workers_environment(server.url, pool, nightly))
    assert {name: workers[name] for name in REFERENCES} == {
        name: given[name] for name in REFERENCES
    }
    assert workers["DO_NOT_TRACK"] == "1"


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


# Containers: as far as the server goes


@pytest.fixture
def server_shell(new_shell: Callable[[Path], Shell], source: Path, prefect_url: str) -> Shell:
    """A shell whose PREFECT_API_URL leads to the server that the tests share."""
    shell = new_shell(source)
    shell.run(export({"PREFECT_API_URL": prefect_url}))
    return shell


@pytest.mark.runs("docs/nightly.md", "Docker")
def test_a_pool_of_docker_containers_takes_every_deployment(
    page: Page, server_shell: Shell, prefect_url: str
) -> None:
    page.run("Docker", server_shell)
    server = PrefectServer(prefect_url)
    deployed(server, "edgekeeper-docker")
    variables, _ = pool_of(server, "docker")
    assert variables["env"]["default"] == REFERENCES


@pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")
@pytest.mark.runs("docs/nightly.md", "Kubernetes")
def test_a_pool_of_kubernetes_jobs_takes_every_deployment(
    page: Page, server_shell: Shell, prefect_url: str, box: Box, source: Path, tmp_path: Path
) -> None:
    """Without a cluster ``kubectl`` prints what it would make."""
    given = environment(box, Path("/var/lib/edgekeeper"))
    (source / "settings.env").write_text("".join(f"{k}={v}\n" for k, v in given.items()))
    server_shell.run(f'kubectl() {{ "{KUBECTL}" "$@" --dry-run=client --output json; }}')
    said = page.run("Kubernetes", server_shell)
    namespace, secret = (json.loads(text) for line, text in said.items() if "kubectl" in line)
    assert (namespace["kind"], secret["kind"]) == ("Namespace", "Secret")
    assert set(secret["data"]) == set(given)
    server = PrefectServer(prefect_url)
    deployed(server, "edgekeeper-kubernetes")
    variables, values = pool_of(server, "kubernetes")
    assert values["namespace"] == secret["metadata"]["namespace"] == namespace["metadata"]["name"]

    defaults = {name: each["default"] for name, each in variables.items() if "default" in each}
    template = server.get("work_pools/edgekeeper-kubernetes")["base_job_template"]
    manifest = apply_values(template["job_configuration"]["job_manifest"], defaults | values)
    assert "prefect.blocks" not in json.dumps(manifest)
    pod = as_kubernetes_reads(manifest, tmp_path)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert container["volumeMounts"] == [{"name": "home", "mountPath": "/var/lib/edgekeeper"}]
    assert pod["volumes"] == [
        {"name": "home", "persistentVolumeClaim": {"claimName": "edgekeeper"}}
    ]
    assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 10001, "fsGroup": 10001}
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "2Gi"}


def pool_of(server: PrefectServer, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables of a pool's template, among them what the deployments set; and these."""
    template = server.get(f"work_pools/edgekeeper-{kind}")["base_job_template"]
    variables: dict[str, Any] = template["variables"]["properties"]
    deployments = yaml.safe_load((ROOT / "deploy" / f"{kind}.yaml").read_text("utf-8"))
    values: dict[str, Any] = deployments["definitions"]["pool"]["job_variables"]
    assert set(values) <= set(variables)
    return variables, values


def as_kubernetes_reads(manifest: dict[str, Any], directory: Path) -> dict[str, Any]:
    """A manifest as Kubernetes' own types have it: what they do not know is gone.

    The environment is made the list that Prefect's worker makes of it.
    """
    for container in manifest["spec"]["template"]["spec"]["containers"]:
        environment = container["env"].items()
        container["env"] = [{"name": name, "value": value} for name, value in environment]
    job = directory / "job.json"
    job.write_text(json.dumps(manifest))
    typed = ["kubectl", "set", "image", "--local", "--output=json", f"--filename={job}"]
    done = subprocess.run(
        [*typed, "*=edgekeeper:1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


# README


@pytest.mark.runs("README.md", "Every night")
def test_a_worker_of_the_readme_runs_the_audit_and_prefect_shows_how_it_ended(
    page: Page, server_shell: Shell, prefect_url: str, box: Box, home: Path
) -> None:
    server = PrefectServer(prefect_url)
    server_shell.run(export(environment(box, home)))
    page.run(
        "Every night", server_shell,
        lasting={"prefect worker start": lambda: server.has_worker("edgekeeper")},
    )  # fmt: skip
    reads_only = {"repair": "none", "verify": "0", "verify_minutes": None}
    drift = server.ended(server.begin_night(**reads_only))
    assert (drift["state"]["type"], drift["state"]["name"]) == ("COMPLETED", "Drift")
    assert "findings are open" in drift["state"]["message"]
    left = server.artifacts(drift)
    assert set(left) == {"summary", "findings", "report", "progress"}
    assert "| missing |" in left["summary"]["data"]
    assert left["progress"]["data"] == 100

    box.kill("blob")
    try:
        blind = server.ended(server.begin_night(**reads_only))
    finally:
        box.revive()
    assert (blind["state"]["type"], blind["state"]["name"]) == ("COMPLETED", "Inconclusive")
    assert BLOB in server.artifacts(blind)["summary"]["data"]

    failed = server.ended(server.begin_night(repair="everything"))
    assert failed["state"]["type"] == "FAILED"
    assert "is no repair policy" in failed["state"]["message"]
