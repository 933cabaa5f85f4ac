"""Whose promise is touched: the owners and galleries of memories with a lost or wrong copy.

The app's tables say who owns a memory and which galleries it is in; they are asked only about the
memories that open findings name. Ids, never names: support looks the person up.
"""

from collections.abc import Iterable, Iterator

import pandas as pd
from psycopg import sql

from checks.errors import StoreError
from checks.kinds import KINDS
from checks.model import MemoryType
from checks.normal import is_uuid
from checks.run import SEVERITY_RANK
from tasks.app_tables import AppTables, Table, find_app_tables
from tasks.database import Connection, transaction, translated
from tasks.queries import query

#: One row per memory, owner and gallery; the owner or the gallery is null where there is none.
AT_RISK = ["owner_id", "gallery_id", "memory_type", "memory_id", "severity", "kinds"]
_BATCH = 5_000


def endangered(findings: pd.DataFrame) -> pd.DataFrame:
    """The memories of which a copy is lost, wrong or in doubt, and nobody mended it yet.

    Args:
        findings: columns of ``FINDINGS``.

    Returns:
        ``memory_type, memory_id, severity`` (the gravest), ``kinds`` (joined), a row per memory.
    """
    about_copies = [
        kind.name for kind in KINDS.values() if kind.content_repair or kind.name == "lost"
    ]
    stays_open = findings.get("stays_open", pd.Series(index=findings.index, dtype=object))
    mended = (findings["repair"] == "applied") & ~stays_open.fillna(value=False).astype(bool)
    grave = (findings["severity"] == "critical") | findings["kind"].isin(about_copies)
    chosen = findings[
        grave & (findings["severity"] != "info") & ~mended & findings["memory_id"].notna()
    ].fillna({"memory_type": ""})
    chosen = chosen.sort_values(
        "severity", key=lambda column: column.map(SEVERITY_RANK), kind="stable"
    )
    grouped = chosen.groupby(["memory_type", "memory_id"], sort=False)
    return grouped.agg(
        severity=("severity", "first"), kinds=("kind", lambda kinds: " ".join(dict.fromkeys(kinds)))
    ).reset_index()


def at_risk(conn: Connection, findings: pd.DataFrame) -> pd.DataFrame:
    """Owners and galleries of the endangered memories, columns ``AT_RISK``, the gravest first.

    A memory whose owner can't be found out is listed without one.
    """
    memories = endangered(findings)
    if memories.empty:
        return pd.DataFrame(columns=AT_RISK)
    with translated():
        tables = find_app_tables(conn)
    owners = pd.DataFrame(
        _owners(conn, tables, memories), columns=["memory_type", "memory_id", "owner_id"]
    )
    galleries = pd.DataFrame(
        _galleries(conn, tables, memories), columns=["memory_type", "memory_id", "gallery_id"]
    )
    key = ["memory_type", "memory_id"]
    joined = memories.merge(owners.drop_duplicates(key), on=key, how="left")
    return joined.merge(galleries.drop_duplicates(), on=key, how="left")[AT_RISK]


def _owners(
    conn: Connection, tables: AppTables, memories: pd.DataFrame
) -> Iterator[tuple[str, str, str]]:
    """Triples of memory type, memory id and owner."""
    for memory_type, rows in memories.groupby("memory_type"):
        table = tables.memories.get(MemoryType(str(memory_type))) if memory_type else None
        if table is None or table.column("owner_id") is None:
            continue
        parts = {"table": table.identifier, "owner_id": table.text("m", "owner_id")}
        for memory_id, owner in _asked(conn, "owners", table, "id", rows["memory_id"], parts):
            yield str(memory_type), memory_id, owner


def _galleries(
    conn: Connection, tables: AppTables, memories: pd.DataFrame
) -> Iterator[tuple[str, str, str]]:
    """Triples of memory type, memory id and gallery."""
    items = tables.gallery_items
    names = ("gallery_id", "memory_id", "memory_type")
    if items is None or not items.readable or any(items.column(each) is None for each in names):
        return
    parts: dict[str, sql.Composable] = {"table": items.identifier} | {
        name: items.text("m", name) for name in ("gallery_id", "memory_type")
    }
    found = _asked(conn, "galleries", items, "memory_id", memories["memory_id"], parts)
    for memory_id, memory_type, gallery_id in found:
        yield memory_type, memory_id, gallery_id


def _asked(
    conn: Connection,
    statement: str,
    table: Table,
    key: str,
    ids: Iterable[str],
    parts: dict[str, sql.Composable],
) -> Iterator[tuple[str, ...]]:
    """The rows of a statement about some memories, their ids as findings have them."""
    column = table.required_column(key)
    only_uuids = table.columns[column] == "uuid"
    wanted = [each for each in dict.fromkeys(ids) if is_uuid(each) or not only_uuids]
    for start in range(0, len(wanted), _BATCH):
        batch = table.keys_array(column, wanted[start : start + _BATCH])
        text = query("queries/at_risk", statement, id=sql.Identifier(column), ids=batch, **parts)
        try:
            with transaction(conn, snapshot=True, statement_timeout="30s"):
                found = conn.execute(text).fetchall()
        except StoreError:
            return  # whose they are is a courtesy: what was found stands without it
        yield from ((each.lower() if is_uuid(each) else each, *rest) for each, *rest in found)
