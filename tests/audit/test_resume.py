"""Killed at any instant and resumed: the findings of an undisturbed run, and no repair twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Box, command_line, identity, start_command

HERE = Path(__file__).parent
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
#: Runs the audit's stages in a process of its own, which kills itself before one of them.
KILLED = """
import os, signal, sys
from pathlib import Path
from damaged_sandbox import audited
from tasks.settings import load_settings
import tasks.ledger
stage = sys.argv[1]
end = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if stage == "within mend":
    import tasks.mending as mending
    write, done = mending.apply_repairs, []
    def some(conn, fence, repairs, **more):
        write(conn, fence, repairs[: len(repairs) // 2], **more)
        end()
    mending.apply_repairs = some
audited(load_settings(None), repair="ledger", verify="30000", before={stage: end})
"""


def killed_run(box: Box, home: Path, stage: str) -> str:
    """Starts an audit that is killed; its id."""
    settings = box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}
    search = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, stage], capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, **settings, "PYTHONPATH": search}, cwd=home.parent,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    return run_of(home)


def run_of(home: Path) -> str:
    (run,) = (home / "runs").iterdir()
    return run.name


def ledger(box: Box) -> Any:
    """The ledger without what differs from run to run: new rows' ids and times, run ids."""
    rows = box.edges(physical=False).values()
    return sorted(_RUN_ID.sub("a run", repr((*row[:9], row[10]))) for row in rows)


def check_same(box: Box, record: Any, undisturbed: tuple[Any, Any]) -> None:
    found, mended = undisturbed
    assert {identity(each) for each in record["findings"]} == found
    assert ledger(box) == mended
    journal = "SELECT fingerprint, edge_id, action, count(*) FROM audit.repair GROUP BY 1, 2, 3"
    assert {row[3] for row in box.sql(journal)} == {1}
    assert record["repairs"]["failed"] == record["repairs"]["superseded"] == 0


@pytest.fixture(scope="module")
def undisturbed(_shared: Box, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Findings and ledger of a run that nothing disturbs."""
    _shared.revive()
    _shared.set_back()
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    done = _shared.audit(home, repair="ledger", verify="30000")
    return done.identities, ledger(_shared)


@pytest.mark.parametrize("stage", ["list", "conclude", "within mend", "close"])
def test_a_run_killed_before_a_stage_is_resumed(
    stage: str, box: Box, home: Path, undisturbed: tuple[Any, Any]
) -> None:
    run_id = killed_run(box, home, stage)
    done = box.audit(home, resume=run_id)
    assert done.record.run_id == run_id
    check_same(box, json.loads(done.record.to_json()), undisturbed)


def test_the_program_killed_at_random_instants_is_resumed(
    box: Box, home: Path, prefect_url: str, undisturbed: tuple[Any, Any]
) -> None:
    options = ("audit", "--repair", "ledger", "--verify", "30000", "--allow-percent", "100")
    process = start_command(box, home, *options, PREFECT_API_URL=prefect_url)
    rng = random.Random(5)
    while not list(home.glob("runs/*/checkpoint.json")):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(rng.uniform(0.2, 1.5))
    process.kill()
    process.communicate()
    process = start_command(
        box, home, "audit", "--resume", run_of(home), PREFECT_API_URL=prefect_url
    )
    time.sleep(rng.uniform(2.0, 4.0))
    process.kill()
    process.communicate()
    done = command_line(
        box, home, "audit", "--resume", run_of(home), "--json", "-", "--quiet",
        PREFECT_API_URL=prefect_url,
    )  # fmt: skip
    if "finished" in done.stderr:  # it was faster than the last signal
        record = json.loads((home / "runs" / run_of(home) / "run.json").read_text("utf-8"))
    else:
        assert done.returncode == 1, done.stderr
        record = json.loads(done.stdout)
    check_same(box, record, undisturbed)
