"""README and the pages below ``docs/``: what they have to say, and that each command exists."""

import re
import shlex
import tomllib
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import pytest

from checks.kinds import KINDS
from tests.pages.shown import COMMANDS, DOCS, PAGES, ROOT, commands_in

#: Where a page leaves a command's name to the reader.
PLACEHOLDERS = {"COMMAND", "…"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_runbook_says_what_to_do_about_every_kind(kind: str) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    assert f"`{kind}`" in runbook


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).is_file(), target


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [page.name for page in DOCS if f"](docs/{page.name}" not in readme] == []


def test_the_readmes_table_has_every_command() -> None:
    table = (ROOT / "README.md").read_text("utf-8").split("## Commands")[1].split("\n### ")[0]
    named = {cell.split()[0] for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
             for cell in re.findall(r"`([^`]+)`", row)}  # fmt: skip
    assert set(COMMANDS.commands) <= named  # type: ignore[attr-defined]


def test_every_direct_dependency_is_explained() -> None:
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_shows_exists(page: Path) -> None:
    assert [
        f"{shlex.join(words)}: {problem}"
        for words in commands_in(page.read_text("utf-8"))
        if (problem := wrong_with(words)) is not None
    ] == []


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    page = (
        "```sh\nexport A=b\nedgekeeper doctor && edgekeeper audit --verify all > b  # a\n```\n"
        "`edgekeeper audt` `audit --x`"
    )
    shown = list(commands_in(page))
    assert shown == [["doctor"], ["audit", "--verify", "all"], ["audt"], ["audit", "--x"]]
    problems = [None, None, "no such command", "no option --x"]
    assert [wrong_with(words) for words in shown] == problems
    assert wrong_with(["audit", "--repair", "everything"]) == "--repair everything is no choice"
    assert wrong_with(["schema", "aply"]) == "no such command"
    assert wrong_with(["schema", "apply", "--dry-run"]) is None


def wrong_with(words: list[str]) -> str | None:
    """Why the command line would refuse these words, None where it would not."""
    command: Any = COMMANDS
    rest = list(words)
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name in PLACEHOLDERS:
            return None
        if name not in command.commands:
            return "no such command"
        command = command.commands[name]
    options = {
        name: each for each in command.params for name in (*each.opts, *each.secondary_opts)
    } | {"--help": None, "-h": None}
    for place, word in enumerate(rest):
        if not word.startswith("--"):
            continue
        name, _, value = word.partition("=")
        if name not in options:
            return f"no option {name}"
        value = value or (rest[place + 1] if place + 1 < len(rest) else "")
        if (allowed := choices(options[name])) and value not in allowed:
            return f"{name} {value} is no choice"
    return None


def choices(option: Any) -> list[str]:
    """The values that an option takes, none where it takes whatever it is given."""
    kind = option and option.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [each.value for each in kind]
    return [each for each in get_args(kind) if isinstance(each, str)]
