"""What the app's rows say of themselves that is not so: asked of Postgres, where the rows are."""

from collections.abc import Iterator

from psycopg import sql

from checks.legacy import LegacyFact
from checks.model import MemoryType
from tasks.app_tables import AppTables, Table, find_app_tables, visible_table
from tasks.database import READ_TIMEOUT, Connection, transaction
from tasks.queries import query

#: Where an owner may stand; the first that there is. Memories name the account before the person.
_OWNERS = ("all_users", "all_user", "users", "user")
Found = tuple[str, int, list[str]]


def survey(conn: Connection) -> dict[str, LegacyFact]:
    """Counts of deleted owners and odd sizes, by the kinds of ``checks.legacy.LEGACY``.

    Sizes are compared with those that the ledger has seen: call it when the ledger is filled.
    ``conn`` is not in a transaction.
    """
    facts: dict[str, LegacyFact] = {}
    with transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        tables = find_app_tables(conn)
        for memory_type, table in tables.memories.items():
            for kind, count, ids in _odd_rows(conn, tables, memory_type, table):
                names = [f"{memory_type} {memory_id}" for memory_id in ids]
                facts.setdefault(kind, LegacyFact()).add(count, names)
    return facts


def _odd_rows(
    conn: Connection, tables: AppTables, memory_type: MemoryType, table: Table
) -> Iterator[Found]:
    """What is odd about the rows of one table."""
    id_column = table.required_column("id")
    parts = {"table": table.identifier, "id": sql.Identifier(id_column)}
    owner, owners = table.column("owner_id"), _owners(conn)
    if owner and owners:
        select = query(
            "queries/legacy", "owner_gone", owner_id=sql.Identifier(owner),
            owners=owners.identifier, owner_key=sql.Identifier(owners.required_column("id")),
            **parts,
        )  # fmt: skip
        count, ids = conn.execute(select).fetchone() or (0, None)
        if count:
            yield "owner_gone", count, ids
    if memory_type is MemoryType.NOTE:
        return
    metadata = table.column("metadata")
    json_size = (
        query("queries/legacy", "json_size", metadata=sql.Identifier(metadata))
        if metadata else sql.SQL("NULL::text")
    )  # fmt: skip
    select = query(
        "queries/legacy", "sizes", size=table.text("m", "size"), json_size=json_size,
        edges=tables.ledger().identifier, memory_type=sql.Literal(memory_type.value), **parts,
    )  # fmt: skip
    yield from conn.execute(select).fetchall()


def _owners(conn: Connection) -> Table | None:
    """The table that owners stand in, if it can be read whole."""
    for name in _OWNERS:
        table = visible_table(conn, name)
        if table is not None:
            return table if table.whole and table.column("id") else None
    return None
