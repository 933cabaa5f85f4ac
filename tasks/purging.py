"""Purge: files that nothing has referred to for weeks, kept aside and then removed.

An object is removed only if it was seen orphaned in several complete runs over two weeks, if every
store was seen whole in this run, if it is still the version that was first seen, if nothing refers
to it when asked again, and if its bytes are not what a living memory lacks. Its bytes and its
manifest are in quarantine before; what is found to be referred to afterwards is put back at once.
Copies on the canister are left: nothing there can be removed on condition that it is still what was
seen.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

import pandas as pd

from checks.breaker import Tripped, tripped
from checks.describe import plain_records
from checks.errors import LeaseLostError, ObjectChangedError, StoreError, StoreUnreachableError
from checks.model import Backend, RepairState, StoreState
from checks.normal import BlobAddress
from tasks.app_tables import find_app_tables
from tasks.audit import AuditRun
from tasks.comparison import all_findings
from tasks.database import Connection, transaction
from tasks.last_copy import LastCopies
from tasks.lease import Fence, still_ours
from tasks.mending import Proposal
from tasks.observe import OpenStores, Seen, named_now
from tasks.progress import advance
from tasks.quarantine import (
    Kept,
    expire,
    in_quarantine,
    keep,
    place,
    put_back,
    removed,
    write_body,
)
from tasks.queries import query
from tasks.serial_connection import SerialConnection
from tasks.sources import IN_MEMORY
from tasks.stores.blob.store import BlobStore

COMPLETE_RUNS = 3
FIRST_SEEN_BEFORE = timedelta(days=14)
Outcomes = dict[str, tuple[str, str | None]]


class NeededError(StoreError):
    """A living memory lacks these bytes: they are not removed."""


NamedNow = Callable[[Collection[str]], Awaitable[set[str]]]


@dataclass(frozen=True, slots=True)
class Orphan:
    """An object that may be removed; ``version`` is the one that it was first seen with."""

    fingerprint: str
    location: str
    version: str


@dataclass(slots=True)
class Purged:
    """What came of a purge.

    Attributes:
        outcomes: by fingerprint.
        refused: the breaker, where it refused them all.
        unknown: why it was broken off, by what did not answer.
    """

    outcomes: Outcomes = field(default_factory=dict)
    refused: Tripped | None = None
    unknown: dict[str, str] = field(default_factory=dict)


def purge(run: AuditRun, seen: Seen, fence: Fence, proposal: Proposal) -> Purged:
    """Removes what has been orphaned for weeks; what came of each orphan, by fingerprint.

    What was kept in quarantine for long enough is given up. The breaker counts what the ledger
    repairs of ``proposal`` take away from the store too.

    Raises LeaseLostError where another run has taken over.
    """
    with run.connect() as conn:
        expire(conn, run.directory.home)
    findings = all_findings(run.workspace(seen.facts["partitions"]))
    orphans = findings[
        (findings["kind"] == "orphaned") & (findings["backend"] == Backend.BLOB.value)
    ]
    unseen = _unseen(seen)
    if unseen is not None or orphans.empty:
        said = (RepairState.NONE.value, unseen)
        return Purged(dict.fromkeys(orphans["fingerprint"], said) if unseen else {})
    outcomes: Outcomes = {}
    ripe = list(_ripe(run, orphans, outcomes))
    limit = _refused(run, seen, proposal, len(ripe))
    if ripe and limit is not None:
        outcomes |= {each.fingerprint: (RepairState.REFUSED.value, str(limit)) for each in ripe}
        return Purged(outcomes, limit)
    try:
        if ripe:
            asyncio.run(_purge_all(run, seen, fence, ripe, outcomes))
    except StoreUnreachableError as error:
        return Purged(outcomes, unknown={Backend.BLOB.value: str(error)})
    return Purged(outcomes)


def _refused(run: AuditRun, seen: Seen, proposal: Proposal, ripe: int) -> Tripped | None:
    """The breaker, where it refuses that so many objects are removed beside all else."""
    blob = Backend.BLOB.value
    taken = {blob: {**proposal.taken.get(blob, {}), "orphaned": ripe}}
    found = tripped(taken, seen.facts["present"], run.options.breaker_percent)
    return proposal.tripped.get(blob) or found.get(blob)


def _unseen(seen: Seen) -> str | None:
    """Why nothing can be called an orphan for good in this run, None where all was seen whole."""
    for backend in Backend:
        report = seen.reports[backend]
        if report.state is not StoreState.COMPLETE or report.unknown_parts:
            return f"not removed: {backend} was not seen whole in this run"
    return None


def _ripe(run: AuditRun, orphans: pd.DataFrame, outcomes: Outcomes) -> list[Orphan]:
    """The orphans that may be removed; what is said of the others goes into ``outcomes``."""
    with run.connect() as conn, transaction(conn, snapshot=True):
        rows = conn.execute(
            query("queries/quarantine", "orphaned_since"),
            {"fingerprints": orphans["fingerprint"].tolist()},
        ).fetchall()
    history = {row[0]: row[1:] for row in rows}
    ripe = []
    for finding in plain_records(orphans):
        observed = json.loads(finding["observed"])
        why = _unripe(run, history.get(finding["fingerprint"]), observed)
        if why is None:
            ripe.append(Orphan(finding["fingerprint"], finding["location"], observed["version"]))
        else:
            outcomes[finding["fingerprint"]] = (RepairState.NONE.value, f"not removed: {why}")
    return ripe


def _unripe(
    run: AuditRun, history: tuple[Any, ...] | None, observed: Mapping[str, Any]
) -> str | None:
    """Why an orphan is not removed yet, None where it may be."""
    if history is None:
        return f"it was never seen before; it takes {COMPLETE_RUNS} runs"
    first_seen, complete_runs, last_run_id, first_doc = history
    runs = complete_runs + (last_run_id != run.run_id)
    if runs < COMPLETE_RUNS:
        return f"it was seen in {runs} of {COMPLETE_RUNS} complete runs"
    days = (datetime.now(UTC) - first_seen) / timedelta(days=1)
    if days < FIRST_SEEN_BEFORE.days:
        return f"it was first seen {days:.0f} days ago; it takes {FIRST_SEEN_BEFORE.days}"
    first = json.loads(first_doc or "{}").get("version")
    if first is None or first != observed.get("version"):
        return "it is not the version that was first seen"
    return None


async def _purge_all(
    run: AuditRun, seen: Seen, fence: Fence, orphans: list[Orphan], outcomes: Outcomes
) -> None:
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(OpenStores(run, seen))
        blob = stores.get(Backend.BLOB)
        address = run.settings.blob_address
        if not isinstance(blob, BlobStore) or address is None:
            return
        database = SerialConnection(run.connect)
        stack.push_async_callback(database.aclose)

        async def referred_to(locations: Collection[str]) -> set[str]:
            by_edges = await database.run(named_by_edges, address, locations)
            return by_edges | await named_now(run, seen, stores, locations)

        last = LastCopies(blob, database, address)
        purging = Purging(blob, database, fence, run.directory.home, referred_to, last)
        for orphan in orphans:
            try:
                state, detail = await purging.purge(orphan)
            except LeaseLostError:
                raise
            except StoreUnreachableError:
                raise
            except NeededError as error:
                state, detail = RepairState.REFUSED, f"not removed: {error}"
            except ObjectChangedError as error:
                state, detail = RepairState.SUPERSEDED, str(error)
            except StoreError as error:
                state, detail = RepairState.FAILED, str(error)
            outcomes[orphan.fingerprint] = (state.value, detail)
            advance("removing orphans", 1, len(orphans))


@dataclass(frozen=True, slots=True)
class Purging:
    """What removing needs.

    Attributes:
        blob: the store.
        database: Neon.
        fence: the lease under which it is removed.
        home: where the quarantine is.
        referred_to: which of some pathnames anything refers to at this moment.
        last: whether a living memory lacks some bytes.
    """

    blob: BlobStore
    database: SerialConnection
    fence: Fence
    home: Path
    referred_to: NamedNow
    last: LastCopies

    async def purge(self, orphan: Orphan) -> tuple[RepairState, str | None]:
        """Keeps one object aside and removes it; what came of it."""
        kept = await self._removed_before(orphan)
        if kept is None:
            if await self.referred_to([orphan.location]):
                return RepairState.SUPERSEDED, "something refers to it by now"
            kept = await self._keep(orphan)
            if kept is None:
                return RepairState.SUPERSEDED, "it is gone already"
            await self.database.run(still_ours, self.fence)
            if not await self.blob.delete_if_unchanged(orphan.location, orphan.version):
                return RepairState.SUPERSEDED, "it is gone already"
        await self.database.run(removed, kept)
        try:
            named = await self.referred_to([orphan.location])
        except StoreError:
            named = {orphan.location}  # nobody can say that it is not needed
        if named:
            await put_back(self.blob, self.database, kept)
            return RepairState.SUPERSEDED, "something refers to it by now: it was put back"
        return RepairState.APPLIED, f"removed; {kept.size} bytes are in {kept.kept_at}"

    async def _removed_before(self, orphan: Orphan) -> Kept | None:
        """What this run kept and removed before it was interrupted; None: it did not come so far.

        Nobody has asked then whether anything refers to it by now.
        """
        found = await self.database.run(
            in_quarantine, run_id=self.fence.run_id, location=orphan.location
        )
        begun = [each for each in found if each.backend is Backend.BLOB and not each.restored_at]
        if not begun or await self.blob.look_up(orphan.location) is not None:
            return None
        return begun[0]

    async def _keep(self, orphan: Orphan) -> Kept | None:
        """The object in quarantine; None: it is not there any more.

        Raises ObjectChangedError where it is another version than was first seen, NeededError
        where a living memory lacks its bytes.
        """
        directory = place(self.home, self.fence.run_id, Backend.BLOB, orphan.location)
        seen = await self.blob.look_up(orphan.location)
        if seen is None:
            return None
        with cast("IO[bytes]", SpooledTemporaryFile(IN_MEMORY, dir=str(directory))) as body:
            read = await self.blob.read(orphan.location, body)
            if read is None:
                return None
            if orphan.version not in (read.version, None) or read.version != seen.version:
                raise ObjectChangedError(
                    f"{orphan.location} is version {read.version}, not the one that was first seen"
                )
            if (needed := await self.last.why_needed(read)) is not None:
                raise NeededError(needed)
            write_body(directory, body)
        why = {"why": "orphaned", "fingerprint": orphan.fingerprint}
        kept = Kept(
            self.fence.run_id, Backend.BLOB, orphan.location, read.version, seen.content_type,
            read.size, read.sha256, directory, why,
        )  # fmt: skip
        await self.database.run(keep, kept)
        return kept


def named_by_edges(conn: Connection, address: BlobAddress, locations: Collection[str]) -> set[str]:
    """Which of some pathnames an edge says are there, in whatever form it names them."""
    forms = {
        form: location
        for location in locations
        for form in (location, f"/{location}", *address.urls(location))
    }
    with transaction(conn, snapshot=True):
        edges = find_app_tables(conn).ledger().identifier
        found = conn.execute(
            query("queries/quarantine", "named_by_edges", edges=edges), {"forms": list(forms)}
        ).fetchall()
    return {forms[name] for (name,) in found if name in forms}
