"""The official clients of Vercel Blob use the stand-in and do not know the difference."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
from blob_server import TOKEN, BlobServerProcess, environment, seeded
from vercel.api import session
from vercel.blob import sync as client

JS = Path(__file__).parent / "js"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobServerProcess]:
    server = BlobServerProcess(tmp_path_factory.mktemp("clients"))
    yield server
    server.close()


@pytest.fixture
def server(
    running: BlobServerProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlobServerProcess]:
    running.empty()
    monkeypatch.setenv("VERCEL_BLOB_API_URL", running.api)
    monkeypatch.setenv("BLOB_READ_WRITE_TOKEN", TOKEN)
    with session(httpx_client_factory=lambda: httpx2.Client(transport=StoreHosts(running.port))):
        yield running


class StoreHosts(httpx2.HTTPTransport):
    """Leads the stores' host names, which the clients insist on for downloads, to a local port."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host.endswith(".blob.vercel-storage.com"):
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return super().handle_request(request)


# --- Python


def test_the_python_client_puts_finds_copies_and_deletes(server: BlobServerProcess) -> None:
    put = client.put_blob("py/a b é.txt", b"first", access="public", cache_control_max_age=90)
    assert httpx.get(put.url).content == b"first"
    head = client.head_blob("py/a b é.txt")
    assert (head.url, head.etag, head.size) == (put.url, put.etag, 5)
    assert (head.content_type, head.cache_control) == ("text/plain", "public, max-age=90")
    with pytest.raises(client.BlobError, match="This blob already exists"):
        client.put_blob("py/a b é.txt", b"second", access="public")
    second = client.put_blob("py/a b é.txt", b"second", access="public", allow_overwrite=True)
    copied = client.copy_blob("py/a b é.txt", "py/copy", access="private", if_match=second.etag)
    assert copied.etag == second.etag
    with pytest.raises(client.BlobPreconditionFailedError):
        client.copy_blob("py/copy", "py/other", access="public", if_match=put.etag)
    with pytest.raises(client.BlobPreconditionFailedError):
        client.delete_blob("py/copy", if_match=put.etag)
    client.delete_blob(["py/copy", "py/absent"])
    with pytest.raises(client.BlobNotFoundError):
        client.head_blob("py/copy")
    assert server.storage.count() == 1


def test_the_python_client_streams_and_uploads_in_parts(server: BlobServerProcess) -> None:
    piece = b"x" * 100_000
    streamed = client.put_blob("s", iter([piece] * 30), access="public", content_length=3_000_000)
    assert streamed.etag == f'"{hashlib.md5(piece * 30, usedforsecurity=False).hexdigest()}"'
    part = b"y" * (5 * 1024 * 1024)
    with client.multipart_upload_blob("m/é.bin", access="public", add_random_suffix=True) as upload:
        upload.upload_part(part)
        upload.upload_part(iter([piece]), content_length=len(piece))
    assert upload.result.etag.endswith('-2"')
    assert httpx.get(upload.result.url).content == part + piece
    assert server.storage.count() == 2


def test_the_python_client_lists_pages_and_folders(server: BlobServerProcess) -> None:
    names = [f"py/{n % 3}/{n:03d}" for n in range(250)] + ["py/file"]
    server.storage.insert(seeded(name, 7) for name in names)
    assert [blob.pathname for blob in client.query_blobs(page_size=33)] == sorted(names)
    entries = list(client.query_blob_entries(prefix="py/", page_size=2))
    assert [e.prefix for e in entries if isinstance(e, client.BlobPrefix)] == [
        "py/0/",
        "py/1/",
        "py/2/",
    ]
    assert [e.pathname for e in entries if isinstance(e, client.ListBlob)] == ["py/file"]


@pytest.mark.usefixtures("server")
def test_the_python_client_downloads_by_pathname() -> None:
    client.put_blob("py/é p.bin", b"public", access="public")
    client.put_blob("py/private", b"private", access="private")
    got = client.get_blob("py/é p.bin", access="public")
    assert (got.body, got.metadata.size) == (b"public", 6)
    assert got.metadata.etag == client.head_blob("py/é p.bin").etag
    assert client.get_blob("py/private", access="private").body == b"private"
    with pytest.raises(client.BlobAccessError):
        client.get_blob("py/private", access="public")
    with pytest.raises(client.BlobNotFoundError):
        client.get_blob("py/absent", access="public")


def test_the_python_client_understands_a_rate_limit(server: BlobServerProcess) -> None:
    server.fault("status", {"status": 429, "headers": {"retry-after": "3"}})
    with pytest.raises(client.BlobServiceRateLimited):
        client.head_blob("x")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("token", "error"),
    [
        (TOKEN + "x", client.BlobAccessError),
        ("vercel_blob_rw_Other_x", client.BlobStoreNotFoundError),
    ],
)
def test_the_python_client_understands_why_it_is_not_let_in(
    monkeypatch: pytest.MonkeyPatch,
    token: str,
    error: type[Exception],
) -> None:
    monkeypatch.setenv("BLOB_READ_WRITE_TOKEN", token)
    with pytest.raises(error):
        client.delete_blob("x")


# --- JavaScript


def test_the_javascript_client_uses_every_operation(server: BlobServerProcess) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (JS / "node_modules" / "@vercel" / "blob").is_dir():
        pytest.skip(f"@vercel/blob is not installed: run npm ci in {JS.name}/ beside this file")
    done = subprocess.run(
        [node, "blob_client.mjs"],
        cwd=JS,
        env=environment(server) | {"VERCEL_BLOB_RETRIES": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    put, head = seen.pop("put"), seen.pop("head")
    assert put["url"] == f"{server.url}/js/a%20b%20%C3%A9.txt"
    assert put.items() <= head.items()
    assert head["size"] == 5
    assert seen.pop("headByPathname") == head["etag"]
    assert "already exists" in seen.pop("again")
    assert seen.pop("suffixed").startswith("js/s-")
    assert seen.pop("progress")[-1] == 100
    assert "Access denied" in seen.pop("wrongToken")
    assert "store does not exist" in seen.pop("wrongStore")
    assert seen == {
        "text": "first",
        "got": ["first", 5, 304, None],
        "gotPrivate": 200_000,
        "staleEtag": "precondition failed",
        "copied": ["text/markdown", "public, max-age=600", True],
        "renamed": "js/renamed.md",
        "gone": "not found",
        "folder": "js/folder/",
        "listed": [
            [["js/list/0", 1, True], ["js/list/1", 1, True]],
            [["js/list/2", 1, True], ["js/list/3", 1, True]],
            [["js/list/4", 1, True]],
        ],
        "folders": ["js/folder/", "js/list/"],
        "multipart": ['3"', True],
        "manual": True,
        "uploader": "js/uploader.bin",
        "staleDeletion": "precondition failed",
        "deleted": "not found",
        "left": 3,
    }
