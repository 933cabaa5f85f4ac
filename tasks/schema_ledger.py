"""The ledger's part of the schema: enums, table, indexes, and the trigger that keeps the time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from checks.errors import SchemaError
from checks.model import Artifact, Backend, MemoryType, SyncState
from tasks.app_tables import EDGE_TABLE, AppTables, Table
from tasks.database import Connection
from tasks.queries import query
from tasks.schema_status import (
    ObjectState,
    ObjectStatus,
    function_status,
    has_rows,
    now_of,
    rendered,
    rows,
)

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
#: Without these there is no edge; a table that lacks one is something else.
ESSENTIAL = frozenset({"id", "memory_id", "memory_type", "artifact", "backend"})
#: What fills a column that an insert leaves out.
DEFAULTS = {
    "id": "gen_random_uuid()",
    "present": "false",
    "sync_state": "'idle'",
    "created_at": "now()",
    "updated_at": "now()",
}
_BEFORE_UPDATE_FOR_EACH_ROW = 1 | 2 | 16


def enum(name: str, conn: Connection, _: AppTables) -> ObjectStatus:
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


def table(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The ledger's table: missing columns and defaults are added, what else differs is reported."""
    if tables.edges is None:
        return _no_table(conn, tables)
    columns = tables.edges.columns
    lacking = [column for column in COLUMNS if column not in columns]
    added = [f"add_{column}" for column in lacking]
    silent = _without_default(tables.edges)
    differences = [f"it lacks {', '.join(lacking)}"] if lacking else []
    differences += [f"nothing fills {column} by itself" for column in silent]
    if differences:
        safe = not ESSENTIAL.intersection(lacking) and tables.edges.kind in ("r", "p")
        made = [*added, *(f"default_{column}" for column in silent)] if safe else []
        statement = _joined(conn, (query("schema/storage_edges", name) for name in made))
        return _different("; ".join(differences), statement, safe=safe)
    obstacles = insert_obstacles(tables.edges)
    if obstacles:
        freed = (_optional(column) for column in obstacles)
        return _different(_demands(obstacles), _joined(conn, freed), safe=False)
    other = {c: t for c, t in COLUMNS.items() if columns[c] != t}
    if other:
        detail = "; ".join(f"{c} is {columns[c]}, not {t}" for c, t in other.items())
        return _different(detail, _retyped(conn, tables.edges, other), safe=False)
    return ObjectStatus(EDGE_TABLE, "table", ObjectState.PRESENT)


def check_writable(conn: Connection, tables: AppTables) -> None:
    """Raises SchemaError where no edge could be inserted into the ledger."""
    edges = tables.ledger()
    lacking = [column for column in COLUMNS if column not in edges.columns]
    demands = _demands(insert_obstacles(edges) + _without_default(edges))
    why = f"it lacks {', '.join(lacking)}" if lacking else demands
    if not why and not any(each["valid"] for each in _same("uq_edge", _indexes(conn))):
        why = f"no unique index over {', '.join(INDEXES['uq_edge'])} keeps an edge from being twice"
    if why:
        raise SchemaError(
            f"The ledger can't be written to: {why}. Nothing was done. Run edgekeeper schema "
            "apply; what that leaves to a person, edgekeeper schema status shows."
        )


def insert_obstacles(edges: Table) -> list[str]:
    """The columns that must be filled and that an insert of ours leaves empty."""
    ours = (*ESSENTIAL, *DEFAULTS)
    return [c for c in edges.columns if c in edges.required - edges.defaulted and c not in ours]


def _demands(columns: list[str]) -> str:
    """What stands against an insert, in words."""
    return "; ".join(f"{column} must be filled, and nothing fills it" for column in columns)


def _without_default(edges: Table) -> list[str]:
    """The columns that our inserts leave to a default which is not there."""
    needed = [column for column in DEFAULTS if column in edges.required - edges.defaulted]
    textual = edges.type_of("id") in ("uuid", "text", "character varying")
    return [column for column in needed if column != "id" or textual]


def _no_table(conn: Connection, tables: AppTables) -> ObjectStatus:
    """There is no ledger, or one that the search_path hides."""
    name, kind = EDGE_TABLE, "table"
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


def _different(detail: str, statement: str | None, *, safe: bool) -> ObjectStatus:
    """The ledger's table, which differs."""
    return ObjectStatus(EDGE_TABLE, "table", ObjectState.DIFFERENT, detail, statement, safe)


def _optional(column: str) -> sql.Composable:
    """For a person: a column of theirs that may be left empty."""
    return query("schema/storage_edges", "drop_not_null", column=sql.Identifier(column))


def _retyped(conn: Connection, edges: Table, wanted: Mapping[str, str]) -> str:
    """For a person: the columns' types of the target, in one rewriting of the table.

    Views over the columns are in the way: those of ours go first, and ``schema apply`` makes them
    again.
    """
    changes: list[sql.Composable] = []
    for column, kind in wanted.items():
        name, new = sql.Identifier(column), sql.SQL(kind)
        zoned = edges.columns[column] == "timestamp with time zone"
        value = "{0} AT TIME ZONE 'UTC'" if zoned else "{0}::{1}"
        change = "ALTER COLUMN {0} TYPE {1} USING " + value
        if column in edges.defaulted:
            change = "ALTER COLUMN {0} DROP DEFAULT, " + change
        if column in DEFAULTS:
            change += f", ALTER COLUMN {{0}} SET DEFAULT {DEFAULTS[column]}"
        changes.append(sql.SQL(change).format(name, new))
    return rendered(conn, query("schema/storage_edges", "retype",
                                changes=sql.SQL(",\n    ").join(changes)))  # fmt: skip


def _joined(conn: Connection, statements: Iterable[sql.Composable]) -> str | None:
    """Statements as a person can run them, one after the other; None where there are none."""
    return "\n".join(rendered(conn, each) for each in statements) or None


def index(name: str, conn: Connection, tables: AppTables) -> ObjectStatus:
    """An index of the ledger; one over the same columns under another name will do."""
    if tables.edges is None:
        return _index_create(conn, name, concurrently=False, detail=None)
    found = _indexes(conn)
    same = _same(name, found)
    usable = [each for each in same if each["valid"]]
    if usable:
        other = None if any(i["name"] == name for i in usable) else f"as {usable[0]['name']}"
        return ObjectStatus(name, "index", ObjectState.PRESENT, other)
    named = next((each for each in found if each["name"] == name), None)
    if named is not None:
        return _index_instead(conn, named, broken=named in same)
    filled = has_rows(conn, tables.edges)
    if filled and name == "uq_edge" and rows(conn, "is_twice")[0]["twice"]:
        return _edges_twice(conn)
    return _index_create(conn, name, concurrently=filled, detail=None)


def _indexes(conn: Connection) -> list[dict[str, Any]]:
    """What indexes the ledger has."""
    return rows(conn, "indexes", table=EDGE_TABLE)


def _same(name: str, found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that index what ``name`` is to index."""
    unique = name.startswith("uq_")
    in_order = sorted if unique else tuple  # what is unique is so in any order of its columns
    return [
        each
        for each in found
        if in_order(each["columns"] or ()) == in_order(INDEXES[name])
        and each["is_unique"] == unique
        and not each["special"]
    ]


def _index_instead(conn: Connection, found: Mapping[str, Any], *, broken: bool) -> ObjectStatus:
    """An index in place of one that was left unfinished, or that indexes something else."""
    name = found["name"]
    if found["building"]:
        detail = "it is being built at this moment, by somebody else"
        return ObjectStatus(name, "index", ObjectState.DIFFERENT, detail, safe=False)
    drop = rendered(conn, query("schema/storage_edges", "drop_index", name=sql.Identifier(name)))
    columns = ", ".join(found["columns"] or ["an expression"])
    detail = "it was left unfinished" if broken else f"it is over {columns}"
    create = _index_create(conn, name, concurrently=True, detail=detail)
    return ObjectStatus(
        name, "index", ObjectState.DIFFERENT, detail, f"{drop}\n{create.statement}",
        safe=broken, concurrent=True,
    )  # fmt: skip


def _edges_twice(conn: Connection) -> ObjectStatus:
    """The unique index can't be made while there are edges twice: which is right, a person says."""
    name = "uq_edge"
    create = _index_create(conn, name, concurrently=True, detail=None)
    show, keep = (query("schema/inspect", each) for each in ("duplicates", "keep_newest"))
    statement = f"{rendered(conn, show)}\n{rendered(conn, keep)}\n{create.statement}"
    detail = "some edges are there twice; look at them before one of each is deleted"
    return ObjectStatus(name, "index", ObjectState.MISSING, detail, statement, safe=False)


def _index_create(
    conn: Connection, name: str, *, concurrently: bool, detail: str | None
) -> ObjectStatus:
    """An index that is to be made; on a filled table without locking writers out."""
    how = sql.SQL("CONCURRENTLY" if concurrently else "")
    create = rendered(conn, query("schema/storage_edges", name, concurrently=how))
    return ObjectStatus(
        name, "index", ObjectState.MISSING, detail, create, concurrent=concurrently
    )  # fmt: skip


def touch_function(conn: Connection, tables: AppTables) -> ObjectStatus:
    """The trigger's function: a name of ours, so that it may always be replaced."""
    name = "edgekeeper_touch_updated_at"
    create = query("schema/storage_edges", name, now=now_of(tables.edges, "updated_at"))
    return function_status(conn, name, rendered(conn, create), replaceable=lambda _: True)


def trigger(conn: Connection, _: AppTables) -> ObjectStatus:
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
