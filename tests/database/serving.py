"""``edgekeeper serve`` as a process of its own, and a client that asks it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-that-only-the-web-app-knows"


@contextmanager
def serving(
    database_url: str, cwd: Path, *options: str, token: str | None = TOKEN
) -> Iterator[httpx.Client]:
    """A client of a running server, with the token if there is one."""
    settings = {"DATABASE_URL": database_url} | ({"EDGEKEEPER_API_TOKEN": token} if token else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "edgekeeper", "serve", "--port", "0", *options],
        cwd=cwd, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        told = process.stderr.readline()
        found = re.search(r"http://\S+", told)
        assert found, told + (process.stderr.read() if process.poll() is not None else "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=found[0], headers=headers, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        process.communicate(timeout=30)
