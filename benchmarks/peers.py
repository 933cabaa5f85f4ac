"""The same data fetched by the least code that can fetch it: what no audit can be faster than."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import psycopg
from ic.agent import Agent, sign_request
from ic.client import Client
from ic.identity import Identity
from ic.principal import Principal

from benchmarks.sandboxes import environment
from tasks.stores.icp.canister import CAPSULES_LIST, MEMORIES_LIST

_PAGE = 100
#: What each peer does, by the stage of the audit that it is beside.
PEERS = {
    "snapshot": "`COPY storage_edges` by psycopg, thrown away",
    "list-vercel-blob": "every page by plain httpx, one after the other",
    "list-icp-canister": "every page by ic-py, one after the other, neither verified nor decoded",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """How many rows something fetched in how many seconds."""

    rows: int
    seconds: float


def peers(directory: Path) -> dict[str, Peer]:
    """Each peer's outcome, by the stage of the audit that it is beside."""
    named = environment(directory)
    return {
        "snapshot": _timed(lambda: ledger_copied(named["DATABASE_URL"])),
        "list-vercel-blob": _timed(lambda: blobs_by_folder(named).total()),
        "list-icp-canister": _timed(lambda: _memories_listed(named)),
    }


def _timed(work: Callable[[], int]) -> Peer:
    began = monotonic()
    rows = work()
    return Peer(rows, monotonic() - began)


def ledger_copied(database_url: str) -> int:
    """The ledger out of Postgres, thrown away: psycopg and COPY."""
    with psycopg.connect(database_url) as conn, conn.cursor() as cursor:
        with cursor.copy("COPY storage_edges TO STDOUT (FORMAT binary)") as copy:
            for _ in copy:
                pass
        return cursor.rowcount


def blobs_by_folder(named: Mapping[str, str]) -> Counter[str]:
    """How many blobs each folder has, from every page one after the other: httpx and its JSON."""
    headers = {"authorization": f"Bearer {named['BLOB_READ_WRITE_TOKEN']}"}
    cursor, found = None, Counter[str]()
    with httpx.Client(headers=headers, trust_env=False) as client:
        while True:
            params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
            page = client.get(named["VERCEL_BLOB_API_URL"], params=params).json()
            found.update(blob["pathname"].partition("/")[0] for blob in page["blobs"])
            cursor = page.get("cursor")
            if not page["hasMore"]:
                return found


def _memories_listed(named: Mapping[str, str]) -> int:
    """Every page of the canister, one after the other: ic-py signs and fetches, nobody decodes.

    ic-py's own decoder would take minutes, and it verifies no answer's signature.
    """
    pem = Path(named["IC_IDENTITY_PEM"]).read_text("ascii")
    agent = Agent(Identity.from_pem(pem), Client(url=named["IC_URL"]))
    canister = Principal.from_str(named["CANISTER_ID_BACKEND"])

    def ask(method: Any, *values: Any) -> bytes:
        request = {
            "request_type": "query",
            "sender": agent.identity.sender().bytes,
            "canister_id": canister.bytes,
            "method_name": method.name,
            "arg": method.encode(values),
            "ingress_expiry": agent.get_expiry_date(),
        }
        _, envelope = sign_request(request, agent.identity)
        reply: bytes = agent.query_endpoint(canister.to_str(), envelope)["reply"]["arg"]
        return reply

    rows = 0
    for capsule in CAPSULES_LIST.decoder.decode(ask(CAPSULES_LIST)):
        for start in range(0, capsule["memory_count"], _PAGE):
            ask(MEMORIES_LIST, capsule["id"], [str(start)] if start else [], [_PAGE])
        rows += capsule["memory_count"]
    return rows
