"""Requests, transport and trust: what is sent, what is believed, and what each refusal says."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import cbor2
import pytest
import stamina
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256K1,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from ic.identity import Identity as IcPyIdentity
from ic.utils import to_request_id
from icp_process import CANISTER_ID, PEM, STRANGER_PEM, IcpProcess, inline, new_pem, principal_of

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    NotTheStoresUrlError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
    UntrustedAnswerError,
)
from tasks.stores.icp.agent import Agent
from tasks.stores.icp.canister import MEMORIES_READ, WHOAMI
from tasks.stores.icp.compatibility import check_interface, service_methods
from tasks.stores.icp.envelope import Request, decode_cbor, hash_of
from tasks.stores.icp.identity import (
    AnonymousIdentity,
    load_identity,
    principal_bytes,
    principal_text,
)
from tasks.stores.icp.transport import MAX_ANSWER_BYTES, Transport

CANISTER = principal_bytes(CANISTER_ID)


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


# Identities and requests -------------------------------------------------------------------------


def pem_of(key: Ed25519PrivateKey | EllipticCurvePrivateKey, form: PrivateFormat) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


ED25519, K256, P256 = (
    Ed25519PrivateKey.generate(),
    generate_private_key(SECP256K1()),
    generate_private_key(SECP256R1()),
)
PEMS = {
    "Ed25519": pem_of(ED25519, PrivateFormat.PKCS8),
    "secp256k1": pem_of(K256, PrivateFormat.PKCS8),
    "secp256k1 as openssl writes it": "-----BEGIN EC PARAMETERS-----\nBgUrgQQACg==\n"
    "-----END EC PARAMETERS-----\n" + pem_of(K256, PrivateFormat.TraditionalOpenSSL),
}


@pytest.mark.parametrize("name", PEMS)
def test_an_identity_is_the_one_that_ic_py_makes_of_the_same_key(name: str) -> None:
    ours, theirs = load_identity(PEMS[name]), IcPyIdentity.from_pem(PEMS[name])
    assert principal_text(ours.principal) == theirs.sender().to_str()
    assert ours.public_key == theirs.der_pubkey
    signature = ours.sign(b"message")
    assert signature is not None
    assert theirs.verify(b"message", signature)


@pytest.mark.parametrize("key", [ED25519, K256, P256])
async def test_the_network_accepts_what_an_identity_signs(icp: IcpProcess, key: Any) -> None:
    pem = pem_of(key, PrivateFormat.PKCS8)
    store = icp.store(identity_pem=pem)
    assert await store.canister.whoami() == principal_of(pem)
    await store.aclose()


def test_an_identity_may_be_given_by_a_path(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    path.write_text(PEM)
    assert load_identity(str(path)).principal == load_identity(PEM).principal


def test_no_identity_is_the_anonymous_one() -> None:
    assert load_identity(None) == AnonymousIdentity()
    assert principal_text(load_identity(None).principal) == "2vxsx-fae"


@pytest.mark.parametrize(
    "pem",
    [
        ED25519.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        ).decode(),
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIG\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "/no/such/file",
        "\0",
    ],
)
def test_a_pem_that_is_none_is_refused_without_being_repeated(pem: str) -> None:
    with pytest.raises(SettingsError, match="IC_IDENTITY_PEM") as refused:
        load_identity(pem)
    assert "MC4" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "aaaaa", "2vxsx-fa", "2vxsx-fab", "bkyz2", "é", "a" * 200])
def test_what_is_no_principal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no principal"):
        principal_bytes(text)


@given(st.binary(min_size=1, max_size=29))
def test_a_principal_survives_being_written(principal: bytes) -> None:
    assert principal_bytes(principal_text(principal)) == principal


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.one_of(st.binary(max_size=50), st.text(max_size=50), st.integers(0, 2**64 - 1)),
        max_size=6,
    )
)
def test_a_request_id_is_the_one_that_ic_py_computes(content: dict[str, Any]) -> None:
    assert hash_of(content) == to_request_id(content)


def test_the_specifications_example_of_a_request_id() -> None:
    content = {
        "request_type": "call",
        "canister_id": bytes.fromhex("00000000000004D2"),
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
        "sender": b"\x04",
        "ingress_expiry": 1_685_570_400_000_000_000,
    }
    assert hash_of(content).hex() == (
        "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"
    )


def test_two_requests_for_the_same_are_two_requests() -> None:
    fields = {"canister_id": CANISTER, "method_name": "whoami", "arg": b""}
    first, second = (Request("query", AnonymousIdentity(), fields) for _ in range(2))
    assert first.id != second.id
    assert set(decode_cbor(first.body, "it")) == {"content"}


# Trust -------------------------------------------------------------------------------------------


async def test_a_call_is_answered_with_a_certificate_of_its_reply(icp: IcpProcess) -> None:
    capsule = icp.capsule()
    memory = icp.memory(capsule, inline()[0])
    store = icp.store()
    decoded, proof = await store.canister.certified(MEMORIES_READ, memory.id)
    assert decoded["id"] == memory.id
    path = (b"request_status", hash_of(proof.content), b"reply")
    assert proof.certificate.tree.look_up(*path) == proof.reply
    await store.aclose()


@pytest.mark.parametrize("versions", ["v4", "v[34]"])
async def test_an_older_replica_is_called_in_its_own_version(
    icp: IcpProcess, versions: str
) -> None:
    icp.fault("status", 404, None, path_regex=f"/api/{versions}/.*/call")
    icp.fault("status", 404, None, path_regex="/api/v3/.*/(query|read_state)")
    store = icp.store()
    answer, _ = await store.canister.certified(WHOAMI)
    assert answer == principal_of(PEM)
    assert await store.canister.whoami() == principal_of(PEM)
    before = store.canister.agent.transport.requests
    await store.canister.whoami()
    assert store.canister.agent.transport.requests == before + 1  # the version is remembered
    await store.aclose()


async def test_a_call_that_is_only_accepted_is_polled_for(icp: IcpProcess) -> None:
    icp.fault("status", 202, 1, canister_method="whoami")
    store = icp.store()
    answer, _ = await store.canister.certified(WHOAMI)
    assert answer == principal_of(PEM)
    await store.aclose()


async def test_where_no_version_is_known_the_url_is_no_boundary_node(icp: IcpProcess) -> None:
    icp.fault("status", 404, None, path_regex="/api/v")
    store = icp.store()
    with pytest.raises(StoreError, match="is IC_URL a boundary node"):
        await store.canister.whoami()
    await store.aclose()


async def test_a_method_that_there_is_not_is_rejected(icp: IcpProcess) -> None:
    store = icp.store()
    for ask in (store.canister.agent.query, store.canister.agent.call):
        with pytest.raises(StoreError, match=r"has no .* method 'nonsense'"):
            await ask("nonsense", b"DIDL\x00\x00")
    await store.aclose()


@pytest.mark.parametrize("byte", [40, 60, 100, 200])
async def test_no_part_of_a_signed_answer_can_be_changed(icp: IcpProcess, byte: int) -> None:
    store = icp.store()
    await store.canister.whoami()
    icp.fault("flip_bit", 8 * byte + 1, None, canister_method="whoami")
    with pytest.raises((UntrustedAnswerError, MalformedAnswerError)):
        await store.canister.whoami()
    await store.aclose()


async def test_a_certified_state_that_was_changed_is_refused(icp: IcpProcess) -> None:
    store = icp.store()
    icp.fault("flip_bit", 8 * 300, None, path_regex="read_state")
    with pytest.raises((UntrustedAnswerError, MalformedAnswerError)):
        await store.canister.module_hash()
    await store.aclose()


async def test_code_controllers_and_interface_are_certified(icp: IcpProcess) -> None:
    store = icp.store()
    assert len(bytes.fromhex(await store.canister.module_hash() or "")) == 32
    assert len(await store.canister.controllers()) == 1
    assert "memories_list" in (await store.canister.service_interface() or "")
    await store.aclose()


async def test_node_keys_are_fetched_once(icp: IcpProcess) -> None:
    icp.capsule()
    store = icp.store()
    await asyncio.gather(*(store.canister.whoami() for _ in range(20)))
    assert store.canister.agent.transport.requests == 21
    await store.aclose()


# A server that answers as it is told -------------------------------------------------------------

Answers = Callable[[bytes], tuple[int, dict[str, str], bytes]]


@asynccontextmanager
async def answering(answers: Answers, **options: Any) -> AsyncIterator[Agent]:
    """An agent whose replica answers whatever a function says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            length = 0
            while (header := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            await reader.readexactly(length)
            status, headers, body = answers(line)
            fields = {"content-length": str(len(body))} | headers
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}", in_flight=2)
    agent = Agent(transport, CANISTER, AnonymousIdentity(), b"", **options)
    try:
        yield agent
    finally:
        await agent.aclose()
        server.close()


def always(status: int, body: bytes = b"", **headers: str) -> Answers:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: (status, fields, body)


REPLIED = {"status": "replied", "reply": {"arg": b"DIDL\x00\x00"}}


async def test_an_unsigned_answer_is_believed_of_a_local_replica_only() -> None:
    unsigned = always(200, cbor2.dumps(REPLIED))
    async with answering(unsigned, unsigned_queries=True) as agent:
        assert await agent.query("whoami", b"") == b"DIDL\x00\x00"
    async with answering(unsigned) as agent:
        with pytest.raises(UntrustedAnswerError, match="not signed"):
            await agent.query("whoami", b"")


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_an_answer_signed_at_another_time_is_refused(minutes: int) -> None:
    then = time.time_ns() + minutes * 60 * 10**9
    signature = {"timestamp": then, "signature": b"x" * 64, "identity": b"node"}
    answer = cbor2.dumps({**REPLIED, "signatures": [signature]})
    async with answering(always(200, answer)) as agent:
        with pytest.raises(UntrustedAnswerError, match="too long ago, or too late"):
            await agent.query("whoami", b"")


@pytest.mark.parametrize(
    ("answers", "error", "says"),
    [
        (always(401, b"who?"), AccessRefusedError, "IC_IDENTITY_PEM"),
        (always(403, b"no"), AccessRefusedError, "answered 403"),
        (always(400, b"Invalid signature: no"), AccessRefusedError, "Invalid signature"),
        (always(400, b"?", x_ic_error_cause="canister_not_found"), StoreError, "CANISTER_ID"),
        (always(408, b"slow"), StoreError, "answered 408"),
        (always(413, b"big", x_ic_error_cause="body_too_large"), StoreError, "body_too_large"),
        (always(302, location="https://evil.example/"), NotTheStoresUrlError, "not followed"),
        (always(307, location="https://evil.example/"), NotTheStoresUrlError, "evil.example"),
        (always(429, b"slow down", retry_after="0"), StoreUnreachableError, "answered 429"),
        (always(503, x_ic_error_cause="no_healthy_nodes"), StoreUnreachableError, "no_healthy"),
        (always(200, b"x" * (MAX_ANSWER_BYTES + 1)), MalformedAnswerError, "more than"),
        (always(200, b""), MalformedAnswerError, "no CBOR"),
        (always(200, b"\x80"), MalformedAnswerError, "where a map belongs"),
        (always(200, cbor2.dumps({})), MalformedAnswerError, "no status"),
        (always(200, cbor2.dumps({"status": "odd"})), MalformedAnswerError, "unknown status"),
        (
            always(200, cbor2.dumps({**REPLIED, "signatures": [{"identity": 1}]})),
            MalformedAnswerError,
            "no identity",
        ),
        (
            always(200, cbor2.dumps({**REPLIED, "signatures": 3})),
            MalformedAnswerError,
            "no list",
        ),
    ],
)
async def test_each_refusal_is_told_apart(
    answers: Answers, error: type[StoreError], says: str
) -> None:
    async with answering(answers) as agent:
        with pytest.raises(StoreError, match=says) as refused:
            await agent.query("whoami", b"")
        assert isinstance(refused.value, error)


async def test_a_refused_expiry_says_how_far_the_clock_is_off() -> None:
    body = b"Invalid request expiry: Specified ingress_expiry not within expected range"
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - 600))
    async with answering(always(400, body, date=date)) as agent:
        with pytest.raises(StoreError, match=r"clock is (599|600|601) s ahead of the network's"):
            await agent.query("whoami", b"")


async def test_what_will_pass_is_tried_again_and_what_will_not_is_not() -> None:
    seen: list[bytes] = []

    def answers(line: bytes) -> tuple[int, dict[str, str], bytes]:
        seen.append(line)
        rejected = {"status": "rejected", "reject_code": 2, "reject_message": "busy"}
        if len(seen) == 1:
            return 503, {}, b""
        return 200, {}, cbor2.dumps(rejected if len(seen) == 2 else REPLIED)

    async with answering(answers, unsigned_queries=True) as agent:
        assert await agent.query("whoami", b"") == b"DIDL\x00\x00"
        assert len(seen) == 3
        assert agent.transport.requests == 3
    seen.clear()
    final = {"status": "rejected", "reject_code": 5, "reject_message": "trapped"}
    async with answering(
        lambda line: (seen.append(line), (200, {}, cbor2.dumps(final)))[1], unsigned_queries=True
    ) as agent:
        with pytest.raises(StoreError, match="trapped"):
            await agent.query("whoami", b"")
        assert len(seen) == 1


# The interface -----------------------------------------------------------------------------------

OLDER = """
// the first deployment
type MemoryListResponse = record { memories : vec record { id : text }; message : text; success : bool };
service : {
  whoami : () -> (principal) query;
  memories_list : (text) -> (record { memories : vec text; message : text; success : bool }) query;
}
"""


def test_the_older_deployment_is_named_and_refused() -> None:
    with pytest.raises(SettingsError, match=r"older deployment.*memories, message, success"):
        check_interface(OLDER)


def test_methods_that_are_lacking_are_named() -> None:
    with pytest.raises(SettingsError, match=r"lacks capsules_list, .*upload_config"):
        check_interface("service : { whoami : () -> (principal) query }")


@pytest.mark.parametrize(
    "text",
    [
        "service : { a : () -> (); b : (text) -> (record { x : nat; y : text }) query };",
        'service lake : (text, nat) -> { "a" : () -> (); b : (text) -> () query }',
        "type s = record { c : () };\nservice : {\n// d : () -> ();\n/* e */ a : () -> (); b : () };",
    ],
)
def test_the_methods_of_an_interface_are_found(text: str) -> None:
    assert list(service_methods(text)) == ["a", "b"]


def test_an_interface_that_is_not_published_is_let_pass() -> None:
    check_interface(None)


@given(st.text(max_size=300))
def test_any_text_has_some_methods_or_none(text: str) -> None:
    assert isinstance(service_methods("service : {" + text), dict)


def test_the_keys_of_the_tests_are_of_different_people() -> None:
    assert (
        len({hashlib.sha256(pem.encode()).digest() for pem in (PEM, STRANGER_PEM, new_pem())}) == 3
    )


def test_an_identity_as_dfx_wrote_it_is_read() -> None:
    raw = Encoding.Raw
    seed = ED25519.private_bytes(raw, PrivateFormat.Raw, NoEncryption())
    public = ED25519.public_key().public_bytes(raw, PublicFormat.Raw)
    der = bytes.fromhex("3053020101300506032b657004220420") + seed
    text = base64.b64encode(der + bytes.fromhex("a123032100") + public).decode()
    pem = f"-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
    assert load_identity(pem).principal == load_identity(PEMS["Ed25519"]).principal
