"""Every command that a page shows is run by a test, or stands in a list with the reason why not."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit.test_documented_commands import RUN_ELSEWHERE
from tests.pages.not_here import NOT_HERE
from tests.pages.shown import (
    OTHER_LANGUAGES,
    PAGES,
    Shown,
    bare,
    blocks_of,
    command,
    every,
    name_of,
    shown,
)

TESTS = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))


def marks(name: str) -> Iterator[tuple[str, ...]]:
    """What each mark of that name on a test of this directory says."""
    for module in map(importlib.import_module, TESTS):
        for test in vars(module).values():
            for mark in getattr(test, "pytestmark", []) if callable(test) else []:
                if mark.name == name:
                    yield mark.args


BLOCKS = {(page, heading) for page, *headings in marks("runs") for heading in headings}
LINES = {
    command(each.line)
    for page in PAGES
    for each in shown(page)
    if each.in_block and (each.page, each.heading) in BLOCKS
}
STARTS = tuple(start for starts in marks("every") for start in starts)


def is_run(each: Shown) -> bool:
    """Whether a test runs it: with its block, with all of its program, or with all of edgekeeper's.

    A sentence may name what a block shows.
    """
    in_block = (each.page, each.heading) in BLOCKS if each.in_block else each.line in LINES
    of_ours = each.of_ours and each.page not in RUN_ELSEWHERE
    return in_block or of_ours or bare(each.line).startswith(STARTS)


def run_by_nobody(lines: Iterator[Shown]) -> list[str]:
    return [str(each) for each in lines if not is_run(each) and command(each.line) not in NOT_HERE]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_is_run_by_a_test(page: Path) -> None:
    assert run_by_nobody(shown(page)) == []
    languages = {language for _, language, _ in blocks_of(page.read_text("utf-8"))}
    assert languages <= {"sh"} | OTHER_LANGUAGES


def test_no_reason_is_given_for_what_no_page_shows() -> None:
    assert set(NOT_HERE) - set(every("")) == set()


def test_a_command_that_nobody_runs_would_be_noticed() -> None:
    page = "docs/nightly.md"
    lines = (
        Shown(page, "Afterwards", "prefect flow-run ls"),
        Shown(page, "Elsewhere", "prefect flow-run ls  # a block of its own"),
        Shown(page, "Elsewhere", "FUZZ_SECONDS=9 make soak"),
        Shown(page, "Elsewhere", "edgekeeper doctor && rm -r home"),
        Shown(page, "Elsewhere", "edgekeeper findings --format csv > findings.csv"),
        Shown("docs/quick-start.md", "Elsewhere", "edgekeeper doctor"),
        Shown(page, "Afterwards", "prefect deployment ls", in_block=False),
    )
    assert run_by_nobody(iter(lines)) == [str(lines[n]) for n in (1, 3, 5, 6)]
