"""``edgekeeper presence``: where a gallery or a memory is, as the ledger says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from checks.model import Backend, MemoryType, SyncState
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.presence import AsyncConn, Sources

app = typer.Typer(help="Where a gallery or a memory is, as the ledger says.",
                  no_args_is_help=True)  # fmt: skip


@app.command("gallery")
@command
def gallery(
    out: Output, gallery_id: Annotated[UUID, typer.Argument(metavar="ID", help="The gallery.")]
) -> int:
    """Show what a gallery's memories add up to: the view gallery_presence.

    This is what the ledger says; `edgekeeper verify` looks at the bytes themselves.

    Example: edgekeeper presence gallery 3f0b7a52-6c1e-4a1f-9d8e-0c7f5a2b9e11

    Exit codes: 0 it was shown; 2 there is no such gallery; 3 the database can't be reached.
    """
    from edgekeeper.api.models import GalleryPresence  # noqa: PLC0415 - --help does without
    from tasks.presence import gallery_presence  # noqa: PLC0415

    row = _asked(lambda conn, sources: gallery_presence(conn, sources, str(gallery_id)))
    return _show_one(out, GalleryPresence, row)


@app.command("memory")
@command
def memory(
    out: Output,
    memory_type: Annotated[MemoryType, typer.Argument(metavar="TYPE", help="Its type.")],
    memory_id: Annotated[UUID, typer.Argument(metavar="ID", help="The memory.")],
) -> int:
    """Show where one memory's artifacts are: the view memory_presence.

    Example: edgekeeper presence memory image 3f0b7a52-6c1e-4a1f-9d8e-0c7f5a2b9e11

    Exit codes: 0 it was shown; 2 there is no such memory; 3 the database can't be reached.
    """
    from edgekeeper.api.models import MemoryPresence  # noqa: PLC0415 - --help does without
    from tasks.presence import memory_presence  # noqa: PLC0415

    row = _asked(lambda conn, sources: memory_presence(conn, sources, memory_type, str(memory_id)))
    return _show_one(out, MemoryPresence, row)


@app.command("syncs")
@command
def syncs(
    out: Output,
    sync_state: Annotated[
        SyncState | None, typer.Option("--state", help="Only these, such as migrating.")
    ] = None,
    backend: Annotated[Backend | None, typer.Option(help="Only to this store.")] = None,
    memory_type: Annotated[
        MemoryType | None, typer.Option("--type", help="Only of this type.")
    ] = None,
    stuck: Annotated[
        bool | None, typer.Option("--stuck/--moving", help="Only stuck ones, or only others.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 100,
) -> int:
    """Show what is being copied or has failed: the view sync_status.

    Example: edgekeeper presence syncs --stuck

    Exit codes: 0 they were shown; 2 settings; 3 the database can't be reached.
    """
    from edgekeeper.api.models import SyncStatus  # noqa: PLC0415 - --help does without
    from tasks.presence import syncs as ask  # noqa: PLC0415

    found = _asked(
        lambda conn, sources: ask(
            conn, sources, sync_state=sync_state, backend=backend, memory_type=memory_type,
            stuck=stuck, limit=limit,
        )
    )  # fmt: skip
    rows = [_named(SyncStatus, row) for row in found]
    out.json({"syncs": rows})
    columns = ("memoryType", "memoryId", "artifact", "backend", "syncState", "isStuck", "syncError")
    out.table(columns, [[row[name] for name in columns] for row in rows])
    more = f" (the first {limit:,}; --limit shows more)" if len(rows) == limit else ""
    out.say(f"\nSyncs: {len(rows):,}{more}" if rows else "Nothing is being copied or has failed.")
    return 0


def _show_one(out: Output, model: Any, row: dict[str, Any]) -> int:
    """Shows one row, a field a line."""
    shown = _named(model, row)
    out.json(shown)
    out.table(("field", "value"), list(shown.items()))
    return 0


def _named(model: Any, row: dict[str, Any]) -> dict[str, Any]:
    """A row in the design's field names."""
    named: dict[str, Any] = model.model_validate(row).model_dump(mode="json", by_alias=True)
    return named


def _asked(question: Callable[["AsyncConn", "Sources"], Awaitable[Any]]) -> Any:
    """The answer to a question about the configured database."""
    from psycopg import AsyncConnection  # noqa: PLC0415 - --help does without all of these
    from psycopg.rows import dict_row  # noqa: PLC0415

    from edgekeeper.cli.schema import database  # noqa: PLC0415
    from tasks.conninfo import completed  # noqa: PLC0415
    from tasks.presence import find_sources, in_time  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    with database("presence", settings) as conn:  # which also wakes a sleeping compute up
        sources = find_sources(conn)

    async def ask() -> Any:
        conninfo = completed(settings.batch_database_url, "edgekeeper presence")
        async with in_time():
            opened = await AsyncConnection.connect(
                conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row
            )
        async with opened as conn:
            return await question(conn, sources)

    return asyncio.run(ask())
