"""A sandbox to measure on, and what its Postgres uses of the processor."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dotenv import dotenv_values

from sandbox.directory import SandboxDirectory

_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def empty_sandbox() -> Iterator[Path]:
    """A sandbox with nothing in it, gone afterwards: its directory."""
    with tempfile.TemporaryDirectory(prefix="edgekeeper-bench-") as temporary:
        directory = Path(temporary)
        edgekeeper("up", directory, "--detach")
        try:
            yield directory
        finally:
            edgekeeper("down", directory)


@contextmanager
def seeded_sandbox(memories: int, directory: Path | None = None) -> Iterator[Path]:
    """A sandbox with so many memories, all stored forever; or the one of ``directory`` as it is."""
    if directory is not None:
        yield directory
        return
    with empty_sandbox() as made:
        seeding = ("--memories", str(memories), "--icp-share", "1", "--quiet")
        edgekeeper("seed", made, *seeding)
        yield made


def edgekeeper(verb: str, directory: Path, *options: str) -> None:
    """Runs ``edgekeeper sandbox VERB``."""
    command = [sys.executable, "-m", "edgekeeper", "sandbox", verb, "--dir", str(directory)]
    subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)


def environment(directory: Path) -> dict[str, str]:
    """The environment of a command that is to use a sandbox.

    Where modules are compiled anew by every process that imports them, that would be most of what
    a command takes.
    """
    named = {name: value or "" for name, value in dotenv_values(directory / ".env").items()}
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **named}


def postgres_cpu(directory: Path) -> float:
    """Processor seconds that the sandbox's Postgres has used so far, in all its processes."""
    started = SandboxDirectory.of(directory).postgres / "postmaster.pid"
    postmaster = int(started.read_text("ascii").split(maxsplit=1)[0])
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:  # it has just ended; the postmaster's own sum holds it from now on
            continue
        parent, times = int(fields[1]), [int(each) for each in fields[11:15]]
        if int(entry.name) == postmaster:
            ticks += sum(times)
        elif parent == postmaster:
            ticks += sum(times[:2])
    return ticks / _TICKS
