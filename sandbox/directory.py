"""The directory a sandbox lives in: what was chosen when it was made, and where its files are.

Ports, passwords and keys are chosen once: the app's rows hold URLs with the port in them, so a
restart must come back with the same ones.
"""

import json
import os
import random
import secrets
import shlex
import socket
import string
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from sandbox.app_tables import APP_TABLES, AppTables
from sandbox.errors import SandboxError
from sandbox.identity import write_identity

Variant = Literal["document", "deployed"]
VARIANTS: tuple[str, ...] = get_args(Variant)

HOST = "127.0.0.1"
CANISTER_ID = "bkyz2-fmaaa-aaaaa-qaaaq-cai"  # what local replicas give the first canister
DATABASE = "app"
ROLE = "sandbox"
# Below the range that systems take the ports of outgoing connections from: a port that is free
# once is then likely to be free at the next start too.
PORTS = range(20_000, 32_000)
PORT_TRIES = 200


@dataclass(frozen=True, slots=True)
class Choices:
    """What was chosen when the sandbox was made."""

    variant: str
    postgres_port: int
    blob_port: int
    icp_port: int
    database_password: str
    blob_token: str


@dataclass(frozen=True)
class SandboxDirectory:
    """Where the files of one sandbox are."""

    path: Path

    @property
    def postgres(self) -> Path:
        """Postgres' data directory."""
        return self.path / "postgres"

    @property
    def blob(self) -> Path:
        """The blob stand-in's storage."""
        return self.path / "blob"

    @property
    def icp(self) -> Path:
        """The Internet Computer stand-in's storage."""
        return self.path / "icp"

    @property
    def logs(self) -> Path:
        """The processes' output."""
        return self.path / "logs"

    @property
    def identity(self) -> Path:
        """The PEM that edgekeeper signs its requests with."""
        return self.path / "identity.pem"

    @property
    def env_file(self) -> Path:
        """The settings for edgekeeper."""
        return self.path / ".env"

    @property
    def lock_file(self) -> Path:
        """Locked for as long as the processes run; holds the supervisor's process id."""
        return self.path / "supervisor.pid"

    @property
    def choices_file(self) -> Path:
        """What was chosen when the sandbox was made."""
        return self.path / "sandbox.json"

    @classmethod
    def of(cls, path: Path) -> "SandboxDirectory":
        """The sandbox in ``path``, which need not be there yet."""
        return cls(path.expanduser().resolve())

    @classmethod
    def existing(cls, path: Path) -> "SandboxDirectory":
        """The sandbox that was made in ``path`` before.

        Raises SandboxError where there is none.
        """
        directory = cls.of(path)
        if not directory.choices_file.exists():
            raise SandboxError(
                f"{directory.path}: no sandbox here; start one with "
                f"`edgekeeper sandbox up --dir {shlex.quote(str(directory.path))}`"
            )
        return directory

    @cached_property
    def choices(self) -> Choices:
        """What was chosen when the sandbox was made.

        Raises SandboxError where the file that holds it is damaged.
        """
        try:
            return Choices(**json.loads(self.choices_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SandboxError(
                f"{self.choices_file}: can't be read ({error}); remove {self.path} and start anew"
            ) from error

    @property
    def tables(self) -> AppTables:
        """What the app's tables are called here."""
        return APP_TABLES[self.choices.variant]

    @property
    def database_url(self) -> str:
        """How to connect to the database, as superuser."""
        password, port = self.choices.database_password, self.choices.postgres_port
        return f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}"

    @property
    def blob_origin(self) -> str:
        """The origin of object URLs, without a slash at the end."""
        return f"http://{HOST}:{self.choices.blob_port}"

    @property
    def icp_origin(self) -> str:
        """The origin of the Internet Computer stand-in."""
        return f"http://{HOST}:{self.choices.icp_port}"

    def make(self, variant: str | None) -> None:
        """Make the directory and choose, or check that what is there is of this variant.

        Raises SandboxError where the directory can't be made or is of another variant.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"{self.path}: can't be made ({error.strerror}); choose another --dir"
            ) from error
        if not self.choices_file.exists():
            chosen = _choose(variant or "document")
            write_private(self.choices_file, json.dumps(asdict(chosen), indent=2))
        if variant is not None and variant != self.choices.variant:
            raise SandboxError(
                f"{self.path} is a sandbox of the variant {self.choices.variant!r}; "
                f"choose another --dir for {variant!r}"
            )
        write_identity(self.identity)

    def settings(self) -> dict[str, str]:
        """Every setting that edgekeeper needs to work on this sandbox, paths absolute.

        Raises SandboxError where the Internet Computer stand-in never ran.
        """
        root_key = self.icp / "root_key.hex"
        if not root_key.exists():
            raise SandboxError(
                f"{self.path}: the sandbox was never started; run "
                f"`edgekeeper sandbox up --dir {shlex.quote(str(self.path))}`"
            )
        return {
            "DATABASE_URL": self.database_url,
            "DATABASE_URL_UNPOOLED": self.database_url,
            "BLOB_READ_WRITE_TOKEN": self.choices.blob_token,
            "VERCEL_BLOB_API_URL": f"{self.blob_origin}/api/blob",
            "IC_URL": self.icp_origin,
            "CANISTER_ID_BACKEND": CANISTER_ID,
            "IC_IDENTITY_PEM": str(self.identity),
            "IC_ROOT_KEY": root_key.read_text(encoding="ascii").strip(),
            "EDGEKEEPER_BLOB_PLAN": "unlimited",
            "EDGEKEEPER_IC_RATE": "32",
            "EDGEKEEPER_HOME": str(self.path / "home"),
            "EDGEKEEPER_GRACE_MINUTES": "60",
            "EDGEKEEPER_STUCK_MINUTES": "30",
        }

    def write_blob_token(self) -> Path:
        """Write the blob store's token to a file of its own, readable by the owner only."""
        path = self.path / "blob-token"
        write_private(path, self.choices.blob_token)
        return path

    def write_env_file(self) -> None:
        """Write the settings to ``.env``, readable by the owner only."""
        write_private(self.env_file, dotenv(self.settings()))


def dotenv(settings: Mapping[str, str]) -> str:
    """The settings as the text of a ``.env`` file."""
    return "".join(f"{name}={_dotenv_value(value)}\n" for name, value in settings.items())


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    unfinished = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        unfinished.unlink()
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)


def _dotenv_value(value: str) -> str:
    plain = string.ascii_letters + string.digits + "_-./:@%+,"
    if all(letter in plain for letter in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _choose(variant: str) -> Choices:
    postgres_port, blob_port, icp_port = _free_ports(3)
    letters = string.ascii_letters + string.digits
    store_id = "".join(secrets.choice(letters) for _ in range(16))
    return Choices(
        variant=variant,
        postgres_port=postgres_port,
        blob_port=blob_port,
        icp_port=icp_port,
        database_password=secrets.token_hex(16),
        blob_token=f"vercel_blob_rw_{store_id}_{secrets.token_hex(16)}",
    )


def _free_ports(count: int) -> list[int]:
    free: list[int] = []
    for port in random.SystemRandom().sample(PORTS, PORT_TRIES):
        if is_free(port):
            free.append(port)
        if len(free) == count:
            return free
    raise SandboxError(f"no {count} free ports from {PORTS.start} to {PORTS.stop - 1} on {HOST}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
