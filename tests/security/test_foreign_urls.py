"""Bytes are read from the store's own URLs alone, whatever the API or a redirect says."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import stamina
from listening import Visits, http_ok, listener, self_signed, with_tls

from checks.errors import NotTheStoresUrlError, StoreUnreachableError
from tasks.settings import load_settings
from tasks.stores.blob import reading
from tasks.stores.blob.answers import Blob
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.transport import Transport

TOKEN = "vercel_blob_rw_Store1_markedsecret"
OWN = "store1.public.blob.vercel-storage.com"


async def fetch(store: BlobStore, url: str) -> None:
    """Asks for the bytes of an object that the API says is at ``url``."""
    blob = Blob("a", url, 2, "etag", datetime.now(UTC))
    await reading._read_version(store._connection, blob, None)


@pytest.fixture(autouse=True)
def one_attempt() -> Iterator[None]:
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture
def elsewhere() -> Iterator[Visits]:
    with listener(http_ok) as visits:
        yield visits


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a", "http://localhost:{port}/a", "http://[::1]:{port}/a",
        f"http://{OWN}@127.0.0.1:{{port}}/a", f"https://{OWN}:{{port}}/a", f"http://{OWN}/a",
        f"https://{OWN}.evil.example/a", f"https://x{OWN}/a", "https://store2.public.blob.vercel-storage.com/a",
        f"https://evil.example\\@{OWN}/a", f"https://{OWN}\n@evil.example/a", "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/", f"https://{OWN.replace('o', chr(0x43E))}/a", "//{port}",
        "http://127.0.0.1:{api}@evil.example/a", "http://127.0.0.1:{api}1/a", "http://0177.0.0.1:{api}/a",
    ],
)  # fmt: skip
def test_an_object_url_that_is_not_the_store_s_is_not_fetched(url: str, elsewhere: Visits) -> None:
    with listener(http_ok) as api:
        origin = f"http://127.0.0.1:{api.port}/api/blob"
        settings = load_settings(None, blob_token=TOKEN, blob_api_url=origin)
        target = url.format(port=elsewhere.port, api=api.port)

        async def read() -> None:
            async with BlobStore(settings) as store:
                with pytest.raises(NotTheStoresUrlError, match="was not fetched"):
                    await fetch(store, target)

        asyncio.run(read())
        assert not api.said
    assert not elsewhere.said


def test_no_redirect_is_followed_by_the_blob_store_or_the_canister(elsewhere: Visits) -> None:
    head = f"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:{elsewhere.port}/stolen\r\n"
    moved = f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode()

    def redirect(peer: object, visits: Visits) -> None:
        visits.said.append(peer.recv(65_536))  # type: ignore[attr-defined]
        peer.sendall(moved)  # type: ignore[attr-defined]

    with listener(redirect) as store:
        origin = f"http://127.0.0.1:{store.port}"
        settings = load_settings(None, blob_token=TOKEN, blob_api_url=f"{origin}/api/blob")

        async def ask() -> None:
            async with BlobStore(settings) as blobs:
                with pytest.raises(NotTheStoresUrlError):
                    await blobs.look_up("a")
                with pytest.raises(NotTheStoresUrlError):
                    await fetch(blobs, f"{origin}/a")
            transport = Transport(origin, in_flight=1)
            with pytest.raises(NotTheStoresUrlError):
                await transport.post("/api/v3/canister/x/query", b"")
            await transport.aclose()

        asyncio.run(ask())
        assert len(store.said) == 3
    assert not elsewhere.said


def test_the_token_goes_to_no_public_url() -> None:
    settings = load_settings(None, blob_token=TOKEN)
    address = settings.blob_address
    assert address is not None
    assert not address.takes_token(f"https://{OWN}/a")
    assert address.takes_token(f"https://{OWN.replace('public', 'private')}/a")
    assert httpx.URL(address.urls("a b")[0]).host == OWN


def test_bytes_are_not_read_from_a_server_that_vouches_for_itself(tmp_path: Path) -> None:
    with listener(with_tls(self_signed(tmp_path), http_ok)) as visits:
        origin = f"https://localhost:{visits.port}"
        settings = load_settings(None, blob_token=TOKEN, blob_api_url=f"{origin}/api/blob")

        async def read() -> None:
            async with BlobStore(settings) as store:
                with pytest.raises(StoreUnreachableError, match=r"(?i)certificate"):
                    await fetch(store, f"{origin}/a")

        asyncio.run(read())
        assert visits.said == []
