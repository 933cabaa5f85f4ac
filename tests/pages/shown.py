"""What README, CONTRIBUTING, SECURITY and ``docs/`` show: each command, and where it stands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.main import get_command

from edgekeeper.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS]
COMMANDS = get_command(app)
#: Where a command of ours starts in a line of shell.
STARTS = r"(?:^|\(|bin/)edgekeeper (.*)"
COMMENT = r"\s+#\s.*"
#: Where a command's output goes.
REDIRECTED = r"\s>\s*\S+"
#: Where the shell goes on after a command.
GOES_ON = r"\s(?:&&|\|\||[;|])\s"
#: Other programs whose commands a sentence may show.
PROGRAMS = {
    "curl", "dask", "docker", "git", "kubectl", "make", "neonctl", "nice", "node", "npm", "npx",
    "pip", "prefect", "psql", "pytest", "python", "ray", "rclone",
}  # fmt: skip
#: The languages of blocks that hold no commands.
OTHER_LANGUAGES = {"dotenv", "mermaid"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of shell as a page shows it, or a command within a sentence; the heading above it."""

    page: str
    heading: str
    line: str
    in_block: bool = True

    def __str__(self) -> str:
        return f"{self.page}, {self.heading}: {self.line}"

    @property
    def of_ours(self) -> bool:
        """Whether edgekeeper is all that it runs."""
        return all(re.search(STARTS, each) for each in commands_of(self.line))


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Each fenced block of a page: the heading above it, its language and its lines."""
    heading, language, lines = "", None, []
    for line in text.splitlines():
        if line.startswith("```"):
            if language is None:
                language, lines = line[3:].strip(), []
            else:
                yield heading, language, lines
                language = None
        elif language is not None:
            lines.append(line)
        elif match := re.match(r"#+ (.*)", line):
            heading = match[1]


def spans_of(text: str) -> Iterator[tuple[str, str]]:
    """Each inline code of a page outside of its blocks, and the heading above it."""
    heading = ""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n(?:\s*\n)+", prose):
        if match := re.match(r"\s*#+ (.*)", paragraph):
            heading = match[1]
        for code in re.findall(r"`([^`]+)`", paragraph):
            yield heading, " ".join(code.split("\n"))


def commands_of(line: str) -> list[str]:
    """The single commands of a line of shell, without comments and where their output goes."""
    return re.split(GOES_ON, re.sub(REDIRECTED, "", command(line)))


def command(line: str) -> str:
    """A line of shell without its comment."""
    return re.sub(COMMENT, "", line).strip()


def shown(page: Path) -> Iterator[Shown]:
    """Every line of shell that a page shows in a block, in order; then those in its sentences."""
    text, name = page.read_text("utf-8"), name_of(page)
    for heading, language, lines in blocks_of(text):
        if language not in OTHER_LANGUAGES:
            yield from (Shown(name, heading, line) for line in lines if line.strip())
    for heading, code in spans_of(text):
        words = bare(code).split()
        if len(words) > 1 and words[0] in PROGRAMS:
            yield Shown(name, heading, code, in_block=False)


def commands_in(text: str) -> Iterator[list[str]]:
    """What follows ``edgekeeper`` in the shell blocks and the inline code of a page, in order."""
    for _, language, lines in blocks_of(text):
        for line in lines if language not in OTHER_LANGUAGES else ():
            for each in commands_of(line.replace(')"', "")):
                if match := re.search(STARTS, each):
                    yield shlex.split(match[1], comments=True)
    for _, code in spans_of(text):
        match = re.search(STARTS, code)
        words = match[1] if match else code
        known = words.split()[0] in COMMANDS.commands  # type: ignore[attr-defined]
        if match or (known and " --" in words):
            yield shlex.split(words, comments=True)


def every(*starts: str) -> list[str]:
    """Each command of the pages that begins so, once, settings before it aside."""
    commands = [command(each.line) for page in PAGES for each in shown(page)]
    return [each for each in dict.fromkeys(commands) if bare(each).startswith(starts)]


def bare(line: str) -> str:
    """A command without the variables that are set for it."""
    return re.sub(r"^(?:[A-Z_]+=\S+\s+)*", "", command(line))
