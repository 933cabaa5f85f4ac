"""The blob store's stand-in as a process of its own, and a store that is connected to it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tasks.settings import Settings, load_settings
from tasks.stores.blob import BlobStore

ROOT = Path(__file__).parents[2]
STORE_ID = "AbCdEf123"
TOKEN = f"vercel_blob_rw_{STORE_ID}_s3cr3t"


class BlobProcess:
    """A stand-in over one directory, driven over HTTP alone."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "sandbox.blob", "--dir", str(directory)]
        command += ["--port", str(self.port), "--token", TOKEN]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment)
        self.http = httpx.Client(
            base_url=self.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=20
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self.http.get("/__health").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        self.close()
        raise RuntimeError("the blob stand-in did not start; its output says why")

    def close(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.wait(timeout=10)

    def settings(self, token: str = TOKEN, **changes: Any) -> Settings:
        fields = {"blob_api_url": f"{self.url}/api/blob", "blob_plan": "unlimited"}
        return load_settings(None, **(fields | {"blob_token": token} | changes))

    def store(self, token: str = TOKEN, **changes: Any) -> BlobStore:
        return BlobStore(self.settings(token, **changes))

    def put(self, pathname: str, body: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named = {"x-allow-overwrite": "1"} | named
        answer = self.http.put(
            "/api/blob/", params={"pathname": pathname}, content=body, headers=named
        )
        answer.raise_for_status()

    def delete(self, *pathnames: str) -> None:
        answer = self.http.post("/api/blob/delete", json={"urls": list(pathnames)})
        answer.raise_for_status()

    def fault(
        self,
        action: str,
        value: Any = None,
        *,
        times: int | None = 1,
        method: str | None = None,
        path: str | None = None,
    ) -> None:
        match = {"method": method, "path_regex": path}
        rule = {"match": match, "action": action, "value": value, "times": times}
        self.http.post("/__faults", json={"rules": [rule]}).raise_for_status()

    def reset(self) -> None:
        """Ends all faults and deletes all objects."""
        self.http.delete("/__faults").raise_for_status()
        while blobs := self.http.get("/api/blob").json()["blobs"]:
            self.delete(*(blob["pathname"] for blob in blobs))
