"""Bytes read and hashed: through a store's client, through plain httpx, and by hashlib alone."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time

import httpx

from benchmarks.audits import environment
from checks.model import Backend
from tasks.settings import Settings, load_settings
from tasks.stores import open_store
from tasks.stores.blob.asking import list_page
from tasks.stores.blob.connection import BlobConnection

LARGE_BYTES = 256 * 2**20
SMALL_OBJECTS = 500
_AT_ONCE = 16
_NAME = "edgekeeper-benchmark.bin"


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading took.

    Attributes:
        hashlib, httpx, store: seconds for one object of ``LARGE_BYTES``: hashed in memory, fetched
            and hashed by the least code, and read by the store's client.
        small_seconds, small_cpu: of ``SMALL_OBJECTS`` small objects read by the store's client, all
            together, and seconds of the client's own core.
    """

    hashlib: float
    httpx: float
    store: float
    small_seconds: float
    small_cpu: float


def reading(directory: Path) -> Reading:
    """Puts a large object into the sandbox's blob store, reads it three ways, and deletes it."""
    settings = load_settings(directory / ".env")
    token = environment(directory)["BLOB_READ_WRITE_TOKEN"]
    body = bytes(LARGE_BYTES)
    api = settings.blob_api_url
    headers = {"authorization": f"Bearer {token}", "accept-encoding": "identity"}
    with httpx.Client(headers=headers, trust_env=False, timeout=120) as client:
        put = {"x-add-random-suffix": "0", "x-allow-overwrite": "1"}
        client.put(api, params={"pathname": _NAME}, content=body, headers=put).raise_for_status()
        url = client.get(api, params={"url": _NAME}).json()["url"]
        alone = _timed(lambda: _hashed([body]))
        fetched = _timed(lambda: _fetched(client, url))
        through = _timed(lambda: asyncio.run(_read(settings, [_NAME])))
        client.post(f"{api}/delete", json={"urls": [url]}).raise_for_status()
    names = asyncio.run(_names(settings))
    cpu = process_time()
    small = _timed(lambda: asyncio.run(_read(settings, names)))
    return Reading(alone, fetched, through, small, process_time() - cpu)


def _timed(work: Callable[[], object]) -> float:
    began = monotonic()
    work()
    return monotonic() - began


def _hashed(pieces: Iterable[bytes]) -> None:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        sha256.update(piece)
        md5.update(piece)


def _fetched(client: httpx.Client, url: str) -> None:
    with client.stream("GET", url) as response:
        _hashed(response.iter_raw())


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
