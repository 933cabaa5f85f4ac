"""A Vercel Blob stand-in in a process of its own, for the tests of this directory."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from sandbox.blob.storage import BlobStorage, StoredObject
from sandbox.content import Generated

ROOT = Path(__file__).parents[2]
STORE_ID = "TestStore1"
TOKEN = f"vercel_blob_rw_{STORE_ID}_secret"
LONG_AGO = 1_700_000_000_000
START_SECONDS = 20


class BlobServerProcess:
    """The server over one directory, and a client that may use it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}/api/blob"
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20
        )
        self.start()
        self.storage = BlobStorage(directory)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = ["-m", "sandbox.blob", "--dir", str(self.directory), "--port", str(self.port)]
        self.process = subprocess.Popen([sys.executable, *command, "--token", TOKEN], cwd=ROOT)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError("the blob server did not start; its output says why")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return bool(httpx.get(f"{self.url}/__health").json() == {"ok": True})
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End the process as a crash would."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End the process."""
        self.http.close()
        self.storage.close()
        self.process.terminate()
        self.process.wait(timeout=10)

    def empty(self) -> None:
        """Delete all objects and all fault rules."""
        self.http.delete("/__faults").raise_for_status()
        while names := [obj.pathname for obj in self.storage.page(limit=1000).objects]:
            self.storage.delete(names)

    def put(self, pathname: str, body: bytes, **headers: str) -> httpx.Response:
        """Put an object; header names with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.put(
            "/api/blob/", params={"pathname": pathname}, content=body, headers=named
        )

    def list(self, **query: str | int) -> dict[str, object]:
        """One page of a listing."""
        response = self.http.get("/api/blob", params=query)
        assert response.status_code == 200, response.text
        answer: dict[str, object] = response.json()
        return answer

    def fault(self, action: str, value: object = None, times: int | None = 1, **match: str) -> None:
        """Add one fault rule."""
        rule = {"match": match, "action": action, "value": value, "times": times}
        response = self.http.post("/__faults", json={"rules": [rule]})
        assert response.status_code == 200, response.text


def seeded(pathname: str, length: int = 1000, **changes: object) -> StoredObject:
    """An object as the seeder writes it."""
    body = Generated(pathname, length)
    fields: dict[str, object] = {
        "pathname": pathname,
        "size": length,
        "etag": body.md5(),
        "uploaded_at": LONG_AGO,
        "content_type": "image/jpeg",
        "body": body.describe(),
    }
    return StoredObject(**(fields | changes))  # type: ignore[arg-type]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(server: BlobServerProcess) -> dict[str, str]:
    """What the official clients read their settings from."""
    return os.environ | {"VERCEL_BLOB_API_URL": server.api, "BLOB_READ_WRITE_TOKEN": TOKEN}
