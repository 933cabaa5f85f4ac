"""The web application: routes of the design's API surface, errors as status codes."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import BeforeValidator
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse

import edgekeeper
from checks.errors import (
    EdgekeeperError,
    IllegalTransitionError,
    NotFoundError,
    StoreError,
    UsageError,
)
from checks.model import Artifact, Backend, MemoryType, SyncState
from edgekeeper.api.guards import BodyLimit, only_described, require_token, true_or_false
from edgekeeper.api.models import (
    EdgePage,
    EdgeUpsert,
    GalleryPresence,
    Health,
    MemoryPresence,
    Problem,
    StorageEdge,
    SyncPage,
)
from tasks import edge_writes, presence
from tasks.conninfo import completed
from tasks.log import mask
from tasks.presence import AsyncConn, Sources

POOL_SIZE = 10
POOL_SECONDS = 5.0
MAX_PAGE = 1_000
LastRun: TypeAlias = Callable[[], dict[str, Any]]
Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[DictRow]]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "The bearer token is missing or wrong."},
    422: {"description": "A field or parameter is malformed; it is named."},
    503: {"model": Problem, "description": "The database can't be asked now."},
}
_UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such gallery or memory."}
}
_Flag: TypeAlias = Annotated[bool | None, BeforeValidator(true_or_false)]
_Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="at most so many")]


async def _connection(request: Request) -> AsyncIterator[AsyncConn]:
    """A connection of the pool for the length of a request."""
    async with _connected(request) as conn:
        yield conn


def _connected(request: Request) -> AbstractAsyncContextManager[AsyncConn]:
    """A connection of the pool, waited for no longer than ``POOL_SECONDS``."""
    pool: Pool = request.app.state.pool
    return pool.connection()


def _sources(request: Request) -> Sources:
    sources: Sources = request.app.state.sources
    return sources


Conn = Annotated[AsyncConn, Depends(_connection)]
From = Annotated[Sources, Depends(_sources)]
health = APIRouter()
router = APIRouter(
    prefix="/api", dependencies=[Depends(require_token), Depends(only_described)],
    responses=_PROBLEMS,
)  # fmt: skip


@router.get("/galleries/{id}/presence", response_model=GalleryPresence, responses=_UNKNOWN)
async def gallery(
    conn: Conn, sources: From, gallery_id: Annotated[UUID, Path(alias="id")]
) -> DictRow:
    """What a gallery's memories add up to, from ``gallery_presence``."""
    return await presence.gallery_presence(conn, sources, str(gallery_id))


@router.get("/memories/{type}/{id}/presence", response_model=MemoryPresence, responses=_UNKNOWN)
async def memory(
    conn: Conn,
    sources: From,
    memory_type: Annotated[MemoryType, Path(alias="type")],
    memory_id: Annotated[UUID, Path(alias="id")],
) -> DictRow:
    """Where one memory's artifacts are, from ``memory_presence``."""
    return await presence.memory_presence(conn, sources, memory_type, str(memory_id))


@router.put(
    "/storage/edges",
    response_model=StorageEdge,
    responses={
        201: {"model": StorageEdge, "description": "There was no such edge; it was made."},
        400: {"model": Problem, "description": "The body is no UTF-8."},
        409: {"model": Problem, "description": "The sync state may not change so."},
        413: {"model": Problem, "description": "The body is too long."},
        **_UNKNOWN,
    },
)
async def upsert(conn: Conn, sources: From, body: EdgeUpsert, response: Response) -> DictRow:
    """Writes one edge: the fields given are set, the others stay as they are.

    The header ``X-Run-Id`` of the answer is what ``edgekeeper revert`` takes to undo the write.
    """
    memory_id = str(body.memory_id)
    memory_type = body.memory_type or await edge_writes.type_of(conn, sources, memory_id)
    key = edge_writes.EdgeKey(memory_id, memory_type, body.artifact, body.backend)
    written = await edge_writes.write_edge(conn, sources, key, body.fields())
    response.status_code = 201 if written.created else 200
    response.headers["X-Run-Id"] = written.run_id
    return written.row


@router.get("/storage/edges", response_model=EdgePage)
async def edges(
    conn: Conn,
    sources: From,
    memory_id: Annotated[UUID | None, Query(alias="memoryId")] = None,
    memory_type: Annotated[MemoryType | None, Query(alias="memoryType")] = None,
    artifact: Artifact | None = None,
    backend: Backend | None = None,
    present: _Flag = None,
    sync_state: Annotated[SyncState | None, Query(alias="syncState")] = None,
    after: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
    limit: _Limit = 100,
) -> dict[str, Any]:
    """The ledger's edges that match, in pages."""
    found = await presence.edges(
        conn, sources, memory_id=str(memory_id) if memory_id else None,
        after=str(after) if after else None, limit=limit, memory_type=memory_type,
        artifact=artifact, backend=backend, present=present, sync_state=sync_state,
    )  # fmt: skip
    more = str(found[-1]["id"]) if len(found) == limit else None
    return {"edges": found, "next": more}


@router.get("/storage/sync-status", response_model=SyncPage)
async def sync_status(
    conn: Conn,
    sources: From,
    sync_state: Annotated[SyncState | None, Query(alias="syncState")] = None,
    backend: Backend | None = None,
    memory_type: Annotated[MemoryType | None, Query(alias="memoryType")] = None,
    stuck: _Flag = None,
    after: Annotated[
        str | None,
        Query(pattern=r"^[0-9a-f-]{36}~[a-z]+~[a-z]+~[a-z-]+$",
              description="`next` of the page before"),
    ] = None,
    limit: _Limit = 100,
) -> dict[str, Any]:  # fmt: skip
    """What is being copied or has failed, from ``sync_status``, in pages."""
    found = await presence.syncs(
        conn, sources, sync_state=sync_state, backend=backend, memory_type=memory_type,
        stuck=stuck, after=after.split("~") if after else None, limit=limit,
    )  # fmt: skip
    key = ("memory_id", "memory_type", "artifact", "backend")
    more = "~".join(str(found[-1][name]) for name in key) if len(found) == limit else None
    return {"syncs": found, "next": more}


@health.get(
    "/healthz",
    response_model=Health,
    responses={503: {"model": Health, "description": "The database can't be asked."}},
)
async def healthz(request: Request) -> Any:
    """Whether the database answers, and when an audit last came to its end."""
    last = request.app.state.last_run()
    try:
        async with presence.in_time(), _connected(request) as conn:
            await conn.execute("SELECT 1")
    except (StoreError, PoolTimeout) as error:
        body = Health(status="unavailable", detail=_told(error), **last)
        return JSONResponse(body.model_dump(mode="json", by_alias=True), 503)
    return Health(status="ok", **last)


def create_app(
    database_url: str,
    sources: Sources,
    *,
    token: str | None,
    last_run: LastRun,
    hosts: Sequence[str] = ("*",),
) -> FastAPI:
    """The application; its pool of connections opens when it starts.

    Args:
        database_url: where the ledger is.
        sources: the tables and views that were found there.
        token: the bearer token, None: none is asked for.
        last_run: gives ``last_completed_run, last_completed_at, last_status`` for ``/healthz``.
        hosts: names by which it may be asked, against pages that rebind a name to this machine.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool: Pool = AsyncConnectionPool(
            completed(database_url, "edgekeeper serve"),
            connection_class=AsyncConnection[DictRow],
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            min_size=2, max_size=POOL_SIZE, timeout=POOL_SECONDS, open=False,
            check=AsyncConnectionPool.check_connection,
        )  # fmt: skip
        async with pool:
            app.state.pool = pool
            yield

    app = FastAPI(
        title="edgekeeper", version=edgekeeper.__version__, lifespan=lifespan,
        summary="Where memories are: presence, storage edges, sync status.",
        docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
    )  # fmt: skip
    app.state.token, app.state.sources, app.state.last_run = token, sources, last_run
    app.include_router(router)
    app.include_router(health)
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    app.add_exception_handler(EdgekeeperError, _explained)
    app.add_exception_handler(PoolTimeout, _explained)
    return app


def _explained(_request: Request, error: Exception) -> JSONResponse:
    """An error of ours as a status code; what is not the caller's fault is 503."""
    match error:
        case NotFoundError():
            code = 404
        case IllegalTransitionError():
            code = 409
        case UsageError() if not isinstance(error, StoreError):
            code = 422
        case _:
            code = 503
    headers = {"Retry-After": "5"} if code == 503 else None  # noqa: PLR2004
    return JSONResponse({"detail": _told(error)}, code, headers)


def _told(error: Exception) -> str:
    """An error's text without secrets."""
    if isinstance(error, PoolTimeout):
        return f"No connection to the database came free within {POOL_SECONDS:.0f} s."
    return mask(str(error))
