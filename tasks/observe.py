"""What an audit looks at: the database, the stores' listings, and the bytes within the budget."""

import asyncio
import os
import threading
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow.compute as pc

from checks.cases import View
from checks.errors import StoreError
from checks.model import Backend, StoreState
from checks.normal import BlobAddress, LocationProblem, icp_capsule_id
from tasks import collection, comparison, verification
from tasks import resolve as matching
from tasks.audit import BACKFILL, AuditRun
from tasks.claims import claimed_now
from tasks.expectation import last_listings
from tasks.listings import is_configured, report_of
from tasks.moved import spread_by_size
from tasks.partitions import read_partition
from tasks.references import still_named
from tasks.snapshot import take_snapshot
from tasks.stores import open_store
from tasks.stores.icp.store import IcpStore
from tasks.stores.protocol import ListingReport, Store

#: Partitions compared at once: each keeps a core busy and holds some 200 MB, so that more of them
#: would cost memory and gain nothing. One core is left to the data-quality checks beside them.
_COMPARING = threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) - 1))


def snapshot(run: AuditRun) -> dict[str, Any]:
    """Reads ledger, memory rows and references as of one moment.

    Gives ``partitions``, ``edges``, ``present`` (edges with present=true by backend), ``neon`` (a
    listing report) and ``capsules`` that the ledger knows.
    """

    def work() -> dict[str, Any]:
        with run.connect() as conn:
            taken = take_snapshot(
                conn,
                run.directory.path,
                address=run.settings.blob_address,
                hash_notes=run.options.verify_budget > 0 or run.flow == BACKFILL,
            )
            claimed = claimed_now(conn)
        workspace = run.workspace(taken.partitions)
        return {
            "partitions": taken.partitions,
            "edges": taken.edges,
            "present": {name: each.present for name, each in taken.statistics.items()},
            "neon": asdict(taken.neon),
            "capsules": sorted(known_capsules(workspace)),
            "claimed": claimed,
            "at": datetime.now(UTC).isoformat(),
            "last_listings": last_listings(run),
        }

    return run.stage("snapshot", work)


def known_capsules(workspace: matching.Workspace) -> set[str]:
    """The capsules that the ledger's locations name."""
    capsules: set[str] = set()
    for partition in range(workspace.partitions):
        table = read_partition(workspace.ledger, partition, columns=["backend", "location"])
        on_icp = table.filter(pc.equal(table["backend"], Backend.ICP.value))
        named = map(icp_capsule_id, on_icp["location"].unique().to_pylist())
        capsules.update(capsule for capsule in named if capsule)
    return capsules


def resolve(run: AuditRun, facts: Mapping[str, Any]) -> matching.LeftOver:
    """Brings everything under the memory's key, and finds the objects nothing refers to."""

    def work() -> dict[str, Any]:
        workspace = run.workspace(facts["partitions"])
        matching.expect(workspace, run.settings.blob_address)
        matching.match_replicas(workspace)
        found = matching.match_blobs(workspace)
        spread_by_size(workspace, found.objects)
        return {"segments": sorted(found.segments), "objects": found.objects}

    result = run.stage("resolve", work)
    return matching.LeftOver(set(result["segments"]), result["objects"])


def neon_report(facts: Mapping[str, Any]) -> ListingReport:
    """How the reading of the memory tables went."""
    return report_of(facts["neon"])


def after_reading(
    reports: Mapping[Backend, ListingReport], reading: Mapping[str, Any]
) -> dict[Backend, ListingReport]:
    """The reports, where a store that stopped answering while it was read is incomplete."""
    after = dict(reports)
    for name, why in reading["unknown"].items():
        backend = Backend(name)
        after[backend] = replace(
            after[backend], state=StoreState.INCOMPLETE, doubted=True,
            detail=f"it stopped answering: {why}",
        )  # fmt: skip
    return after


def view_of(
    run: AuditRun, facts: Mapping[str, Any], reports: Mapping[Backend, ListingReport]
) -> View:
    """What could be looked at, and the moments that ages are measured from.

    A store that the settings name but this run left out is unknown, not empty.
    """
    states = {backend: report.state for backend, report in reports.items()}
    for backend, state in states.items():
        if state is StoreState.NOT_CONFIGURED and is_configured(run.settings, backend):
            states[backend] = StoreState.UNREACHABLE
    now = datetime.fromisoformat(facts["at"])
    settings = run.settings
    grace = timedelta(minutes=settings.grace_minutes)
    on_icp = reports[Backend.ICP]
    return View(
        states,
        now=now,
        stuck_before=now - timedelta(minutes=settings.stuck_minutes),
        grace_after=now - grace if settings.grace_minutes else now + timedelta(days=36_500),
        unknown_types=frozenset(reports[Backend.NEON].unknown_parts),
        unknown_capsules=frozenset(() if on_icp.doubted else on_icp.unknown_parts),
        claimed=frozenset(tuple(each) for each in facts.get("claimed", ())),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was looked at.

    Attributes:
        facts: of the snapshot.
        reports: how each store's listing, and the reading of its bytes, went.
        again: whether it is compared once more, since a listing was not what it seemed.
    """

    facts: Mapping[str, Any]
    reports: Mapping[Backend, ListingReport]
    again: bool = False

    def stage(self, name: str) -> str:
        """The name of a stage that compares."""
        return f"{name}-again" if self.again else name


#: Objects that a listing may leave out for a reason of their own.
LEFT_OUT_MOST = 3


def without_doubtful_listings(
    seen: Seen, conclusions: Collection[comparison.Concluded]
) -> Seen | None:
    """What was seen, less the listings that left out what direct looks found; None: none did.

    A listing that leaves out objects which have been there for long was not whole, whatever it said
    of itself: then what else it lacks proves nothing, and all has to be compared once more.
    """
    reports = dict(seen.reports)
    for backend in Backend:
        names = [name for each in conclusions for name in each.left_out.get(backend.value, [])]
        if len(names) > LEFT_OUT_MOST and reports[backend].state is StoreState.COMPLETE:
            reports[backend] = replace(
                reports[backend], state=StoreState.INCOMPLETE, doubted=True,
                detail=f"its listing left out {len(names)} objects that a direct look found, such "
                f"as {names[0][:200]}: it was not whole, whatever it said. Run again later",
            )  # fmt: skip
    return None if reports == seen.reports else replace(seen, reports=reports, again=True)


class OpenStores:
    """The stores that a run may ask object by object, opened for one event loop."""

    def __init__(
        self, run: AuditRun, seen: Seen, *, sharing: int = 1, one_of_many: bool = False
    ) -> None:
        """Opens nothing yet.

        Args:
            run: whose stores they are.
            seen: which of them can be asked.
            sharing: so many tasks ask them at the same time, see ``open_store``.
            one_of_many: the attempt at the run opens them for each of many parts, and what one of
                them has just found out about capsules is not asked again for the next.
        """
        usable = (StoreState.COMPLETE, StoreState.INCOMPLETE)
        self._run = run
        self._backends = [
            backend for backend in verification.readable(seen.reports)
            if seen.reports[backend].state in usable
        ]  # fmt: skip
        self._capsules = seen.facts["capsules"]
        self._sharing = sharing
        self._attempt = run.attempt if one_of_many else None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> dict[Backend, Store]:
        stores: dict[Backend, Store] = {}
        for backend in self._backends:
            stores[backend] = open_store(
                backend, self._run.settings,
                known_capsules=self._capsules, sharing=self._sharing, attempt=self._attempt,
            )  # fmt: skip
            self._stack.push_async_callback(stores[backend].aclose)
        return stores

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()


def conclude(run: AuditRun, partition: int, seen: Seen) -> comparison.Concluded:
    """Compares and confirms one partition; see ``comparison.conclude``."""

    def work() -> dict[str, Any]:
        return asdict(asyncio.run(_conclude(run, partition, seen)))

    with _COMPARING:
        return _concluded(run.stage(seen.stage(f"compare-{partition}"), work))


async def _conclude(run: AuditRun, partition: int, seen: Seen) -> comparison.Concluded:
    sharing = min(run.abreast, int(seen.facts["partitions"]))
    async with OpenStores(run, seen, sharing=sharing, one_of_many=True) as stores:
        return await comparison.conclude(
            run.workspace(seen.facts["partitions"]), partition,
            view_of(run, seen.facts, seen.reports),
            address=run.settings.blob_address, stores=stores, reread=run.reread,
        )  # fmt: skip


def conclude_left_over(run: AuditRun, found: matching.LeftOver, seen: Seen) -> comparison.Concluded:
    """Judges the objects that nothing refers to, where all that might refer to them was seen."""

    def work() -> dict[str, Any]:
        view = view_of(run, seen.facts, seen.reports)
        on_icp = view.complete(Backend.ICP) and not view.unknown_capsules
        links_seen = on_icp or not view.configured(Backend.ICP)
        if not (view.complete(Backend.NEON) and links_seen):
            return asdict(comparison.Concluded())
        try:
            return asdict(asyncio.run(_conclude_left_over(run, found, seen)))
        except StoreError as error:
            return asdict(comparison.Concluded(unknown={Backend.ICP.value: str(error)}))

    return _concluded(run.stage(seen.stage("orphans"), work))


async def _conclude_left_over(
    run: AuditRun, found: matching.LeftOver, seen: Seen
) -> comparison.Concluded:
    async with OpenStores(run, seen) as stores:
        return await comparison.conclude_left_over(
            run.workspace(seen.facts["partitions"]), found,
            view_of(run, seen.facts, seen.reports), stores, run.reread,
            run.settings.blob_ignore, partial(named_now, run, seen, stores),
        )  # fmt: skip


_TOO_MANY_GALLERIES = "not looked at: its list of galleries does not fit into one reply"


def conclude_collection(run: AuditRun, seen: Seen) -> comparison.Concluded:
    """Judges what is a question about the whole collection: duplicates, galleries, their items."""

    def work() -> dict[str, Any]:
        workspace = run.workspace(seen.facts["partitions"])
        unknown = view_of(run, seen.facts, seen.reports).unknown_types
        with run.connect() as conn:
            cases = collection.duplicates(conn)
            rowless = collection.rowless_items(conn, unknown_types=unknown)
        away: dict[str, str] = {}
        listed = True
        try:
            of_galleries, listed = asyncio.run(_gallery_cases(run, seen, rowless))
            cases += of_galleries
        except StoreError as error:
            away[Backend.ICP.value] = f"its galleries could not be read: {error}"
        concluded = comparison.conclude_collection(workspace, cases)
        concluded.unknown = away
        if not listed:
            concluded.limits["galleries that the canister alone has"] = _TOO_MANY_GALLERIES
        return asdict(concluded)

    return _concluded(run.stage(seen.stage("whole-collection"), work))


async def _gallery_cases(
    run: AuditRun, seen: Seen, rowless: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], bool]:
    """What is to be said of galleries, and whether all that the canister has were looked at."""
    async with OpenStores(run, seen) as stores:
        canister = stores.get(Backend.ICP)
        if isinstance(canister, IcpStore):
            on_canister = collection.looked_up(canister)
            gone = await collection.gone_items(rowless, on_canister)
            ids, all_of_them = await collection.gallery_ids(canister, run.connect)
            cases = await collection.gallery_cases(canister, run.connect, on_canister, ids=ids)
            return gone + cases, all_of_them
        # A canister that is there and can't be asked may hold what Neon does not.
        alone = not is_configured(run.settings, Backend.ICP)
        return await collection.gone_items(rowless, None) if alone else [], True


async def named_now(
    run: AuditRun, seen: Seen, stores: Mapping[Backend, Store], candidates: Collection[str]
) -> set[str]:
    """Which of some pathnames anything in Neon or the canister names by now.

    Raises StoreError where the canister's links can't be read: then no orphan can be named.
    """
    address = run.settings.blob_address
    if address is None:
        return set()
    with run.connect() as conn:
        named = await asyncio.to_thread(still_named, conn, address, candidates)
    canister = stores.get(Backend.ICP)
    if isinstance(canister, IcpStore):
        workspace = run.workspace(seen.facts["partitions"])
        named |= await _linked(canister, workspace, address) & set(candidates)
    return named


async def _linked(
    canister: IcpStore, workspace: matching.Workspace, address: BlobAddress
) -> set[str]:
    """The pathnames that the canister's links name.

    A listing does not show links, so the memories that may hold some are read: those without an
    original of their own, and those with more than one asset.
    """
    named: set[str] = set()
    for partition in range(workspace.partitions):
        table = read_partition(
            workspace.inventory(Backend.ICP),
            partition,
            columns=["memory_id", "asset_there", "asset_count"],
        )
        alone = pc.and_(table["asset_there"], pc.equal(table["asset_count"], 1))
        linking = table.filter(pc.invert(pc.fill_null(alone, fill_value=False)))
        links = await canister.external_links(linking["memory_id"].to_pylist())
        texts = [text for link in links for text in (link.url, link.storage_key) if text]
        names = [address.pathname(text, bare=True) for text in texts]
        named.update(name for name in names if not isinstance(name, LocationProblem))
    return named


def _concluded(facts: Mapping[str, Any]) -> comparison.Concluded:
    """A conclusion as a stage's facts hold it."""
    return comparison.Concluded(**{name: facts[name] for name in comparison.Concluded.__slots__})
