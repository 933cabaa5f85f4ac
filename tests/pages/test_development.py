"""The commands for who works on edgekeeper: `make`, the campaigns, the benchmarks."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from damaged_sandbox import Box
from shell import Shell

from tests.pages.shown import ROOT, bare

#: Has pytest collect what each of some lines selects; how that ended, and how many tests they are.
COLLECT = """
import json, shlex, sys, pytest

class Selected:
    count = 0
    def pytest_collection_finish(self, session):
        self.count = len(session.items)

found = {}
for line in json.loads(sys.argv[1]):
    selected = Selected()
    code = pytest.main([*shlex.split(line), "--collect-only", "-qq"], plugins=[selected])
    found[line] = [int(code), selected.count]
print(json.dumps(found), file=sys.stderr)
"""
#: A benchmark at a size at which it says nothing.
SMALL = "--memories 1000 --rounds 1"


@pytest.mark.every("make")
def test_make_knows_every_target_and_has_the_programs_for_it(
    commands: list[str], new_shell: Callable[[Path], Shell], source: Path
) -> None:
    """What they do takes hours, or is what runs this; `make demo` is run in full elsewhere."""
    shell = new_shell(source)
    for command in commands:
        steps = shell.run(
            command.replace("make ", "make --no-print-directory --dry-run ", 1)
        ).splitlines()
        programs = [step.split()[0] for step in steps if step.startswith(".venv/")]
        assert programs or "Nothing to be done" in steps[0], command
        assert all(shutil.which(source / program) for program in programs), command


@pytest.mark.every("pytest")
def test_every_campaign_of_the_pages_selects_tests(commands: list[str]) -> None:
    lines = [bare(command).removeprefix("pytest ") for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, json.dumps(lines)],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    selected = json.loads(done.stderr.splitlines()[-1])
    assert {line: code for line, (code, count) in selected.items() if code or not count} == {}
    assert set(selected) == set(lines)


@pytest.mark.timeout(900)  # a minute on an idle machine; a busy one is no failure
@pytest.mark.every("python -m benchmarks", "nice -n -10 python -m benchmarks")
def test_every_benchmark_of_the_pages_prints_its_table(
    commands: list[str], new_shell: Callable[[Path], Shell], source: Path, box: Box, tmp_path: Path
) -> None:
    page = Path(shutil.copy(ROOT / "docs" / "benchmarks.md", tmp_path))
    figures = tmp_path / "figures.json"
    filled = {
        "F --docs PAGE": shlex.join([str(figures), "--docs", str(page)]),
        "--dir D": f"--dir {box.directory.path}",
        "--memories 1000000 --rounds 3": "",
    }
    shell = new_shell(source)
    for command in commands:
        given = command
        for placeholder, value in filled.items():
            given = given.replace(placeholder, value)
        assert "| edgekeeper |" in shell.run(f"{given} {SMALL}"), command
    (kept,) = json.loads(figures.read_text("utf-8"))
    assert kept == "backfill"
    assert page.read_text("utf-8") != (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
