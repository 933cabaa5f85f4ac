"""rclone, the tool that people hash remote files with: installed for the run where it is absent."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.processes import Took, program

_AT_ONCE = "16"


def hashsum(origin: str, names: Sequence[str]) -> Took | None:
    """What SHA-256 of the objects ``names`` below ``origin`` takes; None without rclone."""
    rclone = installed()
    if rclone is None:
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{name}\n" for name in names))
        listed.flush()
        command = [rclone, "hashsum", "sha256", "--download", "--config", os.devnull,
                   "--http-url", f"{origin}/", "--files-from-raw", listed.name, "--no-traverse",
                   "--checkers", _AT_ONCE, "--transfers", _AT_ONCE, ":http:"]  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        done = program(command, environment=environment)
    assert {line.split(maxsplit=1)[1] for line in done.found.splitlines()} == set(names)
    return done


def check(one: Path, other: Path) -> Took:
    """What comparing two trees by name and length takes; ``found``: how many files differ."""
    command = [str(installed()), "check", "--size-only", "--combined", "-", "--config", os.devnull,
               "--checkers", _AT_ONCE, "--quiet", str(one), str(other)]  # fmt: skip
    done = program(command, good=(0, 1))
    differing = sum(1 for line in done.found.splitlines() if line[:1] != "=")
    return Took(done.seconds, done.cpu, done.peak_mb, differing)


@cache
def installed() -> str | None:
    """The program, unpacked from the distribution's package where it is not installed."""
    found = shutil.which("rclone")
    if found:
        return found
    place = Path(tempfile.mkdtemp(prefix="edgekeeper-rclone-"))
    try:
        subprocess.run(
            ["apt-get", "download", "rclone"], cwd=place, check=True, capture_output=True
        )
        (package,) = place.glob("rclone*.deb")
        subprocess.run(["dpkg-deb", "-x", package, place], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"rclone is not installed and could not be: {error}; left out", file=sys.stderr)
        return None
    return str(place / "usr" / "bin" / "rclone")
