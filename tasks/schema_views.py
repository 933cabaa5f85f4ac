"""The views' part of the schema: each as it is on this database, and the copy filled in advance."""

import psycopg
from psycopg import sql

from tasks.app_tables import AppTables, Table, visible_table
from tasks.database import Connection
from tasks.queries import query
from tasks.schema_status import (
    ObjectState,
    ObjectStatus,
    function_status,
    now_of,
    rendered,
    rows,
    waits_for,
)


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


def view(name: str, conn: Connection, tables: AppTables) -> ObjectStatus:
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


def copy(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The materialized copy of gallery_presence."""
    name, kind = "gallery_presence_mv", "materialized view"
    source, found = visible_table(conn, "gallery_presence"), visible_table(conn, name)
    if found is None:
        lacking = _copy_lacks(source, tables)
        if lacking:
            return waits_for(name, kind, lacking)
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


def _copy_lacks(source: Table | None, tables: AppTables) -> str | None:
    """What the copy of gallery_presence waits for, if anything."""
    if source is None:
        return "the view gallery_presence" if tables.gallery_items is None else None
    return None if source.kind == "v" else "gallery_presence as a plain view"


def copy_index(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The unique index that a refresh without a lock needs."""
    name = "ix_gallery_presence_mv_id"
    source = visible_table(conn, "gallery_presence")
    if visible_table(conn, "gallery_presence_mv") is None and _copy_lacks(source, tables):
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


def refresh_function(conn: Connection, _: AppTables) -> ObjectStatus:
    """The refresh; one of the app's that refreshes something else is not replaced."""
    name = "refresh_gallery_presence"
    create = rendered(conn, query("schema/views", name))
    return function_status(
        conn, name, create, replaceable=lambda body: "gallery_presence_mv" in body
    )
