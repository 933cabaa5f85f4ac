"""What a piece of work costs, measured in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_AROUND = """
import json, resource, sys, time
sys.path[:0] = [{audit!r}]
{imports}
def used():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
before, began = used(), time.process_time()
{work}
print(json.dumps({{"grown_mb": used() - before, "seconds": time.process_time() - began, "outcome": outcome}}))
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What was used: megabytes above what the imports need, seconds of processor time.

    ``outcome`` is what the work left in a variable of that name.
    """

    grown_mb: float
    seconds: float
    outcome: Any


def cost(imports: str, work: str, settings: Mapping[str, str], seconds: float = 280) -> Cost:
    """Runs ``work``, which sets ``outcome`` to something that JSON can hold."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "HOME", "TMPDIR") if name in os.environ
    }
    script = _AROUND.format(audit=str(ROOT / "tests" / "audit"), imports=imports, work=work)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env={**kept, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return Cost(**json.loads(done.stdout.splitlines()[-1]))
