"""What the Internet Computer stand-in signs, verified by code that is not its own."""

import copy
from collections.abc import Iterator

import pytest
from icp_server import CANISTER, Caller, IcpServerProcess, asset, labels, memory
from icp_verification import (
    VerificationError,
    find,
    hash_of,
    loads,
    root_hash,
    value,
    verify_certificate,
    verify_query,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpServerProcess]:
    running = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def caller(server: IcpServerProcess) -> Caller:
    return Caller(server)


def test_the_root_key_that_status_tells_is_the_one_in_the_directory(
    server: IcpServerProcess,
) -> None:
    assert (server.directory / "root_key.hex").read_text() == server.root_key().hex()
    assert (server.directory / "keys.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("version", "sharded"), [("v3", False), ("v4", True)])
def test_a_synchronous_call_answers_with_a_certificate_of_its_reply(
    caller: Caller, version: str, *, sharded: bool
) -> None:
    content = caller.call_content("call", "whoami", caller.encode("whoami"))
    response = caller.post(content, f"{version}/call")
    certificate = loads(response.content)["certificate"]
    tree = caller.verified(certificate, sharded=sharded)
    reply = value(tree, b"request_status", hash_of(content), b"reply")
    assert reply is not None
    assert caller.decode("whoami", reply).bytes == caller.principal.bytes


@pytest.mark.parametrize(("version", "sharded"), [("v2", False), ("v3", True)])
def test_the_delegation_has_the_ranges_where_the_version_of_the_endpoint_has_them(
    caller: Caller, version: str, *, sharded: bool
) -> None:
    content = caller.content("read_state", paths=[[b"time"]])
    certificate = loads(caller.post(content, f"{version}/read_state").content)["certificate"]
    root_key = caller.server.root_key()
    verify_certificate(certificate, root_key, CANISTER.bytes, sharded=sharded)
    with pytest.raises(VerificationError):
        verify_certificate(certificate, root_key, CANISTER.bytes, sharded=not sharded)


def test_an_asynchronous_call_is_accepted_and_its_reply_can_be_polled_for(caller: Caller) -> None:
    content = caller.call_content("call", "whoami", caller.encode("whoami"))
    response = caller.post(content, "v2/call")
    assert (response.status_code, response.content) == (202, b"")
    path = [b"request_status", hash_of(content)]
    tree = caller.read_state([path], "v2")
    assert value(tree, *path, b"status") == b"replied"


def test_a_rejected_call_is_certified_with_code_and_message(caller: Caller) -> None:
    found = caller.outcome(caller.call_content("call", "no_such_method", b"DIDL\0\0"))
    assert value(found, b"status") == b"rejected"
    assert value(found, b"reject_code") == b"\x05"
    assert value(found, b"error_code") == b"IC0536"
    assert b"has no update method 'no_such_method'" in (value(found, b"reject_message") or b"")


def test_a_request_nobody_made_is_proven_absent(caller: Caller) -> None:
    path = [b"request_status", b"\x77" * 32]
    assert value(caller.read_state([path]), *path) is None


def test_a_certificate_shows_nothing_but_what_was_asked_for(caller: Caller) -> None:
    path = [b"canister", CANISTER.bytes, b"module_hash"]
    tree = caller.read_state([path])
    assert len(value(tree, *path) or b"") == 32
    with pytest.raises(VerificationError, match="does not say"):
        find(tree, b"canister", CANISTER.bytes, b"metadata", b"candid:service")


def test_controllers_and_missing_metadata_can_be_read(caller: Caller) -> None:
    controllers = [b"canister", CANISTER.bytes, b"controllers"]
    missing = [b"canister", CANISTER.bytes, b"metadata", b"no:such"]
    tree = caller.read_state([controllers, missing])
    assert len(loads(value(tree, *controllers) or b"")) == 1
    assert value(tree, *missing) is None


def test_the_subnet_answers_for_itself(caller: Caller) -> None:
    (subnet,) = labels(caller.read_state([[b"subnet"]]), b"subnet")
    path = [b"subnet", subnet, b"public_key"]
    content = caller.content("read_state", paths=[path])
    name = type(caller.principal)(bytes=subnet).to_str()
    response = caller.send(caller.sign(content), f"/api/v3/subnet/{name}/read_state")
    tree = caller.verified(loads(response.content)["certificate"], sharded=True)
    assert len(value(tree, *path) or b"") == 133


def test_a_changed_reply_breaks_the_certificate(caller: Caller) -> None:
    content = caller.call_content("call", "whoami", caller.encode("whoami"))
    certificate = loads(caller.post(content, "v4/call").content)["certificate"]
    reply = value(loads(certificate)["tree"], b"request_status", hash_of(content), b"reply")
    assert reply is not None
    changed = certificate.replace(reply, bytes([*reply[:-1], reply[-1] ^ 1]))
    assert changed != certificate
    with pytest.raises(VerificationError, match="BLS"):
        caller.verified(changed, sharded=True)


def test_a_changed_answer_to_a_query_breaks_the_nodes_signature(caller: Caller) -> None:
    content = caller.call_content("query", "whoami", caller.encode("whoami"))
    answer = loads(caller.post(content, "v3/query").content)
    verify_query(answer, hash_of(content), caller.node_keys)
    changed = copy.deepcopy(answer)
    changed["reply"]["arg"] = b"DIDL\0\0"
    with pytest.raises(Exception, match=r"^$"):  # InvalidSignature says nothing
        verify_query(changed, hash_of(content), caller.node_keys)


def test_a_listing_can_be_certified_by_calling_the_query_as_an_update(
    server: IcpServerProcess, caller: Caller
) -> None:
    capsule = server.capsule(caller)
    server.storage.add_memories(memory(capsule, asset()) for _ in range(120))
    certified = caller.update("memories_list", capsule, [], [100])
    assert certified == caller.query("memories_list", capsule, [], [100])
    assert len(certified["Ok"]["items"]) == 100


def test_keys_and_root_key_survive_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    try:
        before = server.root_key(), Caller(server).node_keys
        server.kill()
        server.start()
        assert (server.root_key(), Caller(server).node_keys) == before
    finally:
        server.close()


def test_the_verifier_of_these_tests_finds_a_wrong_tree() -> None:
    tree = [1, [2, b"a", [3, b"x"]], [4, b"\0" * 32]]
    assert root_hash(tree) != root_hash([1, [2, b"a", [3, b"y"]], [4, b"\0" * 32]])
    with pytest.raises(VerificationError):
        find(tree, b"b")
