"""Where a gallery's or a memory's artifacts are, as the ledger says: what the web app asks for.

Every answer is one statement, proportional to what was asked about and not to the ledger. The views
of the schema are read where they are ours; where a database has something else under their names,
or nothing yet, the same query is run without them.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from checks.errors import NotFoundError, SchemaError, StoreError
from checks.model import Backend, MemoryType, SyncState
from tasks.app_tables import AppTables, find_app_tables, visible_table
from tasks.database import Connection, explained, translated
from tasks.queries import query
from tasks.schema_views import view_body

AsyncConn: TypeAlias = AsyncConnection[DictRow]

#: After which a question is given up: the app's page would not wait for longer.
SECONDS = 10.0
#: The column by which each of our views is told from an older one of the same name.
_OURS = {"memory_presence": "asset_neon", "gallery_presence": "storage_status",
         "sync_status": "is_stuck"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sources:
    """What the questions are put to, looked up once.

    Attributes:
        tables: the app's tables and the ledger.
        memory: where ``memory_presence`` can be read.
        gallery: the same for ``gallery_presence``; None where there is no table of gallery items.
        syncs: the same for ``sync_status``.
    """

    tables: AppTables
    memory: sql.Composable
    gallery: sql.Composable | None
    syncs: sql.Composable

    def same_memory(self, memory_id: str) -> sql.Composable:
        """An id as the ledger's column holds it."""
        return self.tables.ledger().keys_array("memory_id", [memory_id])


def find_sources(conn: Connection) -> Sources:
    """Looks up tables and views. Raises SchemaError where there is no ledger."""
    with translated():
        tables = find_app_tables(conn)
        tables.ledger()
        found = {name: _readable(conn, name, tables) for name in _OURS}
    memory, gallery, syncs = found.values()
    assert memory is not None  # noqa: S101 - only gallery_presence rests on a table of the app's
    assert syncs is not None  # noqa: S101
    return Sources(tables, memory, gallery, syncs)


def _readable(conn: Connection, name: str, tables: AppTables) -> sql.Composable | None:
    """The view, or its query in parentheses where the view is not ours."""
    view = visible_table(conn, name)
    if view is not None and view.kind == "v" and view.readable and _OURS[name] in view.columns:
        return view.identifier
    body = view_body(name, tables)
    return None if body is None else sql.SQL("({})").format(body)


async def gallery_presence(conn: AsyncConn, sources: Sources, gallery_id: str) -> DictRow:
    """The row of ``gallery_presence``; of a gallery without items one that counts none.

    Raises NotFoundError where there is no such gallery, SchemaError where there are no galleries.
    """
    items, galleries = sources.tables.gallery_items, sources.tables.galleries
    if items is None or sources.gallery is None:
        raise SchemaError("There is no table gallery_items in the search_path: no gallery is known")
    ids = items.keys_array(items.required_column("gallery_id"), [gallery_id])
    statement = query("queries/presence", "gallery", presence=sources.gallery, ids=ids)
    found = await _one(conn, statement)
    if found is not None:
        return found
    if galleries is None:
        raise SchemaError("There is no table galleries in the search_path: an empty gallery can't "
                          "be told from none")  # fmt: skip
    column = galleries.required_column("id")
    exists = query(
        "queries/presence", "exists", table=galleries.identifier, id=sql.Identifier(column),
        ids=galleries.keys_array(column, [gallery_id]),
    )  # fmt: skip
    if not await _truth(conn, exists):
        raise NotFoundError(f"There is no gallery {gallery_id}.")
    flags = ("icp_complete", "icp_any", "standard_complete", "has_walrus", "has_arweave")
    # Nothing is stored of an empty gallery, so that no status that praises it would be true.
    return {
        "gallery_id": gallery_id, "total_memories": 0, "icp_complete_memories": 0,
        **dict.fromkeys(flags, False), "storage_status": "incomplete", "placement": None,
    }  # fmt: skip


async def memory_presence(
    conn: AsyncConn, sources: Sources, memory_type: MemoryType, memory_id: str
) -> DictRow:
    """The row of ``memory_presence``; of a memory that nothing tracks one that is nowhere.

    Raises NotFoundError where neither app nor ledger knows the memory, StoreError where the app's
    table can't be seen and so nobody can say.
    """
    ids = sources.same_memory(memory_id)
    statement = query("queries/presence", "memory", presence=sources.memory, ids=ids)
    found = await _one(conn, statement, {"memory_type": memory_type.value})
    if found is not None:
        return found
    if not await has_row(conn, sources, memory_type, memory_id):
        raise NotFoundError(f"There is no {memory_type.value} {memory_id}.")
    flags = ("meta_neon", "asset_blob", "meta_icp", "asset_icp", "asset_walrus", "asset_arweave",
             "asset_neon")  # fmt: skip
    nowhere = dict.fromkeys(flags, False)
    return {"memory_id": memory_id, "memory_type": memory_type.value, **nowhere, "placement": None}


async def syncs(
    conn: AsyncConn,
    sources: Sources,
    *,
    sync_state: SyncState | None = None,
    backend: Backend | None = None,
    memory_type: MemoryType | None = None,
    stuck: bool | None = None,
    after: Sequence[str] | None = None,
    limit: int = 100,
) -> list[DictRow]:
    """What is being copied or has failed: rows of ``sync_status`` after a key, in its order."""
    statement = query("queries/presence", "syncs", presence=sources.syncs)
    parameters = {
        "sync_state": sync_state, "backend": backend, "memory_type": memory_type, "stuck": stuck,
        "after": list(after) if after else None, "limit": limit,
    }  # fmt: skip
    return await _rows(conn, statement, parameters)


async def edges(
    conn: AsyncConn,
    sources: Sources,
    *,
    memory_id: str | None = None,
    after: str | None = None,
    limit: int = 100,
    **equal: Any,
) -> list[DictRow]:
    """Rows of the ledger after an id, in the order of ids.

    Args:
        conn: a connection.
        sources: what to ask.
        memory_id: of this memory alone.
        after: the last id of the page before.
        limit: at most so many.
        equal: ``memory_type``, ``artifact``, ``backend``, ``present``, ``sync_state``.
    """
    ledger = sources.tables.ledger()
    memory: sql.Composable = sql.SQL("true")
    if memory_id is not None:
        memory = sql.SQL("e.memory_id = ANY({})").format(sources.same_memory(memory_id))
    statement = query(
        "queries/presence", "edges", edges=ledger.identifier, memory=memory,
        id_type=sql.SQL(ledger.columns["id"]),
    )  # fmt: skip
    names = ("memory_type", "artifact", "backend", "present", "sync_state")
    filters = {name: equal.get(name) for name in names}
    return await _rows(conn, statement, filters | {"after": after, "limit": limit})


async def has_row(
    conn: AsyncConn, sources: Sources, memory_type: MemoryType, memory_id: str
) -> bool:
    """Whether the app has this memory. Raises StoreError where its table can't be seen."""
    table = sources.tables.memories.get(memory_type)
    if table is None:
        reason = sources.tables.unseen.get(memory_type, "its table can't be seen")
        raise StoreError(f"Whether there is a {memory_type.value} {memory_id} is unknown: {reason}")
    column = table.required_column("id")
    statement = query(
        "queries/presence", "exists", table=table.identifier, id=sql.Identifier(column),
        ids=table.keys_array(column, [memory_id]),
    )  # fmt: skip
    return await _truth(conn, statement)


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    """Gives a question up after ``SECONDS``, and turns Postgres' errors into ours."""
    try:
        async with asyncio.timeout(SECONDS):
            yield
    except TimeoutError:
        raise StoreError(f"The database did not answer within {SECONDS:.0f} s.") from None
    except psycopg.Error as error:
        raise explained(error) from error


async def _rows(
    conn: AsyncConn, statement: sql.Composed, parameters: dict[str, Any] | None = None
) -> list[DictRow]:
    async with in_time():
        return await (await conn.execute(statement, parameters)).fetchall()


async def _one(
    conn: AsyncConn, statement: sql.Composed, parameters: dict[str, Any] | None = None
) -> DictRow | None:
    return next(iter(await _rows(conn, statement, parameters)), None)


async def _truth(
    conn: AsyncConn, statement: sql.Composed, parameters: dict[str, Any] | None = None
) -> bool:
    """The one boolean that a statement gives."""
    row = await _one(conn, statement, parameters)
    return bool(row and next(iter(row.values())))
