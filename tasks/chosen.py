"""What a verification is about: a gallery's memories in their order, or one memory by itself."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from checks.errors import SchemaError, UsageError
from checks.model import MemoryType
from checks.normal import is_uuid
from tasks.app_tables import AppTables, Table, find_app_tables, visible_table
from tasks.audit import AuditRun
from tasks.copy_out import copy_table
from tasks.database import Connection, transaction
from tasks.queries import query

_ITEMS = pa.schema(
    [("position", pa.int64()), ("memory_id", pa.string()), ("memory_type", pa.string())]
)
_FACTS = ("gallery_id", "found", "title", "owner_id", "storage_status")
_VIEW = "gallery_presence"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was asked about, as Neon has it.

    Attributes:
        gallery_id: None where one memory was asked about by itself.
        found: whether there is such a gallery; of a memory nothing is said here.
        title, owner_id: of the gallery, None where unknown.
        storage_status: what the ledger's view says of the gallery, None where there is no view.
        items: ``position``, ``memory_id``, ``memory_type``: every memory once, in the order.
    """

    gallery_id: str | None
    found: bool
    items: pa.Table
    title: str | None = None
    owner_id: str | None = None
    storage_status: str | None = None

    def facts(self) -> dict[str, Any]:
        """All but the items, as a stage keeps it."""
        return {name: getattr(self, name) for name in _FACTS}

    def pairs(self) -> list[tuple[str, str]]:
        """The memories as pairs of id (in canonical form, where it is a UUID) and type."""
        columns = (self.items[name].to_pylist() for name in ("memory_id", "memory_type"))
        return [
            (memory_id.lower() if is_uuid(memory_id) else memory_id, memory_type)
            for memory_id, memory_type in zip(*columns, strict=True)
        ]


def parse_memory(text: str) -> tuple[str, str]:
    """``TYPE:ID`` as the memory's id and type. Raises UsageError where it is no such thing."""
    memory_type, _, memory_id = text.partition(":")
    if memory_type not in set(MemoryType) or not memory_id:
        known = ", ".join(MemoryType)
        raise UsageError(
            f"{text!r} is no memory: write TYPE:ID, where TYPE is one of {known}. "
            "Example: image:3f2a0c1e-5b7d-4e8f-9a6b-1c2d3e4f5a6b"
        )
    return (memory_id.lower() if is_uuid(memory_id) else memory_id), memory_type


def one_memory(memory: str) -> Chosen:
    """One memory by itself, given as ``TYPE:ID``."""
    memory_id, memory_type = parse_memory(memory)
    row = {"position": 0, "memory_id": memory_id, "memory_type": memory_type}
    return Chosen(None, found=True, items=pa.Table.from_pylist([row], _ITEMS))


def gallery(conn: Connection, gallery_id: str) -> Chosen:
    """A gallery and its items as of one moment.

    Raises SchemaError where the database has no tables of galleries: then nothing can be said, not
    that there is no such gallery.
    """
    with transaction(conn, snapshot=True):
        tables = find_app_tables(conn)
        galleries, items = _gallery_tables(tables)
        if galleries.type_of("id") == "uuid" and not is_uuid(gallery_id):
            return Chosen(gallery_id, found=False, items=_ITEMS.empty_table())
        found = _gallery_row(conn, galleries, gallery_id)
        if found is None:
            return Chosen(gallery_id, found=False, items=_ITEMS.empty_table())
        name, title, owner = found
        return Chosen(
            name, found=True, items=_items(conn, items, gallery_id), title=title, owner_id=owner,
            storage_status=_storage_status(conn, name),
        )  # fmt: skip


def _gallery_tables(tables: AppTables) -> tuple[Table, Table]:
    """The tables of galleries and of their items. Raises SchemaError where one can't be read."""
    for table, name in ((tables.galleries, "galleries"), (tables.gallery_items, "gallery_items")):
        if table is None or not table.whole:
            raise SchemaError(
                f"The table {name} can't be read whole, so that nothing is known of any gallery. "
                "Check the search_path and the grants, or ask for one memory: --memory TYPE:ID."
            )
    assert tables.galleries is not None  # noqa: S101 - the loop has seen both
    assert tables.gallery_items is not None  # noqa: S101
    return tables.galleries, tables.gallery_items


def _gallery_row(
    conn: Connection, table: Table, gallery_id: str
) -> tuple[str, str | None, str | None] | None:
    id_column = table.required_column("id")
    row = conn.execute(
        query(
            "queries/chosen",
            "gallery",
            id=sql.Identifier(id_column),
            title=table.text("g", "title"),
            owner_id=table.text("g", "owner_id"),
            galleries=table.identifier,
            ids=table.keys_array(id_column, [gallery_id]),
        )
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def _items(conn: Connection, table: Table, gallery_id: str) -> pa.Table:
    """The gallery's items, each memory once, at its first place."""
    gallery_column = table.required_column("gallery_id")
    select = query(
        "queries/chosen", "items", position=table.integer("i", "position"),
        memory_id=sql.Identifier(table.required_column("memory_id")),
        memory_type=sql.Identifier(table.required_column("memory_type")),
        gallery_id=sql.Identifier(gallery_column), items=table.identifier,
        ids=table.keys_array(gallery_column, [gallery_id]),
    )  # fmt: skip
    items = copy_table(conn, select, _ITEMS)
    twice = items.select(["memory_id", "memory_type"]).to_pandas().duplicated().to_numpy()
    return items.filter(pa.array(~twice))


def _storage_status(conn: Connection, gallery_id: str) -> str | None:
    """What the view says; an app's own view of that name may lack the column."""
    view = visible_table(conn, _VIEW)
    if view is None or not view.readable or view.column("storage_status") is None:
        return None
    statement = query("queries/chosen", "storage_status", view=view.identifier)
    row = conn.execute(statement, {"gallery_id": gallery_id}).fetchone()
    return row[0] if row else None


def choose(run: AuditRun, gallery_id: str | None, memory: str | None) -> Chosen:
    """What is asked about, read once per run. Raises UsageError and SchemaError."""
    path = run.directory.path / "chosen.parquet"

    def work() -> dict[str, Any]:
        if gallery_id is None:
            chosen = one_memory(memory or "")
        else:
            with run.connect() as conn:
                chosen = gallery(conn, gallery_id)
        pq.write_table(chosen.items, path)
        return chosen.facts()

    facts = run.stage("choose", work)
    return Chosen(items=pq.read_table(path), **{name: facts[name] for name in _FACTS})
