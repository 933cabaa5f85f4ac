"""What a database lacks of the app's tables, and what may be concluded from that.

A table of memories that can't be seen is *empty* only where the ledger knows of none of its type: a
wrong ``search_path`` must not turn a collection into orphans.
"""

from checks.model import MemoryType
from tasks.app_tables import AppTables, find_app_tables
from tasks.database import Connection
from tasks.queries import query


def edges_by_type(conn: Connection, tables: AppTables) -> dict[str, int]:
    """How many edges the ledger has of each memory type that it has any of."""
    select = query("queries/edges", "statistics_by_type", table=tables.ledger().identifier)
    return dict(conn.execute(select).fetchall())


def unknown_types(tables: AppTables, edges: dict[str, int]) -> dict[MemoryType, str]:
    """The memory types of which nothing can be said, each with its reason.

    ``edges`` is what :func:`edges_by_type` gives.
    """
    return {
        memory_type: reason
        for memory_type, reason in tables.unseen.items()
        if memory_type in tables.unreadable or edges.get(memory_type.value, 0)
    }


def gaps(conn: Connection) -> tuple[list[str], list[str]]:
    """What is to be set right, and what is only to be known, a sentence each."""
    tables = find_app_tables(conn)
    edges = edges_by_type(conn, tables) if tables.edges else {}
    unknown = unknown_types(tables, edges)
    wrong = [
        f"{memory_type}: {why}; the ledger has {edges.get(memory_type.value, 0):,} edges of this "
        "type, and nothing is concluded about them until the table is found"
        for memory_type, why in unknown.items()
    ]
    known = [
        f"{memory_type}: {why}; the ledger has no edge of this type, so it counts as empty"
        for memory_type, why in tables.unseen.items()
        if memory_type not in unknown
    ]
    for table, name in ((tables.galleries, "galleries"), (tables.gallery_items, "gallery_items")):
        if table is None:
            known.append(f"there is no table {name}: a memory can be verified, a gallery can't")
    return wrong, known
