"""Killed at any instant, or let down by a store at any call, and run again: every memory ends right."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from damaged_sandbox import ICP, Box
from forever_box import (
    Canister,
    Pair,
    blobs_without_a_memory,
    check_stored,
    edges_of,
    not_on_icp,
    stored,
)
from kills import Forks

from checks.model import Artifact, Backend
from tasks import edge_states
from tasks.database import connect, connector
from tasks.lease import held
from tasks.subjects import read_subjects

HERE = Path(__file__).parent
#: Kills of the long campaign, memories that each of its histories stores, and a bound for one.
KILLS, HISTORY_OF, MOST_KILLS = 320, 10, 200
UPDATES = (
    "uploads_begin", "uploads_put_chunk", "uploads_finish", "memories_create_with_internal_blobs",
)  # fmt: skip
READS = ("upload_config", "memories_read", "blob_get_meta", "blob_read_chunk")
#: Kills itself just before or just after a call of the canister, however often that was called.
KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/../audit"]
from forever_box import stored
from tasks.settings import load_settings
from tasks.stores.icp.agent import Agent
method, when, *pairs = sys.argv[2:]
call = Agent.call
async def dying(self, name, argument):
    if name == method and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    answer = await call(self, name, argument)
    if name == method:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
Agent.call = dying
stored(load_settings(None), [tuple(each.split(":")) for each in pairs])
"""
STORED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell's job began us
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/../audit"]
from forever_box import stored
from tasks.settings import load_settings
print("ready", flush=True)
stored(load_settings(None), [tuple(each.split(":")) for each in sys.argv[2:]])
"""


def start(box: Box, home: Path, script: str, *words: str, pairs: list[Pair]) -> Any:
    """A Store Forever in a process of its own."""
    home.mkdir(exist_ok=True)
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    settings = box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}
    names = [f"{memory_id}:{memory_type}" for memory_id, memory_type in pairs]
    return subprocess.Popen(
        [sys.executable, "-c", script, str(HERE), *words, *names], cwd=home,
        env={**os.environ, **settings, "PYTHONPATH": search},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def check_all_right(box: Box, pairs: list[Pair]) -> None:
    for pair in pairs:
        check_stored(box, pair)
    assert not blobs_without_a_memory(box)
    assert box.sql("SELECT count(*) FROM storage_edges WHERE sync_state = 'migrating'") == [(0,)]
    assert box.sql("SELECT count(*) FROM audit.claim") == [(0,)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", UPDATES)
def test_a_run_killed_at_a_call_is_finished_by_the_next(
    method: str, when: str, box: Box, home: Path
) -> None:
    pairs = not_on_icp(box, limit=2)
    process = start(box, home, KILLED, method, when, pairs=pairs)
    _, told = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, told
    hanging = "SELECT count(*) FROM storage_edges WHERE sync_state = 'migrating'"
    assert box.sql(hanging) != [(0,)]
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    process = Forks(tmp_path_factory.mktemp("forks") / "errors.txt", HERE / "forever_forks.py")
    yield process
    process.stop()


@dataclass(frozen=True)
class Runs:
    """Runs that store the same memories, one after the other, each killed unless it ends before."""

    forks: Forks
    box: Box
    home: Path
    pairs: list[Pair]

    def run(self, **order: Any) -> int:
        self.home.mkdir(exist_ok=True)
        settings = self.box.directory.settings() | {"EDGEKEEPER_HOME": str(self.home)}
        return self.forks.run(settings=settings, pairs=self.pairs, **order)

    def instants(self) -> int:
        """How many instants a run has that nothing disturbs."""
        ticks = self.home.parent / "ticks.json"
        assert self.run(ticks=str(ticks)) == 0
        return sum(json.loads(ticks.read_text("utf-8")).values())

    def killed_until_one_ends(self, rng: random.Random, instants: int) -> int:
        """How many were killed, each as it is drawn: after a time, or at one of its instants."""
        for killed in range(MOST_KILLS):
            if rng.random() < 1 / 3:
                end = self.run(seconds=rng.uniform(0.0, 1.5))
            else:
                end = self.run(stage=None, instant=rng.randint(1, instants))
            if end == 0:
                return killed
            assert end == -signal.SIGKILL, end
        raise AssertionError(f"none of {MOST_KILLS} runs came to its end")


def test_a_run_killed_at_random_instants_is_finished_by_the_next(
    box: Box, home: Path, forks: Forks
) -> None:
    runs = Runs(forks, box, home, not_on_icp(box, limit=6))
    ends = [runs.run(stage=None, instant=instant) for instant in (90, 180, 270, 360, 450)]
    assert ends[0] == -signal.SIGKILL
    assert set(ends) <= {-signal.SIGKILL, 0}
    assert runs.run() == 0
    check_all_right(box, runs.pairs)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_runs_killed_hundreds_of_times_are_finished_by_the_next(
    box: Box, home: Path, forks: Forks, capsys: pytest.CaptureFixture[str]
) -> None:
    untouched, histories, survived, instants = Canister.of(box), 0, 0, 0
    while survived < KILLS:
        rng, pairs = random.Random(histories), not_on_icp(box, limit=HISTORY_OF)
        runs = Runs(forks, box, home.parent / f"home-{histories}", pairs)
        if histories:
            survived += runs.killed_until_one_ends(rng, instants)
        else:
            instants = runs.instants()
        check_all_right(box, pairs)
        box.set_back()
        untouched.set_back(box)
        histories += 1
        with capsys.disabled():
            sys.stdout.write(f"histories {histories}, kills survived {survived}\n")


@pytest.mark.parametrize(
    ("method", "action", "value"),
    [
        ("uploads_begin", "status", 503),
        ("uploads_put_chunk", "reset", None),
        ("uploads_finish", "truncate", 20),
        ("memories_create_with_internal_blobs", "flip_bit", 400),
        *(
            pytest.param(method, action, value, marks=pytest.mark.soak)
            for method in UPDATES
            for action, value in (
                ("status", 403), ("reset", None), ("reset", 30), ("truncate", 20), ("flip_bit", 400)
            )
        ),
    ],
)  # fmt: skip
def test_a_call_that_fails_for_good_leaves_failed_edges_and_the_next_run_stores(
    method: str, action: str, value: Any, box: Box, home: Path
) -> None:
    pairs = not_on_icp(box, "image")
    box.fault(ICP, action, value, canister_method=method)
    ran = stored(box.settings(home), pairs)
    assert ran.code in (1, 3)
    metadata, asset = ran.outcomes()[pairs[0]]
    assert asset == "failed"
    edges = edges_of(box, pairs[0])
    assert edges["asset"][:2] == (False, "failed")
    assert edges["asset"][5]
    created = method.startswith("uploads")
    assert metadata == ("stored" if created else "failed")
    assert edges["metadata"][:2] == ((True, "idle") if created else (False, "failed"))
    box.revive()
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


@pytest.mark.parametrize("method", READS)
def test_a_question_that_fails_for_good_stores_nothing_wrong(
    method: str, box: Box, home: Path
) -> None:
    pairs = not_on_icp(box, "image")
    box.fault(ICP, "status", 503, canister_method=method)
    ran = stored(box.settings(home), pairs)
    assert ran.code in (1, 3)
    assert not any(edge[0] for edge in edges_of(box, pairs[0]).values() if edge[1] != "idle")
    assert box.sql("SELECT count(*) FROM storage_edges WHERE sync_state = 'migrating'") == [(0,)]
    box.revive()
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


def test_a_store_that_is_busy_at_each_call_for_a_moment_is_waited_for(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, "image")
    busy = {"status": 429, "body": "later", "headers": {"retry-after": "0"}}
    for method in (*UPDATES, *READS):
        box.fault(ICP, "status", busy, canister_method=method, times=1)
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


def test_a_file_that_can_not_be_read_fails_and_is_stored_by_the_next_run(
    box: Box, home: Path
) -> None:
    pairs = not_on_icp(box, "image")
    box.fault("vercel-blob", "status", 503)
    ran = stored(box.settings(home), pairs)
    assert ran.outcomes() == {pairs[0]: ("stored", "failed")}
    box.revive()
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


def test_ctrl_c_leaves_edges_that_say_so_and_the_next_run_goes_on(box: Box, home: Path) -> None:
    pairs = not_on_icp(box, limit=20)
    box.fault(ICP, "delay", 300)
    process = start(box, home, STORED, pairs=pairs)
    assert process.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 60
    while box.sql("SELECT count(*) FROM storage_edges WHERE sync_state = 'migrating'") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in told
    assert box.sql("SELECT count(*) FROM storage_edges WHERE sync_state = 'migrating'") == [(0,)]
    errors = box.sql("SELECT DISTINCT split_part(sync_error, ';', 1) FROM storage_edges "
                     "WHERE sync_state = 'failed'")  # fmt: skip
    assert errors == [("interrupted",)]
    box.revive()
    assert stored(box.settings(home), pairs).code == 0
    check_all_right(box, pairs)


def test_an_audit_beside_a_run_at_work_calls_none_of_its_copies_stuck(box: Box, home: Path) -> None:
    """And as soon as the run is dead they are."""
    ((memory_id, memory_type),) = not_on_icp(box, "image")
    url = box.directory.database_url
    copy = edge_states.Copy(memory_id, memory_type, Backend.ICP, "store-forever")
    with held(
        connector(url), "20260101T000000Z-abcd", flow="store-forever", policy="content"
    ) as it:
        with connect(url) as conn:
            (subject,) = read_subjects(conn, [(memory_id, memory_type)], None)
            assert not subject.claimed
            edge_states.begin(conn, it.fence, copy, dict.fromkeys(Artifact))
            assert read_subjects(conn, [(memory_id, memory_type)], None)[0].claimed
        age(box, memory_id)
        assert box.audit(home).kinds == {}
        with connect(url) as conn:
            it.release(conn, "failed")
    assert box.audit(home).kinds == {"stuck": 2}


def age(box: Box, memory_id: str) -> None:
    """The copy was begun long ago."""
    with psycopg.connect(box.directory.database_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE storage_edges SET updated_at = '2020-01-01' WHERE memory_id = %s AND backend "
            "= 'icp-canister'", [memory_id],
        )  # fmt: skip
