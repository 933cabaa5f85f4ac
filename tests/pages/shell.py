"""A shell of the reader's: runs the lines of a page one after the other, as they stand there."""

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import psutil

from tests.pages.not_here import NOT_HERE
from tests.pages.shown import ROOT, Shown, command, shown

#: How long one line may take; a busy machine is no failure.
SECONDS = 600
END_SECONDS = 20
Ready = Callable[[], bool]
Value = TypeVar("Value")


class Shell:
    """One bash for as long as it is open: what a line exports, and where it goes, counts for the next."""

    def __init__(self, directory: Path, environment: Mapping[str, str], logs: Path) -> None:
        """``logs``: a directory for what the lines print."""
        self.directory = directory
        self._logs = logs
        self._number = 0
        self._bash = subprocess.Popen(
            ["bash"], cwd=directory, env=dict(environment), text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.run("set -o pipefail")

    def run(self, line: str, *, codes: Collection[int] = (0,), traced: bool = False) -> str:
        """What a line prints; fails where it ends with another code than these.

        ``traced``: another's program may print a traceback.
        """
        out, code = self._given(f"{line}\n", "; echo $?")
        told = f"{line}: {code}\n{out.read_text()}{out.with_suffix('.err').read_text()}"
        assert code in codes, told
        assert traced or "Traceback" not in told, told
        return out.read_text()

    def begin(self, line: str, ready: Ready) -> None:
        """Has a line run beside the next ones, as in another window, and waits until it is ready."""
        out, process = self._given(f"{line}\n", "& echo $!")
        deadline = time.monotonic() + SECONDS
        while not ready():
            told = f"{line}\n{out.read_text()}{out.with_suffix('.err').read_text()}"
            assert psutil.pid_exists(process), told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)

    def _given(self, line: str, then: str) -> tuple[Path, int]:
        """Gives bash a line; where its output is, and the number that ``then`` prints."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._number += 1
        out = self._logs / f"{self._number:02}.out"
        errors = out.with_suffix(".err")
        for each in (out, errors):
            each.touch()
        files = f"< /dev/null > '{out}' 2> '{errors}'"
        timer = threading.Timer(SECONDS, self._kill)
        timer.start()
        self._bash.stdin.write(f"{{ {line}}} {files} {then}\n")
        self._bash.stdin.flush()
        answer = self._bash.stdout.readline()
        timer.cancel()
        assert answer, f"took more than {SECONDS} s, or ended the shell: {line}"
        return out, int(answer)

    def _kill(self) -> None:
        os.killpg(self._bash.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends bash and all that still runs in it; once more does nothing."""
        if self._bash.returncode is not None:
            return
        processes = psutil.Process(self._bash.pid).children(recursive=True)
        for each in processes:
            each.terminate()
        _, left = psutil.wait_procs(processes, END_SECONDS)
        for each in left:
            each.kill()
        self._kill()
        self._bash.communicate()


class Page:
    """Parts of a page for one test, which has to run every line of these parts' blocks."""

    def __init__(self, name: str, headings: Collection[str]) -> None:
        """``headings``: those above the blocks."""
        self._blocks: dict[str, list[str]] = {heading: [] for heading in headings}
        for each in _block_lines(name):
            if each.heading in self._blocks:
                self._blocks[each.heading].append(each.line)
        assert all(self._blocks.values()), f"{name} has not all of {headings}"
        self.left = {heading: list(lines) for heading, lines in self._blocks.items()}

    def lines(self, heading: str) -> Iterator[str]:
        """The lines below a heading, each of which counts as run once it is taken."""
        for line in self._blocks[heading]:
            if line in self.left[heading]:
                self.left[heading].remove(line)
            yield line

    def run(
        self,
        heading: str,
        shell: Shell,
        *,
        filled: Mapping[str, str] | None = None,
        lasting: Mapping[str, Ready] | None = None,
        codes: Mapping[str, Collection[int]] | None = None,
    ) -> dict[str, str]:
        """What the lines below a heading print, line by line.

        Args:
            heading: the one above the block.
            shell: where they are run.
            filled: what stands in a line, and what takes its place on this machine.
            lasting: how a line begins that does not end, and how to see that it is ready.
            codes: how a line begins that may end with another code than 0, and with which.
        """
        said = {}
        for line in self.lines(heading):
            if command(line) in NOT_HERE:
                continue
            given = line
            for placeholder, value in (filled or {}).items():
                given = given.replace(placeholder, value)
            if ready := _of(lasting, line):
                shell.begin(given, ready)
            else:
                said[command(line)] = shell.run(given, codes=_of(codes, line) or (0,))
        return said


def export(values: Mapping[str, str]) -> str:
    """The line that gives a shell these variables."""
    return f"export {shlex.join(f'{name}={value}' for name, value in values.items())}"


def _block_lines(name: str) -> Iterator[Shown]:
    return (each for each in shown(ROOT / name) if each.in_block)


def _of(values: Mapping[str, Value] | None, line: str) -> Value | None:
    return next((value for start, value in (values or {}).items() if line.startswith(start)), None)
