"""Faults that the Internet Computer stand-in makes for one canister method."""

import time
from collections.abc import Iterator

import httpx
import pytest
from icp_server import Caller, IcpServerProcess, memory
from icp_verification import hash_of, loads, value

EMPTY = b"DIDL\0\0"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IcpServerProcess]:
    server = IcpServerProcess(tmp_path_factory.mktemp("icp"))
    yield server
    server.close()


@pytest.fixture
def server(running: IcpServerProcess) -> IcpServerProcess:
    running.http.delete("/__faults").raise_for_status()
    return running


@pytest.fixture
def caller(server: IcpServerProcess) -> Caller:
    made = Caller(server)
    assert made.interface
    assert made.node_keys
    return made


def whoami(caller: Caller) -> httpx.Response:
    return caller.post(caller.call_content("query", "whoami", EMPTY), "v3/query")


def test_a_fault_hits_the_named_method_and_no_other(
    server: IcpServerProcess, caller: Caller
) -> None:
    server.fault("status", {"status": 503, "body": "no_healthy_nodes"}, canister_method="whoami")
    assert caller.query("upload_config")
    response = whoami(caller)
    assert (response.status_code, response.text) == (503, "no_healthy_nodes")
    assert whoami(caller).status_code == 200


def test_a_fault_without_a_method_counts_once_per_request(
    server: IcpServerProcess, caller: Caller
) -> None:
    server.fault("status", 429, times=2, path_regex="/query$")
    assert [whoami(caller).status_code for _ in range(3)] == [429, 429, 200]


def test_an_answer_can_come_late(server: IcpServerProcess, caller: Caller) -> None:
    server.fault("delay", 300, canister_method="whoami")
    started = time.monotonic()
    assert whoami(caller).status_code == 200
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(("action", "amount"), [("truncate", 20), ("reset", 20), ("reset", None)])
def test_an_answer_can_be_cut_off(
    server: IcpServerProcess, caller: Caller, action: str, amount: int | None
) -> None:
    server.fault(action, amount, canister_method="whoami")
    with pytest.raises(httpx.TransportError):
        whoami(caller)
    assert whoami(caller).status_code == 200


def test_a_flipped_bit_does_not_pass_verification(server: IcpServerProcess, caller: Caller) -> None:
    bit = 8 * end_of_reply(whoami(caller).content)
    server.fault("flip_bit", bit, canister_method="whoami")
    with pytest.raises(Exception, match=r"^$"):  # InvalidSignature says nothing
        caller.query("whoami")


def end_of_reply(body: bytes) -> int:
    """Where the reply to ``whoami`` ends in an answer."""
    reply: bytes = loads(body)["reply"]["arg"]
    return body.index(reply) + len(reply) - 1


def test_an_accepted_call_is_executed_and_has_to_be_polled_for(
    server: IcpServerProcess, caller: Caller
) -> None:
    server.fault("status", 202, canister_method="whoami")
    content = caller.call_content("call", "whoami", EMPTY)
    assert caller.post(content, "v4/call").status_code == 202
    path = [b"request_status", hash_of(content)]
    assert value(caller.read_state([path]), *path, b"status") == b"replied"


def test_a_call_whose_answer_is_lost_is_executed_unless_it_never_arrived(
    server: IcpServerProcess, caller: Caller
) -> None:
    for amount, executed in ((0, True), (None, False)):
        server.fault("reset", amount, canister_method="whoami")
        content = caller.call_content("call", "whoami", EMPTY)
        with pytest.raises(httpx.TransportError):
            caller.post(content, "v4/call")
        path = [b"request_status", hash_of(content)]
        assert (value_or_none(caller, path) is not None) == executed


def value_or_none(caller: Caller, path: list[bytes]) -> bytes | None:
    return value(caller.read_state([path]), *path, b"status")


# --- listings that come out wrong


def page(caller: Caller, capsule: str, cursor: list[str] | None = None) -> tuple[list[str], str]:
    answer = caller.query("memories_list", capsule, cursor or [], [10])["Ok"]
    return [item["id"] for item in answer["items"]], (answer["next_cursor"] or [""])[0]


@pytest.fixture
def capsule(server: IcpServerProcess, caller: Caller) -> str:
    made = server.capsule(caller)
    server.storage.add_memories(memory(made) for _ in range(30))
    return made


def test_an_item_can_be_left_out(server: IcpServerProcess, caller: Caller, capsule: str) -> None:
    whole, _ = page(caller, capsule)
    server.fault("drop_item", 3)
    assert page(caller, capsule) == (whole[:3] + whole[4:], "10")
    assert page(caller, capsule) == (whole, "10")


def test_an_item_or_a_page_can_come_twice(
    server: IcpServerProcess, caller: Caller, capsule: str
) -> None:
    whole, _ = page(caller, capsule)
    server.fault("duplicate_page", 3, canister_method="memories_list")
    assert page(caller, capsule) == ([*whole, whole[3]], "10")
    server.fault("duplicate_page")
    assert page(caller, capsule) == (whole * 2, "10")


def test_a_cursor_can_lead_back_to_itself(
    server: IcpServerProcess, caller: Caller, capsule: str
) -> None:
    server.fault("repeat_cursor", times=2)
    assert page(caller, capsule)[1] == "0"
    assert page(caller, capsule, ["10"])[1] == "10"
    assert page(caller, capsule, ["10"])[1] == "20"


def test_a_listing_can_be_out_of_date(
    server: IcpServerProcess, caller: Caller, capsule: str
) -> None:
    before = three_pages(caller, capsule)
    time.sleep(1.1)
    gone = min(before)
    server.storage.delete_memories([gone])
    server.storage.add_memories([memory(capsule)])
    server.fault("stale_list", 1, times=None, canister_method="memories_list")
    assert three_pages(caller, capsule) == before
    server.storage.add_memories([memory(capsule)])
    assert caller.query("capsules_list")[0]["memory_count"] == len(before) + 1
    server.fault("stale_list", 1, times=None, canister_method="capsules_list")
    assert caller.query("capsules_list")[0]["memory_count"] == len(before)


def three_pages(caller: Caller, capsule: str) -> set[str]:
    return {item for start in ("0", "10", "20") for item in page(caller, capsule, [start])[0]}


def test_a_listing_is_damaged_as_an_update_too(
    server: IcpServerProcess, caller: Caller, capsule: str
) -> None:
    server.fault("drop_item", 0, canister_method="memories_list")
    answer = caller.update("memories_list", capsule, [], [10])
    assert len(answer["Ok"]["items"]) == 9


def test_an_answer_that_is_signed_can_say_anything(
    server: IcpServerProcess, caller: Caller
) -> None:
    server.fault("answer", {"err": "NotFound"}, canister_method="memories_read")
    assert caller.query("memories_read", "any") == {"Err": {"NotFound": None}}
    server.fault("answer", {"hex": "4449444c"}, canister_method="whoami")
    assert loads(whoami(caller).content)["reply"]["arg"] == b"DIDL"
