"""The ledger's first filling as a run: what was observed becomes edges, and a record says how many.

The rows themselves are made by :mod:`tasks.backfill`; here it is given what the run observed, its
units are checkpointed, and its report becomes a run record.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from checks.model import Backend, StoreState
from checks.run import FINDINGS, Coverage, Edges, RunRecord, settled
from tasks.audit import AuditRun
from tasks.backfill import BackfillReport, Inventories, backfill_edges
from tasks.lease import Fence
from tasks.observe import Seen
from tasks.partitions import partition_files
from tasks.progress import advance
from tasks.publish import published, stages, stores_of, versions
from tasks.settings import masked
from tasks.snapshot import count_edges

_NULLABLE = {pa.int64(): pd.Int64Dtype()}


def fill(run: AuditRun, seen: Seen, fence: Fence, batch: int) -> dict[str, Any]:
    """Makes the edges of everything observed; what is there already is left as it is.

    Gives the fields of ``BackfillReport`` as JSON can hold them. A unit that is done before an
    interruption is not sent again.
    """
    workspace = run.workspace(seen.facts["partitions"])
    blob, icp = (seen.reports[backend].state for backend in (Backend.BLOB, Backend.ICP))
    inventories = Inventories(
        neon=workspace.inventory(Backend.NEON),
        blob=None if blob is StoreState.NOT_CONFIGURED else workspace.inventory(Backend.BLOB),
        icp=None if icp is StoreState.NOT_CONFIGURED else workspace.inventory(Backend.ICP),
        address=run.settings.blob_address,
        blob_complete=blob is StoreState.COMPLETE,
        hashes=_hashes(workspace.hashes),
    )
    done = [name.removeprefix("fill-").replace("-", "/") for name in run.directory.done_stages()
            if name.startswith("fill-")]  # fmt: skip

    def told(unit: str, report: BackfillReport) -> None:
        if unit not in done:
            run.directory.mark_done(f"fill-{unit.replace('/', '-')}")
        advance("filling the ledger", 1, 2 * workspace.partitions)
        del report

    def work() -> dict[str, Any]:
        with run.connect() as conn:
            report = backfill_edges(
                conn, fence, inventories, run.directory.path / "filling",
                batch=batch, progress=told, done=done,
            )  # fmt: skip
        facts = asdict(report)
        facts["inserted"] = {" ".join(key): count for key, count in report.inserted.items()}
        facts["unusable_urls"] = {
            problem.value: count for problem, count in report.unusable_urls.items()
        }
        return facts

    return run.stage("filled", work)


def _hashes(directory: Any) -> pd.DataFrame | None:
    """What was read in this run, as the back-fill takes it; None where nothing was."""
    columns = ["memory_id", "memory_type", "backend", "outcome", "sha256", "read_size"]
    tables = [pq.read_table(path, columns=columns) for path in partition_files(directory)]
    frames = [table.to_pandas(types_mapper=_NULLABLE.get) for table in tables]
    frames = [frame[frame["outcome"].isin(["read", "gone"])] for frame in frames]
    if not any(len(frame) for frame in frames):
        return None
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return together


def close(
    run: AuditRun, seen: Seen, filled: Mapping[str, Any], reading: Mapping[str, Any]
) -> RunRecord:
    """Writes the record and the pages of a back-fill, and gives the record."""
    with run.connect() as conn:
        total = count_edges(conn)
    left = {
        "rows whose url names no object": sum(filled["unusable_urls"].values()),
        "rows whose blob is gone": filled["blob_gone"],
        "rows whose blob is unknown": filled["blob_unknown"],
        "rows whose id is no UUID": filled["invalid_ids"],
        "memories under two types": filled["type_mismatches"],
    }
    record = RunRecord(
        run_id=run.run_id,
        flow=run.flow,
        started_at=run.started_at,
        finished_at=datetime.now(UTC),
        repair=run.options.repair,
        stores=stores_of(seen.reports),
        edges=Edges(total=total),
        coverage=Coverage(hashed_this_run=reading["read"], bytes_this_run=reading["bytes"]),
        report=str(run.directory.report),
        version=versions()["edgekeeper"],
        versions=versions(),
        stages=stages(run),
        settings=masked(run.settings),
        limits={
            "memories": filled["memories"],
            **{f"inserted {name}": count for name, count in filled["inserted"].items()},
            "already there": filled["already_there"],
            **{name: count for name, count in left.items() if count},
        },
    )
    return published(run, settled(record), pd.DataFrame(columns=FINDINGS.names), ())
