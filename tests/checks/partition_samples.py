"""Small hand-made partitions: one memory at a time, its row, its edges and what the stores hold."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from checks.cases import Cases, Partition, View, build
from checks.columns import ICP_INVENTORY, LEDGER, NEON_INVENTORY
from checks.judge import Judgement, judge
from checks.model import Backend, StoreState
from checks.normal import key_of_uuid
from tasks.verification import HASHES

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
OLD = NOW - timedelta(days=30)
OLDER = NOW - timedelta(days=60)
VERIFIED = NOW - timedelta(days=10)
YOUNG = NOW - timedelta(minutes=5)
ID = "11111111-2222-4333-8444-555555555555"
OTHER_ID = "99999999-2222-4333-8444-555555555555"
CAPSULE = "capsule_one"
HASH, OTHER_HASH = "a" * 64, "b" * 64
NEON, BLOB, ICP = Backend.NEON, Backend.BLOB, Backend.ICP
_TIME = pa.timestamp("us", tz="UTC")
_BLOBS = pa.schema(
    [("key_hi", pa.uint64()), ("key_lo", pa.uint64()), ("memory_type", pa.string()),
     ("artifact", pa.string()), ("of_row", pa.bool_()), ("object_location", pa.string()),
     ("object_size", pa.int64()), ("object_version", pa.string()), ("object_written_at", _TIME)]
)  # fmt: skip


def view(**more: Any) -> View:
    """Everything was seen, and nothing is young unless a test says so."""
    values: dict[str, Any] = {
        "stores": dict.fromkeys(Backend, StoreState.COMPLETE), "now": NOW,
        "stuck_before": NOW - timedelta(minutes=30), "grace_after": NOW - timedelta(minutes=60),
    }  # fmt: skip
    return View(**values | more)


def seeing(**states: StoreState) -> View:
    """A view in which some stores, by the names of ``Backend``, are not complete."""
    stores = dict.fromkeys(Backend, StoreState.COMPLETE)
    return view(stores=stores | {Backend[name]: state for name, state in states.items()})


@dataclass
class Sample:
    """Frames under construction; every method adds one thing and returns the sample."""

    edges: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    blobs: list[dict[str, Any]] = field(default_factory=list)
    replicas: list[dict[str, Any]] = field(default_factory=list)
    hashes: list[dict[str, Any]] = field(default_factory=list)
    remembered: list[dict[str, Any]] = field(default_factory=list)

    def row(self, memory_id: str = ID, memory_type: str = "image", **more: Any) -> "Sample":
        values = {
            "memory_id": memory_id, "memory_type": memory_type, "created_at": OLD,
            "written_at": OLD, "version": "7", "url": None, "pathname": f"images/{memory_id}.jpg",
            "url_problem": None,
        }  # fmt: skip
        self.rows.append(_keyed(memory_id) | values | more)
        return self

    def edge(
        self,
        artifact: str,
        backend: Backend,
        memory_id: str = ID,
        memory_type: str = "image",
        **more: Any,
    ) -> "Sample":
        values = {
            "edge_id": f"{artifact}@{backend}", "memory_id": memory_id,
            "memory_type": memory_type, "artifact": artifact, "backend": backend.value,
            "present": True, "sync_state": "idle", "created_at": OLDER, "updated_at": OLD,
            "version": "1", "malformed": False, "location_problem": None, "named": None,
            "row_problem": None,
        }  # fmt: skip
        self.edges.append(_keyed(memory_id) | values | more)
        return self

    def blob(self, memory_id: str = ID, memory_type: str = "image", **more: Any) -> "Sample":
        values = {
            "memory_type": memory_type, "artifact": "asset", "of_row": False, "object_size": 10,
            "object_location": f"images/{memory_id}.jpg", "object_version": "e1",
            "object_written_at": OLDER,
        }  # fmt: skip
        self.blobs.append(_keyed(memory_id) | values | more)
        return self

    def replica(self, memory_id: str = ID, memory_type: str = "image", **more: Any) -> "Sample":
        values = {
            "memory_id": memory_id, "memory_type": memory_type, "capsule_id": CAPSULE,
            "asset_there": True, "size": 10, "version": "5", "created_at": OLDER,
            "written_at": OLDER,
        }  # fmt: skip
        self.replicas.append(_keyed(memory_id) | values | more)
        return self

    def read(self, backend: Backend, sha256: str = HASH, size: int = 10, **more: Any) -> "Sample":
        values = {
            "memory_id": ID, "memory_type": "image", "backend": backend.value, "outcome": "read",
            "read_size": size, "sha256": sha256,
        }  # fmt: skip
        self.hashes.append(_keyed(ID) | values | more)
        return self

    def verified(
        self, backend: Backend, sha256: str = HASH, version: str = "e1", **more: Any
    ) -> "Sample":
        """A former run read the asset and it was what the ledger said."""
        values = {
            "memory_id": ID, "memory_type": "image", "backend": backend.value,
            "known_outcome": "read", "verified_sha256": sha256, "verified_version": version,
            "verified_at": VERIFIED,
        }  # fmt: skip
        self.remembered.append(_keyed(ID) | values | more)
        return self

    def cases(self, seen: View | None = None) -> Cases:
        extra = [
            ("malformed", pa.bool_()),
            ("location_problem", pa.string()),
            ("named", pa.string()),
            ("row_problem", pa.string()),
        ]
        ledger = pa.schema([*LEDGER, *extra])
        inventory = pa.schema(
            [*NEON_INVENTORY, ("pathname", pa.string()), ("url_problem", pa.string())]
        )
        return build(
            Partition(
                _frame(self.edges, ledger), _frame(self.rows, inventory),
                _frame(self.blobs, _BLOBS), _frame(self.replicas, ICP_INVENTORY),
                _frame(self.hashes, HASHES) if self.hashes else None,
                pd.DataFrame(self.remembered) if self.remembered else None,
            ),
            seen or view(),
        )  # fmt: skip

    def judged(self, seen: View | None = None) -> Judgement:
        seen = seen or view()
        return judge(self.cases(seen), seen)

    def kinds(self, seen: View | None = None) -> list[str]:
        """The findings as ``kind artifact@backend``, sorted."""
        found = self.judged(seen).findings
        return sorted(
            f"{kind} {artifact}@{backend}"
            for kind, artifact, backend in zip(
                found["kind"], found["artifact"], found["backend"], strict=True
            )
        )


def sound() -> Sample:
    """An image that is in all three stores, as the ledger says."""
    known = {"content_hash": HASH, "size_bytes": 10}
    location = f"icp://{CAPSULE}/{ID}"
    return (
        Sample().row().blob().replica()
        .edge("metadata", NEON)
        .edge("asset", BLOB, location=f"images/{ID}.jpg", **known)
        .edge("metadata", ICP, location=location)
        .edge("asset", ICP, location=location, **known)
    )  # fmt: skip


def without(sample: Sample, artifact: str, backend: Backend) -> Sample:
    """The sample without one edge."""
    sample.edges = [each for each in sample.edges
                    if (each["artifact"], each["backend"]) != (artifact, backend)]  # fmt: skip
    return sample


def changed(sample: Sample, artifact: str, backend: Backend, **values: Any) -> Sample:
    """The sample with one edge changed."""
    for each in sample.edges:
        if (each["artifact"], each["backend"]) == (artifact, backend):
            each.update(values)
    return sample


def _keyed(memory_id: str) -> dict[str, Any]:
    high, low = key_of_uuid(memory_id)
    return {"key_hi": high, "key_lo": low}


def _frame(rows: list[dict[str, Any]], schema: pa.Schema) -> pd.DataFrame:
    frame: pd.DataFrame = pa.Table.from_pylist(rows, schema).to_pandas()
    return frame
