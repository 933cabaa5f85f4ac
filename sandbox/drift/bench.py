"""Where memories are damaged: what may be taken, what was done, what an audit must say of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from sandbox.blob.storage import BlobStorage
from sandbox.content import Generated
from sandbox.dataset import DAY_MS, make_uuid, to_datetime
from sandbox.directory import SandboxDirectory
from sandbox.drift.findings import Edge, Finding, Needs
from sandbox.icp.storage import CanisterStorage, StoredAsset, StoredGallery, StoredMemory

_PICK = sql.SQL(
    "SELECT memory_id, memory_type, url, pathname, on_icp, capsule_id, original, size, hashed "
    "FROM candidate WHERE NOT is_picked AND {} ORDER BY rank LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A memory that ledger and stores agree about."""

    memory_id: str
    memory_type: str
    url: str | None
    pathname: str | None
    on_icp: bool
    capsule_id: str | None
    original: str | None
    size: int | None
    hashed: bool

    def edge(self, artifact: str, backend: str) -> Edge:
        """One of its edges."""
        return Edge(self.memory_id, self.memory_type, artifact, backend)

    @property
    def row(self) -> Edge:
        """The edge of its row."""
        return self.edge("metadata", "neon-db")

    @property
    def blob(self) -> Edge:
        """The edge of its file."""
        return self.edge("asset", "vercel-blob")

    @property
    def icp_row(self) -> Edge:
        """The edge of its metadata on the canister."""
        return self.edge("metadata", "icp-canister")

    @property
    def icp_asset(self) -> Edge:
        """The edge of its asset on the canister."""
        return self.edge("asset", "icp-canister")

    @property
    def asset(self) -> Edge:
        """The edge of its asset where it was first: a note's text, another memory's file."""
        return self.edge("asset", "neon-db") if self.memory_type == "note" else self.blob


@dataclass(slots=True)
class Bench:
    """One injection.

    Changes to Postgres are made at once, in a transaction that may yet be given up; changes to the
    stand-ins wait in ``later`` until all is known to be possible.
    """

    database: psycopg.Connection
    blob: BlobStorage
    canister: CanisterStorage
    rng: Random
    directory: SandboxDirectory
    later: list[Callable[[], object]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    settled_edges: set[Edge] = field(default_factory=set)
    settled_memories: set[str] = field(default_factory=set)
    galleries: set[str] = field(default_factory=set)

    def pick(self, where: LiteralString = "true") -> Candidate | None:
        """A memory that was not damaged yet and of which ``where`` is true, the same each time."""
        statement = _PICK.format(sql.SQL(where))
        with self.database.cursor(row_factory=class_row(Candidate)) as cursor:
            found = cursor.execute(statement).fetchone()
            if found is not None:
                taken = "UPDATE candidate SET is_picked = true WHERE memory_id = %s"
                cursor.execute(taken, (found.memory_id,))
        return found

    def pick_gallery(self) -> StoredGallery | None:
        """A gallery of the canister that was not damaged yet and has items to differ in."""
        galleries = [
            each for each in self.canister.galleries()
            if each.id not in self.galleries and len(each.items) > 1
        ]  # fmt: skip
        found = min(galleries, key=lambda each: each.id, default=None)
        if found is not None:
            self.galleries.add(found.id)
        return found

    def sql(self, statement: LiteralString | sql.Composed, *values: object) -> int:
        """Run a statement; says how many rows it changed."""
        return self.database.execute(statement, values).rowcount

    def update_edge(self, edge: Edge, assignments: LiteralString, *values: object) -> None:
        """Change one edge, its ``updated_at`` left as it is unless assigned."""
        statement = sql.SQL("UPDATE storage_edges SET {} WHERE {}").format(
            sql.SQL(assignments), _THIS_EDGE
        )
        self.sql(statement, *values, *_key(edge))

    def delete_edge(self, edge: Edge) -> None:
        """Delete one edge."""
        self.sql(sql.SQL("DELETE FROM storage_edges WHERE {}").format(_THIS_EDGE), *_key(edge))

    def insert_edge(
        self,
        edge: Edge,
        at: datetime,
        *,
        present: bool = True,
        location: str | None = None,
        sync_state: str = "idle",
        sync_error: str | None = None,
    ) -> None:
        """Add an edge as it was written at this time."""
        self.sql(
            "INSERT INTO storage_edges (id, memory_id, memory_type, artifact, backend, present, "
            "location, sync_state, sync_error, last_synced_at, created_at, updated_at) "
            "VALUES (%s, %s, %s::memory_type_t, %s::artifact_t, %s::backend_t, %s, %s, %s::sync_t, "
            "%s, %s, %s, %s)",
            make_uuid(self.rng), *_key(edge), present, location, sync_state, sync_error, at, at, at,
        )  # fmt: skip

    def report(self, kind: str, edge: Edge, needs: Needs = "listing") -> None:
        """An audit must find this of the edge, and nothing else."""
        key = (edge.memory_id, edge.memory_type, edge.artifact, edge.backend)
        self.findings.append(Finding(kind, *key, needs=needs))
        self.settled_edges.add(edge)

    def report_asset(self, kind: str, memory: Candidate, needs: Needs = "listing") -> None:
        """An audit must find this of the memory's asset as a whole."""
        finding = Finding(kind, memory.memory_id, memory.memory_type, "asset", needs=needs)
        self.findings.append(finding)
        self.settled_edges.add(memory.asset)

    def report_memory(self, finding: Finding) -> None:
        """An audit must find this of the memory, and nothing else."""
        self.findings.append(finding)
        if finding.memory_id is not None:
            self.settled_memories.add(finding.memory_id)

    def edit_original(
        self, memory: Candidate, edit: Callable[[StoredAsset], StoredAsset], *, alone: bool = False
    ) -> None:
        """Change the original asset on the canister; ``alone``: drop those derived from it."""
        stored = self.stored_memory(memory)
        assets = tuple(
            edit(asset) if asset.asset_type == "Original" else asset
            for asset in stored.assets
            if asset.asset_type == "Original" or not alone
        )
        self.later.append(lambda: self.canister.replace_memory(replace(stored, assets=assets)))

    def stored_memory(self, memory: Candidate) -> StoredMemory:
        """The memory as the canister has it.

        Raises LookupError where it has none: the candidate was taken for one that it has.
        """
        stored = self.canister.memory(memory.memory_id)
        if stored is None:
            raise LookupError(memory.memory_id)
        return stored

    def flipped(self, body: Generated) -> Generated:
        """The body with one bit turned over, anywhere."""
        return replace(body, flips=(self.rng.randrange(body.length * 8),))

    def days_ago(self, days: float) -> datetime:
        """A time in UTC without a zone, to the millisecond, as the app's columns have it."""
        return to_datetime(self.ms_ago(days))

    def ms_ago(self, days: float) -> int:
        """A time in milliseconds since 1970."""
        return int(time.time() * 1000 - days * DAY_MS)


_THIS_EDGE = sql.SQL(
    "memory_id = %s AND memory_type = %s::memory_type_t AND artifact = %s::artifact_t "
    "AND backend = %s::backend_t"
)


def _key(edge: Edge) -> tuple[str, str, str, str]:
    return edge.memory_id, edge.memory_type, edge.artifact, edge.backend
