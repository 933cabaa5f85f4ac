"""How an object of the schema stands, and what finding that out takes.

An object is *present*, *missing* or *different*. Where it is not present its statement says what
brings it to the target; ``safe`` tells whether ``schema apply`` runs that itself or leaves it to a
person.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from tasks.app_tables import AppTables, Table
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


def function_status(
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


def now_of(table: Table | None, column: str) -> sql.Composable:
    """The present moment as ``column`` holds it: UTC without a zone, unless the type has one."""
    zoned = table is not None and table.type_of(column) == "timestamp with time zone"
    return sql.SQL("now()" if zoned else "(now() AT TIME ZONE 'utc')")


def has_rows(conn: Connection, table: Table) -> bool:
    """Whether the table has any row."""
    row = conn.execute(query("queries/catalog", "has_rows", table=table.identifier)).fetchone()
    return bool(row and row[0])


def _squeezed(source: str) -> str:
    """A function's source without its layout."""
    return re.sub(r"\s+", " ", source).strip().lower()
