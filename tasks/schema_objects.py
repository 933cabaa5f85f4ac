"""What the schema consists of, object by object: how each is found, compared and made.

An object is *present*, *missing* or *different*. Where it is not present its statement says what
brings it to the target; ``safe`` tells whether ``schema apply`` runs that itself or leaves it to a
person.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from checks.model import Artifact, Backend, MemoryType, SyncState
from tasks.app_tables import EDGE_TABLE, AppTables, Table, visible_table
from tasks.database import Connection
from tasks.queries import query


class ObjectState(StrEnum):
    """How an object of the database stands to what it should be."""

    PRESENT = "present"
    MISSING = "missing"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class ObjectStatus:
    """One object of the schema as it was found.

    Attributes:
        name: its name.
        kind: ``enum``, ``table``, ``index``, ``function``, ``trigger``, ``view``,
            ``materialized view`` or ``schema``.
        state: present, missing or different.
        detail: what differs, or what it waits for; None where there is nothing to say.
        statement: the SQL that brings it to the target; None where there is nothing to do.
        safe: whether ``schema apply`` may run the statement.
        concurrent: whether the statement must run outside a transaction.
    """

    name: str
    kind: str
    state: ObjectState
    detail: str | None = None
    statement: str | None = None
    safe: bool = True
    concurrent: bool = False


@dataclass(frozen=True, slots=True)
class SchemaObject:
    """An object that is to exist, and how to find out how it stands."""

    name: str
    kind: str
    inspect: Callable[[Connection, AppTables], ObjectStatus]


ENUMS = {
    "artifact_t": tuple(Artifact),
    "backend_t": tuple(Backend),
    "memory_type_t": tuple(MemoryType),
    "sync_t": tuple(SyncState),
}
#: The ledger's columns and their types; any of the others is worked with but said.
COLUMNS = {
    "id": "uuid",
    "memory_id": "uuid",
    "memory_type": "memory_type_t",
    "artifact": "artifact_t",
    "backend": "backend_t",
    "present": "boolean",
    "location": "text",
    "content_hash": "text",
    "size_bytes": "bigint",
    "sync_state": "sync_t",
    "last_synced_at": "timestamp without time zone",
    "sync_error": "text",
    "created_at": "timestamp without time zone",
    "updated_at": "timestamp without time zone",
}
INDEXES = {
    "uq_edge": ("memory_id", "memory_type", "artifact", "backend"),
    "ix_edges_memory": ("memory_id", "memory_type"),
    "ix_edges_backend_present": ("backend", "artifact", "present"),
    "ix_edges_sync_state": ("sync_state",),
}
_BEFORE_UPDATE_FOR_EACH_ROW = 1 | 2 | 16


def rows(conn: Connection, statement: str, /, **parameters: Any) -> list[dict[str, Any]]:
    """The rows of one statement of ``sql/schema/inspect.sql``."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("schema/inspect", statement), parameters).fetchall()


def rendered(conn: Connection, statement: sql.Composable) -> str:
    """A statement as a person can run it."""
    return statement.as_string(conn) + ";"


def waits_for(name: str, kind: str, what: str) -> ObjectStatus:
    """An object that can't be made before another one is there."""
    return ObjectStatus(name, kind, ObjectState.MISSING, f"it needs {what}", safe=False)


def _enum(name: str, conn: Connection, _: AppTables) -> ObjectStatus:
    """An enum that lacks a value gets it; values of the app's own are left alone."""
    wanted = [value.value for value in ENUMS[name]]
    found = rows(conn, "enum_values", name=name)
    identifier = sql.Identifier(name)
    if not found:
        literals = sql.SQL(", ").join(sql.Literal(value) for value in wanted)
        create = query("schema/storage_edges", "enum", name=identifier, values=literals)
        return ObjectStatus(name, "enum", ObjectState.MISSING, None, rendered(conn, create))
    if not found[0]["is_enum"]:
        detail = "there is a type of that name which is no enum; rename it"
        return ObjectStatus(name, "enum", ObjectState.DIFFERENT, detail, safe=False)
    lacking = [value for value in wanted if value not in (found[0]["values"] or [])]
    if not lacking:
        return ObjectStatus(name, "enum", ObjectState.PRESENT)
    added = [
        rendered(
            conn, query("schema/storage_edges", "enum_value", name=identifier, value=sql.Literal(v))
        )
        for v in lacking
    ]
    detail = f"it lacks {', '.join(lacking)}"
    return ObjectStatus(name, "enum", ObjectState.DIFFERENT, detail, "\n".join(added))


def _ledger(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The ledger's table: missing columns are added, other types are only reported."""
    name, kind = EDGE_TABLE, "table"
    if tables.edges is None:
        create = rendered(conn, query("schema/storage_edges", name))
        if tables.hidden_edges is None:
            return ObjectStatus(name, kind, ObjectState.MISSING, None, create)
        detail = (
            f"there is one in the schema {tables.hidden_edges}, which the search_path does not "
            "lead to; set the search_path of this user rather than make a second ledger"
        )
        path = sql.SQL("ALTER ROLE CURRENT_USER SET search_path = {}, public")
        statement = rendered(conn, path.format(sql.Identifier(tables.hidden_edges)))
        return ObjectStatus(name, kind, ObjectState.MISSING, detail, statement, safe=False)
    columns = tables.edges.columns
    lacking = [column for column in COLUMNS if column not in columns]
    other = [f"{c} is {columns[c]}, not {t}" for c, t in COLUMNS.items() if columns.get(c, t) != t]
    if not lacking:
        if not other:
            return ObjectStatus(name, kind, ObjectState.PRESENT)
        return ObjectStatus(name, kind, ObjectState.DIFFERENT, "; ".join(other), safe=False)
    essential = [
        c for c in lacking if c in ("id", "memory_id", "memory_type", "artifact", "backend")
    ]
    detail = f"it lacks {', '.join(lacking)}"
    if essential or tables.edges.kind not in ("r", "p"):
        return ObjectStatus(name, kind, ObjectState.DIFFERENT, detail, safe=False)
    added = [rendered(conn, query("schema/storage_edges", f"add_{c}")) for c in lacking]
    return ObjectStatus(name, kind, ObjectState.DIFFERENT, detail, "\n".join(added))


def _index(name: str, conn: Connection, tables: AppTables) -> ObjectStatus:
    """An index of the ledger; one over the same columns under another name will do."""
    if tables.edges is None:
        return _index_create(conn, name, concurrently=False, detail=None)
    found = rows(conn, "indexes", table=EDGE_TABLE)
    unique = name.startswith("uq_")
    same = [
        index
        for index in found
        if tuple(index["columns"] or ()) == INDEXES[name]
        and index["is_unique"] == unique
        and not index["special"]
    ]
    usable = [index for index in same if index["valid"]]
    if usable:
        other = None if any(i["name"] == name for i in usable) else f"as {usable[0]['name']}"
        return ObjectStatus(name, "index", ObjectState.PRESENT, other)
    filled = _has_rows(conn, tables.edges)
    named = next((index for index in found if index["name"] == name), None)
    if named is None:
        return _index_create(conn, name, concurrently=filled, detail=None)
    drop = rendered(conn, query("schema/storage_edges", "drop_index", name=sql.Identifier(name)))
    broken = named in same
    detail = "it was left unfinished" if broken else f"it is over {', '.join(named['columns'])}"
    create = _index_create(conn, name, concurrently=True, detail=detail)
    return ObjectStatus(
        name, "index", ObjectState.DIFFERENT, detail, f"{drop}\n{create.statement}",
        safe=broken, concurrent=True,
    )  # fmt: skip


def _index_create(
    conn: Connection, name: str, *, concurrently: bool, detail: str | None
) -> ObjectStatus:
    """An index that is to be made; on a filled table without locking writers out."""
    how = sql.SQL("CONCURRENTLY" if concurrently else "")
    create = rendered(conn, query("schema/storage_edges", name, concurrently=how))
    return ObjectStatus(
        name, "index", ObjectState.MISSING, detail, create, concurrent=concurrently
    )  # fmt: skip


def _touch_function(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The trigger's function: a name of ours, so that it may always be replaced."""
    name = "edgekeeper_touch_updated_at"
    create = query("schema/storage_edges", name, now=now_of(tables.edges, "updated_at"))
    return _function(conn, name, rendered(conn, create), replaceable=lambda _: True)


def _refresh_function(conn: Connection, _: AppTables) -> ObjectStatus:
    """The refresh; one of the app's that refreshes something else is not replaced."""
    name = "refresh_gallery_presence"
    create = rendered(conn, query("schema/views", name))
    return _function(conn, name, create, replaceable=lambda body: "gallery_presence_mv" in body)


def _function(
    conn: Connection, name: str, create: str, *, replaceable: Callable[[str], bool]
) -> ObjectStatus:
    """A function without arguments, compared by its source."""
    found = rows(conn, "function", name=name)
    if not found:
        return ObjectStatus(name, "function", ObjectState.MISSING, None, create)
    body = create.split("$$")[1]
    if _squeezed(found[0]["source"]) == _squeezed(body):
        return ObjectStatus(name, "function", ObjectState.PRESENT)
    safe = replaceable(found[0]["source"])
    detail = "its source differs" if safe else "it does something else for the app"
    return ObjectStatus(name, "function", ObjectState.DIFFERENT, detail, create, safe)


def _trigger(conn: Connection, _: AppTables) -> ObjectStatus:
    """The ledger's trigger."""
    name = "storage_edges_set_updated_at"
    create = rendered(conn, query("schema/storage_edges", name))
    found = rows(conn, "trigger", name=name)
    if not found:
        return ObjectStatus(name, "trigger", ObjectState.MISSING, None, create)
    trigger = found[0]
    expected = ("edgekeeper_touch_updated_at", True, _BEFORE_UPDATE_FOR_EACH_ROW)
    if (trigger["function"], trigger["enabled"], trigger["type"]) == expected:
        return ObjectStatus(name, "trigger", ObjectState.PRESENT)
    detail = f"it calls {trigger['function']}" if trigger["enabled"] else "it is disabled"
    return ObjectStatus(name, "trigger", ObjectState.DIFFERENT, detail, create)


def view_body(name: str, tables: AppTables) -> sql.Composed | None:
    """The SELECT of one of our views on this database; None where a table of the app is missing.

    Also of use where the view itself is not there.
    """
    if name == "memory_presence":
        return query("schema/views", name)
    if name == "sync_status":
        return query("schema/views", name, now=now_of(tables.edges, "last_synced_at"))
    items = tables.gallery_items
    columns = (
        {n: items.column(n) for n in ("gallery_id", "memory_id", "memory_type")} if items else {}
    )
    if items is None or None in columns.values():
        return None
    parts = {n: sql.Identifier(str(column)) for n, column in columns.items()}
    return query(
        "schema/views",
        name,
        gallery_id=parts["gallery_id"],
        memory_type=parts["memory_type"],
        gallery_items=items.identifier,
        item_memory_id=_item_id(items, tables.edges, parts["memory_id"]),
    )


def _item_id(items: Table, edges: Table | None, column: sql.Identifier) -> sql.Composable:
    """An item's memory id in the type of the ledger's, so that the ledger's index serves."""
    ledger_type = (edges.type_of("memory_id") if edges else None) or "uuid"
    if items.type_of("memory_id") == ledger_type:
        return sql.SQL("i.{}").format(column)
    if ledger_type == "uuid":
        return query("schema/views", "item_id_as_uuid", memory_id=column)
    return sql.SQL("i.{}::text").format(column)


def now_of(table: Table | None, column: str) -> sql.Composable:
    """The present moment as ``column`` holds it: UTC without a zone, unless the type has one."""
    zoned = table is not None and table.type_of(column) == "timestamp with time zone"
    return sql.SQL("now()" if zoned else "(now() AT TIME ZONE 'utc')")


def _view(name: str, conn: Connection, tables: AppTables) -> ObjectStatus:
    """A view of ours, or what stands in its place."""
    body = view_body(name, tables)
    if body is None:
        return waits_for(
            name, "view", "a table gallery_items with gallery_id, memory_id, memory_type"
        )
    found = visible_table(conn, name)
    identifier = sql.Identifier(name)
    create = rendered(conn, query("schema/inspect", "view", name=identifier, body=body))
    if found is None:
        return ObjectStatus(name, "view", ObjectState.MISSING, None, create)
    what = {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(found.kind)
    if what is None:
        detail = "there is a table of that name; rename it"
        return ObjectStatus(name, "view", ObjectState.DIFFERENT, detail, safe=False)
    replace = rendered(
        conn,
        query("schema/inspect", "replace_view", name=identifier, body=body, kind=sql.SQL(what)),
    )
    if found.kind == "m":
        detail = "it is a materialized view, which the app refreshes"
        return ObjectStatus(name, "view", ObjectState.DIFFERENT, detail, replace, safe=False)
    return _compared(conn, found, body, create=create, replace=replace)


def _compared(
    conn: Connection, found: Table, body: sql.Composable, *, create: str, replace: str
) -> ObjectStatus:
    """A plain view, compared by how Postgres prints its query."""
    name = found.name
    ours = reference_definition(conn, body)
    if ours is None:
        return ObjectStatus(name, "view", ObjectState.PRESENT, "its query could not be compared")
    columns, definition = ours
    if definition == _definition(conn, name):
        return ObjectStatus(name, "view", ObjectState.PRESENT)
    if columns[: len(found.columns)] != list(found.columns.items()):
        detail = f"its columns are {', '.join(found.columns)}"
        return ObjectStatus(name, "view", ObjectState.DIFFERENT, detail, replace, safe=False)
    return ObjectStatus(name, "view", ObjectState.DIFFERENT, "its query differs", create)


def _copy(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The materialized copy of gallery_presence."""
    name, kind = "gallery_presence_mv", "materialized view"
    source, found = visible_table(conn, "gallery_presence"), visible_table(conn, name)
    if found is None:
        if source is None and tables.gallery_items is None:
            return waits_for(name, kind, "the view gallery_presence")
        if source is not None and source.kind != "v":
            return waits_for(name, kind, "gallery_presence as a plain view")
        create = rendered(conn, query("schema/views", name))
        return ObjectStatus(name, kind, ObjectState.MISSING, None, create)
    if source is None or list(source.columns.items()) == list(found.columns.items()):
        return ObjectStatus(name, kind, ObjectState.PRESENT)
    detail = f"its columns are {', '.join(found.columns)}"
    how = "replace_gallery_presence_mv" if found.populated else "replace_empty_gallery_presence_mv"
    statement = rendered(conn, query("schema/views", how))
    return ObjectStatus(
        name, kind, ObjectState.DIFFERENT, detail, statement, safe=not found.populated
    )  # fmt: skip


def _copy_index(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The unique index that a refresh without a lock needs."""
    name = "ix_gallery_presence_mv_id"
    if visible_table(conn, "gallery_presence_mv") is None and tables.gallery_items is None:
        return waits_for(name, "index", "the materialized view gallery_presence_mv")
    found = rows(conn, "indexes", table="gallery_presence_mv")
    good = [i for i in found if i["valid"] and i["is_unique"] and i["columns"] == ["gallery_id"]]
    if good:
        return ObjectStatus(name, "index", ObjectState.PRESENT)
    create = rendered(conn, query("schema/views", name))
    return ObjectStatus(name, "index", ObjectState.MISSING, None, create)


def reference_definition(
    conn: Connection, body: sql.Composable
) -> tuple[list[tuple[str, str]], str] | None:
    """Columns and printed query that a view over ``body`` has; None where it can't be tried out.

    The view is made as a temporary one and rolled back, so that nothing remains of it.
    """
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(query("schema/inspect", "reference_view", body=body))
            table = visible_table_in_temp(conn)
            definition = _definition(conn, "edgekeeper_reference")
    except psycopg.Error:
        return None
    return table, definition


def visible_table_in_temp(conn: Connection) -> list[tuple[str, str]]:
    """Names and types of the columns of the reference view."""
    found = rows(conn, "reference_columns")
    return [(row["name"], row["type"]) for row in found]


def _definition(conn: Connection, name: str) -> str:
    """How Postgres prints the query of a view."""
    row = conn.execute(query("schema/inspect", "definition"), {"name": name}).fetchone()
    return str(row[0]) if row else ""


def _has_rows(conn: Connection, table: Table) -> bool:
    """Whether the table has any row."""
    row = conn.execute(query("queries/catalog", "has_rows", table=table.identifier)).fetchone()
    return bool(row and row[0])


def _squeezed(source: str) -> str:
    """A function's source without its layout."""
    return re.sub(r"\s+", " ", source).strip().lower()


def _objects() -> Mapping[str, SchemaObject]:
    """All objects in the order in which they can be made."""
    enums = [SchemaObject(name, "enum", partial(_enum, name)) for name in ENUMS]
    indexes = [SchemaObject(name, "index", partial(_index, name)) for name in INDEXES]
    views = ("memory_presence", "gallery_presence", "sync_status")
    ordered = [
        *enums,
        SchemaObject(EDGE_TABLE, "table", _ledger),
        *indexes,
        SchemaObject("edgekeeper_touch_updated_at", "function", _touch_function),
        SchemaObject("storage_edges_set_updated_at", "trigger", _trigger),
        *(SchemaObject(name, "view", partial(_view, name)) for name in views),
        SchemaObject("gallery_presence_mv", "materialized view", _copy),
        SchemaObject("ix_gallery_presence_mv_id", "index", _copy_index),
        SchemaObject("refresh_gallery_presence", "function", _refresh_function),
    ]
    return {each.name: each for each in ordered}


OBJECTS = _objects()
