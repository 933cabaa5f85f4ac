"""README and quick start: who copies their commands gets what is said there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from dotenv import dotenv_values
from shell import Page, Shell

from tests.pages.shown import ROOT, blocks_of

#: A collection that is older than its ledger, in the place of real stores.
LEGACY = "edgekeeper sandbox up --detach && edgekeeper sandbox seed --legacy --memories 20"


@pytest.mark.timeout(900)  # a minute on an idle machine; a busy one is no failure
@pytest.mark.runs("README.md", "edgekeeper")
def test_the_demo_finds_exactly_what_it_damaged_and_shows_two_reports(
    page: Page, new_shell: Callable[[Path], Shell], source: Path
) -> None:
    shell = new_shell(source)
    said = page.run("edgekeeper", shell, filled={"make test": "make --dry-run test"})
    reports = re.findall(r"^/\S+/report\.html$", said["make demo"], re.MULTILINE)
    assert len(reports) == 2
    assert all(Path(report).is_file() for report in reports)
    assert "-m pytest" in said["make test"]  # which runs this


@pytest.mark.timeout(900)  # a minute on an idle machine; a busy one is no failure
@pytest.mark.runs("README.md", "Try it by hand")
def test_the_audit_by_hand_finds_exactly_what_was_damaged(
    page: Page, new_shell: Callable[[Path], Shell], tmp_path: Path
) -> None:
    found_something = {"edgekeeper audit": (1,), "edgekeeper findings": (1,)}
    said = page.run("Try it by hand", new_shell(tmp_path), codes=found_something)
    truth = json.loads((tmp_path / "truth.json").read_text("utf-8"))["findings"]
    (run,) = (tmp_path / ".edgekeeper" / "sandbox" / "home" / "runs").glob("*/run.json")
    found = json.loads(run.read_text("utf-8"))["findings"]
    assert {each["fingerprint"] for each in found} == {each["fingerprint"] for each in truth}
    assert f"Findings: {len(found)}" in said["edgekeeper findings --open"]


QUICK_START = (
    "3. Do they work?", "4. What is in the database, what is to be made",
    "5. Make it, and fill it, once", "6. The first audit", "7. Read the report",
    "8. Repair what the ledger says", "9. Read bytes",
)  # fmt: skip


@pytest.mark.timeout(1500)  # a minute and a half on an idle machine; a busy one is no failure
@pytest.mark.runs("docs/quick-start.md", *QUICK_START)
def test_each_command_of_the_quick_start_page_leads_to_the_next(
    page: Page, new_shell: Callable[[Path], Shell], tmp_path: Path
) -> None:
    """The settings lie in `.env`, as the README shows it."""
    shell = new_shell(tmp_path)
    shell.run(LEGACY)
    (tmp_path / ".env").write_text(settings(tmp_path / ".edgekeeper" / "sandbox" / ".env"))
    for heading in QUICK_START:
        page.run(heading, shell, codes={"edgekeeper schema status": (0, 1)})  # 1: it is to be made
    first, *_, last = sorted((tmp_path / "home" / "runs").glob("*/run.json"))
    flows = [json.loads(run.read_text("utf-8"))["flow"] for run in (first, last)]
    assert flows == ["backfill", "nightly-audit"]


def settings(sandbox: Path) -> str:
    """The README's settings with the sandbox's values, and below them what a sandbox needs too."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (shown,) = (lines for _, language, lines in blocks_of(readme) if language == "dotenv")
    given = dotenv_values(sandbox) | {"EDGEKEEPER_HOME": "home"}
    lines = [re.sub(r"=\S*…", f"={given.pop(line.split('=')[0])}", line) for line in shown]
    return "\n".join([*lines, *(f"{name}={value}" for name, value in given.items()), ""])
