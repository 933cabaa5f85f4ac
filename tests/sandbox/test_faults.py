"""Fault injection: how rules are chosen, and what each fault of the transport looks like."""

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from blob_server import BlobServerProcess, seeded

from edgekeeper.cli.sandbox import up
from sandbox.content import Generated
from sandbox.fault_rules import ANSWER, WRONG_COUNT
from sandbox.faults import CONTENT_ACTIONS, TRANSPORT_ACTIONS, Faults

LENGTH = 300_000
BODY = Generated("object", LENGTH)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobServerProcess]:
    server = BlobServerProcess(tmp_path_factory.mktemp("faults"))
    yield server
    server.close()


@pytest.fixture
def server(running: BlobServerProcess) -> BlobServerProcess:
    running.empty()
    running.storage.insert([seeded("object", LENGTH)])
    return running


def rules(*rules: dict[str, Any]) -> Faults:
    faults = Faults()
    faults.add({"rules": list(rules)})
    return faults


# --- which rule is taken


def test_the_first_live_rule_that_matches_is_taken_and_counted_down() -> None:
    faults = rules(
        {"match": {"method": "put"}, "action": "delay", "value": 1},
        {"match": {"path_regex": r"^/a\?"}, "action": "status", "value": 500, "times": 2},
        {"action": "status", "value": 503, "times": 1},
    )

    def take(path: str) -> Any:
        rule = faults.take(TRANSPORT_ACTIONS, method="GET", path=path)
        return rule and rule.value

    assert [take(path) for path in ["/a?x", "/b", "/a", "/a?y", "/a?z"]] == [
        500,
        503,
        None,
        500,
        None,
    ]
    assert [rule.action for rule in faults.rules] == ["delay"]
    for _ in range(3):
        assert faults.take(TRANSPORT_ACTIONS, method="PUT", path="/") is faults.rules[0]
    faults.clear()
    assert faults.take(TRANSPORT_ACTIONS, method="PUT", path="/") is None


def test_a_rule_for_a_canister_method_leaves_other_requests_alone() -> None:
    faults = rules({"match": {"canister_method": "list"}, "action": "delay", "value": 1})
    call = {"method": "POST", "path": "/api/v2/canister/x/query"}
    assert faults.take({"delay"}, **call) is None
    assert faults.take({"delay"}, **call, canister_method="get") is None
    assert faults.take({"status"}, **call, canister_method="list") is None
    assert faults.take({"delay"}, **call, canister_method="list") is faults.rules[0]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ([], "the body"),
        ({}, "rules"),
        ({"rules": {}}, "list"),
        ({"rules": [1]}, "rules[0]"),
        ({"rules": [], "rule": 1}, "'rule'"),
        ({"rules": [{"action": "explode"}]}, "'explode'"),
        ({"rules": [{}]}, "rules[0].action"),
        ({"rules": [{"action": ["delay"]}]}, "rules[0].action"),
        ({"rules": [{"action": "delay", "value": 1}, {"action": "delay"}]}, "rules[1].value"),
        ({"rules": [{"action": "delay", "value": 1, "matches": {}}]}, "'matches'"),
        ({"rules": [{"action": "delay", "value": 1, "match": {"path": "/"}}]}, "'path'"),
        ({"rules": [{"action": "delay", "value": 1, "match": {"path_regex": "("}}]}, "path_regex"),
        ({"rules": [{"action": "delay", "value": 1, "match": {"method": 1}}]}, "method"),
        ({"rules": [{"action": "delay", "value": 1, "times": 0}]}, "times"),
        ({"rules": [{"action": "delay", "value": float("inf")}]}, "milliseconds"),
        ({"rules": [{"action": "status", "value": 99}]}, "status"),
        ({"rules": [{"action": "status", "value": True}]}, "status"),
        ({"rules": [{"action": "status", "value": {"status": 500, "reason": ""}}]}, "status"),
        (
            {"rules": [{"action": "status", "value": {"status": 500, "headers": {"a b": ""}}}]},
            "status",
        ),
        ({"rules": [{"action": "truncate"}]}, "bytes"),
        ({"rules": [{"action": "reset", "value": -1}]}, "bytes"),
        ({"rules": [{"action": "flip_bit", "value": 1.5}]}, "bit"),
        ({"rules": [{"action": "drop_item"}]}, "index"),
        ({"rules": [{"action": "duplicate_page", "value": "x"}]}, "index"),
        ({"rules": [{"action": "repeat_cursor", "value": 1}]}, "no value"),
        ({"rules": [{"action": "stale_list"}]}, "seconds"),
        ({"rules": [{"action": "trickle"}]}, "milliseconds"),
        ({"rules": [{"action": "endless_body", "value": 0}]}, "bytes"),
        ({"rules": [{"action": "fresh_cursor", "value": 0}]}, "invents"),
        ({"rules": [{"action": "wrong_count"}]}, "count"),
        ({"rules": [{"action": "answer", "value": {"err": "Later"}}]}, "NotFound"),
        ({"rules": [{"action": "answer", "value": {"hex": "0"}}]}, "Candid"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_by_name_and_none_is_added(
    payload: Any, said: str
) -> None:
    faults = Faults()
    with pytest.raises(ValueError, match=re.escape(said)):
        faults.add(payload)
    assert faults.rules == []


def test_every_action_of_the_contract_is_known() -> None:
    named = "status|delay|truncate|reset|flip_bit|duplicate_page|drop_item|repeat_cursor|stale_list"
    more = "trickle|endless_body|fresh_cursor|wrong_count|answer"
    known = TRANSPORT_ACTIONS | CONTENT_ACTIONS | WRONG_COUNT | ANSWER
    assert set(f"{named}|{more}".split("|")) == known
    assert all(re.search(rf"\b{action}\b", up.__doc__ or "") for action in known)


# --- over HTTP


def test_rules_are_shown_and_ended_over_http(server: BlobServerProcess) -> None:
    server.fault("delay", 1, times=3, path_regex="^/object")
    assert server.http.get("/object").status_code == 200
    (rule,) = server.http.get("/__faults").json()["rules"]
    assert (rule["action"], rule["times"], rule["path_regex"]) == ("delay", 2, "^/object")
    assert server.http.delete("/__faults").json() == {"rules": []}
    assert server.http.get("/__faults").json() == {"rules": []}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rules": [{"action": "delay"}]}'])
def test_a_malformed_request_to_the_control_path_is_a_400_that_says_why(
    server: BlobServerProcess, content: str
) -> None:
    answer = server.http.post("/__faults", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("no rule was added: ")
    assert server.http.put("/__faults").status_code == 405


def test_a_status_comes_instead_of_the_answer(server: BlobServerProcess) -> None:
    value = {
        "status": 429,
        "body": {"error": {"code": "rate_limited"}},
        "headers": {"Retry-After": "7"},
    }
    server.fault("status", value, path_regex="limit=1")
    assert server.http.get("/api/blob?limit=2").status_code == 200
    answer = server.http.get("/api/blob?limit=1")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json() == {"error": {"code": "rate_limited"}}
    assert answer.headers["content-type"] == "application/json"
    server.fault("status", 503)
    answer = server.http.put("/api/blob?pathname=x", content=b"x" * LENGTH)
    assert (answer.status_code, answer.content) == (503, b"")
    assert server.http.get("/api/blob?limit=1").json()["blobs"][0]["pathname"] == "object"


def test_a_rule_without_times_stays_until_all_are_ended(server: BlobServerProcess) -> None:
    server.fault("status", {"status": 500, "body": "down"}, times=None)
    assert [server.http.get("/object").text for _ in range(4)] == ["down"] * 4
    server.http.delete("/__faults")
    assert server.http.get("/object").status_code == 200


def test_a_delayed_answer_is_whole(server: BlobServerProcess) -> None:
    server.fault("delay", 250)
    began = time.monotonic()
    assert server.http.get("/object").content == BODY.read()
    assert 0.25 <= time.monotonic() - began < 5


def received_before_failure(url: str) -> tuple[bytes, httpx.HTTPError | None, int]:
    received, promised = b"", 0
    try:
        with httpx.stream("GET", url) as response:
            promised = int(response.headers["content-length"])
            for piece in response.iter_raw():
                received += piece
    except httpx.HTTPError as error:
        return received, error, promised
    return received, None, promised


@pytest.mark.parametrize("count", [0, 1, 70_000, LENGTH - 1])
def test_a_truncated_answer_ends_after_so_many_bytes_of_those_promised(
    server: BlobServerProcess, count: int
) -> None:
    server.fault("truncate", count)
    received, error, promised = received_before_failure(f"{server.url}/object")
    assert isinstance(error, httpx.RemoteProtocolError)
    assert received == BODY.read(0, count)
    assert promised == LENGTH
    assert server.http.get("/object").content == BODY.read()


def test_a_truncated_listing_promises_the_length_it_does_not_have(
    server: BlobServerProcess,
) -> None:
    server.fault("truncate", 20)
    with pytest.raises(httpx.RemoteProtocolError):
        server.http.get("/api/blob")


@pytest.mark.parametrize("count", [0, 1, 70_000])
def test_a_reset_comes_after_so_many_bytes(server: BlobServerProcess, count: int) -> None:
    server.fault("reset", count)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET /object HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        reset = False
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            reset = True
    assert reset
    assert received.partition(b"\r\n\r\n")[2] == BODY.read(0, count)


def test_a_reset_without_a_value_comes_before_any_answer(server: BlobServerProcess) -> None:
    server.fault("reset")
    with pytest.raises((httpx.ReadError, httpx.WriteError)):
        server.put("never", b"written")
    assert server.storage.get("never") is None


@pytest.mark.parametrize("bit", [0, 7, 8 * LENGTH - 1, 8 * 1_500_000 + 3])
def test_one_bit_of_an_answer_is_turned_over(server: BlobServerProcess, bit: int) -> None:
    long = Generated("long", 2_000_000)
    server.storage.insert([seeded("long", long.length)])
    server.fault("flip_bit", bit)
    answer = server.http.get("/long")
    assert answer.status_code == 200
    assert answer.content == Generated("long", long.length, flips=(bit,)).read()
    assert server.http.get("/long").content == long.read()


def test_bytes_can_come_one_by_one(server: BlobServerProcess) -> None:
    server.put("short", b"12345")
    server.fault("trickle", 60, path_regex="^/short")
    began = time.monotonic()
    assert server.http.get("/short").content == b"12345"
    assert time.monotonic() - began >= 0.2


def test_more_can_come_than_there_is(server: BlobServerProcess) -> None:
    server.fault("endless_body", 200_000)
    answer = server.http.get("/object")
    assert "content-length" not in answer.headers
    assert answer.content == BODY.read() + bytes(200_000)


def test_a_body_can_have_no_end(server: BlobServerProcess) -> None:
    server.fault("endless_body", path_regex="^/object")
    received = 0
    with httpx.stream("GET", f"{server.url}/object") as response:
        for piece in response.iter_raw():
            received += len(piece)
            if received > 20_000_000:
                break
    assert server.http.get("/object").content == BODY.read()


def test_a_listing_can_go_on_for_ever(server: BlobServerProcess) -> None:
    server.fault("fresh_cursor", 3, times=None)
    cursors, names = [""], set()
    for _ in range(4):
        page = server.list(cursor=cursors[-1])
        cursors.append(str(page["cursor"]))
        names |= {blob["pathname"] for blob in page["blobs"]}
        assert page["hasMore"]
    assert len(set(cursors)) == 5
    assert len(names) == 1 + 4 * 3
