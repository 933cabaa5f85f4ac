"""An Internet Computer stand-in in a process of its own, and callers that talk to it.

Callers encode and decode with the Python agent's Candid, by the interface that the canister
publishes, and verify every signature they get.
"""

import os
import socket
import subprocess
import sys
import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import cbor2
import httpx
import leb128
from ic.agent import sign_request
from ic.candid import decode, encode
from ic.canister import Canister
from ic.identity import Identity
from ic.principal import Principal
from icp_verification import find, hash_of, loads, value, verify_certificate, verify_query

from sandbox.content import Generated
from sandbox.icp.storage import (
    CanisterStorage,
    StoredAsset,
    StoredCapsule,
    StoredMemory,
)

ROOT = Path(__file__).parents[2]
CANISTER = Principal.from_str("bkyz2-fmaaa-aaaaa-qaaaq-cai")
START_SECONDS = 20
NS = 1_000_000_000
LONG_AGO = 1_700_000_000 * NS


class IcpServerProcess:
    """The server over one directory, and the storage it shares with the seeder."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=20)
        self.start()
        self.storage = CanisterStorage(directory)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "sandbox.icp", "--dir", str(self.directory)]
        command += ["--port", str(self.port), *self.options]
        self.process = subprocess.Popen(command, cwd=ROOT)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                assert httpx.get(f"{self.url}/__health").status_code == 200
            except httpx.TransportError:
                assert self.process.poll() is None, "the server ended while starting"
                assert time.monotonic() < deadline, "the server did not answer in time"
                time.sleep(0.05)
            else:
                return

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

    def root_key(self) -> bytes:
        """The key that ``status`` tells."""
        key: bytes = loads(self.http.get("/api/v2/status").content)["root_key"]
        return key

    def fault(self, action: str, value: object = None, times: int | None = 1, **match: str) -> None:
        """Add one fault rule."""
        rule = {"match": match, "action": action, "value": value, "times": times}
        response = self.http.post("/__faults", json={"rules": [rule]})
        assert response.status_code == 200, response.text

    def capsule(self, *owners: "Caller", **changes: object) -> str:
        """A new capsule of these owners."""
        names = tuple(owner.name for owner in owners)
        fields: dict[str, Any] = {
            "id": f"capsule-{uuid.uuid4()}",
            "subject": names[0],
            "owners": names,
            "controllers": (),
            "created_at": LONG_AGO,
            "updated_at": LONG_AGO,
        }
        capsule = StoredCapsule(**(fields | changes))
        self.storage.add_capsules([capsule])
        return capsule.id


class Caller:
    """One identity that calls the canister."""

    def __init__(self, server: IcpServerProcess, identity: Identity | None = None) -> None:
        self.server = server
        self.identity = identity or Identity(privkey=os.urandom(32).hex())
        self.principal: Principal = self.identity.sender()
        self.name: str = self.principal.to_str()

    @cached_property
    def interface(self) -> Canister:
        """The canister's interface, as it publishes it."""
        path = [b"canister", CANISTER.bytes, b"metadata", b"candid:service"]
        text = value(self.read_state([path]), *path)
        assert text is not None
        return Canister(None, CANISTER.to_str(), candid=text.decode())

    @cached_property
    def node_keys(self) -> dict[bytes, bytes]:
        """The subnet's node keys by node id, from a certificate."""
        tree = self.read_state([[b"subnet"]])
        (subnet,) = labels(tree, b"subnet")
        keys = {}
        for node in labels(tree, b"subnet", subnet, b"node"):
            key = value(tree, b"subnet", subnet, b"node", node, b"public_key")
            assert key is not None
            keys[node] = key
        return keys

    def content(self, kind: str, **fields: Any) -> dict[str, Any]:
        """A request's content, fresh and expiring in four minutes."""
        return {
            "request_type": kind,
            "sender": self.principal.bytes,
            "ingress_expiry": time.time_ns() + 240 * NS,
            "nonce": os.urandom(16),
            **fields,
        }

    def call_content(self, kind: str, method: str, argument: bytes) -> dict[str, Any]:
        """The content of a query or call."""
        return self.content(kind, canister_id=CANISTER.bytes, method_name=method, arg=argument)

    def post(self, content: dict[str, Any], path: str) -> httpx.Response:
        """Sign a request and send it to a path below ``/api/v…/canister/<id>``."""
        version, _, endpoint = path.partition("/")
        return self.send(self.sign(content), f"/api/{version}/canister/{CANISTER}/{endpoint}")

    def sign(self, content: dict[str, Any]) -> bytes:
        """The envelope of a request; without a signature where the sender is anonymous."""
        if self.principal.bytes == b"\x04":
            return cbor2.dumps({"content": content})
        envelope: bytes = sign_request(content, self.identity)[1]
        return envelope

    def send(self, envelope: bytes, path: str) -> httpx.Response:
        """Send an envelope as it is."""
        headers = {"content-type": "application/cbor"}
        return self.server.http.post(path, content=envelope, headers=headers)

    def read_state(self, paths: list[list[bytes]], version: str = "v3") -> list[Any]:
        """The tree of a verified certificate."""
        response = self.post(self.content("read_state", paths=paths), f"{version}/read_state")
        assert response.status_code == 200, response.text
        return self.verified(loads(response.content)["certificate"], sharded=version == "v3")

    def verified(self, certificate: bytes, *, sharded: bool) -> list[Any]:
        """The tree of a certificate, its age and signatures checked."""
        key = self.server.root_key()
        tree = verify_certificate(certificate, key, CANISTER.bytes, sharded=sharded)
        stamp = value(tree, b"time")
        assert stamp is not None
        assert abs(leb(stamp) - time.time_ns()) < 60 * NS
        return tree

    def encode(self, method: str, *arguments: Any) -> bytes:
        """Arguments by the published interface."""
        types = getattr(self.interface, method).args
        assert len(types) == len(arguments)
        pairs = zip(types, arguments, strict=True)
        encoded: bytes = encode([{"type": kind, "value": item} for kind, item in pairs])
        return encoded

    def chunk(self, locator: str, index: int) -> bytes:
        """A chunk of a blob; the Python agent's Candid takes a quarter of a minute for a large one.

        Behind the types, which any reply of the method begins with, come the tag (0 is ``Ok``),
        the length and the chunk.
        """
        reply = self._chunk_reply(locator, index)
        types = self._chunk_reply("no such blob", 0)[:-2]
        assert reply.startswith(types + b"\0"), self.decode("blob_read_chunk", reply)
        rest = reply[len(types) + 1 :]
        start = next(at for at, byte in enumerate(rest) if byte < 0x80) + 1
        assert leb(rest[:start]) == len(rest) - start
        return rest[start:]

    def _chunk_reply(self, locator: str, index: int) -> bytes:
        argument = self.encode("blob_read_chunk", locator, index)
        reply: bytes = self.answer("blob_read_chunk", argument)["reply"]["arg"]
        return reply

    def put_chunk(self, session: int, index: int, data: bytes) -> Any:
        """Upload a chunk, for the same reason not encoded byte by byte."""
        argument = self.encode("uploads_put_chunk", session, index, b"")
        argument = argument[:-1] + bytes(leb128.u.encode(len(data))) + data
        content = self.call_content("call", "uploads_put_chunk", argument)
        reply = value(self.outcome(content), b"reply")
        assert reply is not None
        return self.decode("uploads_put_chunk", reply)

    def decode(self, method: str, reply: bytes) -> Any:
        """A reply's value by the published interface."""
        return decode(reply, getattr(self.interface, method).rets)[0]["value"]

    def answer(self, method: str, argument: bytes, version: str = "v3") -> dict[str, Any]:
        """The whole answer to a query, verified."""
        content = self.call_content("query", method, argument)
        response = self.post(content, f"{version}/query")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = loads(response.content)
        verify_query(answer, hash_of(content), self.node_keys)
        return answer

    def query(self, method: str, *arguments: Any) -> Any:
        """A query's value."""
        answer = self.answer(method, self.encode(method, *arguments))
        assert answer["status"] == "replied", answer
        return self.decode(method, answer["reply"]["arg"])

    def outcome(self, content: dict[str, Any], version: str = "v4") -> list[Any]:
        """The certified part of the state that tells what came of a synchronous call."""
        response = self.post(content, f"{version}/call")
        assert response.status_code == 200, response.text
        answer = loads(response.content)
        assert answer["status"] == "replied"
        tree = self.verified(answer["certificate"], sharded=version == "v4")
        found = find(tree, b"request_status", hash_of(content))
        assert found is not None
        return found

    def update(self, method: str, *arguments: Any) -> Any:
        """An update call's value."""
        content = self.call_content("call", method, self.encode(method, *arguments))
        found = self.outcome(content)
        assert value(found, b"status") == b"replied", found
        reply = value(found, b"reply")
        assert reply is not None
        return self.decode(method, reply)


def leb(data: bytes) -> int:
    """The number that LEB128 writes."""
    return sum((byte & 0x7F) << (7 * position) for position, byte in enumerate(data))


def labels(tree: list[Any], *path: bytes) -> list[bytes]:
    """The labels below a path."""

    def flat(node: list[Any]) -> list[bytes]:
        if node[0] == 1:
            return flat(node[1]) + flat(node[2])
        return [node[1]] if node[0] == 2 else []

    found = find(tree, *path)
    assert found is not None
    return flat(found)


def asset(kind: str = "internal", asset_type: str = "Original", **changes: object) -> StoredAsset:
    """An asset as the seeder writes it: what is declared is true."""
    asset_id = str(uuid.uuid4())
    body = Generated(asset_id, 20_000 if kind == "internal" else 300)
    fields: dict[str, Any] = {
        "asset_id": asset_id,
        "kind": kind,
        "asset_type": asset_type,
        "name": "photo.jpg",
        "mime_type": "image/jpeg",
        "bytes": body.length,
        "sha256": body.sha256(),
        "body": body.describe() if kind != "external" else None,
        "locator": f"blob_{asset_id}" if kind == "internal" else None,
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
    }
    if kind == "external":
        fields |= {"location": "S3", "storage_key": "key", "url": "https://example.com/photo"}
    return StoredAsset(**(fields | changes))


def memory(capsule_id: str, *assets: StoredAsset, **changes: object) -> StoredMemory:
    """A memory as the seeder writes it."""
    fields: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "capsule_id": capsule_id,
        "memory_type": "Image",
        "title": "A day at the lake",
        "content_type": "image/jpeg",
        "created_at": LONG_AGO,
        "updated_at": LONG_AGO,
        "uploaded_at": LONG_AGO,
        "assets": assets,
    }
    return StoredMemory(**(fields | changes))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
