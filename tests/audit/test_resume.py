"""Killed at any instant and resumed: the findings of an undisturbed run, and no repair twice."""

import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from audit_forks import STAGES
from damaged_sandbox import Box, command_line, start_command
from kills import Campaign, Forks, Outcome

from tasks.run_directory import run_ids

pytestmark = pytest.mark.timeout(900)  # half a minute on an idle machine
#: Histories and kills in each of the long campaign.
HISTORIES, KILLS = 60, 6
#: One of each variant that a ledger repair mends, so that a run is short.
DAMAGE = (
    "missing=3,lost=1,untracked=2,unmarked=2,orphaned=1,size_mismatch=1,hash_mismatch=1,"
    "hash_unknown=1,stuck=2,stale_failure=1,dangling_edge=2,deleted_memory=1,icp_only=1,"
    "external_only=1,invalid_location=2"
)


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    process = Forks(tmp_path_factory.mktemp("forks") / "errors.txt")
    yield process
    process.stop()


@pytest.fixture(scope="module")
def campaign(
    new_box: Callable[[str], Box], forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Campaign:
    box = new_box("killed").fill(60, 9, DAMAGE)
    box.keep()
    return Campaign(box, forks).begin(tmp_path_factory.mktemp("undisturbed") / "home")


def test_one_history_killed_in_every_stage_and_three_times_among_its_repairs(
    campaign: Campaign, home: Path
) -> None:
    assert set(STAGES) <= set(campaign.instants)
    middle = {stage: 1 + campaign.instants[stage] // 2 for stage in STAGES}
    repairs = campaign.instants["mend"]
    places = [(stage, middle[stage]) for stage in STAGES if stage not in ("mend", "close")]
    places += [("mend", repairs * part // 4) for part in (1, 2, 3)]
    places += [("close", middle["close"])]
    assert campaign.killed_in(home, places) == len(places)


def test_a_history_killed_at_random_instants(campaign: Campaign, home: Path) -> None:
    assert campaign.killed_at_random(home, random.Random(2), 4)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_hundreds_of_kills(
    campaign: Campaign, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    survived = 0
    for number in range(HISTORIES):
        home = tmp_path / f"home-{number}"
        survived += campaign.killed_at_random(home, random.Random(1_000 + number), KILLS)
        with capsys.disabled():
            sys.stdout.write(f"histories {number + 1}, kills survived {survived}\n")
    assert survived >= HISTORIES * KILLS * 3 // 4


def killed_commands(
    campaign: Campaign, home: Path, prefect_url: str, rng: random.Random, kills: int
) -> None:
    """The real program, killed and resumed; then what it left is checked."""
    box = campaign.box
    box.set_back()
    arguments = ["--repair", "ledger", "--verify", "30000", "--allow-percent", "100"]
    for _ in range(kills):
        process = start_command(box, home, "audit", *arguments, PREFECT_API_URL=prefect_url)
        while not list(home.glob("runs/*/checkpoint.json")) and process.poll() is None:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 2 * campaign.seconds))
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 1, 2)
        arguments = ["--resume", run_ids(home)[0]]
    done = command_line(box, home, "audit", *arguments, PREFECT_API_URL=prefect_url)
    assert done.returncode == 1 or "finished" in done.stderr, done.stderr
    run = home / "runs" / run_ids(home)[0] / "run.json"
    outcome, wanted = Outcome.of(box, json.loads(run.read_text("utf-8"))), campaign.undisturbed
    assert wanted is not None
    assert set(outcome.findings) == set(wanted.findings)
    assert (outcome.ledger, outcome.journal) == (wanted.ledger, wanted.journal)


def test_the_program_killed_at_random_instants_is_resumed(
    campaign: Campaign, home: Path, prefect_url: str
) -> None:
    killed_commands(campaign, home, prefect_url, random.Random(5), kills=2)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("number", range(8))
def test_the_program_killed_again_and_again(
    number: int, campaign: Campaign, home: Path, prefect_url: str
) -> None:
    killed_commands(campaign, home, prefect_url, random.Random(100 + number), kills=4)
