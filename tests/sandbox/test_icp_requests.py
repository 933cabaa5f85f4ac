"""Which requests the Internet Computer stand-in takes, and how it refuses the others."""

import hashlib
import os
import time
from collections.abc import Iterator
from typing import Any

import cbor2
import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ic.identity import Identity
from ic.principal import Principal
from icp_server import CANISTER, NS, Caller, IcpServerProcess, asset, memory
from icp_verification import hash_of, loads, value

from sandbox.content import Generated

MIB = 1024 * 1024
EMPTY = b"DIDL\0\0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpServerProcess]:
    running = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def caller(server: IcpServerProcess) -> Caller:
    return Caller(server)


def whoami(caller: Caller, **changes: Any) -> dict[str, Any]:
    return caller.call_content("query", "whoami", EMPTY) | changes


def refusal(response: httpx.Response) -> str:
    assert response.status_code == 400, response.content
    assert response.headers["x-ic-error-cause"] == "malformed_request"
    return response.text


class EcdsaIdentity:
    """A key on P-256 or secp256k1, as the Python agent's identities are made."""

    def __init__(self, curve: ec.EllipticCurve) -> None:
        self.key = ec.generate_private_key(curve)
        form = PublicFormat.SubjectPublicKeyInfo
        self.der = self.key.public_key().public_bytes(Encoding.DER, form)

    def sender(self) -> Principal:
        return Principal.self_authenticating(self.der)

    def sign(self, message: bytes) -> tuple[bytes, bytes]:
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(SHA256())))
        return self.der, r.to_bytes(32) + s.to_bytes(32)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP256K1()])
def test_a_caller_may_have_an_ecdsa_key(server: IcpServerProcess, curve: Any) -> None:
    caller = Caller(server, EcdsaIdentity(curve))
    assert caller.query("whoami").bytes == caller.principal.bytes


def test_a_caller_may_be_anonymous(server: IcpServerProcess) -> None:
    caller = Caller(server, Identity(anonymous=True))
    assert caller.query("whoami").bytes == b"\x04"
    assert caller.update("whoami").bytes == b"\x04"


def test_an_anonymous_caller_signs_nothing(caller: Caller) -> None:
    content = whoami(caller, sender=b"\x04")
    assert "Invalid signature" in refusal(caller.post(content, "v3/query"))


@pytest.mark.parametrize("endpoint", ["v2/query", "v3/query", "v2/call", "v3/call", "v4/call"])
def test_a_wrong_signature_is_refused_everywhere(caller: Caller, endpoint: str) -> None:
    kind = endpoint.rpartition("/")[2]
    envelope = cbor2.loads(caller.sign(caller.call_content(kind, "whoami", EMPTY)))
    envelope["sender_sig"] = os.urandom(64)
    path = f"/api/{endpoint.replace('/', f'/canister/{CANISTER}/')}"
    assert "Invalid signature" in refusal(caller.send(cbor2.dumps(envelope), path))


def test_a_changed_argument_breaks_the_signature(caller: Caller) -> None:
    envelope = cbor2.loads(caller.sign(whoami(caller)))
    envelope["content"]["arg"] = b"DIDL\0\1\x71\0"
    response = caller.send(cbor2.dumps(envelope), f"/api/v3/canister/{CANISTER}/query")
    assert "Invalid signature" in refusal(response)


def test_a_sender_whose_key_it_is_not_is_refused(server: IcpServerProcess, caller: Caller) -> None:
    content = whoami(caller, sender=Caller(server).principal.bytes)
    assert "does not match the public key" in refusal(caller.post(content, "v3/query"))


def test_a_request_without_a_signature_is_refused(caller: Caller) -> None:
    body = cbor2.dumps({"content": whoami(caller)})
    response = caller.send(body, f"/api/v3/canister/{CANISTER}/query")
    assert "Missing signature" in refusal(response)


@pytest.mark.parametrize("seconds", [-1, -3600, 331, 3600])
def test_a_request_that_expired_or_expires_too_late_is_refused(
    caller: Caller, seconds: int
) -> None:
    content = whoami(caller, ingress_expiry=time.time_ns() + seconds * NS)
    assert refusal(caller.post(content, "v3/query")).startswith("Invalid request expiry: ")


@pytest.mark.parametrize("seconds", [5, 300, 325])
def test_a_request_may_expire_in_five_minutes_and_half_a_minute_of_drift(
    caller: Caller, seconds: int
) -> None:
    content = whoami(caller, ingress_expiry=time.time_ns() + seconds * NS)
    assert caller.post(content, "v3/query").status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": b"n" * 33}, "nonce"),
        ({"nonce": "text"}, "nonce"),
        ({"request_type": "call"}, "Expected a request of type query, got call"),
        ({"canister_id": b"\x00\x01"}, "does not match effective canister id in URL"),
        ({"method_name": b"whoami"}, "method_name"),
        ({"arg": "text"}, "arg"),
        ({"ingress_expiry": "soon"}, "ingress_expiry"),
    ],
)
def test_a_request_with_a_wrong_field_is_refused(
    caller: Caller, changes: dict[str, Any], message: str
) -> None:
    assert message in refusal(caller.post(whoami(caller, **changes), "v3/query"))


@pytest.mark.parametrize("body", [b"", b"\xff", b"not CBOR", cbor2.dumps([1]), cbor2.dumps({})])
def test_a_body_that_is_no_envelope_is_refused(caller: Caller, body: bytes) -> None:
    refusal(caller.send(body, f"/api/v3/canister/{CANISTER}/query"))


def test_an_envelope_may_say_that_it_is_cbor_or_not(caller: Caller) -> None:
    body = caller.sign(whoami(caller))
    for prefix in (b"", bytes.fromhex("d9d9f7")):
        path = f"/api/v3/canister/{CANISTER}/query"
        assert caller.send(prefix + body, path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/api/v4/canister/{}/query", "/api/v5/canister/{}/call", "/api/v3/canister/{}/nothing", "/"],
)
def test_an_endpoint_that_does_not_exist_is_not_found(caller: Caller, path: str) -> None:
    assert caller.send(caller.sign(whoami(caller)), path.format(CANISTER)).status_code == 404


def test_any_principal_will_do_as_the_canister(caller: Caller) -> None:
    other = Principal.self_authenticating(b"any other")
    content = whoami(caller, canister_id=other.bytes)
    response = caller.send(caller.sign(content), f"/api/v3/canister/{other}/query")
    assert loads(response.content)["status"] == "replied"


def test_a_canister_id_with_a_wrong_checksum_is_refused(caller: Caller) -> None:
    response = caller.send(caller.sign(whoami(caller)), "/api/v3/canister/bkyz2-fmaaa/query")
    assert response.status_code == 400


def test_a_message_of_more_than_2_mib_is_too_large(caller: Caller) -> None:
    for size, status in ((2 * MIB - 1000, 200), (2 * MIB + 1, 413)):
        content = caller.call_content("call", "whoami", EMPTY + b"\0" * size)
        assert caller.post(content, "v4/call").status_code == status


# --- calls that the canister can't answer


def test_a_query_for_an_unknown_method_is_rejected_and_signed(caller: Caller) -> None:
    answer = caller.answer("no_such_method", EMPTY)
    assert (answer["status"], answer["reject_code"]) == ("rejected", 5)
    assert answer["error_code"] == "IC0536"
    assert "has no query method 'no_such_method'" in answer["reject_message"]


def test_an_update_method_is_no_query_method(caller: Caller) -> None:
    assert caller.answer("memories_delete", EMPTY)["error_code"] == "IC0536"


@pytest.mark.parametrize("argument", [b"", b"DIDL", EMPTY, b"DIDL\0\1\x7d\5", b"\xff" * 100])
def test_arguments_of_other_types_trap(caller: Caller, argument: bytes) -> None:
    answer = caller.answer("memories_read", argument)
    assert (answer["status"], answer["reject_code"]) == ("rejected", 5)
    assert answer["error_code"] == "IC0503"
    assert "failed to decode call arguments" in answer["reject_message"]


def test_a_reply_has_3_mib_as_a_query_and_2_mib_as_an_update(
    server: IcpServerProcess, caller: Caller
) -> None:
    capsule = server.capsule(caller)
    sizes = {1: "both", 2.5: "query", 4: "neither"}
    held = {}
    for size in sizes:
        body = Generated(f"inline {size}", int(size * MIB))
        held[size] = memory(capsule, asset("inline", body=body.describe()))
    server.storage.add_memories(held.values())
    for size, fits in sizes.items():
        argument = caller.encode("memories_read", held[size].id)
        as_query = caller.answer("memories_read", argument)
        found = caller.outcome(caller.call_content("call", "memories_read", argument))
        assert (as_query["status"] == "replied") == (fits in ("both", "query"))
        assert (value(found, b"status") == b"replied") == (fits == "both")
        if fits == "neither":
            assert as_query["error_code"] == "IC0504"
            assert value(found, b"error_code") == b"IC0504"


# --- replays and who may see what came of a call


def test_a_call_sent_again_is_not_executed_again(server: IcpServerProcess, caller: Caller) -> None:
    capsule = server.capsule(caller)
    argument = caller.encode("uploads_begin", capsule, 1, "idem")
    content = caller.call_content("call", "uploads_begin", argument)
    sessions = set()
    for version in ("v4", "v3", "v4"):
        reply = value(caller.outcome(content, version), b"reply")
        assert reply is not None
        sessions.add(caller.decode("uploads_begin", reply)["Ok"])
        caller.update("uploads_abort", min(sessions))
    assert len(sessions) == 1


def test_what_came_of_a_call_is_for_its_sender_only(
    server: IcpServerProcess, caller: Caller
) -> None:
    content = caller.call_content("call", "whoami", EMPTY)
    caller.outcome(content)
    other = Caller(server)
    asked = other.content("read_state", paths=[[b"request_status", hash_of(content)]])
    assert other.post(asked, "v3/read_state").status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ([b"nothing"], 404),
        ([b"canister", CANISTER.bytes], 404),
        ([b"canister", b"\x00\x01", b"module_hash"], 400),
        ([b"request_status"], 404),
        ([], 404),
    ],
)
def test_a_path_that_may_not_be_read_is_refused(
    caller: Caller, path: list[bytes], status: int
) -> None:
    content = caller.content("read_state", paths=[path])
    assert caller.post(content, "v3/read_state").status_code == status


# --- delegations


def delegated(
    caller: Caller, session: Identity, content: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    """An envelope signed by a session key to which the caller has delegated."""
    delegation = {"pubkey": session.der_pubkey, "expiration": time.time_ns() + 3600 * NS, **changes}
    public_key, signature = caller.identity.sign(
        b"\x1aic-request-auth-delegation" + hash_of(delegation)
    )
    return {
        "content": content,
        "sender_pubkey": public_key,
        "sender_delegation": [{"delegation": delegation, "signature": signature}],
        "sender_sig": session.sign(b"\x0aic-request" + hash_of(content))[1],
    }


def test_a_session_key_may_sign_for_the_caller_who_delegated_to_it(caller: Caller) -> None:
    session = Identity(privkey=os.urandom(32).hex())
    for targets in ({}, {"targets": [CANISTER.bytes]}):
        envelope = delegated(caller, session, whoami(caller), **targets)
        response = caller.send(cbor2.dumps(envelope), f"/api/v3/canister/{CANISTER}/query")
        answer = loads(response.content)
        reply = caller.decode("whoami", answer["reply"]["arg"])
        assert reply.bytes == caller.principal.bytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expiration": 1}, "Invalid delegation expiry"),
        ({"targets": [b"\x00\x01"]}, "is not one of the delegation targets"),
        ({"targets": "all"}, "Invalid delegation"),
    ],
)
def test_a_delegation_that_does_not_hold_is_refused(
    caller: Caller, changes: dict[str, Any], message: str
) -> None:
    session = Identity(privkey=os.urandom(32).hex())
    envelope = delegated(caller, session, whoami(caller), **changes)
    response = caller.send(cbor2.dumps(envelope), f"/api/v3/canister/{CANISTER}/query")
    assert message in refusal(response)


def test_a_delegation_signed_by_somebody_else_is_refused(
    server: IcpServerProcess, caller: Caller
) -> None:
    session = Identity(privkey=os.urandom(32).hex())
    envelope = delegated(Caller(server), session, whoami(caller))
    envelope["sender_pubkey"] = caller.identity.sign(b"")[0]
    response = caller.send(cbor2.dumps(envelope), f"/api/v3/canister/{CANISTER}/query")
    assert "Invalid delegation" in refusal(response)


def test_a_key_of_an_unknown_kind_is_refused(caller: Caller) -> None:
    der = hashlib.sha512(b"no key").digest()
    content = whoami(caller, sender=Principal.self_authenticating(der).bytes)
    envelope = {"content": content, "sender_pubkey": der, "sender_sig": b"\0" * 64}
    response = caller.send(cbor2.dumps(envelope), f"/api/v3/canister/{CANISTER}/query")
    assert "Unsupported public key" in refusal(response)
