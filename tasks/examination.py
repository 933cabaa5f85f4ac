"""What ``doctor`` finds out: whether each store answers, and what about it will matter to a run.

Only asks. What the canister was the last time is kept in the home, to notice that it was replaced.
"""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from checks.model import Backend
from tasks.app_tables import AppTables, find_app_tables
from tasks.conninfo import parameters_of
from tasks.database import Connection, connect, transaction, translated
from tasks.missing_tables import gaps
from tasks.queries import query
from tasks.run_directory import local_home, write_text
from tasks.schema import ObjectState, schema_status
from tasks.settings import Settings, variable
from tasks.stores import open_store
from tasks.stores.icp.store import IcpStore

OK, WARNING, FAILURE = "ok", "warning", "failure"
#: Ages, leases and the canister's certificates depend on the clock.
LARGEST_SKEW_SECONDS = 30.0
#: Spools and reports of an audit of a million memories need about so much.
LEAST_DISK_BYTES = 2_000_000_000
_POOLER = "-pooler"
_OLDEST_POSTGRES = 14
_SEEN = "canister.json"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: ``ok``, a ``warning``, or a ``failure``, with its remedy."""

    what: str
    state: str
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store answered: in a few words, and what was looked at."""

    detail: str
    checks: tuple[Check, ...] = ()

    @property
    def remedy(self) -> str | None:
        """What to do first, where something will not do as it is."""
        return next((each.remedy for each in self.checks if each.state != OK and each.remedy), None)


def ask_database(settings: Settings) -> Answer:
    """The server's version, what tables there are not, what this user may do, the clocks."""
    with connect(
        settings.batch_database_url, purpose="edgekeeper doctor", attempts=2
    ) as conn:  # fmt: skip
        with transaction(conn, snapshot=True):
            row = conn.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()
        skew = time.time() - float(row[0]) if row else 0.0
        checks = [_clock("database clock", skew), _version(conn.info.server_version)]
        checks += [_pooler(settings), *_tables(conn)]
        with translated():
            tables = find_app_tables(conn)
            checks += _privileges(conn, tables)
        version = conn.info.server_version
    return Answer(f"Postgres {version // 10_000}.{version % 10_000}", tuple(checks))


def _clock(what: str, skew: float) -> Check:
    detail = f"{abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} this machine's"
    if abs(skew) <= LARGEST_SKEW_SECONDS:
        return Check(what, OK, detail)
    return Check(
        what, FAILURE, detail, "set this machine's clock: ages, leases and certificates need it"
    )


def _version(number: int) -> Check:
    if number >= _OLDEST_POSTGRES * 10_000:
        return Check("database version", OK, f"Postgres {number // 10_000}")
    return Check(
        "database version", WARNING, f"Postgres {number // 10_000}",
        f"nothing is tested below {_OLDEST_POSTGRES}: upgrade it",
    )  # fmt: skip


def _pooler(settings: Settings) -> Check:
    """Batch work goes through a pooler too, only slower: it is told from Neon's naming."""
    host = parameters_of(settings.batch_database_url).get("host", "")
    if _POOLER not in host.partition(".")[0]:
        return Check("pooler", OK, "batch work goes to the database itself")
    return Check(
        "pooler", WARNING, "batch work goes through the pooler",
        f"set {variable('database_url_unpooled')} to the connection string without {_POOLER}",
    )  # fmt: skip


def _tables(conn: Connection) -> Iterator[Check]:
    with translated():
        wrong, known = gaps(conn)
    if wrong:
        yield Check(
            "tables", FAILURE, "; ".join(wrong),
            "check the search_path and the grants of this user",
        )  # fmt: skip
    else:
        yield Check("tables", OK, "; ".join(known) or "all are there and can be read")
    lacking = [each for each in schema_status(conn) if each.state is not ObjectState.PRESENT]
    if lacking:
        names = ", ".join(each.name for each in lacking[:3])
        more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""  # noqa: PLR2004
        yield Check("schema", FAILURE, f"it lacks {names}{more}", "see: edgekeeper schema status")
    else:
        yield Check("schema", OK, "as this version needs it")


def _privileges(conn: Connection, tables: AppTables) -> list[Check]:
    if tables.edges is None:
        return []
    name = tables.edges.identifier.as_string(conn)
    row = conn.execute(query("queries/privileges", "ledger"), {"ledger": name}).fetchone()
    may_repair, may_record, who = row or (False, False, "this user")
    return [
        Check("audit", OK, f"{who} may keep findings and journal") if may_record else Check(
            "audit", FAILURE, f"{who} may not make or write the schema audit",
            f"grant {who} CREATE on the database, or let its owner run edgekeeper schema apply",
        ),
        Check("--repair ledger", OK, f"{who} may write the ledger") if may_repair else Check(
            "--repair ledger", WARNING, f"{who} may only read the ledger",
            f"to repair: GRANT INSERT, UPDATE, DELETE ON {name} TO {who}",
        ),
    ]  # fmt: skip


async def ask_store(backend: Backend, settings: Settings) -> Answer:
    """The store's identity, once it has accepted the credentials; more of the canister."""
    store = open_store(backend, settings)
    try:
        identity = await store.identity()
        if not isinstance(store, IcpStore):
            return Answer(identity)
        await store.check_interface()  # the canister says which methods it has
        return Answer(identity, tuple(await _canister(store, settings)))
    finally:
        await store.aclose()


async def _canister(store: IcpStore, settings: Settings) -> list[Check]:
    certificate = await store.canister.agent.read_state([[b"time"]])
    skew = (datetime.now(UTC) - certificate.time).total_seconds()
    capsules = await store.canister.capsules()
    memories = sum(each.memory_count for each in capsules)
    sees = f"it sees {len(capsules):,} capsules with {memories:,} memories"
    checks = [
        _clock("canister clock", skew),
        Check("interface", OK, "has every method that is called"),
        Check("identity", OK, sees) if capsules else Check(
            "identity", WARNING, "it sees no capsule: nothing on the canister can be audited",
            f"check {variable('identity_pem')}: it must be an owner of the capsules",
        ),
    ]  # fmt: skip
    now = {
        "canister": settings.canister_id, "module_hash": await store.canister.module_hash(),
        "controllers": sorted(await store.canister.controllers()),
    }  # fmt: skip
    return [*checks, *_since_last_time(now, local_home(settings.home) / _SEEN)]


def _since_last_time(now: dict[str, Any], kept: Path) -> Iterator[Check]:
    """Whether the canister's code or its controllers are others than when it was last looked at."""
    before = _read(kept)
    same = before.get("canister") == now["canister"]
    for name, words in (("module_hash", "canister code"), ("controllers", "canister controllers")):
        value = now[name]
        shown = f"sha256 {(value or 'none')[:16]}…" if name == "module_hash" else ", ".join(value)
        if not same:
            yield Check(words, OK, f"{shown} (seen for the first time)")
        elif before.get(name) == value:
            yield Check(words, OK, f"{shown}, as before")
        else:
            yield Check(
                words, WARNING, f"{shown}: other than when it was last looked at",
                "ask who upgraded or transferred the canister, and whether that was meant",
            )  # fmt: skip
    write_text(kept, json.dumps(now, indent=1) + "\n")


def _read(kept: Path) -> dict[str, Any]:
    try:
        content = json.loads(kept.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def examine_machine(settings: Settings) -> list[Check]:
    """Whether there is room for a run."""
    home = settings.home_path()
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{free / 1e9:,.1f} GB free in {there}"
    if free >= LEAST_DISK_BYTES:
        return [Check("disk", OK, detail)]
    return [
        Check("disk", WARNING, detail, f"make room, or set {variable('home')} to a larger disk")
    ]
