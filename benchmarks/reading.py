"""Bytes read and hashed: through the store's client, by rclone, and by hashlib alone."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from benchmarks import rclone
from checks.model import Backend
from sandbox.blob.storage import BlobStorage, StoredObject, now_ms
from sandbox.content import Generated
from sandbox.directory import SandboxDirectory
from tasks.settings import Settings, load_settings
from tasks.stores import open_store
from tasks.stores.blob.asking import list_page
from tasks.stores.blob.connection import BlobConnection

MIB = 2**20
#: Names and how many objects of how many bytes are read at the same time.
SHAPES = {"1 object of 512 MiB": (1, 512 * MIB), "16 objects of 32 MiB": (16, 32 * MIB)}
SMALL_OBJECTS = 500
#: Sizes between which memory may not grow.
SPAN = (1 * MIB, 4096 * MIB)
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading took.

    Attributes:
        hashlib, store, rclone: seconds by shape. hashlib: in memory, with as many threads as there
            are objects; rclone: SHA-256 alone, None where there is no rclone.
        cpu: processor seconds of the store's client, by shape; of hashlib beside it.
        small_seconds, small_cpu: of ``SMALL_OBJECTS`` small objects read by the store's client, all
            together, and seconds of the client's own core.
        peaks: the most memory that a process held that read one object, in MB, by its bytes.
    """

    hashlib: dict[str, float]
    store: dict[str, float]
    rclone: dict[str, float | None]
    cpu: dict[str, tuple[float, float]]
    small_seconds: float
    small_cpu: float
    peaks: dict[int, float]


def reading(directory: Path, *, span: Sequence[int] = SPAN) -> Reading:
    """Puts objects into the sandbox's blob store, reads them in each way, and deletes them."""
    settings = load_settings(directory / ".env")
    alone: dict[str, float] = {}
    through: dict[str, float] = {}
    peer: dict[str, float | None] = {}
    cpu: dict[str, tuple[float, float]] = {}
    for shape, (number, size) in SHAPES.items():
        with _objects(directory, [size] * number) as names:
            body = Generated("edgekeeper-benchmark", size).read()
            own, both = process_time(), []
            alone[shape] = _timed(lambda body=body, number=number: _hashed(body, number))  # type: ignore[misc]
            both.append(process_time() - own)
            own = process_time()
            through[shape] = _timed(lambda names=names: asyncio.run(_read(settings, names)))  # type: ignore[misc]
            both.append(process_time() - own)
            cpu[shape] = (both[1], both[0])
            peer[shape] = rclone.hashsum(SandboxDirectory.of(directory).blob_origin, names)
    small = asyncio.run(_names(settings))
    own = process_time()
    seconds = _timed(lambda: asyncio.run(_read(settings, small)))
    own = process_time() - own
    return Reading(
        alone, through, peer, cpu, seconds, own, {each: _peak(directory, each) for each in span}
    )


@contextmanager
def _objects(directory: Path, sizes: Sequence[int]) -> Iterator[list[str]]:
    """Objects whose bytes are computed as they are read; gone afterwards."""
    objects = [
        StoredObject(
            f"edgekeeper-benchmark-{number}.bin", size, f"{number:032x}", now_ms(),
            "application/octet-stream", Generated("edgekeeper-benchmark", size).describe(),
        )
        for number, size in enumerate(sizes)
    ]  # fmt: skip
    with closing(BlobStorage(SandboxDirectory.of(directory).blob)) as storage:
        storage.insert(objects)
        try:
            yield [each.pathname for each in objects]
        finally:
            storage.delete([each.pathname for each in objects])


def _timed(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return monotonic() - began


def _hashed(body: bytes, number: int) -> None:
    """Hashes the bytes so many times, each on a thread of its own."""

    def one(_number: int) -> None:
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for start in range(0, len(body), MIB):
            piece = memoryview(body)[start : start + MIB]
            sha256.update(piece)
            md5.update(piece)

    with ThreadPoolExecutor(number) as threads:
        list(threads.map(one, range(number)))


async def _names(settings: Settings) -> list[str]:
    connection = BlobConnection.from_settings(settings)
    page = await list_page(connection, limit=SMALL_OBJECTS)
    await connection.aclose()
    return [blob.pathname for blob in page.blobs]


async def _read(settings: Settings, names: list[str]) -> None:
    store = open_store(Backend.BLOB, settings)
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with places:
            assert await store.read(name) is not None

    await asyncio.gather(*map(one, names))
    await store.aclose()


def _peak(directory: Path, size: int) -> float:
    """The most memory that a process of its own held that read one object of ``size`` bytes."""
    with _objects(directory, [size]) as (name,):
        command = [sys.executable, "-m", "benchmarks.reading", str(directory), name]
        done: Any = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return float(done)


def main() -> None:
    """Reads the object named by the arguments, and prints the most memory held, in MB."""
    settings = load_settings(Path(sys.argv[1]) / ".env")
    asyncio.run(_read(settings, [sys.argv[2]]))
    # What getrusage says includes the parent from which the process was forked.
    held = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split(maxsplit=1)[0]
    print(int(held) / 1024)


if __name__ == "__main__":
    main()
