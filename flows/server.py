"""A temporary Prefect server for one command, which ends with it, however the command ends.

The server is a child process that holds one end of a pipe as its standard input; only the command
holds the other end. When the command is gone, also after SIGKILL, the read ends and so does the
server. Its database is kept under ``$EDGEKEEPER_HOME/prefect``, so that it is migrated only once.

Importing this module loads nothing of Prefect: the server is to start while the command still
imports what it needs.
"""

import atexit
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from checks.errors import EdgekeeperError

START_SECONDS = 120
STOP_SECONDS = 5

#: For every process that imports Prefect: no telemetry, no sign-up notices, no log of its own.
QUIET = {
    "DO_NOT_TRACK": "1",  # the analytics of Prefect's client library, and other libraries'
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_CLI_PROMPT": "false",
}

#: What a server that lives as long as one command has no use for.
_LEAN = {
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_LOGGER_ENABLED": "false",
}


#: What of the command's environment the server gets: none of the settings with secrets in them.
_INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_",
    "TMP",
    "TEMP",
    "PYTHON",
    "PREFECT_",
    "VIRTUAL_",
)


class ServerError(EdgekeeperError):
    """The temporary Prefect server did not start."""


class TemporaryServer:
    """A Prefect server in a child process; ``start`` returns at once, ``url`` waits for it."""

    def __init__(self, home: Path) -> None:
        """Remember where it is to keep its database; nothing is started yet.

        ``home`` is the directory for Prefect's files, made where it is not there.
        """
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._url: str | None = None

    @property
    def log(self) -> Path:
        """Where the server writes what goes wrong."""
        return self._home / "server.log"

    def start(self) -> "TemporaryServer":
        """Starts the process and does not wait for it."""
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        root = str(Path(__file__).resolve().parent.parent)
        search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        inherited = {k: v for k, v in os.environ.items() if k.startswith(_INHERITED)}
        own = {"PREFECT_HOME": str(self._home), "PYTHONPATH": search}
        environment = {**_LEAN, **inherited, **QUIET, **own}
        environment.pop("PREFECT_API_URL", None)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "flows.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._home,  # a .env or prefect.toml where the command runs is not for it
                env=environment,
                start_new_session=True,  # Ctrl-C is for the command, which then ends the server
            )
        return self

    def url(self) -> str:
        """The API's URL, as soon as the server answers.

        Raises ServerError where it ends or takes too long.
        """
        if self._url is None:
            assert self._process is not None  # noqa: S101 - start() comes first
            assert self._process.stdout is not None  # noqa: S101 - it is a pipe
            timer = threading.Timer(START_SECONDS, self._process.kill)
            timer.daemon = True
            timer.start()
            line = self._process.stdout.readline().decode().strip()
            timer.cancel()
            if not line:
                self.stop()
                raise ServerError(
                    f"The temporary Prefect server did not start: {_last_line(self.log)} See "
                    f"{self.log}, or set PREFECT_API_URL to a server of your own."
                )
            self._url = line
        return self._url

    def stop(self) -> None:
        """Ends the server and waits until it is gone."""
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@dataclass(slots=True)
class _Begun:
    """The server of this process, if it needs one."""

    server: TemporaryServer | None


_begun: list[_Begun] = []


def begin(home: Path) -> None:
    """Prepares this process for Prefect, and starts a temporary server where none is configured.

    Call it before anything imports Prefect, as early as the settings are known: the server then
    starts while the rest is imported. Only the first call of a process does anything.

    Args:
        home: ``$EDGEKEEPER_HOME``.
    """
    if _begun:
        return
    os.environ.update(QUIET)
    if _configured_server():
        _begun.append(_Begun(None))
        return
    # Nobody reads the logs of a server that ends with the command; ours are in log.jsonl.
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    os.environ["PREFECT_HOME"] = str(home / "prefect")
    server = TemporaryServer(home / "prefect")
    _begun.append(_Begun(server))
    atexit.register(server.stop)
    server.start()


def api_url(home: Path) -> str | None:
    """The URL of the temporary server once it answers; None where one of your own is configured.

    Raises ServerError where it does not start.
    """
    begin(home)
    server = _begun[0].server
    return None if server is None else server.url()


def _configured_server() -> bool:
    """Whether there is a server to use: named in the environment, or in ``.env`` as ours may be."""
    from dotenv import dotenv_values  # noqa: PLC0415 - pydantic-settings has loaded it by now

    url = os.environ.get("PREFECT_API_URL") or dotenv_values(".env").get("PREFECT_API_URL")
    if url:
        os.environ["PREFECT_API_URL"] = url
    return bool(url)


def _last_line(path: Path) -> str:
    """The last line of a log, or a word that there is none."""
    lines = path.read_text("utf-8", "replace").split("\n") if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing.")


def _end_with(pipe: IO[bytes]) -> None:
    """Waits until the other end of the pipe is closed, then ends this process at once."""
    pipe.read()
    os._exit(0)  # the database is SQLite in WAL mode: it needs no farewell


def serve() -> None:
    """Runs the server on a free loopback port and prints the API's URL once it answers."""
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    import fcntl  # noqa: PLC0415 - only the child needs these
    import socket  # noqa: PLC0415

    import uvicorn  # noqa: PLC0415
    from prefect.server.api.server import create_app  # noqa: PLC0415

    lock = (Path(os.environ["PREFECT_HOME"]) / "starting.lock").open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)  # two at once must not migrate one database

    class AnnouncingServer(uvicorn.Server):
        """Says where it listens as soon as it does."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                lock.close()
                port = self.servers[0].sockets[0].getsockname()[1]
                sys.stdout.write(f"http://127.0.0.1:{port}/api\n")
                sys.stdout.flush()

    app = create_app(ephemeral=True, final=True)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", access_log=False, lifespan="on"
    )
    AnnouncingServer(config).run()


if __name__ == "__main__":
    serve()
