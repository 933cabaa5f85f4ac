"""The pages below ``docs/``: what they have to say, and that each command in them exists."""

import re
from pathlib import Path

import pytest

from checks.kinds import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_runbook_says_what_to_do_about_every_kind(kind: str) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    assert f"`{kind}`" in runbook


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).is_file(), target
