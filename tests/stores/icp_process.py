"""The Internet Computer stand-in in a process of its own, filled directly, and stores that ask it."""

import hashlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sandbox.content import Generated
from sandbox.icp.storage import CanisterStorage, StoredAsset, StoredCapsule, StoredMemory
from tasks.settings import Settings
from tasks.stores.icp import IcpStore
from tasks.stores.icp.identity import load_identity, principal_text

ROOT = Path(__file__).parents[2]
CANISTER_ID = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
NS = 1_000_000_000
LONG_AGO = 1_700_000_000 * NS
START_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_pem() -> str:
    """A new Ed25519 key."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM = new_pem()
STRANGER_PEM = new_pem()


def principal_of(pem: str) -> str:
    return principal_text(load_identity(pem).principal)


class IcpProcess:
    """The server over one directory, and the storage that it reads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [
            sys.executable,
            "-m",
            "sandbox.icp",
            "--dir",
            str(directory),
            "--port",
            str(port),
        ]
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment)
        self._wait()
        self.storage = CanisterStorage(directory)
        self.root_key = (directory / "root_key.hex").read_text().strip()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.url}/__health").raise_for_status()
            except httpx.HTTPError:
                assert self._process.poll() is None, "the server ended while starting"
                assert time.monotonic() < deadline, "the server did not answer in time"
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        self.storage.close()
        self._process.terminate()
        self._process.wait(timeout=10)

    def fault(self, action: str, value: object = None, times: int | None = 1, **match: str) -> None:
        """Adds one fault rule."""
        rule = {"match": match, "action": action, "value": value, "times": times}
        httpx.post(f"{self.url}/__faults", json={"rules": [rule]}).raise_for_status()

    def no_faults(self) -> None:
        httpx.delete(f"{self.url}/__faults").raise_for_status()

    def settings(self, **changes: Any) -> Settings:
        fields: dict[str, Any] = {
            "ic_url": self.url,
            "canister_id": CANISTER_ID,
            "identity_pem": PEM,
            "ic_root_key": self.root_key,
        }
        return Settings(_env_file=None, **(fields | changes))

    def store(self, *, known_capsules: Iterable[str] = (), **changes: Any) -> IcpStore:
        return IcpStore.from_settings(
            self.settings(**changes), known_capsules=tuple(known_capsules)
        )

    def capsule(self, *, pem: str = PEM) -> str:
        """A new, empty capsule."""
        owner = principal_of(pem)
        capsule_id = f"capsule-{uuid.uuid4()}"
        self.storage.add_capsules(
            [StoredCapsule(capsule_id, owner, (owner,), (), LONG_AGO, LONG_AGO)]
        )
        return capsule_id

    def clear(self) -> None:
        """Nothing in the canister, and no faults."""
        self.no_faults()
        with self.storage.transaction():
            for table in ("memory", "blob", "gallery", "capsule", "removed"):
                self.storage.database.execute(f"DELETE FROM {table}")  # noqa: S608

    def memory(self, capsule_id: str, *assets: StoredAsset, **changes: Any) -> StoredMemory:
        """A new memory in a capsule."""
        memory = new_memory(capsule_id, *assets, **changes)
        self.storage.add_memories([memory])
        return memory


def new_memory(capsule_id: str, *assets: StoredAsset, **changes: Any) -> StoredMemory:
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "capsule_id": capsule_id,
        "memory_type": "Image",
        "title": "a day at the lake",
        "content_type": "image/jpeg",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO + 5 * NS,
        "uploaded_at": LONG_AGO,
        "assets": assets,
    }
    return StoredMemory(**(fields | changes))


def body(length: int) -> tuple[str, bytes]:
    """A body's description and its bytes."""
    generated = Generated(str(uuid.uuid4()), length)
    return generated.describe(), generated.read()


def asset(kind: str, description: str | None, content: bytes, **changes: Any) -> StoredAsset:
    fields: dict[str, Any] = {
        "asset_id": str(uuid.uuid4()),
        "kind": kind,
        "asset_type": "Original",
        "name": "lake.jpg",
        "mime_type": "image/jpeg",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "body": description,
        "locator": f"blob_{uuid.uuid4()}" if kind == "internal" else None,
        "location": "VercelBlob" if kind == "external" else None,
        "storage_key": "images/lake.jpg" if kind == "external" else None,
        "url": None,
    }
    return StoredAsset(**(fields | changes))


def inline(length: int = 1_000, **changes: Any) -> tuple[StoredAsset, bytes]:
    description, content = body(length)
    return asset("inline", description, content, **changes), content


def internal(length: int = 1_000, **changes: Any) -> tuple[StoredAsset, bytes]:
    description, content = body(length)
    return asset("internal", description, content, **changes), content


def external(**changes: Any) -> StoredAsset:
    return asset("external", None, b"", **changes)
