"""The app's tables as this database has them: names, columns and types differ between deployments.

Only what an unqualified name finds, and what may be read whole, counts as seen. A table that is
missing or hidden is named with a reason, so that nobody takes it for an empty one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from checks.errors import SchemaError
from checks.model import MemoryType
from tasks.database import Connection
from tasks.queries import query

#: Names by which a table is known; the document's first.
MEMORY_TABLES: Mapping[MemoryType, tuple[str, ...]] = {
    MemoryType.IMAGE: ("images", "image"),
    MemoryType.VIDEO: ("videos", "video"),
    MemoryType.NOTE: ("notes", "note"),
    MemoryType.DOCUMENT: ("documents", "document"),
    MemoryType.AUDIO: ("audio", "audios"),
}
GALLERY_TABLES = ("galleries", "gallery")
ITEM_TABLES = ("gallery_items", "gallery_item")
USER_TABLES = ("users", "user")
EDGE_TABLE = "storage_edges"

_VIEW_KINDS = ("v", "f")
_NULL = {"text": sql.SQL("NULL::text"), "time": sql.SQL("NULL::timestamp"),
         "int": sql.SQL("NULL::bigint"), "bool": sql.SQL("NULL::boolean")}  # fmt: skip
_INTEGERS = ("smallint", "integer", "bigint")


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view of the database.

    Attributes:
        schema: its schema.
        name: its name.
        kind: ``r`` table, ``p`` partitioned, ``v`` view, ``m`` materialized view, ``f`` foreign.
        columns: name to type, in the table's order.
        required: names of the columns that are NOT NULL.
        defaulted: names of the columns that an insert may leave out, since something fills them.
        readable: whether we may select from it.
        lockable: whether we may lock its rows (``FOR KEY SHARE`` needs the UPDATE privilege).
        filtered: whether row security hides rows from us.
        populated: False for a materialized view that was never filled.
    """

    schema: str
    name: str
    kind: str
    columns: Mapping[str, str]
    required: frozenset[str] = frozenset()
    defaulted: frozenset[str] = frozenset()
    readable: bool = True
    lockable: bool = True
    filtered: bool = False
    populated: bool = True

    @property
    def whole(self) -> bool:
        """Whether every row of it can be read."""
        return self.readable and not self.filtered

    @property
    def identifier(self) -> sql.Identifier:
        """The qualified, quoted name."""
        return sql.Identifier(self.schema, self.name)

    def column(self, name: str) -> str | None:
        """The column that is meant by ``name``, written in snake or in camel case, if any."""
        if name in self.columns:
            return name
        wanted = name.replace("_", "").lower()
        return next((c for c in self.columns if c.replace("_", "").lower() == wanted), None)

    def type_of(self, name: str) -> str | None:
        """The type of the column that is meant by ``name``, if there is one."""
        column = self.column(name)
        return self.columns[column] if column else None

    def required_column(self, name: str) -> str:
        """The column that is meant by ``name``. Raises SchemaError where there is none."""
        column = self.column(name)
        if column is None:
            raise SchemaError(f"The table {self.schema}.{self.name} has no column {name}")
        return column

    def text(self, alias: str, name: str) -> sql.Composable:
        """The column as text, or NULL where there is none."""
        column = self.column(name)
        if column is None:
            return _NULL["text"]
        return sql.SQL("{}::text").format(sql.Identifier(alias, column))

    def boolean(self, alias: str, name: str) -> sql.Composable:
        """The column as a boolean; NULL where there is none or it is something else."""
        column = self.column(name)
        if column is None or self.columns[column] != "boolean":
            return _NULL["bool"]
        return sql.Identifier(alias, column)

    def integer(self, alias: str, name: str) -> sql.Composable:
        """The column as a bigint; NULL where it is missing or holds no such number."""
        column = self.column(name)
        if column is None:
            return _NULL["int"]
        value = sql.Identifier(alias, column)
        if self.columns[column] in _INTEGERS:
            return sql.SQL("{}::bigint").format(value)
        guarded = "CASE WHEN {0}::text ~ '^-?[0-9]{{1,18}}$' THEN {0}::text::bigint END"
        return sql.SQL(guarded).format(value)

    def time(self, alias: str, name: str) -> sql.Composable:
        """The column as a timestamp in UTC; NULL where it is missing, no time, or out of range.

        A type without a zone holds UTC. Infinity and years that no calendar library can hold are
        NULL.
        """
        column = self.column(name)
        kind = self.columns[column] if column else ""
        if column is None or not kind.startswith(("timestamp", "date")):
            return _NULL["time"]
        value: sql.Composable = sql.Identifier(alias, column)
        if kind == "timestamp with time zone":
            value = sql.SQL("({} AT TIME ZONE 'UTC')").format(value)
        elif kind == "date":
            value = sql.SQL("{}::timestamp").format(value)
        bounded = "CASE WHEN {0} BETWEEN '0001-01-02' AND '9999-12-30' THEN {0} END"
        return sql.SQL(bounded).format(value)

    def version(self, alias: str) -> sql.Composable:
        """What changes with every write of a row: ``xmin``, or a digest where a view has none."""
        if self.kind in _VIEW_KINDS:
            return sql.SQL("md5({}::text)").format(sql.Identifier(alias))
        return sql.SQL("{}.xmin::text").format(sql.Identifier(alias))

    def keys_array(self, column: str, values: Iterable[str]) -> sql.Composable:
        """Ids as an array of the column's type; those that it can't hold are left out."""
        kind = self.columns[column]
        texts = list(values)
        if kind == "uuid":
            return sql.SQL("{}::uuid[]").format(sql.Literal(texts))
        # an id that is kept as text may be written in another case than the ledger's
        spelled = sorted({form for text in texts for form in (text, text.lower(), text.upper())})
        return sql.SQL("{}::text[]").format(sql.Literal(spelled))


@dataclass(frozen=True, slots=True)
class AppTables:
    """Which of the tables that matter to us there are.

    Attributes:
        memories: the memory tables that can be read whole.
        unseen: memory types whose table can't be seen, each with its reason.
        galleries: the galleries' table.
        gallery_items: the table of their items.
        users: the users' table.
        edges: the ledger.
        hidden_edges: schema of a ledger that the search_path does not lead to, if any.
        unreadable: memory types of ``unseen`` whose table is there but can't be read whole.
        utf8: whether the database keeps texts as UTF-8.
    """

    memories: Mapping[MemoryType, Table]
    unseen: Mapping[MemoryType, str] = field(default_factory=dict)
    galleries: Table | None = None
    gallery_items: Table | None = None
    users: Table | None = None
    edges: Table | None = None
    hidden_edges: str | None = None
    unreadable: frozenset[MemoryType] = frozenset()
    utf8: bool = True

    def ledger(self) -> Table:
        """The ledger. Raises SchemaError where there is none."""
        if self.edges is None:
            elsewhere = f" (there is one in the schema {self.hidden_edges})"
            raise SchemaError(
                f"There is no table {EDGE_TABLE} in the search_path"
                f"{elsewhere if self.hidden_edges else ''}. Run edgekeeper schema apply, or check "
                "that DATABASE_URL leads to the right database."
            )
        return self.edges

    def inventory_query(
        self, memory_type: MemoryType, *, hash_notes: bool, ids: Iterable[str] | None = None
    ) -> sql.Composed:
        """The normalised SELECT over one memory table, of all rows or of those with ``ids``."""
        table = self.memories[memory_type]
        id_column = table.required_column("id")
        parts: dict[str, sql.Composable] = {
            "id": sql.Identifier(id_column),
            "memory_type": sql.Literal(memory_type.value),
            "url": table.text("m", "url"),
            "content_size": self._content_size(memory_type, table),
            "content_sha256": _NULL["text"],
            "created_at": table.time("m", "created_at"),
            "updated_at": table.time("m", "updated_at"),
            "version": table.version("m"),
            "table": table.identifier,
        }
        if hash_notes and memory_type is MemoryType.NOTE and table.column("content"):
            digest = "encode(sha256(convert_to({}, 'UTF8')), 'hex')"
            parts["content_sha256"] = sql.SQL(digest).format(table.text("m", "content"))
        if ids is None:
            return query("queries/memories", "inventory", **parts)
        parts["ids"] = table.keys_array(id_column, ids)
        return query("queries/memories", "inventory_of", **parts)

    def ledger_query(self, ids: Iterable[str] | None = None) -> sql.Composed:
        """The normalised SELECT over the ledger, of all edges or of those of some memories."""
        table = self.ledger()
        texts = ("location", "content_hash", "sync_state", "sync_error")
        times = ("last_synced_at", "created_at", "updated_at")
        parts: dict[str, sql.Composable] = {
            "edge_id": table.text("e", "id"),
            "present": table.boolean("e", "present"),
            "size_bytes": table.integer("e", "size_bytes"),
            "version": table.version("e"),
            "table": table.identifier,
            **{name: table.text("e", name) for name in texts},
            **{name: table.time("e", name) for name in times},
        }
        if ids is None:
            return query("queries/edges", "ledger", **parts)
        parts["ids"] = table.keys_array(table.required_column("memory_id"), ids)
        return query("queries/edges", "ledger_of", **parts)

    def reference_queries(self) -> list[sql.Composed]:
        """The SELECTs of everything in the app's tables that may name a blob."""
        found = []
        for memory_type, table in self.memories.items():
            if url := table.column("url"):
                found.append(_reference("memory_urls", table, url=url))
            metadata = table.column("metadata")
            if memory_type is MemoryType.VIDEO and metadata:
                if table.columns[metadata] == "jsonb":
                    found.append(_reference("thumbnails", table, metadata=metadata))
                    found.append(_reference("thumbnails_in_string", table, metadata=metadata))
                else:
                    found.append(_reference("thumbnails_in_text", table, metadata=metadata))
        if self.users and self.users.readable and (image := self.users.column("image")):
            found.append(_reference("user_images", self.users, image=image))
        return found

    def edge_locations_query(self) -> sql.Composed:
        """The SELECT of what the ledger's rows about the blob store name."""
        table = self.ledger()
        location = table.text("e", "location")
        return query(
            "queries/blob_references", "edge_locations", table=table.identifier, location=location
        )

    def _content_size(self, memory_type: MemoryType, table: Table) -> sql.Composable:
        """The bytes of a note's text; read from the row's header, without the text, where it can.

        (``octet_length`` does not decompress, ``convert_to`` would.)
        """
        if memory_type is not MemoryType.NOTE or table.column("content") is None:
            return _NULL["int"]
        form = "octet_length({})" if self.utf8 else "octet_length(convert_to({}, 'UTF8'))"
        return sql.SQL(form + "::bigint").format(table.text("m", "content"))


def _reference(name: str, table: Table, **columns: str) -> sql.Composed:
    """One SELECT of ``blob_references.sql`` over one table."""
    identifiers = {part: sql.Identifier(column) for part, column in columns.items()}
    return query("queries/blob_references", name, table=table.identifier, **identifiers)


def find_app_tables(conn: Connection) -> AppTables:
    """Looks up in the catalog which tables there are.

    Where a table exists under two of its names, the one that has rows is meant; where both have,
    the type is unseen, since nobody can say which of them is the app's.
    """
    wanted = [*GALLERY_TABLES, *ITEM_TABLES, *USER_TABLES, EDGE_TABLE]
    wanted += [name for names in MEMORY_TABLES.values() for name in names]
    tables = tables_named(conn, wanted)
    visible = {row["name"]: _table(row) for row in tables if row["visible"]}
    hidden = {row["name"]: row["schema"] for row in tables if not row["visible"]}
    memories: dict[MemoryType, Table] = {}
    unseen: dict[MemoryType, str] = {}
    unreadable: set[MemoryType] = set()
    for memory_type, names in MEMORY_TABLES.items():
        candidates = [visible[name] for name in names if name in visible]
        reason = _choose(conn, candidates)
        if isinstance(reason, Table):
            memories[memory_type] = reason
            continue
        if candidates:
            unreadable.add(memory_type)
        elsewhere = next((hidden[name] for name in names if name in hidden), None)
        unseen[memory_type] = reason or (
            f"there is no table {' or '.join(names)} in the search_path"
            + (f", but one in the schema {elsewhere}" if elsewhere else "")
        )
    encoding = conn.execute("SELECT current_setting('server_encoding')").fetchone()
    return AppTables(
        memories=memories,
        unseen=unseen,
        galleries=_first(visible, GALLERY_TABLES),
        gallery_items=_first(visible, ITEM_TABLES),
        users=_first(visible, USER_TABLES),
        edges=visible.get(EDGE_TABLE),
        hidden_edges=hidden.get(EDGE_TABLE),
        unreadable=frozenset(unreadable),
        utf8=encoding == ("UTF8",),
    )


def tables_named(conn: Connection, names: Iterable[str]) -> list[dict[str, Any]]:
    """The catalog's rows of all tables and views with these names, the visible ones first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query("queries/catalog", "tables"), {"names": list(names)}).fetchall()


def visible_table(conn: Connection, name: str) -> Table | None:
    """The table or view that an unqualified ``name`` finds, if any."""
    return next((_table(row) for row in tables_named(conn, [name]) if row["visible"]), None)


def _table(row: Mapping[str, Any]) -> Table:
    """A table from its row of the catalog."""
    required, defaulted = (
        frozenset(name for name, holds in zip(row["names"], row[what], strict=True) if holds)
        for what in ("required", "defaulted")
    )
    return Table(
        schema=row["schema"],
        name=row["name"],
        kind=row["kind"],
        columns=dict(zip(row["names"], row["types"], strict=True)),
        required=required,
        defaulted=defaulted,
        readable=row["readable"],
        lockable=row["lockable"],
        filtered=row["filtered"],
        populated=row["populated"],
    )


def _first(visible: Mapping[str, Table], names: Iterable[str]) -> Table | None:
    """The first of these tables that there is."""
    return next((visible[name] for name in names if name in visible), None)


def _choose(conn: Connection, candidates: list[Table]) -> Table | str | None:
    """The table that is meant, or why none of the candidates will do; None without candidates."""
    for table in candidates:
        where = f"{table.schema}.{table.name}"
        if not table.readable:
            return f"the table {where} may not be read; grant SELECT on it"
        if table.filtered:
            return f"row security hides rows of {where} from this user; grant it BYPASSRLS"
        if table.column("id") is None:
            return f"the table {where} has no column id"
    if len(candidates) > 1:
        filled = [table for table in candidates if _has_rows(conn, table)]
        if len(filled) > 1:
            names = " and ".join(f"{table.schema}.{table.name}" for table in filled)
            return f"both {names} hold rows; which of them is the app's can't be told"
        candidates = filled or candidates
    return candidates[0] if candidates else None


def _has_rows(conn: Connection, table: Table) -> bool:
    """Whether the table has any row."""
    row = conn.execute(query("queries/catalog", "has_rows", table=table.identifier)).fetchone()
    return bool(row and row[0])
