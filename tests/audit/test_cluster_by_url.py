"""The nightly audit on workers that share nothing but a URL: what one machine finds."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster_audits import WORKERS, Audits, Killer
from damaged_sandbox import Box
from prefect_audit import prefect_with
from s3_storage import BUCKET, SECRET, Storage

from checks.errors import HomeStorageError
from checks.model import RunStatus
from checks.run import RunRecord
from flows import backfill, clusters, engine, task_runners
from tasks import partitions, run_directory
from tasks.examination import FAILURE
from tasks.exchange_area import Area

pytestmark = pytest.mark.timeout(900)  # each test takes less than a minute on an idle machine


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    """The storage, which this process reaches as one that has no cache yet."""
    here = Storage()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in here.environment.items():
            patch.setenv(name, value)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("own-cache")))
        here.files.clear_instance_cache()
        here.files.mkdir(BUCKET)
        yield here
        here.files.clear_instance_cache()
    here.go_away()


@pytest.fixture(scope="module")
def audits(_shared: Box, prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Audits:
    return Audits(_shared, prefect_url, tmp_path_factory.mktemp("homes"), rows=250)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The home directories of the workers."""
    return [tmp_path_factory.mktemp(f"worker-{number}") for number in range(WORKERS)]


@contextmanager
def cluster_of(storage: Storage, workers: dict[Path, int]) -> Iterator[Any]:
    """A Dask cluster whose workers, each a process, have no directory in common with anybody.

    ``workers``: the threads of each by its home directory.
    """
    distributed = pytest.importorskip("distributed", reason="edgekeeper[dask] is not installed")
    pytest.importorskip("prefect_dask", reason="edgekeeper[dask] is not installed")
    here = {"host": "127.0.0.1"}

    def worker(place: Path, threads: int) -> dict[str, Any]:
        own = {"HOME": str(place), "XDG_CACHE_HOME": "", "TMPDIR": str(place)}
        options = {"nthreads": threads, "env": storage.environment | own}
        return {
            "cls": distributed.Nanny, "options": here | options | {"local_directory": str(place)}
        }  # fmt: skip

    scheduler = {
        "cls": distributed.Scheduler,
        "options": here | {"port": 0, "dashboard_address": "127.0.0.1:0"},
    }
    specs = {number: worker(*each) for number, each in enumerate(workers.items())}
    task_runners.keep_lost_workers()
    with distributed.SpecCluster(specs, scheduler, silence_logs=50) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def dask(storage: Storage, places: list[Path]) -> Iterator[Any]:
    """Two workers, one of which does two tasks at the same time."""
    with cluster_of(storage, {place: 1 + number for number, place in enumerate(places)}) as cluster:
        yield cluster


def home_of(name: str) -> str:
    return f"s3://{BUCKET}/{name}"


def left_by(home: str) -> list[str]:
    """The files of the runs in this process's cache, by their paths there."""
    top = run_directory.local_home(home)
    return sorted(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file())


def kept_in(storage: Storage, home: str) -> list[str]:
    top = home.removeprefix("s3://")
    return sorted(path.removeprefix(f"{top}/") for path in storage.files.find(top))


@pytest.mark.parametrize(
    "stages", [("conclude",), pytest.param(("list", "verify", "conclude"), marks=pytest.mark.soak)]
)
def test_workers_that_share_a_url_alone_find_what_one_machine_finds_although_one_is_killed(
    stages: tuple[str, ...], audits: Audits, dask: Any, storage: Storage, places: list[Path]
) -> None:
    home, kill = home_of(f"killed-{len(stages)}"), Killer(dask)
    runner, long_over = f"dask:{dask.scheduler_address}", "20261101T031500Z-7f3a"
    Area(home, long_over).write("attempts/a/offers/begun.json", {})
    audited, outcome = audits.run(runner, home, **dict.fromkeys(stages, kill))
    assert len(kill.killed) == len(stages)
    assert outcome == audits.alone
    done = [each.name for each in audited.record.stages]
    shards = ("list-vercel-blob-", "list-icp-canister-")
    for part in (*shards, "compare-", "quality-checks-", "verify-"):
        assert len([name for name in done if name.startswith(part)]) >= WORKERS
    kept = kept_in(storage, home)
    assert left_by(home) == kept
    assert not [path for place in places for path in place.rglob("*.parquet")]
    for name in kept:
        assert SECRET.encode() not in storage.files.cat_file(f"{home}/{name}")


@pytest.mark.parametrize("then", ["dask", pytest.param("threads", marks=pytest.mark.soak)])
def test_a_storage_that_goes_away_leaves_a_run_that_can_be_resumed(
    then: str, audits: Audits, dask: Any, storage: Storage
) -> None:
    home, runner = home_of(f"away-then-{then}"), f"dask:{dask.scheduler_address}"
    try:
        with pytest.raises(HomeStorageError, match=r"s3://.*Then resume"):
            audits.run(runner, home, conclude=storage.go_away)
    finally:
        storage.come_back()
    (run_id,) = run_directory.run_ids(run_directory.local_home(home))
    record = record_of(home, run_id)
    assert (record.status, record.interrupted) == (RunStatus.FAILED, False)
    assert SECRET not in record.to_json()
    _, outcome = audits.run(runner if then == "dask" else "threads", home, run_id)
    assert outcome == audits.alone
    assert left_by(home) == kept_in(storage, home)


def record_of(home: str, run_id: str) -> RunRecord:
    return run_directory.existing(run_directory.local_home(home), run_id).read_run()


def test_the_doctor_says_whether_every_worker_reaches_the_url(
    dask: Any, storage: Storage, sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"dask:{dask.scheduler_address}"

    def said(url: str) -> tuple[str, str]:
        settings = sound.settings(home, EDGEKEEPER_TASK_RUNNER=address)
        (check,) = clusters.examine(settings.model_copy(update={"home": url}))
        return check.state, f"{check.detail}; {check.remedy}"

    dask.wait_for_workers(WORKERS)  # another test may have killed some
    stopped = next(iter(dask.workers.values())).pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(clusters, "DOCTOR_SECONDS", 3.0)
            assert "no answer within 3 seconds" in said(home_of("examined"))[1]
    finally:
        os.kill(stopped, signal.SIGCONT)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    assert "set PREFECT_API_URL" in said(home_of("examined"))[1]  # asked after the storage
    assert kept_in(storage, home_of("examined")) == []
    state, words = said("memory://of-each-process-its-own")
    assert state == FAILURE
    assert f"{WORKERS} of {WORKERS} workers" in words
    assert "another memory:// storage from there" in words
    state, words = said("s3://no-such-bucket/home")
    assert (state, "s3:// storage could not be used" in words) == (FAILURE, True)


@pytest.mark.soak
def test_one_worker_that_does_one_task_at_a_time_finds_it_too(
    audits: Audits, storage: Storage, tmp_path: Path
) -> None:
    home = home_of("one-worker")
    with cluster_of(storage, {tmp_path: 1}) as cluster:
        _, outcome = audits.run(f"dask:{cluster.scheduler_address}", home)
    assert outcome == audits.alone
    assert left_by(home) == kept_in(storage, home)


@pytest.mark.soak
def test_a_back_fill_makes_the_edges_that_one_machine_makes(
    dask: Any, storage: Storage, box: Box, home: Path, prefect_url: str
) -> None:
    made = []
    for runner, url in ((f"dask:{dask.scheduler_address}", home_of("filled")), ("threads", home)):
        box.set_back()
        box.sql("TRUNCATE storage_edges")
        settings = box.settings(home, EDGEKEEPER_TASK_RUNNER=runner)
        settings = settings.model_copy(update={"home": str(url)})
        with prefect_with(prefect_url, settings, backfill) as patch:
            patch.setattr(partitions, "ROWS_PER_PARTITION", 250)
            record = engine.run_flow(backfill.backfill, hash_content=True)
        edges = sorted((*row[:8], *row[10:11]) for row in box.edges(physical=False).values())
        made.append((edges, record["limits"], record["coverage"], record["legacy"]))
    assert made[0] == made[1]
    assert len(made[0][0]) > 400
    assert any(row[6] for row in made[0][0])
    assert left_by(home_of("filled")) == kept_in(storage, home_of("filled"))
