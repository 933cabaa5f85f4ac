"""A PgBouncer in transaction mode before a sandbox's Postgres, as Neon's pooler is one.

It hands out a server connection per transaction, and with ``server_round_robin`` nearly always
another one than before: what somebody leaves behind in a session is missed or found by somebody
else at once.
"""

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from sandbox import postgres

START_SECONDS = 15
SERVERS = 3
#: Debian puts it where only root's PATH leads.
PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
_CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
server_round_robin = 1
default_pool_size = {servers}
query_wait_timeout = 20
admin_users = {user}
logfile = {log}
"""


class TransactionPooler:
    """A running PgBouncer.

    Attributes:
        url: how to connect to the database through it.
    """

    def __init__(self, database_url: str, directory: Path) -> None:
        """Starts it; ``directory`` is for its files."""
        assert PROGRAM is not None
        server = urlsplit(database_url)
        listen = _free_port()
        self.url = server._replace(
            netloc=f"{server.username}:{server.password}@127.0.0.1:{listen}"
        ).geturl()
        user = postgres.ServerUser.suitable()  # it refuses to run as root, as Postgres does
        directory.mkdir(mode=0o700)
        users, configuration = directory / "users.txt", directory / "pgbouncer.ini"
        users.write_text(f'"{server.username}" "{server.password}"\n')
        configuration.write_text(_CONFIGURATION.format(
            host=server.hostname, port=server.port, listen=listen, user=server.username,
            servers=SERVERS, users="users.txt", log="pgbouncer.log",
        ))  # fmt: skip
        for path in (directory, users, configuration):
            user.own(path)
        self._process = subprocess.Popen(
            [PROGRAM, "--quiet", configuration.name], cwd=directory, user=user.name,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath},
        )  # fmt: skip
        self._wait(directory / "pgbouncer.log")

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                written = log.read_text() if log.exists() else "nothing"
                assert self._process.poll() is None, f"PgBouncer ended; it wrote: {written}"
                assert time.monotonic() < deadline, f"PgBouncer does not answer: {written}"
                time.sleep(0.05)
            else:
                return

    def widen(self) -> None:
        """Makes it open all its server connections, among which it goes round from then on."""
        with ExitStack() as stack:
            for _ in range(SERVERS):
                conn = stack.enter_context(psycopg.connect(self.url))
                conn.execute("SELECT")  # in a transaction, which keeps its server connection

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
