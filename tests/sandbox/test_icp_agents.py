"""The official agents, Python's and JavaScript's, against the stand-in.

They verify what they get, which proves the stand-in: nothing here is of our own making.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ic.agent import Agent
from ic.canister import Canister
from ic.certificate import lookup
from ic.client import Client
from ic.identity import DelegateIdentity, Identity
from icp_server import CANISTER, NS, Caller, IcpServerProcess, asset, memory
from icp_verification import SELF_DESCRIBED, hash_of

from sandbox.icp.interface import source

JAVASCRIPT = Path(__file__).with_name("js")
# The principal of the key that the scripts make of 32 times the byte 7.
SEED = b"\7" * 32


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpServerProcess]:
    running = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    yield running
    running.close()


# --- JavaScript


def results(server: IcpServerProcess, script: str, package: str) -> tuple[str, dict[str, Any]]:
    """A capsule with three memories, and what a script says of it."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed; the official JavaScript agents are not tried")
    if not (JAVASCRIPT / "node_modules" / package).is_dir():
        pytest.skip(f"{package} is not installed: run npm ci in tests/sandbox/js")
    owner = Caller(server, Identity(privkey=SEED.hex()))
    capsule = server.capsule(owner)
    server.storage.add_memories(memory(capsule, asset()) for _ in range(3))
    command = ["node", script, server.url, str(CANISTER), capsule]
    ran = subprocess.run(
        command, cwd=JAVASCRIPT, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout)
    assert said["own"] == owner.name
    return capsule, said


@pytest.fixture(scope="module")
def current(server: IcpServerProcess) -> tuple[str, dict[str, Any]]:
    return results(server, "icp-agent.mjs", "@icp-sdk/core")


def test_the_current_javascript_agent_verifies_queries_calls_polls_and_state(
    server: IcpServerProcess, current: tuple[str, dict[str, Any]]
) -> None:
    capsule, said = current
    assert said["query"] == said["polled"] == said["own"]
    assert said["accepted"] == 202
    assert said["certifiedListing"] == said["listed"]
    assert len(said["listed"]["items"]) == 3
    assert len(said["listed"]["items"][0]["assets"]["original"]) == 1
    assert said["deleted"] == {"Ok": None}
    assert said["deletedAgain"] == {"Err": {"NotFound": None}}
    assert said["interface"] == source()
    assert (len(said["moduleHash"]), len(said["controllers"]), said["nodes"]) == (64, 1, 1)
    assert "has no query method" in said["rejectedQuery"]
    assert "has no update method" in said["rejectedUpdate"]
    assert server.storage.count(capsule) == 2


def test_the_current_javascript_agent_trusts_no_other_root_key(
    current: tuple[str, dict[str, Any]],
) -> None:
    _, said = current
    for refused in (said["wrongRootKey"], said["wrongRootKeyUpdate"]):
        assert "verif" in refused or "signature" in refused.lower()


def test_the_javascript_agents_previous_generation_verifies_the_older_layout(
    server: IcpServerProcess,
) -> None:
    _, said = results(server, "icp-agent-v3.mjs", "@dfinity/agent")
    assert said["query"] == said["polled"] == said["own"]
    assert said["deleted"] == {"Ok": None}
    assert said["accepted"] == 202
    assert said["interface"] == source()
    assert "has no query method" in said["rejectedQuery"]
    assert "has no update method" in said["rejectedUpdate"]


# --- Python


class UntaggedClient(Client):  # type: ignore[misc]
    """The agent's own client, less CBOR's self-description.

    The agent insists on a plain dict, which current versions of the CBOR library don't make of a
    map behind a tag.
    """

    def query(self, canister_id: str, data: bytes) -> bytes:
        answer: bytes = super().query(canister_id, data)
        return answer.removeprefix(SELF_DESCRIBED)


def canister(server: IcpServerProcess, identity: Any) -> Canister:
    agent = Agent(identity, UntaggedClient(server.url))
    state = agent.read_state_raw(
        str(CANISTER), [[b"canister", CANISTER.bytes, b"metadata", b"candid:service"]]
    )
    path = [b"canister", CANISTER.bytes, b"metadata", b"candid:service"]
    return Canister(agent, str(CANISTER), candid=lookup(path, state).decode())


def test_the_python_agent_queries_and_updates(server: IcpServerProcess) -> None:
    owner = Caller(server)
    capsule = server.capsule(owner)
    held = memory(capsule, asset())
    server.storage.add_memories([held])
    called = canister(server, owner.identity)
    assert called.whoami()[0].bytes == owner.principal.bytes
    (page,) = called.memories_list(capsule, [], [])
    assert [item["id"] for item in page["Ok"]["items"]] == [held.id]
    delete_assets = True
    assert called.memories_delete(held.id, delete_assets) == [{"Ok": None}]
    assert called.memories_read(held.id) == [{"Err": {"NotFound": None}}]


def test_the_python_agent_may_be_anonymous(server: IcpServerProcess) -> None:
    called = canister(server, Identity(anonymous=True))
    assert called.whoami()[0].bytes == b"\x04"
    assert called.capsules_list() == [[]]


def test_the_python_agent_signs_with_a_delegation(server: IcpServerProcess) -> None:
    owner, session = Caller(server), Identity(privkey=os.urandom(32).hex())
    delegation = {"pubkey": session.der_pubkey, "expiration": (1 << 62) - NS}
    public_key, signature = owner.identity.sign(
        b"\x1aic-request-auth-delegation" + hash_of(delegation)
    )
    given = {
        "publicKey": public_key.hex(),
        "delegations": [
            {
                "delegation": {
                    "pubkey": session.der_pubkey.hex(),
                    "expiration": f"{delegation['expiration']:x}",
                },
                "signature": signature.hex(),
            }
        ],
    }
    called = canister(server, DelegateIdentity(session, given))
    assert called.whoami()[0].bytes == owner.principal.bytes
