# ruff: noqa: S608 - the names of tables are put together, and all of them are ours
"""What is so: all three stores read behind everybody's back, and what must be said of that.

The rules are those of the design, written a second time and in another way than in the program:
memory by memory, for what the living app and its accidents can bring about.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import unquote

from damaged_sandbox import BLOB, ICP, NEON
from living_app import World

from sandbox.content import parse
from sandbox.icp.records import from_document

META, ASSET = "metadata", "asset"
#: Kind, memory, artifact, backend, location; what the kind's grain does not use is None.
Key = tuple[str, str | None, str | None, str | None, str | None]
#: What is said of an asset's bytes, edge by edge and as a whole.
CONTENTS = frozenset({
    "stale_hash", "size_mismatch", "hash_mismatch", "hash_unknown", "stale_failure", "unverifiable",
})  # fmt: skip
DIVERGING = frozenset({"replica_divergence", "outdated_replica"})
#: What else may be said of the same memory, where it says more than the kind expected.
GRAVER: Mapping[str, frozenset[str]] = {
    "missing": frozenset({"moved", "location_conflict"}),
    "lost": frozenset({"moved"}),
    "orphaned": frozenset({"moved"}),
    "unclassified": frozenset({"moved"}),
    "location_conflict": CONTENTS | DIVERGING,
    "replica_divergence": CONTENTS | DIVERGING | {"location_conflict"},
    **dict.fromkeys(CONTENTS, DIVERGING | {"location_conflict"}),
    "unmarked": frozenset({"location_conflict", "outdated_replica"}),
    **dict.fromkeys(("untracked", "sync_failed", "stuck"), frozenset({"location_conflict"})),
}
_KIND = {"Image": "image", "Note": "note", "Document": "document", "Audio": "audio",
         "Video": "video"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edge:
    kind: str
    present: bool
    location: str | None
    sha256: str | None
    size: int | None
    state: str
    error: str | None
    version: str
    touched: datetime


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    pathname: str | None
    thumbnail: str | None
    size: int | None
    sha256: str | None
    version: str
    created: datetime
    written: datetime


@dataclass(frozen=True, slots=True)
class File:
    size: int
    body: str
    etag: str
    written: datetime


@dataclass(frozen=True, slots=True)
class Copy:
    kind: str
    location: str
    size: int
    body: str
    written: datetime


@dataclass(frozen=True, slots=True)
class View:
    """How an audit looks: the moments that ages are measured from, and whether it reads bytes."""

    grace_after: datetime | None
    stuck_before: datetime
    reads: bool


@dataclass(slots=True)
class Truth:
    """All three stores at one moment; ``number``: of the last write that the witness noted."""

    edges: dict[str, dict[tuple[str, str], Edge]]
    rows: dict[str, Row]
    files: dict[str, File]
    copies: dict[str, Copy]
    pictures: frozenset[str]
    number: int

    def memories(self) -> set[str]:
        return {*self.edges, *self.rows, *self.copies}

    def pathname(self, memory: str) -> str | None:
        """The file that should be the memory's: the edge's, else the row's."""
        edge = self.edges.get(memory, {}).get((ASSET, BLOB))
        row = self.rows.get(memory)
        return (edge and edge.location) or (row and row.pathname) or None

    def object(self, memory: str, place: tuple[str, str]) -> Row | File | Copy | None:
        """What a store holds of the memory in one of its six places."""
        artifact, backend = place
        row = self.rows.get(memory)
        if backend == NEON:
            return row if artifact == META or (row and row.size is not None) else None
        if backend == ICP:
            return self.copies.get(memory)
        return self.files.get(self.pathname(memory) or "") if artifact == ASSET else None

    def around(self, memory: str) -> tuple[Any, ...]:
        """All that any store or the ledger has of a memory, to see whether it stood still."""
        row, edges = self.rows.get(memory), self.edges.get(memory, {})
        names = {row.pathname if row else None, *(e.location for e in edges.values())}
        files = {name: self.files.get(name) for name in names if name}
        return row, edges, self.copies.get(memory), files

    def about(self, key: Key) -> tuple[Any, ...]:
        """All that a finding rests on."""
        kind, memory, artifact, backend, location = key
        if memory is None:
            return (self.files.get(location or ""),)
        if artifact is None or backend is None or kind == "dangling_edge":
            return self.around(memory)
        place = (artifact, backend)
        edge = self.edges.get(memory, {}).get(place)
        return self.rows.get(memory), edge, self.object(memory, place)


PLACES = [(artifact, backend) for artifact in (META, ASSET) for backend in (NEON, BLOB, ICP)]


def read_truth(world: World) -> Truth:
    """What is so now."""
    edges: dict[str, dict[tuple[str, str], Edge]] = {}
    for memory, kind, artifact, backend, *facts, touched in world.sql(
        "SELECT memory_id::text, memory_type::text, artifact::text, backend::text, present, "
        "location, content_hash, size_bytes, sync_state::text, sync_error, xmin::text, "
        "coalesce(updated_at, created_at) FROM storage_edges"
    ):
        at = touched.replace(tzinfo=UTC)
        edges.setdefault(memory, {})[artifact, backend] = Edge(kind, *facts, at)
    rows = {memory: _row(world, *facts) for memory, *facts in world.sql(_rows(world))}
    files = {
        name: File(size, body, etag, datetime.fromtimestamp(at / 1000, UTC))
        for name, size, body, etag, at in world.blobs.execute(
            "SELECT pathname, size, body, etag, uploaded_at FROM object"
        )
    }
    ((number,),) = world.sql("SELECT coalesce(max(number), 0) FROM witness")
    return Truth(edges, rows, files, dict(_copies(world)), pictures(world), number)


def _rows(world: World) -> str:
    selects = []
    for kind, table in world.tables.memories.items():
        note = "octet_length(content), encode(sha256(convert_to(content, 'UTF8')), 'hex')"
        facts = f"NULL::text, NULL::text, {note}"
        if kind != "note":
            facts = "url, metadata ->> 'thumbnail', NULL::int, NULL::text"
        selects.append(
            f"SELECT id::text, '{kind}', {facts}, xmin::text, created_at, updated_at FROM {table}"
        )
    return " UNION ALL ".join(selects)


def _row(world: World, kind: str, url: str | None, thumbnail: str | None, *facts: Any) -> Row:
    *facts, created, updated = facts
    times = (each.replace(tzinfo=UTC) for each in (created, updated))
    return Row(kind, _named(world, url), _named(world, thumbnail), *facts, *times)


def _named(world: World, url: str | None) -> str | None:
    return unquote(url.removeprefix(f"{world.box.directory.blob_origin}/")) if url else None


def _copies(world: World) -> Iterator[tuple[str, Copy]]:
    bodies = dict(world.copies.execute("SELECT locator, body FROM blob"))
    for name, capsule, document in world.copies.execute(
        "SELECT id, capsule_id, document FROM memory"
    ):
        yield name, _copy(name, capsule, document, bodies)


_read: dict[tuple[str, str], Copy] = {}


def _copy(name: str, capsule: str, document: str, bodies: dict[str, str]) -> Copy:
    """A copy, whose document is read once: its blobs are written before it and never again."""
    if (name, document) not in _read:
        memory = from_document(name, capsule, document, bodies)
        (original,) = (each for each in memory.assets if each.asset_type == "Original")
        _read[name, document] = Copy(
            _KIND[memory.memory_type], f"icp://{capsule}/{name}", original.bytes,
            original.body or "", datetime.fromtimestamp(memory.updated_at / 10**9, UTC),
        )  # fmt: skip
    return _read[name, document]


@cache
def pictures(world: World) -> frozenset[str]:
    """The files that users have as their picture; the app leaves these alone."""
    named = world.sql(f"SELECT image FROM {world.tables.users} WHERE image IS NOT NULL")
    return frozenset(_named(world, url) or "" for (url,) in named)


def hash_of(body: str) -> str:
    """The SHA-256 of a stored body."""
    return body.removeprefix("raw:") if body.startswith("raw:") else _computed(body)


@cache
def _computed(body: str) -> str:
    return parse(body).sha256()


class Judge:
    """What an audit must say of a truth, where it looks in this way."""

    def __init__(self, world: World, view: View) -> None:
        self.world = world
        self.view = view

    def findings(self, truth: Truth) -> set[Key]:
        found = {key for memory in truth.memories() for key in self._of(truth, memory)}
        return found | set(self._orphans(truth))

    def _of(self, truth: Truth, memory: str) -> Iterator[Key]:
        edges, row = truth.edges.get(memory, {}), truth.rows.get(memory)
        if row is not None:
            for place in PLACES:
                kind = self._kind(truth, memory, place)
                if kind:
                    yield kind, memory, *place, None
            if self._is_lost(truth, memory):
                yield "lost", memory, None, None, None
            if self._is_conflict(truth, memory):
                yield "location_conflict", memory, None, None, None
            if len({edge.sha256 for edge, _ in self._claimed(truth, memory)} - {None}) > 1:
                yield "replica_divergence", memory, None, None, None
            return
        if any(self._is_young_copy(edge) for edge in edges.values()):
            return
        held = {place for place in PLACES if truth.object(memory, place)}
        if edges and not held:
            for place in edges:
                yield "dangling_edge", memory, *place, None
            return
        yield from self._rowless(truth, memory, held)

    def _rowless(self, truth: Truth, memory: str, held: set[tuple[str, str]]) -> Iterator[Key]:
        """A memory without a row of which something is left."""
        edges = truth.edges.get(memory, {})
        neon = [edge.present for (_, backend), edge in edges.items() if backend == NEON]
        if all(backend == ICP for _, backend in edges):
            if any(place not in edges for place in held):
                yield "icp_only", memory, None, None, None
                return
            for place in edges:
                kind = self._kind(truth, memory, place)
                if kind:
                    yield kind, memory, *place, None
        elif (
            not neon
            or any(neon)
            or any(edge.present and place not in held for place, edge in edges.items())
        ):
            yield "deleted_memory", memory, None, None, None
        elif memory in truth.copies and not self._is_young(truth.copies[memory].written):
            yield "orphaned", memory, None, ICP, None

    def _kind(self, truth: Truth, memory: str, place: tuple[str, str]) -> str | None:
        edge, held = truth.edges.get(memory, {}).get(place), truth.object(memory, place)
        row = truth.rows.get(memory)
        young = self._is_young(held.written if held else None)
        young = young or self._is_young(row.created if row else None)
        if edge is None:
            return "untracked" if held and not young else None
        moved = place == (ASSET, BLOB) and held is None and self._is_conflict(truth, memory)
        if moved or self._is_young_copy(edge):
            return None  # the row's url has it, which is another finding; or it is on its way
        if edge.state == "migrating":
            return "missing" if edge.present and held is None else "stuck"
        if held is None:
            if edge.present:
                return "missing"
            return "sync_failed" if edge.state == "failed" else None
        kind = None
        if not edge.present:
            kind = "unmarked"
        elif edge.state == "failed" or edge.error is not None:
            kind = "stale_failure"
        kind = self._compared(edge, held, kind) if place[0] == ASSET else kind
        return None if kind == "unmarked" and young else kind

    def _compared(self, edge: Edge, held: Row | File | Copy, kind: str | None) -> str | None:
        size = None not in (edge.size, held.size) and edge.size != held.size
        differs = edge.sha256 is not None and edge.sha256 != _hash(held)
        if size or (self.view.reads and differs):
            if held.written > edge.touched:
                return "stale_hash"
            return "size_mismatch" if size else "hash_mismatch"
        return kind or (None if edge.sha256 else "hash_unknown")

    def may_say(self, truth: Truth, key: Key) -> bool:
        """Whether a finding is so that ``findings`` does not ask for.

        What exactly is said of bytes that are not as they should be depends on what was read, and
        when; that it is said of what is all right is false.
        """
        kind, memory, artifact, backend, location = key
        if kind == "duplicate_content":
            wanted = (location or "").removeprefix("sha256:")
            held = [
                m
                for m, edges in truth.edges.items()
                if any(e.sha256 == wanted for e in edges.values())
            ]
            return len(held) > 1
        if memory is None:
            return False
        if kind == "moved":
            missed = truth.edges.get(memory, {}).get((ASSET, BLOB))
            gone = missed is not None and missed.location not in truth.files
            return gone and any(
                hash_of(file.body) == missed.sha256 for file in truth.files.values()
            )
        if kind in DIVERGING:
            return self.is_doubtful(truth, memory)
        if kind not in CONTENTS or artifact != ASSET:
            return False
        edge = truth.edges.get(memory, {}).get((ASSET, backend or ""))
        held = truth.object(memory, (ASSET, backend or ""))
        return edge is not None and held is not None and self._is_amiss(edge, held)

    def is_doubtful(self, truth: Truth, memory: str) -> bool:
        """Whether the memory's asset is not the same everywhere, by the ledger or by its bytes."""
        claimed = list(self._claimed(truth, memory, present=None))
        hashes = {edge.sha256 for edge, _ in claimed} - {None}
        return len(hashes | {_hash(held) for _, held in claimed}) > 1

    @staticmethod
    def _is_amiss(edge: Edge, held: Row | File | Copy) -> bool:
        fails = edge.state == "failed" or edge.error is not None
        differs = edge.sha256 != _hash(held) or edge.size not in (None, held.size)
        return fails or differs

    def _claimed(
        self, truth: Truth, memory: str, *, present: bool | None = True
    ) -> Iterator[tuple[Edge, Row | File | Copy]]:
        """The asset's edges whose object is there, and that: those that say so, or all."""
        for backend in (NEON, BLOB, ICP):
            edge = truth.edges.get(memory, {}).get((ASSET, backend))
            held = truth.object(memory, (ASSET, backend))
            if edge and held and edge.state != "migrating" and present in (None, edge.present):
                yield edge, held

    def _is_conflict(self, truth: Truth, memory: str) -> bool:
        """Whether edge and row name different files, one of which is there."""
        edge, row = truth.edges.get(memory, {}).get((ASSET, BLOB)), truth.rows.get(memory)
        if edge is None or row is None or self._is_young_copy(edge):
            return False
        names = {edge.location, row.pathname}
        return None not in names and len(names) > 1 and bool(names & truth.files.keys())

    def _is_lost(self, truth: Truth, memory: str) -> bool:
        row, edges = truth.rows[memory], truth.edges.get(memory, {})
        assets = {place: edge for place, edge in edges.items() if place[0] == ASSET}
        if not assets and not row.pathname:
            return False
        places = [truth.object(memory, (ASSET, backend)) for backend in (NEON, BLOB, ICP)]
        held = any(places) or (row.pathname or "") in truth.files
        return not held and not any(self._is_young_copy(edge) for edge in assets.values())

    def _orphans(self, truth: Truth) -> Iterator[Key]:
        named = set(truth.pictures)
        for row in truth.rows.values():
            named |= {row.pathname, row.thumbnail} - {None}
        for memory, edges in truth.edges.items():
            neon = [edge.present for (_, backend), edge in edges.items() if backend == NEON]
            if memory not in truth.rows and neon and not any(neon):
                continue  # what the ledger knows to be deleted refers to nothing
            named |= {
                e.location for (_, backend), e in edges.items() if backend == BLOB and e.location
            }
        folders = {name.partition("/")[0] for name in named & truth.files.keys()}
        for name, file in truth.files.items():
            if name not in named and not self._is_young(file.written):
                beside = name.partition("/")[0] in folders
                yield "orphaned" if beside else "unclassified", None, None, BLOB, name

    def _is_young(self, at: datetime | None) -> bool:
        return at is not None and self.view.grace_after is not None and at > self.view.grace_after

    def _is_young_copy(self, edge: Edge) -> bool:
        return edge.state == "migrating" and edge.touched >= self.view.stuck_before


def view_of(at: datetime, *, grace: int, stuck: int, reads: bool) -> View:
    """How an audit looks whose snapshot was taken at this moment; both in minutes."""
    return View(
        at - timedelta(minutes=grace) if grace else None, at - timedelta(minutes=stuck), reads
    )


def key_of(finding: Mapping[str, Any]) -> Key:
    """A finding's key, what its kind's grain does not use left out."""
    kind, memory = finding["kind"], finding["memory_id"]
    if kind == "orphaned" and finding["backend"] == ICP:
        return kind, finding["location"].rpartition("/")[2], None, ICP, None
    if kind in ("orphaned", "unclassified"):
        return kind, None, None, finding["backend"], finding["location"]
    if kind in ("lost", "deleted_memory", "icp_only", "location_conflict", "replica_divergence"):
        return kind, memory, None, None, None
    if kind == "duplicate_content":
        return kind, None, None, None, finding["location"]
    return kind, memory, finding["artifact"], finding["backend"], None


def sibling(key: Key) -> Key:
    """Another kind that says the same of the same thing.

    An object nobody refers to is of one kind or the other by what else lies in its folder. A copy
    that a deleted memory left is an orphan or is part of the memory's finding by whether the ledger
    still claims something else that is gone.
    """
    kind, memory, _, backend, _ = key
    if kind == "deleted_memory":
        return "orphaned", memory, None, ICP, None
    if kind == "orphaned" and backend == ICP:
        return "deleted_memory", memory, None, None, None
    other = {"orphaned": "unclassified", "unclassified": "orphaned"}
    return other.get(kind, kind), *key[1:]


def rests_on(key: Key) -> set[str]:
    """The stores that have to be seen whole for a finding to be made."""
    kind, *_, backend, _ = key
    everywhere = backend is None or kind in ("dangling_edge", "orphaned", "unclassified")
    return {NEON, BLOB, ICP} if everywhere else {backend or ""}


def is_found(key: Key, found: set[Key]) -> bool:
    """Whether a finding was made, or one that says more of the same thing."""
    kind, memory, *_ = key
    if key in found or sibling(key) in found:
        return True
    if memory is None:
        return any(other[0] in GRAVER.get(kind, ()) for other in found)
    return is_graver_said(key, found)


def is_graver_said(key: Key, found: set[Key]) -> bool:
    """Whether something is said of the same memory that says more than the finding."""
    more = {other[0] for other in found if other[1] == key[1]}
    return bool(more & GRAVER.get(key[0], frozenset()))


def has_ground(
    edge: tuple[str, str, str],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    truth: Truth,
) -> bool:
    """Whether what a repair made of an edge (both as rows, None: no row) was so."""
    memory, artifact, backend = edge
    if after is None:
        return not any(truth.object(memory, each) for each in PLACES)
    before = before or {"present": False, "content_hash": None, "size_bytes": None}
    held = truth.object(memory, (artifact, backend))
    if backend == BLOB and after["location"] is not None:
        held = truth.files.get(after["location"])
    if after["present"] != before["present"] and after["present"] != (held is not None):
        return False
    hashed, sized = after["content_hash"], after["size_bytes"]
    if hashed not in (None, before["content_hash"]) and (held is None or _hash(held) != hashed):
        return False
    return sized in (None, before["size_bytes"]) or (held is not None and held.size == sized)


def _hash(held: Row | File | Copy) -> str | None:
    return held.sha256 if isinstance(held, Row) else hash_of(held.body)
