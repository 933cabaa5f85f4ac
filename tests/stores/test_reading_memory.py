"""Memory does not grow with the object that is read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from blob_process import ROOT, TOKEN, BlobProcess

from sandbox.blob.storage import BlobStorage, StoredObject
from sandbox.content import Generated

MIB = 2**20
#: Reads one object and prints what the process held at most, in kB, and the bytes read.
READING = """
import asyncio, sys
from pathlib import Path
from tasks.settings import load_settings
from tasks.stores.blob import BlobStore
async def read():
    async with BlobStore(load_settings(None)) as store:
        return await store.read("large.bin")
size = asyncio.run(read()).size
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0], size)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[BlobProcess]:
    process = BlobProcess(tmp_path)
    yield process
    process.close()


def peak(served: BlobProcess, directory: Path, size: int) -> int:
    """The most memory of a process that reads an object of ``size`` bytes, in bytes."""
    body = Generated("memory", size)
    with closing(BlobStorage(directory)) as storage:
        storage.insert(
            [
                StoredObject(
                    "large.bin", size, "0" * 32, 1_700_000_000_000, "video/mp4", body.describe()
                )
            ]
        )
    settings = {"BLOB_READ_WRITE_TOKEN": TOKEN, "EDGEKEEPER_BLOB_PLAN": "unlimited",
                "VERCEL_BLOB_API_URL": f"{served.url}/api/blob"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", READING], env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
        check=True, capture_output=True, text=True, cwd=directory,
    )  # fmt: skip
    held, read = map(int, done.stdout.split())
    assert read == size
    return held * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read it from")
@pytest.mark.parametrize("size", [128 * MIB, pytest.param(4096 * MIB, marks=pytest.mark.soak)])
def test_a_large_object_needs_no_more_memory_than_a_small_one(
    served: BlobProcess, tmp_path: Path, size: int
) -> None:
    assert peak(served, tmp_path, size) - peak(served, tmp_path, MIB) < 16 * MIB
