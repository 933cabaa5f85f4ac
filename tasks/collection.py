"""Questions about the whole collection: contents held twice, galleries, items of what is gone.

Postgres answers them by grouping and joining; nothing here holds more than a batch. A gallery is
compared only where both stores show it: one that is not on the canister was never copied there, and
where the canister's galleries can't be read nothing is said of them.
"""

import asyncio
from collections import defaultdict
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from itertools import islice
from typing import Any

import pyarrow as pa
from psycopg import sql

from checks.duplicates import duplicate
from checks.errors import AccessRefusedError
from checks.galleries import Item, Memory, dangling, divergence, in_order
from checks.model import Artifact
from checks.normal import is_uuid
from tasks.app_tables import AppTables, Table, find_app_tables
from tasks.copy_out import copy_tables
from tasks.database import READ_TIMEOUT, Connection, transaction
from tasks.queries import query
from tasks.stores.icp.agent import ReplyTooLargeError
from tasks.stores.icp.store import IcpStore
from tasks.stores.side_by_side import merged

Case = dict[str, Any]
#: Whether a memory is on the canister; raises StoreError where that can't be told.
OnCanister = Callable[[Memory], Awaitable[bool]]
_GALLERIES_AT_ONCE, _BATCHES_AT_ONCE = 200, 2
_LOOK_UPS_AT_ONCE = 16
_DUPLICATES = pa.schema(
    [("content_hash", pa.string()), ("memories", pa.int64()), ("size_bytes", pa.int64()),
     ("blob_objects", pa.int64()), ("icp_copies", pa.int64()), ("first_memory", pa.string()),
     ("last_memory", pa.string())]
)  # fmt: skip
_ROWLESS = pa.schema(
    [("gallery_id", pa.string()), ("memory_id", pa.string()), ("memory_type", pa.string()),
     ("was_in_neon", pa.bool_())]
)  # fmt: skip


def duplicates(conn: Connection) -> list[Case]:
    """The contents that several memories have by the ledger's hashes, a case each."""
    with transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        edges = find_app_tables(conn).ledger()
        select = query(
            "queries/collection", "duplicates", edges=edges.identifier,
            content_hash=edges.text("e", "content_hash"), location=edges.text("e", "location"),
            size_bytes=edges.integer("e", "size_bytes"), present=edges.boolean("e", "present"),
        )  # fmt: skip
        return [
            duplicate(row)
            for table in copy_tables(conn, select, _DUPLICATES)
            for row in table.to_pylist()
        ]


def rowless_items(
    conn: Connection, *, unknown_types: Collection[str], gallery_id: str | None = None
) -> list[Case]:
    """Items of Neon's galleries whose memory has no row there: a case and ``was_in_neon`` each.

    Of all galleries, or of one.

    Of types whose table can't be seen nothing is said, nor where there are no galleries to see.
    """
    found: list[Case] = []
    with transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        tables = find_app_tables(conn)
        items = _seen(tables.gallery_items)
        if items is None:
            return []
        for memory_type, table in tables.memories.items():
            if memory_type.value in unknown_types:
                continue
            select = query(
                "queries/collection", "rowless_items", **item_columns(items),
                edges=tables.ledger().identifier, memories=table.identifier,
                id=sql.Identifier(table.required_column("id")),
                wanted=sql.Literal(memory_type.value), gallery=sql.Literal(gallery_id),
            )  # fmt: skip
            for rows in copy_tables(conn, select, _ROWLESS):
                for row in rows.to_pylist():
                    case = dangling(
                        row["gallery_id"], (row["memory_id"], row["memory_type"]), "Neon"
                    )
                    found.append(case | {"was_in_neon": row["was_in_neon"]})
    return found


async def gone_items(candidates: Sequence[Case], on_canister: OnCanister | None) -> list[Case]:
    """Of the cases of :func:`rowless_items` those whose memory is gone.

    A memory that was never in Neon may live on the canister alone: that is looked up. Without
    ``on_canister`` there is no canister.
    """
    asked = {_memory(each) for each in candidates if not each["was_in_neon"]}
    there = await _on_canister(asked, on_canister) if on_canister else set()
    return [each for each in candidates if each["was_in_neon"] or _memory(each) not in there]


async def gallery_ids(store: IcpStore, read: Callable[[], Connection]) -> tuple[set[str], bool]:
    """The galleries that can be compared, and whether these are all that the canister has.

    It gives the headers of all in one reply, which has no pages: where they don't fit into one,
    those that Neon has are asked for one by one, and what the canister alone has is not seen.

    Raises ReplyTooLargeError where they don't fit and Neon's can't be seen either.
    """
    try:
        return {header["id"] for header in await store.canister.galleries()}, True
    except ReplyTooLargeError:
        in_neon = await asyncio.to_thread(_galleries_in_neon, read)
        if in_neon is None:
            raise
        return in_neon, False


def _galleries_in_neon(read: Callable[[], Connection]) -> set[str] | None:
    with read() as conn, transaction(conn, snapshot=True):
        galleries = _seen(find_app_tables(conn).galleries)
        if galleries is None:
            return None
        column = sql.Identifier(galleries.required_column("id"))
        select = query(
            "queries/collection", "every_gallery", galleries=galleries.identifier, id=column
        )
        return {gallery_id for (gallery_id,) in conn.execute(select)}


async def gallery_cases(
    store: IcpStore,
    read: Callable[[], Connection],
    on_canister: OnCanister,
    *,
    ids: Collection[str],
) -> list[Case]:
    """Some of the canister's galleries against Neon's, and items whose memory is in neither.

    What differs is read again on both sides, and counts where it is what it was.
    """
    ordered = iter(sorted(ids))
    batches = iter(lambda: list(islice(ordered, _GALLERIES_AT_ONCE)), [])

    async def of(some: list[str]) -> AsyncGenerator[list[Case], None]:
        first = await _compared(store, read, on_canister, some)
        differing = {each["gallery_id"] for each in first}
        suspects = [each for each in some if each.lower() in differing]
        if suspects:
            again = await _compared(store, read, on_canister, suspects)
            yield [each for each in again if each in first]

    found: list[Case] = []
    # While one batch is held against Neon the canister answers for the next.
    async with aclosing(merged(map(of, batches), _BATCHES_AT_ONCE)) as several:
        async for cases in several:
            found += cases
    return sorted(found, key=lambda case: case["gallery_id"])


async def _compared(
    store: IcpStore, read: Callable[[], Connection], on_canister: OnCanister, ids: list[str]
) -> list[Case]:
    """The differences of some galleries as they are now."""

    async def on_icp(gallery_id: str) -> tuple[str, list[Item] | None]:
        gallery = await store.canister.gallery(gallery_id)  # it lets so many go as are allowed
        return gallery_id, None if gallery is None else _items_of(gallery)

    copies = dict(await asyncio.gather(*map(on_icp, ids)))
    held = {name: items for name, items in copies.items() if items is not None}
    in_neon, rowless = await asyncio.to_thread(_from_neon, read, held)
    candidates = rowless - await _on_canister(rowless, on_canister)
    found: list[Case] = []
    for gallery_id, items in held.items():
        gone = {memory for memory in map(_pair, items) if memory in candidates}
        name = gallery_id.lower()
        found += [dangling(name, memory, "the canister") for memory in sorted(gone)]
        own = in_neon.get(name)
        if own is not None:
            case = divergence(name, in_order(own, rowless), in_order(items, rowless))
            found += [case] if case else []
    return found


def _from_neon(
    read: Callable[[], Connection], held: Mapping[str, list[Item]]
) -> tuple[dict[str, list[Item]], set[Memory]]:
    """The items of those galleries that Neon has, and the memories of either without a row."""
    with read() as conn, transaction(conn, snapshot=True, statement_timeout=READ_TIMEOUT):
        tables = find_app_tables(conn)
        galleries, items = _seen(tables.galleries), _seen(tables.gallery_items)
        found: dict[str, list[Item]] = {}
        if galleries is not None and items is not None:
            found = _neon_items(conn, galleries, items, list(held))
        memories = {_pair(item) for group in (*held.values(), *found.values()) for item in group}
        return found, _rowless(conn, tables, memories)


def _neon_items(
    conn: Connection, galleries: Table, items: Table, ids: list[str]
) -> dict[str, list[Item]]:
    """The items of some galleries by gallery; no entry for a gallery that is not there."""
    id_column = galleries.required_column("id")
    select = query(
        "queries/collection", "galleries", galleries=galleries.identifier,
        id=sql.Identifier(id_column),
        ids=galleries.keys_array(id_column, _storable(galleries, id_column, ids)),
    )  # fmt: skip
    found: dict[str, list[Item]] = {row[0].lower(): [] for row in conn.execute(select)}
    gallery_column = items.required_column("gallery_id")
    select = query(
        "queries/collection", "items", **item_columns(items),
        position=items.integer("i", "position"),
        ids=items.keys_array(gallery_column, _storable(items, gallery_column, ids)),
    )  # fmt: skip
    for gallery_id, position, memory_id, memory_type in conn.execute(select):
        item = Item(position or 0, memory_id.lower(), memory_type.lower())
        found.setdefault(gallery_id.lower(), []).append(item)
    return found


def _rowless(conn: Connection, tables: AppTables, memories: set[Memory]) -> set[Memory]:
    """Which of some memories have no row, where the table of their type can be seen."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for memory_id, memory_type in memories:
        wanted[memory_type].add(memory_id)
    rowless: set[Memory] = set()
    for memory_type, table in tables.memories.items():
        ids = wanted.get(memory_type.value, set())
        column = table.required_column("id")
        select = query(
            "queries/memories", "present", id=sql.Identifier(column), table=table.identifier,
            ids=table.keys_array(column, _storable(table, column, ids)),
        )  # fmt: skip
        there = {row[0].lower() for row in conn.execute(select)} if ids else set()
        rowless |= {(memory_id, memory_type.value) for memory_id in ids - there}
    return rowless


async def _on_canister(memories: set[Memory], on_canister: OnCanister) -> set[Memory]:
    """Which of some memories are on the canister."""
    gate = asyncio.Semaphore(_LOOK_UPS_AT_ONCE)

    async def ask(memory: Memory) -> bool:
        async with gate:
            return await on_canister(memory)

    ordered = sorted(memories)
    answers = await asyncio.gather(*map(ask, ordered))
    return {memory for memory, there in zip(ordered, answers, strict=True) if there}


def looked_up(store: IcpStore) -> OnCanister:
    """Asks a canister about single memories; one that may not be read counts as there."""

    async def on_canister(memory: Memory) -> bool:
        try:
            return await store.look_up(memory[0], Artifact.METADATA) is not None
        except AccessRefusedError:
            return True

    return on_canister


def _seen(table: Table | None) -> Table | None:
    """A table that can be read whole."""
    return table if table is not None and table.whole else None


def item_columns(items: Table) -> dict[str, sql.Composable]:
    """What a statement over the items of galleries is filled in with: the table and its columns."""
    names = ("gallery_id", "memory_id", "memory_type")
    columns: dict[str, sql.Composable] = {
        name: sql.Identifier(items.required_column(name)) for name in names
    }
    return columns | {"items": items.identifier}


def _storable(table: Table, column: str, ids: Iterable[str]) -> list[str]:
    """Those of some ids that a column can hold."""
    return [each for each in ids if table.columns[column] != "uuid" or is_uuid(each)]


def _items_of(gallery: Mapping[str, Any]) -> list[Item]:
    """The items of a gallery as the canister gave it."""
    return [
        Item(each["position"], each["memory_id"].lower(), each["memory_type"].lower())
        for each in gallery["items"]
    ]


def _pair(item: Item) -> Memory:
    return item.memory_id, item.memory_type


def _memory(case: Case) -> Memory:
    return case["memory_id"], case["memory_type"]
