"""Every command that README and ``docs/`` show is run as it stands there, on a damaged sandbox.

What a page leaves to its reader (an id, a gallery, a file) is filled in, and so is what a sentence
leaves out of a command that it only mentions.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Box, command_line

from tasks.run_directory import run_ids
from tests.pages.shown import PAGES, commands_in, name_of

#: Run by tests of their own.
ELSEWHERE = {
    "--install-completion": "tests/cli/test_completion.py",
    "COMMAND --help": "tests/cli/test_commands.py",
    "audit --resume": "tests/audit/test_resume.py",
    "audit --resume RUN_ID": "tests/audit/test_resume.py",
    "sandbox": "tests/pages/test_first_steps.py",
    "serve": "tests/database/test_serve.py",
}
#: Pages whose commands are run one after the other, as their reader would.
RUN_ELSEWHERE = {"docs/quick-start.md": "tests/pages/test_first_steps.py"}
#: What has to be there before something else: the commands are run in this order.
ORDER = ("--version", "doctor", "schema", "backfill", "plan", "audit", "findings", "report", "ack", "resolve",
         "verify", "checking", "store-forever", "repairing", "revert", "quarantine", "prune")  # fmt: skip
#: What a command wants that a page may only mention: the first words, the option, its value.
COMPLETED = {
    "findings --kind": ("--kind", "missing"), "verify --memory": ("--memory", "TYPE:ID"),
    "verify --check": ("--check", "statement.json"), "verify --repair content": ("GALLERY_ID",),
    "resolve {fingerprint}": ("{fingerprint}", "--accept", "observed"),
}  # fmt: skip
#: What a person can always decide about: there is something to be said for either side.
DECIDABLE = "replica_divergence"
DAMAGE = (
    "missing=2,untracked=2,orphaned=1,hash_mismatch=6,replica_divergence=3,"
    "invalid_location=1,gallery_divergence=1,sync_failed=1"
)


def documented() -> list[list[str]]:
    """The commands of all pages once each, in the order in which they can be run."""
    pages = (page.read_text("utf-8") for page in PAGES if name_of(page) not in RUN_ELSEWHERE)
    shown = {tuple(words) for page in pages for words in commands_in(page)}
    wanted = (words for words in shown if not {shlex.join(words), words[0]} & ELSEWHERE.keys())
    return sorted(map(list, wanted), key=lambda words: (ORDER.index(rank(words)), words))


def rank(words: list[str]) -> str:
    if "--check" in words:
        return "checking"
    return "repairing" if words[0] == "audit" and "--repair" in words else words[0]


class World:
    """A damaged sandbox, and what the pages' placeholders stand for on it."""

    def __init__(self, box: Box, home: Path) -> None:
        self.box = box
        self.home = home
        ((self.gallery, memory_id, memory_type),) = box.sql(
            "SELECT gallery_id::text, memory_id::text, memory_type FROM gallery_items "
            "WHERE memory_type = 'image' ORDER BY gallery_id, position LIMIT 1"
        )
        self.memory = f"{memory_type}:{memory_id}"
        self._decided: set[str] = set()

    def filled(self, words: list[str]) -> list[str]:
        """A command with a value for every placeholder."""
        if more := COMPLETED.get(shlex.join(words).replace("'", "")):
            words = [words[0], *(each for each in words[1:] if each not in more), *more]
        return [self._value(words[0], each) for each in words]

    def _value(self, command: str, word: str) -> str:
        values: dict[str, Callable[[], Any]] = {
            **dict.fromkeys(("GALLERY_ID", "ID", "{gallery_id}"), lambda: self.gallery),
            **dict.fromkeys(
                ("TYPE:ID", "{memory_type}:{memory_id}",
                 "image:3f2a0c1e-5b7d-4e8f-9a6b-1c2d3e4f5a6b"),
                lambda: self.memory,
            ),
            **dict.fromkeys(
                ("FINGERPRINT", "{fingerprint}", "3f2a0c1e5b7d4e8f"), lambda: self._finding(command)
            ),
            **dict.fromkeys(
                ("RUN_ID", "20261123T031500Z-7f3a"),
                self._kept_aside if command == "quarantine" else self._repaired,
            ),
            "statement.json": lambda: self._newest("statement.json"),
            "certificates/1f0c….cbor": lambda: self._newest("certificates/*"),
            "N": lambda: "100",
            "2026-12-31": lambda: datetime.now(UTC).date() + timedelta(days=30),
        }  # fmt: skip
        return str(values[word]()) if word in values else word

    def _newest(self, pattern: str) -> Path:
        return max(self.home.glob(f"runs/*/{pattern}"))

    def _records(self) -> Iterator[dict[str, Any]]:
        for run_id in run_ids(self.home):
            path = self.home / "runs" / run_id / "run.json"
            if path.exists():
                yield json.loads(path.read_text("utf-8"))

    def _repaired(self) -> str:
        return next(str(run["run_id"]) for run in self._records() if run["repair"] != "none")

    def _kept_aside(self) -> str:
        newest = "SELECT run_id FROM audit.quarantine ORDER BY taken_at DESC LIMIT 1"
        ((run_id,),) = self.box.sql(newest)
        return str(run_id)

    def _finding(self, command: str) -> str:
        """An open finding that nobody has decided about; for ``resolve`` one that wants that."""
        audits = (run for run in self._records() if run["flow"] == "nightly-audit")
        for each in next(audits)["findings"]:
            wants = (each["kind"] == DECIDABLE) == (command == "resolve")
            if wants and each["fingerprint"] not in self._decided:
                self._decided.add(each["fingerprint"])
                return str(each["fingerprint"])
        raise AssertionError(f"no finding is left for {command}")


@pytest.mark.timeout(1800)  # three minutes on an idle machine; a busy one is no failure
def test_every_command_of_the_pages_does_what_it_is_shown_for(
    new_box: Callable[[str], Box], prefect_url: str, home: Path
) -> None:
    box = new_box("documented").fill(60, 11, DAMAGE)
    world = World(box, home)
    commands: set[tuple[str, ...]] = set()  # two pages may show one, each with its own words
    wrong = []
    for words in documented():
        command = world.filled(words)
        if tuple(command) in commands:
            continue
        commands.add(tuple(command))
        done = command_line(
            box, home, *command, PREFECT_API_URL=prefect_url, BROWSER="true", seconds=600
        )
        if done.returncode not in (0, 1) or "Traceback" in done.stdout + done.stderr:
            wrong.append(f"{shlex.join(command)}: {done.returncode}\n{done.stderr[-1000:]}")
    assert not wrong, "\n".join(wrong)
