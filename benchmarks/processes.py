"""Work in a process of its own: its time, its processor time and the most memory it ever held."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

_KB_PER_MB = 1024


@dataclass(frozen=True, slots=True)
class Took:
    """What a piece of work took.

    Attributes:
        seconds: by the clock.
        cpu: processor seconds on any core, with those of processes that it started and waited for.
        peak_mb: the most memory that its process held.
        found: what it gave, as JSON holds it.
    """

    seconds: float
    cpu: float
    peak_mb: float
    found: Any = None


def took(work: Callable[[], Any]) -> Took:
    """Runs ``work`` here. The peak is that of this process since it began."""
    began, used = monotonic(), _cpu()
    found = work()
    return Took(monotonic() - began, _cpu() - used, peak_mb(), found)


def tell(work: Callable[[], Any]) -> None:
    """What a process of :func:`module` does: it runs ``work`` and prints what that took."""
    print(json.dumps(asdict(took(work))))


def module(name: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Took:
    """Runs a module that ends with :func:`tell`; what it imports before is not counted."""
    command = [sys.executable, "-m", name, *map(str, arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    return Took(**json.loads(done.stdout.splitlines()[-1]))


def program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    good: Sequence[int] = (0,),
) -> Took:
    """Runs a program, start and end counted; ``found`` is what it printed.

    It is started by a process that holds next to nothing: what the system says of a child's peak
    includes the one it was forked from.

    Raises ``subprocess.CalledProcessError`` where it ends with another code than the ``good`` ones.
    """
    starter = [sys.executable, "-S", "-c", _STARTER, *command]
    done = subprocess.run(starter, capture_output=True, text=True, env=environment, check=True)
    told, _, output = done.stdout.partition("\n")
    code, seconds, cpu, peak = json.loads(told)
    if code not in good:
        raise subprocess.CalledProcessError(code, list(command), output, done.stderr)
    return Took(seconds, cpu, peak / _KB_PER_MB, output)


#: Runs a program and prints its code, its seconds, its processor seconds, its peak in KB and then
#: what it printed.
_STARTER = """
import os, sys, tempfile, time
output = tempfile.TemporaryFile()
began = time.monotonic()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ,
                      file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)])
_, status, used = os.wait4(pid, 0)
seconds = time.monotonic() - began
cpu = used.ru_utime + used.ru_stime
print([os.waitstatus_to_exitcode(status), seconds, cpu, used.ru_maxrss], flush=True)
output.seek(0)
sys.stdout.buffer.write(output.read())
"""


def peak_mb() -> float:
    """The most memory that this process held; what getrusage says includes the one it came from."""
    held = Path("/proc/self/status").read_text("ascii").partition("VmHWM:")[2]
    return int(held.split(maxsplit=1)[0]) / _KB_PER_MB


def _cpu() -> float:
    """Processor seconds of this process and of the children that it waited for."""
    return sum(os.times()[:4])
