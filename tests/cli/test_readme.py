"""The commands of README and quick start, as they stand there: who copies them gets what is said."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import supervisor
from sandbox.directory import SandboxDirectory
from tasks.settings import Settings, variable

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
QUICK_START = (ROOT / "docs" / "quick-start.md").read_text("utf-8")
#: A collection that is older than its ledger, in the place of real stores.
LEGACY = "edgekeeper sandbox up --detach && edgekeeper sandbox seed --legacy --memories 20"
#: What each of the commands to try it by hand ends with.
CODES = {"up": 0, "seed": 0, "env": 0, "audit": 1, "findings": 1, "down": 0}


def commands_below(heading: str) -> list[str]:
    """The lines of the first shell block below a heading."""
    block = re.search(rf"## {heading}\n.*?```sh\n(.*?)```", README, re.DOTALL)
    assert block
    return block[1].splitlines()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a shell that knows `edgekeeper` and has no settings of its own."""
    program = tmp_path / "bin" / "edgekeeper"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m edgekeeper "$@"\n')
    program.chmod(0o755)
    ours = {variable(field) for field in Settings.model_fields} | {"PREFECT_API_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    search = f"{program.parent}{os.pathsep}{kept['PATH']}"
    yield kept | {"PATH": search, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "BROWSER": "true"}
    left = SandboxDirectory.of(tmp_path / ".edgekeeper" / "sandbox")
    if left.choices_file.exists():
        supervisor.stop(left)


@pytest.mark.timeout(900)  # a minute on an idle machine; a busy one is no failure
def test_the_quick_start_finds_exactly_what_was_damaged(
    shell: dict[str, str], tmp_path: Path
) -> None:
    lines = commands_below("Try it by hand")
    script = "".join(f"{line}\necho $? >> codes\n" for line in lines)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=shell,
        capture_output=True, text=True, timeout=840, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    codes = (tmp_path / "codes").read_text().split()
    assert dict(zip(CODES, map(int, codes), strict=True)) == CODES, told
    truth = json.loads((tmp_path / "truth.json").read_text("utf-8"))["findings"]
    (run,) = (tmp_path / ".edgekeeper" / "sandbox" / "home" / "runs").glob("*/run.json")
    found = json.loads(run.read_text("utf-8"))["findings"]
    assert {each["fingerprint"] for each in found} == {each["fingerprint"] for each in truth}
    assert f"Findings: {len(found)}" in done.stdout
    assert "Traceback" not in told


@pytest.mark.timeout(1500)  # a minute and a half on an idle machine; a busy one is no failure
def test_each_command_of_the_quick_start_page_leads_to_the_next(
    shell: dict[str, str], tmp_path: Path
) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", QUICK_START, re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    script = f'{LEGACY}\neval "$(edgekeeper sandbox env)"\n' + "".join(
        f"{line}\necho $? {line} >> codes\n" for line in lines
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=shell,
        capture_output=True, text=True, timeout=1400, check=False,
    )  # fmt: skip
    told = done.stdout + done.stderr
    ended = (line.split(" ", 1) for line in (tmp_path / "codes").read_text().splitlines())
    codes = {line: int(code) for code, line in ended}
    assert {"edgekeeper doctor", "edgekeeper backfill", "edgekeeper audit"} <= set(codes)
    assert codes.pop("edgekeeper schema status") in (0, 1)  # 1: there is something to be made
    assert set(codes.values()) == {0}, f"{codes}\n{told}"
    assert "Traceback" not in told


def test_every_command_that_the_readme_names_is_there() -> None:
    from typer.main import get_command  # noqa: PLC0415

    from edgekeeper.cli.app import app  # noqa: PLC0415

    root = get_command(app)
    named = {
        tuple(match.split())
        for match in re.findall(r"edgekeeper ((?:sandbox |schema )?[a-z]+)", README)
    }
    there = {(name,) for name in root.commands} | {  # type: ignore[attr-defined]
        (group, name)
        for group in ("sandbox", "schema")
        for name in root.commands[group].commands  # type: ignore[attr-defined]
    }
    assert {("audit",), ("schema", "apply"), ("sandbox", "env")} <= named
    wrong = {words for words in named if words[0] in {each[0] for each in there}} - there
    assert not wrong


def test_every_file_that_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).is_file(), target


def test_every_direct_dependency_is_explained() -> None:
    import tomllib  # noqa: PLC0415

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    explained = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = {
        name.strip()
        for row in re.findall(r"^\| ([a-z0-9 ,_-]+) \|", explained, re.MULTILINE)
        for name in row.split(",")
    }
    extra = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(each for group in extra for each in group)]
    lacking = [re.split(r"[\[<>=; ~]", each)[0] for each in wanted]
    assert [name for name in lacking if name not in rows | {project["name"]}] == []
