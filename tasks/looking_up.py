"""Observing some memories only: their rows, and what the stores say when asked one by one.

The inventories that come out have the columns of a listing's, so that everything after them is the
same. Here too "not there" rests on an answer: where one look-up of a store fails, what was not seen
in that store is unknown.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from checks.columns import BLOB_REFERENCES, LEDGER, NEON_INVENTORY
from checks.errors import StoreError, StoreUnreachableError
from checks.model import Backend, MemoryType, StoreState
from checks.normal import icp_memory_id
from tasks import resolve as matching
from tasks.app_tables import AppTables, find_app_tables
from tasks.audit import AuditRun
from tasks.chosen import Chosen
from tasks.claims import read_claims
from tasks.database import transaction
from tasks.inventory import break_off, spool_batches
from tasks.listings import SCHEMAS, is_configured, list_nothing
from tasks.observe import known_capsules
from tasks.partitions import PartitionWriter, partitions_for, read_partition
from tasks.progress import advancing
from tasks.snapshot import edge_statistics, read_some
from tasks.stores import open_store
from tasks.stores.icp.store import IcpStore
from tasks.stores.protocol import ListingReport, Observation, Store

CONCURRENCY = 16
_BATCH = 1_000
_ROWS_PER_MEMORY = 8
Row = dict[str, Any]


def snapshot(run: AuditRun, chosen: Chosen) -> dict[str, Any]:
    """Reads the edges and rows of the chosen memories as of one moment, notes with their hashes.

    Gives the same facts as ``observe.snapshot``, and leaves the same files. An id's edges and rows
    under every type are read: one id under two types is worth knowing.
    """

    def work() -> dict[str, Any]:
        ids = {memory_id for memory_id, _ in chosen.pairs()}
        partitions = partitions_for(_ROWS_PER_MEMORY * len(ids))
        workspace = run.workspace(partitions)
        pairs = [(memory_id, each.value) for memory_id in ids for each in MemoryType]
        with run.connect() as conn, transaction(conn, snapshot=True):
            tables = find_app_tables(conn)
            ledger, rows = read_some(conn, tables, pairs, hash_notes=True)
            present = {name: each.present for name, each in edge_statistics(conn, tables).items()}
            claimed = sorted(read_claims(conn).alive)
        written = (
            (workspace.ledger, LEDGER, ledger),
            (workspace.inventory(Backend.NEON), NEON_INVENTORY, rows),
            (workspace.references, BLOB_REFERENCES, BLOB_REFERENCES.empty_table()),
        )
        for directory, schema, table in written:
            with PartitionWriter(directory, schema, partitions) as writer:
                writer.write(table)
        matching.expect(workspace, run.settings.blob_address)
        return {
            "partitions": partitions,
            "edges": ledger.num_rows,
            "present": present,
            "neon": asdict(_neon_report(tables, chosen, rows)),
            "capsules": sorted(known_capsules(workspace)),
            "claimed": claimed,
            "at": datetime.now(UTC).isoformat(),
        }

    return run.stage("snapshot", work)


def _neon_report(tables: AppTables, chosen: Chosen, rows: pa.Table) -> ListingReport:
    """How the reading of the rows went: unknown are the types whose table can't be seen."""
    asked = {memory_type for _, memory_type in chosen.pairs()}
    unseen: dict[str, str] = {
        kind.value: why for kind, why in tables.unseen.items() if kind.value in asked
    }
    report = ListingReport(
        StoreState.COMPLETE, objects=rows.num_rows, requests=len(tables.memories),
        bytes=pc.sum(rows["content_size"]).as_py() or 0, unknown_parts=unseen,
    )  # fmt: skip
    if unseen:
        report.state = StoreState.INCOMPLETE
        report.detail = "; ".join(f"{kind}: {why}" for kind, why in unseen.items())
    return report


def look_up(
    run: AuditRun, backend: Backend, facts: Mapping[str, Any], chosen: Chosen
) -> ListingReport:
    """Looks up in one store what the chosen memories should have there, into its inventory."""

    def work() -> dict[str, Any]:
        return asdict(asyncio.run(_look_up(run, backend, facts, chosen)))

    facts_then = run.stage(f"look-up-{backend.value}", work)
    values = {name: facts_then[name] for name in ListingReport.__slots__}
    return ListingReport(**values | {"state": StoreState(facts_then["state"])})


async def _look_up(
    run: AuditRun, backend: Backend, facts: Mapping[str, Any], chosen: Chosen
) -> ListingReport:
    workspace = run.workspace(facts["partitions"])
    directory = run.directory.inventory(backend.value)
    if not is_configured(run.settings, backend):
        list_nothing(directory, SCHEMAS[backend], workspace.partitions)
        return ListingReport(StoreState.NOT_CONFIGURED)
    store = open_store(backend, run.settings, known_capsules=facts["capsules"])
    report = ListingReport(StoreState.COMPLETE)
    began = monotonic()
    try:
        names = _names(workspace, backend, chosen)
        told = advancing(f"looking up in {backend}", len(names))
        batches = _answers(store, names, report)
        await spool_batches(batches, SCHEMAS[backend], directory, workspace.partitions, told)
    finally:
        await store.aclose()
    report.seconds = monotonic() - began
    return report


def _names(workspace: matching.Workspace, backend: Backend, chosen: Chosen) -> list[str]:
    """What to look up: pathnames; of the canister, locations that edges name, else bare ids."""
    if backend is Backend.BLOB:
        parts = (
            read_partition(workspace.expected(backend), number, ["location"])["location"]
            for number in range(workspace.partitions)
        )
        return sorted({name for part in parts for name in part.to_pylist()})
    named: dict[str, str] = {}
    for number in range(workspace.partitions):
        edges = read_partition(workspace.ledger, number, ["backend", "location"])
        for location in edges.filter(pc.equal(edges["backend"], backend.value))["location"]:
            memory_id = icp_memory_id(location.as_py() or "")
            if memory_id:
                named[memory_id.lower()] = location.as_py()
    bare = {memory_id: memory_id for memory_id, _ in chosen.pairs()}
    return list((bare | named).values())


async def _answers(
    store: Store, names: list[str], report: ListingReport
) -> AsyncIterator[list[Row]]:
    """The inventory rows of what is there, in batches; ``report`` says how it went."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def ask(name: str) -> Row | None:
        async with gate:
            if report.state is StoreState.UNREACHABLE:
                return None
            report.requests += 1
            try:
                return await _row(store, name)
            except StoreError as error:
                _note(report, error)
                return None

    for start in range(0, len(names), _BATCH):
        answers = await asyncio.gather(*(ask(name) for name in names[start : start + _BATCH]))
        rows = {row.get("memory_id", row.get("location")): row for row in answers if row}
        report.objects += len(rows)
        report.bytes += sum(row["size"] or 0 for row in rows.values())
        yield list(rows.values())


def _note(report: ListingReport, error: StoreError) -> None:
    """Keeps the first thing that kept us from looking; a store that is away is asked no more."""
    away = isinstance(error, StoreUnreachableError)
    if report.state is StoreState.COMPLETE or away:
        break_off(report, error)


async def _row(store: Store, name: str) -> Row | None:
    if isinstance(store, IcpStore):
        return await store.inventory_row(name)
    seen = await store.look_up(name)
    return None if seen is None else _blob_row(seen)


def _blob_row(seen: Observation) -> Row:
    return {
        "location": seen.location,
        "size": seen.size,
        "version": seen.version,
        "written_at": seen.written_at,
    }
