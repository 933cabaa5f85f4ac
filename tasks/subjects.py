"""One memory as Neon has it: its row, its edges, what it is called. What copying begins with."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import sql

from checks.describe import plain_records
from checks.model import Artifact, Backend, MemoryType, SyncState
from checks.normal import BlobAddress, LocationProblem, is_uuid
from tasks.app_tables import AppTables, Table, find_app_tables
from tasks.claims import Claims, read_claims
from tasks.database import Connection, transaction
from tasks.queries import query
from tasks.snapshot import read_some
from tasks.stores.icp.written import UNKNOWN_TYPE, Described

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One edge; the names are the ledger's. ``touched_at``: when it was last written."""

    edge_id: str
    version: str
    present: bool
    location: str | None
    content_hash: str | None
    size_bytes: int | None
    sync_state: SyncState
    sync_error: str | None
    touched_at: datetime | None

    @property
    def settled(self) -> bool:
        """Whether it says that the artifact is there and nothing is under way or went wrong."""
        return self.present and self.sync_state is SyncState.IDLE and self.sync_error is None


@dataclass(frozen=True, slots=True)
class Subject:
    """A memory that is to be copied.

    Attributes:
        memory_id: in canonical form.
        memory_type: the ledger's word.
        edges: by artifact and backend.
        there: whether its row is there.
        pathname: of its file in the blob store, as its edge or else its url names it; None: none.
        text_size: bytes of a note's text, None of anything else.
        text_sha256: of a note's text.
        written_at: when the row was last written.
        described: what the canister is to be told of it, None where there is no row.
        claimed: whether a run that is at work copies it to the canister.
        abandoned: whether a run that died had begun to.
    """

    memory_id: str
    memory_type: str
    edges: Mapping[tuple[Artifact, Backend], EdgeRow]
    there: bool = False
    pathname: str | None = None
    text_size: int | None = None
    text_sha256: str | None = None
    written_at: datetime | None = None
    described: Described | None = None
    claimed: bool = False
    abandoned: bool = False

    @property
    def is_note(self) -> bool:
        """Whether its asset is a text in its row."""
        return self.memory_type == MemoryType.NOTE

    def edge(self, artifact: Artifact, backend: Backend) -> EdgeRow | None:
        """One edge, None where there is none."""
        return self.edges.get((artifact, backend))

    def recorded_hashes(self, *, without: Backend | None = None) -> set[str]:
        """The hashes that the ledger has of the asset, those of one backend's edge left out."""
        return {
            edge.content_hash
            for (artifact, backend), edge in self.edges.items()
            if artifact is Artifact.ASSET and backend is not without and edge.content_hash
        }

    def __str__(self) -> str:
        return f"{self.memory_type} {self.memory_id}"


def read_subjects(
    conn: Connection, pairs: Iterable[tuple[str, str]], address: BlobAddress | None
) -> list[Subject]:
    """The memories with these ids and types, in this order, as of one moment.

    Args:
        conn: a connection that is not in a transaction.
        pairs: of memory id (canonical) and memory type.
        address: which URLs are the blob store's own.
    """
    wanted = list(pairs)
    with transaction(conn, snapshot=True):
        tables = find_app_tables(conn)
        ledger, rows = read_some(conn, tables, wanted, hash_notes=True)
        described = _described(conn, tables, wanted)
        claims = read_claims(conn)
    edges: dict[tuple[str, str], dict[tuple[Artifact, Backend], EdgeRow]] = {}
    for row in plain_records(ledger.to_pandas()):
        key = (row["memory_id"].lower(), row["memory_type"])
        slot = (Artifact(row["artifact"]), Backend(row["backend"]))
        edges.setdefault(key, {})[slot] = _edge(row)
    found = {(r["memory_id"].lower(), r["memory_type"]): r for r in plain_records(rows.to_pandas())}
    return [
        _subject(key, edges.get(key, {}), found.get(key), described.get(key), claims, address)
        for key in wanted
    ]


def read_text(conn: Connection, memory_id: str) -> bytes | None:
    """A note's text in UTF-8, None where the note is gone."""
    with transaction(conn, snapshot=True):
        table = find_app_tables(conn).memories.get(MemoryType.NOTE)
        if table is None:
            return None
        statement = query(
            "queries/memories", "text", table=table.identifier,
            content=sql.Identifier(table.required_column("content")), **_chosen(table, [memory_id]),
        )  # fmt: skip
        row = conn.execute(statement).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def _edge(row: Mapping[str, Any]) -> EdgeRow:
    return EdgeRow(
        row["edge_id"], row["version"], bool(row["present"]), row["location"],
        row["content_hash"], None if row["size_bytes"] is None else int(row["size_bytes"]),
        _sync_state(row["sync_state"]), row["sync_error"], row["updated_at"] or row["created_at"],
    )  # fmt: skip


def _sync_state(text: str | None) -> SyncState:
    """The sync state; what is none of ours counts as a copy that failed."""
    return next((state for state in SyncState if state.value == text), SyncState.FAILED)


def _subject(
    key: tuple[str, str],
    edges: Mapping[tuple[Artifact, Backend], EdgeRow],
    row: Mapping[str, Any] | None,
    described: Described | None,
    claims: Claims,
    address: BlobAddress | None,
) -> Subject:
    edge = edges.get((Artifact.ASSET, Backend.BLOB))
    named = [_pathname(address, edge.location, bare=True)] if edge else []
    named += [_pathname(address, row["url"], bare=False)] if row else []
    claimed = (*key, Backend.ICP.value)
    size = row["content_size"] if row else None
    return Subject(
        *key, edges, there=row is not None,
        pathname=next((name for name in named if name), None),
        text_size=None if size is None else int(size),
        text_sha256=row["content_sha256"] if row else None,
        written_at=row["written_at"] if row else None, described=described,
        claimed=claimed in claims.alive, abandoned=claimed in claims.dead,
    )  # fmt: skip


def _pathname(address: BlobAddress | None, location: str | None, *, bare: bool) -> str | None:
    name = address.pathname(location, bare=bare) if address else None
    return None if isinstance(name, LocationProblem) else name


def _described(
    conn: Connection, tables: AppTables, wanted: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Described]:
    """What the memories' rows say of them, by id and type."""
    ids: dict[str, list[str]] = {}
    for memory_id, memory_type in wanted:
        ids.setdefault(memory_type, []).append(memory_id)
    found: dict[tuple[str, str], Described] = {}
    for memory_type, table in tables.memories.items():
        statement = query(
            "queries/memories", "described", table=table.identifier,
            title=table.text("m", "title"), description=_description(table),
            mime_type=table.text("m", "mime_type"), metadata=table.text("m", "metadata"),
            is_public=table.boolean("m", "is_public"), created_at=table.time("m", "created_at"),
            updated_at=table.time("m", "updated_at"),
            **_chosen(table, ids.get(memory_type.value, ())),
        )  # fmt: skip
        for memory_id, *values in conn.execute(statement).fetchall():
            key = (memory_id.lower(), memory_type.value)
            found[key] = _as_described(memory_type, values)
    return found


def _description(table: Table) -> sql.Composable:
    """What a row says of its memory at length: its description, else its caption."""
    parts = (table.text("m", "description"), table.text("m", "caption"))
    return sql.SQL("coalesce({}, {})").format(*parts)


def _chosen(table: Table, ids: Iterable[str]) -> dict[str, sql.Composable]:
    column = table.required_column("id")
    return {"id": sql.Identifier(column), "ids": table.keys_array(column, _usable(table, ids))}


def _usable(table: Table, ids: Iterable[str]) -> list[str]:
    return [each for each in ids if table.type_of("id") != "uuid" or is_uuid(each)]


def _as_described(memory_type: MemoryType, values: list[Any]) -> Described:
    title, description, mime_type, metadata, is_public, created_at, updated_at = values
    details = _details(metadata)
    tags = details.get("tags")
    is_note = memory_type is MemoryType.NOTE
    name = _text(details.get("originalName")) or title or memory_type.value
    mime = mime_type or _text(details.get("mimeType"))
    return Described(
        memory_type=memory_type.value,
        title=title,
        description=description,
        name=name,
        content_type="text/plain" if is_note else mime or UNKNOWN_TYPE,
        created_at=_nanoseconds(created_at),
        updated_at=_nanoseconds(updated_at),
        tags=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        is_public=bool(is_public),
    )


def _details(metadata: str | None) -> dict[str, Any]:
    """The metadata column, also where it was encoded twice; empty where it is no object."""
    try:
        value = json.loads(metadata or "{}")
        value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _nanoseconds(moment: datetime | None) -> int:
    """A time without a zone, in UTC, as the canister has it; never before 1970."""
    if moment is None:
        return 0
    return max(0, (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 1000)
