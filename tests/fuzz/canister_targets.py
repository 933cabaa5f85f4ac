"""Answers of the canister and of the network: CBOR around, Candid inside."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import patch

import cbor2
from campaign import Target
from hypothesis import strategies as st
from recordings import ROOT_KEY, chosen, for_each, recorded

from checks.columns import ICP_INVENTORY
from checks.errors import MalformedAnswerError, StoreError
from checks.model import StoreState
from tasks.inventory import _table
from tasks.stores.icp import agent as agents
from tasks.stores.icp.agent import Agent
from tasks.stores.icp.candid_wire import Kind
from tasks.stores.icp.canister import CAPSULES_LIST, MEMORIES_LIST_ASSETS, NEEDED, Canister
from tasks.stores.icp.envelope import decode_cbor
from tasks.stores.icp.identity import AnonymousIdentity, principal_bytes
from tasks.stores.icp.listing import Listing
from tasks.stores.icp.memory import row_of
from tasks.stores.icp.store import IcpStore
from tasks.stores.protocol import ListingReport

CANISTER = principal_bytes("bkyz2-fmaaa-aaaaa-qaaaq-cai")
MEMORY, CAPSULE = "5d3c1e0a-8f57-4a0e-9a39-6d1f1a2b3c4d", "capsule-1"
_loop = asyncio.new_event_loop()


class Canned:
    """A transport that has one answer to everything."""

    url = "http://127.0.0.1"
    requests = 0

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def post(self, _path: str, _body: bytes) -> tuple[int, bytes]:
        return 200, self.body

    async def get(self, _path: str) -> bytes:
        return self.body


class CannedAgent:
    """An agent whose canister has one reply to everything, and one capsule where that is asked."""

    def __init__(self, reply: bytes, capsules: bytes | None = None) -> None:
        self.transport, self.canister_id = Canned(b""), CANISTER
        self.identity = AnonymousIdentity()
        self._reply, self._capsules = reply, capsules

    async def query(self, method: str, _argument: bytes) -> bytes:
        listing = method == CAPSULES_LIST.name and self._capsules is not None
        return self._capsules if listing and self._capsules is not None else self._reply


def finished(work: Awaitable[Any]) -> Any:
    """The result of a coroutine; the same loop serves every input."""
    global _loop  # noqa: PLW0603 - one that was broken off is of no more use
    try:
        return _loop.run_until_complete(work)
    except Exception:
        raise
    except BaseException:
        _loop = asyncio.new_event_loop()
        raise


# CBOR ---------------------------------------------------------------------------------------------

_ENDPOINTS = ("query", "call", "read_state", "status")


def examine_answer(data: bytes) -> None:
    number, body = chosen(data, len(_ENDPOINTS))
    agent = Agent(Canned(body), CANISTER, AnonymousIdentity(), ROOT_KEY, unsigned_queries=True)  # type: ignore[arg-type]
    with patch.object(agents, "POLL_SECONDS", 0):
        match _ENDPOINTS[number]:
            case "query":
                finished(agent._query("memories_read", b""))
            case "call":
                finished(agent.call("memories_read", b""))
            case "read_state":
                finished(agent.read_state([[b"time"]]))
            case _:
                agent._root_key = None
                finished(agent.root_key())


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(max_size=5) | st.integers(-3, 3) | st.binary(max_size=3), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip
_node_signature = st.fixed_dictionaries(
    {}, optional={"identity": _plain, "timestamp": _plain, "signature": _plain}
)
_answer = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["replied", "rejected", "non_replicated_rejection"]) | _plain,
        "reply": st.fixed_dictionaries({"arg": st.binary(max_size=40) | _plain}) | _plain,
        "reject_code": st.integers(0, 9) | _plain,
        "reject_message": st.text(max_size=30) | _plain,
        "error_code": _plain,
        "signatures": st.lists(_node_signature | _plain, max_size=2) | _plain,
        "certificate": st.sampled_from(recorded("icp-*.cbor")) | _plain,
        "root_key": _plain,
    },
)


def _dumps(value: Any) -> bytes:
    return b"\xd9\xd9\xf7" + cbor2.dumps(value)


ANSWERS = Target(
    "canister-answers",
    [
        for_each(number, body)
        for number, name in enumerate(_ENDPOINTS)
        for body in recorded(f"icp-{name}*.cbor")
    ],
    st.builds(for_each, st.integers(0, 3), (_answer | _plain).map(_dumps)),
    examine_answer,
)


# Candid -------------------------------------------------------------------------------------------

Question = Callable[[Canister], Awaitable[Any]]


async def _asset_of(canister: Canister) -> Any:
    store = IcpStore(canister)
    return await store.look_up_asset(f"icp://{CAPSULE}/{MEMORY}")


async def _memory_row(canister: Canister) -> Any:
    with patch(f"{__name__}.MEMORY", MEMORY):
        memory = await canister.memory(MEMORY)
    return None if memory is None else _table([row_of(memory)], ICP_INVENTORY)


async def _listed(canister: Canister) -> ListingReport:
    """The listing of one capsule, whose every page is the reply."""
    report = ListingReport(StoreState.INCOMPLETE)
    async for rows in Listing(canister, report, [CAPSULE], 2).batches():
        _table(rows, ICP_INVENTORY)
    return report


_QUESTIONS: tuple[Question, ...] = (
    Canister.whoami, Canister.capsules, lambda c: c.memories_page(CAPSULE), _listed,
    lambda c: c.ping([MEMORY]), lambda c: c.memory(MEMORY), _memory_row, _asset_of,
    lambda c: c.asset_ids(MEMORY), lambda c: c.asset(MEMORY, "a"), lambda c: c.blob_meta("b"),
    lambda c: c.blob_chunk("b", 0), Canister.galleries, lambda c: c.gallery("g"),
    Canister.upload_config,
)  # fmt: skip


def replies() -> list[bytes]:
    """The Candid in the recorded answers."""
    bodies = [decode_cbor(body, "a recording") for body in recorded("icp-query*.cbor")]
    return [body["reply"]["arg"] for body in bodies if body["status"] == "replied"]


def _capsules() -> bytes:
    """A recorded list of capsules."""
    for reply in replies():
        try:
            if CAPSULES_LIST.decoder.decode(reply):
                return reply
        except MalformedAnswerError:
            continue
    raise AssertionError("no list of capsules was recorded")


CAPSULES = _capsules()


def examine_candid(data: bytes) -> str:
    number, reply = chosen(data, len(_QUESTIONS))
    listing = _QUESTIONS[number] is _listed
    agent = CannedAgent(reply, CAPSULES if listing else None)
    found = finished(_QUESTIONS[number](Canister(agent)))  # type: ignore[arg-type]
    return f"{number} {type(found).__name__}"


def _paired() -> list[bytes]:
    """Each recorded reply with each question that it answers."""
    pairs = []
    for number in range(len(_QUESTIONS)):
        for reply in replies():
            try:
                examine_candid(for_each(number, reply))
            except StoreError:
                continue
            pairs.append(for_each(number, reply))
    return pairs


_signed = st.integers(0, 63).map(lambda number: bytes([number])) | st.sampled_from(
    [bytes([kind & 0x7F]) for kind in Kind]
)


def _leb128(number: int) -> bytes:
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


_count = st.integers(0, 6) | st.sampled_from([127, 128, 2**32, 2**63, 2**64 - 1])
_label = st.integers(0, 2**32 - 1)
_members = st.lists(st.tuples(_label, _signed), max_size=5).map(
    lambda members: _leb128(len(members)) + b"".join(
        _leb128(label) + kind for label, kind in sorted(members)
    )
)  # fmt: skip
_entry = st.one_of(
    st.tuples(st.sampled_from([b"\x6e", b"\x6d"]), _signed).map(b"".join),
    st.tuples(st.sampled_from([b"\x6c", b"\x6b"]), _members).map(b"".join),
    st.binary(max_size=6),
)
_message = st.builds(
    lambda entries, kinds, values: (
        b"DIDL" + _leb128(len(entries)) + b"".join(entries) + _leb128(len(kinds))
        + b"".join(kinds) + values
    ),
    st.lists(_entry, max_size=6), st.lists(_signed, max_size=3),
    st.binary(max_size=60) | st.lists(_count.map(_leb128), max_size=12).map(b"".join),
)  # fmt: skip


@st.composite
def _other_values(draw: st.DrawFn) -> bytes:
    """A recorded reply up to somewhere, and other values from there on."""
    pair = draw(st.sampled_from(_PAIRED))
    keep = draw(st.integers(1, len(pair)))
    return pair[:keep] + draw(st.binary(max_size=80))


_PAIRED = _paired()
CANDID = Target(
    "candid",
    _PAIRED,
    st.builds(for_each, st.integers(0, len(_QUESTIONS) - 1), _message) | _other_values(),
    examine_candid,
)
assert {MEMORIES_LIST_ASSETS, CAPSULES_LIST} <= set(NEEDED)
