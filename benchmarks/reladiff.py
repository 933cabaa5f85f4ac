"""reladiff, which diffs two tables: installed for the benchmark into an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from platformdirs import user_cache_dir

from benchmarks.processes import Took, program

_VERSION = "0.6.0"
#: Lines of its output are wrapped at the width of the terminal.
_LONGEST_LINE = 10_000


@cache
def installed() -> Path | None:
    """The program; it is installed where it is not there yet, and None where it can't be."""
    place = Path(user_cache_dir("edgekeeper-benchmarks")) / f"reladiff-{_VERSION}"
    found = place / "bin" / "reladiff"
    if found.exists():
        return found
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        wanted = [f"reladiff=={_VERSION}", "psycopg2-binary", "setuptools<81"]
        subprocess.run(
            [place / "bin" / "pip", "install", "-qq", *wanted], check=True, stdout=sys.stderr
        )
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"reladiff could not be installed: {error}; left out", file=sys.stderr)
        return None
    return found if found.exists() else None


def diff(
    url: str, tables: Sequence[str], key: Sequence[str], columns: Sequence[str], *options: str
) -> Took:
    """Diffs two tables of one database; ``found`` is the number of keys whose rows differ."""
    command = [str(installed()), url, *tables, "--json", *options]
    for flag, names in (("-k", key), ("-c", columns)):
        command += [part for name in names for part in (flag, name)]
    done = program(command, environment={**os.environ, "COLUMNS": str(_LONGEST_LINE)})
    lines = map(json.loads, done.found.splitlines())
    differing = {tuple(values[: len(key)]) for _, values in lines}
    assert differing, "it ends with 0 also where it failed"
    return Took(done.seconds, done.cpu, done.peak_mb, len(differing))
