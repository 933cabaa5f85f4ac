"""Bytes read and hashed: through the store's client, by rclone, and by hashlib alone."""

import asyncio
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks import rclone
from benchmarks.benchmark import OURS, Benchmark, Measurement, Round, Rounds, Scale, missing
from benchmarks.processes import module, program, tell, took
from benchmarks.sandboxes import empty_sandbox
from benchmarks.tables import markdown, middle, number, ratio
from checks.model import Backend
from sandbox.blob.storage import BlobStorage, StoredObject, now_ms
from sandbox.content import Generated
from sandbox.directory import SandboxDirectory
from tasks.settings import Settings, load_settings
from tasks.stores import open_store

MIB = 2**20
#: Names and how many objects of how many bytes are read at the same time.
SHAPES = {
    "1 object of 512 MiB": (1, 512 * MIB),
    "16 objects of 32 MiB": (16, 32 * MIB),
    "500 objects of 20 KiB": (500, 20 * 1024),
}
#: Sizes between which memory may not grow.
SPAN = (1 * MIB, 4096 * MIB)
HASHLIB, SHA256SUM, RCLONE = "hashlib, a thread each", "sha256sum", "rclone hashsum"
_AT_ONCE = 16


@contextmanager
def prepared(scale: Scale) -> Iterator[Round]:
    """A sandbox; objects are made for each measurement, computed as they are read."""
    if scale.directory is not None:
        yield lambda: _round(scale.directory or Path())
        return
    with empty_sandbox() as sandbox:
        yield lambda: _round(sandbox)


def _round(sandbox: Path) -> list[Measurement]:
    measured = [one for shape in SHAPES for one in _shape(sandbox, shape)]
    for size in SPAN:
        with objects(sandbox, [size]) as names:
            done = module("benchmarks.hashing", sandbox, *names)
            case = f"memory for 1 object of {size // MIB:,} MiB"
            measured.append(Measurement(case, OURS, done.seconds, done.cpu, 0, size, done.peak_mb))
    return measured


def _shape(sandbox: Path, shape: str) -> Iterator[Measurement]:
    """Each way of hashing the objects of one shape."""
    count, size = SHAPES[shape]
    total = count * size
    with objects(sandbox, [size] * count) as names:
        ours = module("benchmarks.hashing", sandbox, *names)
        yield Measurement(shape, OURS, ours.seconds, ours.cpu, 0, total, ours.peak_mb)
        body = Generated("edgekeeper-benchmark", size).read()
        alone = took(lambda: hashed(body, count))
        yield Measurement(shape, HASHLIB, alone.seconds, alone.cpu, 0, total)
        yield _sha256sum(shape, body, count)
        peer = rclone.hashsum(SandboxDirectory.of(sandbox).blob_origin, names)
        if peer is None:
            yield missing(shape, RCLONE)
        else:
            yield Measurement(shape, RCLONE, peer.seconds, peer.cpu, 0, total, peer.peak_mb)


def _sha256sum(shape: str, body: bytes, count: int) -> Measurement:
    """One process over files of this machine, one after the other."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        peer = program(["sha256sum", *[file.name] * count])
    return Measurement(shape, SHA256SUM, peer.seconds, peer.cpu, 0, len(body) * count, peer.peak_mb)


@contextmanager
def objects(sandbox: Path, sizes: Sequence[int]) -> Iterator[list[str]]:
    """Objects whose bytes are computed as they are read; gone afterwards."""
    made = [
        StoredObject(
            f"edgekeeper-benchmark-{place}.bin", size, f"{place:032x}", now_ms(),
            "application/octet-stream", Generated("edgekeeper-benchmark", size).describe(),
        )
        for place, size in enumerate(sizes)
    ]  # fmt: skip
    with closing(BlobStorage(SandboxDirectory.of(sandbox).blob)) as storage:
        storage.insert(made)
        try:
            yield [each.pathname for each in made]
        finally:
            storage.delete([each.pathname for each in made])


def hashed(body: bytes, count: int) -> None:
    """Hashes the bytes so many times, on as many threads as the store's client reads with."""

    def one(_place: int) -> None:
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for start in range(0, len(body), MIB):
            piece = memoryview(body)[start : start + MIB]
            sha256.update(piece)
            md5.update(piece)

    with ThreadPoolExecutor(min(count, _AT_ONCE)) as threads:
        list(threads.map(one, range(count)))


async def read(settings: Settings, names: Sequence[str]) -> None:
    """Reads objects through the store's client, which hashes them."""
    store = open_store(Backend.BLOB, settings)
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with places:
            assert await store.read(name) is not None

    await asyncio.gather(*map(one, names))
    await store.aclose()


def table(rounds: Rounds) -> str:
    """Throughput, and the most memory that a process held."""
    lines = []
    for place, first in enumerate(rounds[0]):
        if first.seconds is None:
            lines.append([first.case, first.way, first.why_not, "", "", "", ""])
            continue
        some = [each[place] for each in rounds]
        seconds, cpu = middle(some, "seconds") or 1, middle(some, "cpu") or 1
        ours = first.way == OURS
        lines.append(
            [first.case, first.way, number(first.rows / MIB / seconds),
             number(first.rows / MIB / cpu), number(middle(some, "peak_mb")),
             "" if ours else number(ratio(rounds, place), 2),
             "" if ours else number(ratio(rounds, place, "cpu"), 2)]
        )  # fmt: skip
    heads = ["what", "by", "MiB/s", "MiB per CPU s", "peak MB", "time ÷ it", "CPU ÷ it"]
    return markdown(heads, lines)


def main() -> None:
    """Reads the objects that the arguments name, and tells what that took."""
    settings = load_settings(Path(sys.argv[1]) / ".env")
    asyncio.run(read(settings, []))  # whatever is imported on the way
    tell(lambda: asyncio.run(read(settings, sys.argv[2:])))


BENCHMARK = Benchmark(
    "hash",
    "Reading and hashing",
    "edgekeeper reads through the store's client over HTTP and makes SHA-256 and MD5 in one pass, "
    "opening the client counted; `hashlib` makes the same of bytes in memory; `sha256sum` makes "
    "SHA-256 of files of this machine, one after the other; `rclone hashsum sha256 --download` "
    "makes SHA-256 over the same URLs, its start counted.",
    prepared,
    table,
)

if __name__ == "__main__":
    main()
