"""One audit of a sandbox in a process of its own, timed from outside."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from dotenv import dotenv_values

_KB_PER_MB = 1024


@dataclass(frozen=True, slots=True)
class Audited:
    """What an audit took.

    Attributes:
        seconds: from the start of the command to its end.
        cpu: seconds of the command on any core, its Prefect server not counted.
        peak_mb: the most memory that the command ever held.
        record: its ``run.json``.
    """

    seconds: float
    cpu: float
    peak_mb: float
    record: dict[str, Any]

    def stage(self, *names: str) -> float:
        """Seconds of the stages whose names begin with one of ``names``, added up."""
        stages = self.record["stages"]
        return sum(float(each["seconds"]) for each in stages if each["name"].startswith(names))


def environment(directory: Path) -> dict[str, str]:
    """The environment of a command that is to use a sandbox."""
    named = {name: value or "" for name, value in dotenv_values(directory / ".env").items()}
    return {**os.environ, **named}


def audited(directory: Path, *options: str) -> Audited:
    """Runs ``edgekeeper audit --verify 0`` on the sandbox in ``directory``."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "run.json"
        command = [sys.executable, "-m", "edgekeeper", "audit", "--verify", "0", "--quiet"]
        began = monotonic()
        process = subprocess.Popen(
            [*command, *options, "--json", str(path)], env=environment(directory)
        )
        _, _, used = os.wait4(process.pid, 0)
        seconds = monotonic() - began
        record = json.loads(path.read_bytes())
    return Audited(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / _KB_PER_MB, record)
