"""The nightly audit on clusters of two worker processes: what one machine finds, kills or not."""

import os
import pickle
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster_audits import WORKERS, Audits, Killer
from damaged_sandbox import Box

from checks.errors import SettingsError
from flows import clusters, task_runners
from tasks import fitness, log, run_directory, workers
from tasks.audit import AuditOptions, AuditRun
from tasks.examination import FAILURE, OK
from tasks.run_directory import RunDirectory

pytestmark = pytest.mark.timeout(900)  # each test takes less than a minute on an idle machine


@pytest.fixture(scope="module")
def audits(_shared: Box, prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Audits:
    return Audits(_shared, prefect_url, tmp_path_factory.mktemp("homes"))


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A Dask cluster: its scheduler in this process, each worker in one of its own."""
    distributed = pytest.importorskip("distributed", reason="edgekeeper[dask] is not installed")
    pytest.importorskip("prefect_dask", reason="edgekeeper[dask] is not installed")
    task_runners.keep_lost_workers()
    with distributed.LocalCluster(
        n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("own", "expected"),
    [({}, "10 minutes"), ({"DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "20s"}, "20s")],
)
def test_a_worker_of_our_own_cluster_has_time_to_come_back(
    own: dict[str, str], expected: str
) -> None:
    pytest.importorskip("prefect_dask", reason="edgekeeper[dask] is not installed")
    script = (
        "import dask; from flows import task_runners; from tasks.settings import Settings;"
        "task_runners.task_runner(Settings.model_construct(task_runner='dask'));"
        "print(dask.config.get('distributed.deploy.lost-worker-timeout'))"
    )
    typed = [sys.executable, "-c", script]
    done = subprocess.run(
        typed, env=os.environ | own, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stdout.strip() == expected


@pytest.fixture
def ray() -> Iterator[None]:
    """Ray as the flow starts it, on two cores; ended with the test whatever happens."""
    pytest.importorskip("prefect_ray", reason="edgekeeper[ray] is not installed")
    module = pytest.importorskip("ray", reason="edgekeeper[ray] is not installed")
    yield
    module.shutdown()


def kill_a_ray_worker(killed: list[int]) -> None:
    """Kills one of Ray's worker processes by SIGKILL in the middle of a task."""

    def kill() -> None:
        while not killed:
            for process in psutil.Process().children(recursive=True):
                if _works_for_ray(process):
                    time.sleep(0.2)
                    if _works_for_ray(process):
                        killed.append(process.pid)
                        process.kill()
                        return
            time.sleep(0.05)

    threading.Thread(target=kill, daemon=True).start()


def _works_for_ray(process: psutil.Process) -> bool:
    try:
        title = process.cmdline()[:1]
    except psutil.Error:
        return False
    # It is titled after its task; ray::IDLE has none, and Ray's own are written so: ray::SomeAgent.
    return bool(title) and title[0].startswith("ray::") and title[0][5:6].islower()


def test_a_dask_cluster_finds_what_one_machine_finds(audits: Audits, dask: Any) -> None:
    audited, outcome = audits.run(f"dask:{dask.scheduler_address}")
    assert outcome == audits.alone
    stages = [each.name for each in audited.record.stages]
    shards = ("list-vercel-blob-", "list-icp-canister-")
    for part in (*shards, "compare-", "quality-checks-", "verify-"):
        assert len([name for name in stages if name.startswith(part)]) >= WORKERS


def test_workers_killed_in_the_middle_of_their_work_change_nothing(
    audits: Audits, dask: Any
) -> None:
    kill = Killer(dask)
    _, outcome = audits.run(f"dask:{dask.scheduler_address}", list=kill, verify=kill, conclude=kill)
    assert len(kill.killed) == 3
    assert outcome == audits.alone


@pytest.mark.soak
@pytest.mark.usefixtures("ray")
def test_a_ray_cluster_finds_it_too_and_outlives_a_killed_worker(audits: Audits) -> None:
    killed: list[int] = []
    audited, outcome = audits.run("ray", verify=lambda: kill_a_ray_worker(killed))
    assert killed
    assert outcome == audits.alone
    assert any(each.name.startswith("verify-") for each in audited.record.stages)


def test_the_doctor_says_whether_the_cluster_answers(
    dask: Any, sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_runners, "ANSWER_SECONDS", 1)
    address = dask.scheduler_address

    def said(runner: str) -> list[tuple[str, str]]:
        checks = clusters.examine(sound.settings(home, EDGEKEEPER_TASK_RUNNER=runner))
        return [(each.state, f"{each.detail}; {each.remedy}") for each in checks]

    assert said("threads") == []
    dask.wait_for_workers(WORKERS)  # another test may have killed some
    ((state, words),) = said(f"dask:{address}")
    assert (state, f"room for {WORKERS} tasks" in words) == (OK, True)
    assert list(home.iterdir()) == []
    ((state, words),) = said("dask:tcp://127.0.0.1:1")
    assert state == FAILURE
    assert "Start its scheduler" in words
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    ((state, words),) = said(f"dask:{address}")
    assert state == FAILURE
    assert "set PREFECT_API_URL" in words
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    ((state, words),) = said(f"dask:{address}")
    assert state == FAILURE
    assert "Install edgekeeper[dask]" in words


def test_a_worker_that_is_not_fit_says_why(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.touch()
    here, version = platform.node(), metadata.version("edgekeeper")
    assert fitness.lacks(str(probe), version, None, here) is None
    assert "is installed there" in str(fitness.lacks(str(probe), "0.0.0", None, here))
    elsewhere = fitness.lacks(str(tmp_path / "other"), version, None, here)
    assert "one that every worker shares" in str(elsewhere)
    assert "PREFECT_API_URL" in str(fitness.lacks(str(probe), version, None, "another machine"))


def test_a_worker_shows_nothing_of_the_settings_and_writes_nowhere_else(
    sound: Box, tmp_path: Path
) -> None:
    settings = sound.settings(tmp_path / "home")
    directory = RunDirectory(tmp_path / "home", "20261123T031500Z-7f3a")
    run = AuditRun(settings, AuditOptions(), directory, datetime.now(UTC), abreast=2, process="x")
    assert repr(run) == "AuditRun(20261123T031500Z-7f3a)"
    arrived = pickle.loads(pickle.dumps(run))  # noqa: S301 - as a scheduler does
    assert arrived.settings == settings
    assert arrived.away
    with pytest.raises(SettingsError, match="every worker shares"), workers.at_work(arrived):
        pass
    assert not directory.path.exists()


def test_a_stage_that_a_worker_has_done_is_not_done_again(sound: Box, tmp_path: Path) -> None:
    home = run_directory.private_directory(tmp_path / "home")
    directory = run_directory.create(home, "20261123T031500Z-7f3a")
    directory.mark_done("begun")
    given = (sound.settings(home), AuditOptions(), directory, datetime.now(UTC))
    own, worker = AuditRun(*given), AuditRun(*given, process="x")
    with workers.at_work(worker):
        assert worker.stage("compare-0", lambda: {"edges": 7})["edges"] == 7
    log.close_log()
    for run in (own, worker):
        assert run.stage("compare-0", pytest.fail)["edges"] == 7
    own.stage("resolve", dict)
    assert list(directory.done_stages()) == ["begun", "resolve", "compare-0"]
