"""`docs/cluster.md`: an audit on workers that are started as the page says."""

import json
import socket
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Box
from prefect_server import free_port
from s3_storage import BUCKET, SECRET, Storage
from shell import Page, Shell, export

pytestmark = pytest.mark.timeout(900)  # a minute each on an idle machine; a busy one is no failure
#: `pip install` says what it would do, by what is installed and without asking anybody.
DRY = {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}


@pytest.fixture
def cluster_shell(
    new_shell: Callable[[Path], Shell], source: Path, box: Box, prefect_url: str
) -> Shell:
    """A shell with the sandbox's settings and the server that the tests share."""
    shell = new_shell(source)
    shell.run(export(box.directory.settings() | DRY | {"PREFECT_API_URL": prefect_url}))
    return shell


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def finds(said: str, home: Path, box: Box) -> None:
    """The audit found what was damaged, and parts of it were done elsewhere than in its process."""
    (run,) = (home / "runs").iterdir()
    record: dict[str, Any] = json.loads((run / "run.json").read_text("utf-8"))
    found = {each["fingerprint"] for each in record["findings"]}
    assert found == {each.fingerprint for each in box.truth}, said
    assert list(run.glob("log-*.jsonl"))


@pytest.mark.skipif(find_spec("prefect_dask") is None, reason="edgekeeper[dask] is not installed")
@pytest.mark.runs("docs/cluster.md", "Dask")
def test_a_dask_cluster_made_as_the_page_says_does_the_audit(
    page: Page, cluster_shell: Shell, box: Box, home: Path, prefect_url: str
) -> None:
    from distributed import Client  # noqa: PLC0415 - an extra

    port = free_port()
    address = f"tcp://127.0.0.1:{port}"

    def has_worker() -> bool:
        with Client(address, timeout=60) as client:
            return len(client.nthreads()) == 1

    home.mkdir()
    said = page.run(
        "Dask", cluster_shell,
        filled={
            "8786   ": f"{port}   ", "tcp://10.0.0.5:8786": address,
            "/mnt/shared/edgekeeper": str(home), "http://10.0.0.5:4200/api": prefect_url,
        },
        lasting={"dask scheduler": lambda: listens(port), "dask worker": has_worker},
        codes={"edgekeeper doctor": (1,)},  # the audit's: something is wrong
    )  # fmt: skip
    assert "prefect-dask" in said["pip install -e '.[dask]'"]
    assert "room for 2 tasks" in said["edgekeeper doctor && edgekeeper audit --verify all"]
    finds(str(said), home, box)


@pytest.mark.skipif(find_spec("prefect_dask") is None, reason="edgekeeper[dask] is not installed")
@pytest.mark.runs("docs/cluster.md", "A home that is a URL")
def test_a_home_that_is_a_url_is_examined_on_the_worker_as_the_page_says(
    page: Page, cluster_shell: Shell
) -> None:
    storage, port = Storage(), free_port()
    storage.make_bucket()
    cluster_shell.run(export(storage.environment))
    said = page.run(
        "A home that is a URL", cluster_shell,
        filled={"family-audits": BUCKET, "KEY_ID=…": "KEY_ID=edgekeeper", "KEY=…": f"KEY={SECRET}"},
    )  # fmt: skip
    assert "s3fs" in said["pip install -e '.[dask,s3]'"]
    cluster_shell.begin(f"dask scheduler --port {port}", lambda: listens(port))
    cluster_shell.begin(f"dask worker tcp://127.0.0.1:{port} --nthreads 2", lambda: True)
    cluster_shell.run(export({"EDGEKEEPER_TASK_RUNNER": f"dask:tcp://127.0.0.1:{port}"}))
    assert "room for 2 tasks" in cluster_shell.run("edgekeeper doctor")
    storage.go_away()
    assert "storage could not be used" in cluster_shell.run("edgekeeper doctor", codes=(2,))


@pytest.mark.soak
@pytest.mark.skipif(find_spec("prefect_ray") is None, reason="edgekeeper[ray] is not installed")
@pytest.mark.runs("docs/cluster.md", "Ray")
def test_a_ray_cluster_made_as_the_page_says_answers_whoever_has_its_token(
    page: Page, cluster_shell: Shell
) -> None:
    """No audit: `tests/audit/test_cluster.py` has one, on Ray as the flow starts it."""
    own, clients = free_port(), free_port()
    said = page.run(
        "Ray", cluster_shell,
        filled={"--head": f"--head --block --port {own} --ray-client-server-port {clients}"},
        lasting={"ray start": lambda: listens(clients)},
    )  # fmt: skip
    assert "prefect-ray" in said["pip install -e '.[ray]'"]
    status = f"ray status --address 127.0.0.1:{own}"
    cluster_shell.run(f"until {status} | grep CPU; do sleep 1; done")
    refused = f"RAY_AUTH_TOKEN={'0' * 64} timeout 60 {status} 2>&1"
    assert "oken" in cluster_shell.run(refused, codes=(1, 124), traced=True)
