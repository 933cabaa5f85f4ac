"""``edgekeeper serve``: the design's API surface over HTTP."""

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.settings import Settings

#: Requests in flight at once; more are answered with 503.
_CONCURRENCY = 200
_STALE_SECONDS = 10.0


@command
def serve(
    out: Output,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8090,
) -> int:
    """Answer the web app: presence of galleries and memories, edges, sync status.

    GET /api/galleries/{id}/presence, GET /api/memories/{type}/{id}/presence,
    GET and PUT /api/storage/edges, GET /api/storage/sync-status, GET /healthz; described in
    /openapi.json. With EDGEKEEPER_API_TOKEN set every request but /healthz must bring it as a
    bearer token; without it only this machine is served.

    Example: edgekeeper serve

    Example: EDGEKEEPER_API_TOKEN=… edgekeeper serve --host 0.0.0.0 --port 8080

    Exit codes: 0 it was stopped; 2 settings, or a schema that is not there; 3 the database can't
    be reached.
    """
    import uvicorn  # noqa: PLC0415 - --help does without

    from checks.errors import UsageError  # noqa: PLC0415
    from checks.normal import LOOPBACK_HOSTS  # noqa: PLC0415
    from tasks.settings import load_settings, variable  # noqa: PLC0415

    settings = load_settings()
    if settings.api_token is None and host not in LOOPBACK_HOSTS:
        raise UsageError(
            f"--host {host}: without {variable('api_token')} only this machine is served. Set it "
            "to a long random text, or leave --host out."
        )
    app = _application(settings, host)
    config = uvicorn.Config(
        app, host=host, port=port, access_log=False, log_config=None, server_header=False,
        limit_concurrency=_CONCURRENCY, timeout_keep_alive=20, timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=16 * 1024,
    )  # fmt: skip
    server = uvicorn.Server(config)
    listening = _bound(config, host, port)
    out.progress(f"Serving on http://{host}:{listening.getsockname()[1]} (Ctrl-C stops it)")
    server.run(sockets=[listening])
    return 0


def _bound(config: Any, host: str, port: int) -> Any:
    """The socket to listen on. Raises UsageError where the address can't be had."""
    import socket  # noqa: PLC0415

    from checks.errors import UsageError  # noqa: PLC0415

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=config.backlog)
    except OSError as error:
        raise UsageError(f"--host {host} --port {port}: {error.strerror or error}.") from error


def _application(settings: "Settings", host: str) -> Any:
    """The web application over the configured database."""
    from checks.errors import SettingsError  # noqa: PLC0415
    from edgekeeper.api.app import create_app  # noqa: PLC0415
    from tasks import log  # noqa: PLC0415
    from tasks.database import connect  # noqa: PLC0415
    from tasks.presence import find_sources  # noqa: PLC0415
    from tasks.schema import ensure_audit_schema  # noqa: PLC0415
    from tasks.settings import missing  # noqa: PLC0415

    log.protect(settings)
    pooled = settings.database_url or settings.database_url_unpooled
    if pooled is None:
        raise SettingsError(missing("database_url"))
    url = pooled.get_secret_value()
    with connect(url, purpose="edgekeeper serve") as conn:
        sources = find_sources(conn)
        ensure_audit_schema(conn)  # every write is journaled there
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return create_app(
        url, sources, token=token, last_run=_last_run(settings),
        hosts=("*",) if token else (host, "localhost", "127.0.0.1", "[::1]"),
    )  # fmt: skip


def _last_run(settings: "Settings") -> Any:
    """A function that says when an audit last came to its end; it looks every ten seconds."""
    import time  # noqa: PLC0415

    from tasks.audit import NIGHTLY_AUDIT  # noqa: PLC0415
    from tasks.run_directory import completed_runs, local_home  # noqa: PLC0415

    @functools.lru_cache(maxsize=1)
    def looked(_tick: int) -> dict[str, Any]:
        run = next(completed_runs(local_home(settings.home), NIGHTLY_AUDIT), None)
        if run is None:
            return {}
        return {
            "last_completed_run": run.run_id, "last_status": run.status.value,
            "last_completed_at": run.finished_at,
        }  # fmt: skip

    return lambda: looked(int(time.monotonic() / _STALE_SECONDS))
