"""The ledger's first filling as a run: what was observed becomes edges, and a record says how many.

The rows themselves are made by :mod:`tasks.backfill`; here it is given what the run observed, and
its report becomes a run record: what was made, what is odd about the rows, and what is lost.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from checks.describe import describe, plain_records
from checks.errors import StoreError
from checks.legacy import LEGACY, LegacyFact
from checks.model import Artifact, Backend, StoreState
from checks.run import FINDINGS, Coverage, Edges, LegacyRows, RunRecord, settled, with_findings
from tasks.audit import AuditRun, usage_of
from tasks.backfill import READ, Inventories, backfill_edges
from tasks.confirm import CONCURRENCY, SAMPLE, SAMPLE_ABOVE
from tasks.findings_history import record_findings
from tasks.join_keys import unkeyed, with_memory_keys
from tasks.lease import Fence
from tasks.legacy_data import survey
from tasks.observe import OpenStores, Seen
from tasks.partitions import PartitionWriter, partition_files
from tasks.progress import advancing
from tasks.publish import published, stages, stores_of, versions
from tasks.resolve import Workspace
from tasks.settings import masked
from tasks.snapshot import count_edges


def fill(run: AuditRun, seen: Seen, fence: Fence, batch: int) -> dict[str, Any]:
    """Makes the edges of everything observed; what is there already is left as it is.

    Gives ``memories``, ``inserted`` (edges by artifact and backend), ``already_there`` and
    ``legacy`` (count and samples by kind). What a killed run has written is not sent again.
    """
    told = advancing("filling the ledger, edges", _expected(seen))

    def work() -> dict[str, Any]:
        directory = run.directory.path / "filling"
        inventories = _inventories(run, seen, directory)
        report = backfill_edges(run.connect, fence, inventories, directory, batch=batch, told=told)
        with run.connect() as conn:
            legacy = report.legacy | survey(conn)
        report.lost.to_parquet(directory / "lost.parquet", index=False)
        return {
            "memories": report.memories,
            "inserted": dict(report.inserted),
            "already_there": report.already_there,
            "legacy": {kind: asdict(fact) for kind, fact in legacy.items()},
        }

    return run.stage("filled", work)


def _inventories(run: AuditRun, seen: Seen, directory: Path) -> Inventories:
    """What the run observed, as the back-fill takes it; ``directory``: for what is made of it."""
    workspace = run.workspace(seen.facts["partitions"])
    reports = seen.reports
    blob, icp = (reports[backend].state for backend in (Backend.BLOB, Backend.ICP))
    grace = timedelta(minutes=run.settings.grace_minutes)
    return Inventories(
        neon=workspace.inventory(Backend.NEON),
        blob=None if blob is StoreState.NOT_CONFIGURED else workspace.inventory(Backend.BLOB),
        icp=None if icp is StoreState.NOT_CONFIGURED else workspace.inventory(Backend.ICP),
        address=run.settings.blob_address,
        blob_complete=blob is StoreState.COMPLETE,
        icp_complete=icp is StoreState.COMPLETE and not reports[Backend.ICP].unknown_parts,
        hashes=_hashes(workspace, directory / "hashes"),
        look_up=lambda locations: asyncio.run(_look_up(run, seen, locations)),
        grace_after=datetime.fromisoformat(seen.facts["at"]) - grace if grace else None,
    )


def _expected(seen: Seen) -> int:
    """About how many edges there are to be: two of each row, and two of each copy."""
    backends = (Backend.NEON, Backend.ICP)
    return 2 * sum(seen.reports[backend].objects for backend in backends)


async def _look_up(run: AuditRun, seen: Seen, locations: Sequence[str]) -> dict[str, bool]:
    """Whether files that the listing lacks are there; those without an answer are left out.

    Of very many a sample is asked for: where it agrees with the listing the others are believed to
    be gone, else nothing is said of them.
    """
    few = len(locations) <= SAMPLE_ABOVE
    asked = locations if few else locations[:: len(locations) // SAMPLE]
    gate = asyncio.Semaphore(CONCURRENCY)
    answers: dict[str, bool] = {}

    async with OpenStores(run, seen) as stores:
        store = stores.get(Backend.BLOB)

        async def ask(location: str) -> None:
            async with gate:
                try:
                    if store is not None:
                        found = await store.look_up(location, Artifact.ASSET)
                        answers[location] = found is not None
                except StoreError:
                    return  # no answer: no conclusion

        await asyncio.gather(*map(ask, asked))
    if not few and len(answers) == len(asked) and not any(answers.values()):
        return dict.fromkeys(locations, False)
    return answers


def _hashes(workspace: Workspace, into: Path) -> Path:
    """Spools what was read in this run as the back-fill takes it.

    In the run it lies by the memory that a copy belongs to, which need not have the copy's id.
    """
    with PartitionWriter(into, READ, workspace.partitions) as writer:
        for path in partition_files(workspace.hashes):
            table = pq.read_table(path, columns=unkeyed(READ).names, partitioning=None)
            found = pc.is_in(table["outcome"], pa.array(["read", "gone"]))
            writer.write(with_memory_keys(table.filter(found), READ))
    return into


def close(
    run: AuditRun, seen: Seen, filled: Mapping[str, Any], reading: Mapping[str, Any]
) -> RunRecord:
    """Writes the record and the pages of a back-fill, and gives the record."""
    with run.connect() as conn:
        total = count_edges(conn)
        lost = pd.DataFrame(_lost_findings(run), columns=FINDINGS.names)
        rows = (row | {"doc": row} for row in plain_records(lost))
        history = record_findings(conn, run.run_id, rows, complete=False)
    since = history.set_index("fingerprint").reindex(lost["fingerprint"])
    lost = lost.assign(
        first_seen=pd.to_datetime(since["first_seen"], utc=True).to_numpy(),
        runs_seen=since["runs_seen"].to_numpy(),
    )
    now = datetime.now(UTC)
    record = RunRecord(
        run_id=run.run_id,
        flow=run.flow,
        started_at=run.started_at,
        finished_at=now,
        repair=run.options.repair,
        stores=stores_of(seen.reports),
        edges=Edges(total=total),
        coverage=Coverage(hashed_this_run=reading["read"], bytes_this_run=reading["bytes"]),
        report=str(run.directory.report),
        version=versions()["edgekeeper"],
        versions=versions(),
        stages=stages(run),
        settings=masked(run.settings),
        usage=usage_of(run),
        legacy=tuple(_legacy_rows(filled["legacy"])),
        limits={
            "memories": filled["memories"],
            **{f"inserted {name}": count for name, count in filled["inserted"].items()},
            "already there": filled["already_there"],
            "left to hash": reading["left"],
        },
    )
    return published(run, settled(with_findings(record, lost, now=now)), lost, ())


def _lost_findings(run: AuditRun) -> Iterator[dict[str, Any]]:
    """A finding for each asset that was promised and that no store holds."""
    for row in plain_records(pd.read_parquet(run.directory.path / "filling" / "lost.parquet")):
        yield describe(
            {
                "kind": "lost", "memory_id": row["memory_id"], "memory_type": row["memory_type"],
                "artifact": Artifact.ASSET.value, "row_pathname": row["location"],
                "confirmed": True,
            }
        )  # fmt: skip


def _legacy_rows(legacy: Mapping[str, Any]) -> Iterator[LegacyRows]:
    """What is odd about the rows, in the order of the kinds."""
    for kind, known in LEGACY.items():
        if kind in legacy:
            fact = LegacyFact(**legacy[kind])
            yield LegacyRows(
                kind=kind, count=fact.count, samples=tuple(fact.samples), meaning=known.meaning,
                next_step=known.next_step,
            )  # fmt: skip
