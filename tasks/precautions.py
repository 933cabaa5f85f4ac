"""What is set up so that it works and is not safe: said by ``doctor``, each with what to do."""

import os
import stat
from pathlib import Path

from tasks.conninfo import checks_server, parameters_of
from tasks.settings import Settings, is_loopback, variable
from tasks.stores.icp.identity import path_of

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_DATABASE_FIELDS = ("database_url", "database_url_unpooled")


def precautions(settings: Settings, env_file: Path = Path(".env")) -> list[str]:
    """A sentence for each, without a secret in it."""
    pem = settings.identity_pem
    key = path_of(pem.get_secret_value()) if pem is not None else None
    found = [
        _readable_by_others(variable("identity_pem"), "the file it names", key),
        _readable_by_others(str(env_file), "it", env_file),
        *(_unchecked_server(settings, field) for field in _DATABASE_FIELDS),
        _plain_cluster(settings),
    ]
    return [sentence for sentence in found if sentence is not None]


def _readable_by_others(name: str, what: str, path: Path | None) -> str | None:
    """That a file with secrets is open to others on this machine."""
    try:
        mode = path.stat().st_mode if path is not None else 0
    except OSError:
        return None  # that it is not there is said by whoever needs it
    if not mode & _OTHERS:
        return None
    return (
        f"{name}: others on this machine may use {what} (mode {stat.S_IMODE(mode):04o}). Let only "
        f"its owner: chmod 600"
    )


def _plain_cluster(settings: Settings) -> str | None:
    """That the settings would go to a cluster's workers for all on its network to read."""
    kind, _, address = settings.task_runner.partition(":")
    url = address if "://" in address else f"tcp://{address}"
    safe = url.startswith("tls://") if kind == "dask" else os.environ.get("RAY_USE_TLS") == "1"
    if not address or address == "auto" or safe or is_loopback(url):
        return None
    return (
        f"{variable('task_runner')}: the settings, secrets among them, go to the workers without "
        "TLS, and whoever reaches the scheduler can have it run anything. See docs/cluster.md"
    )


def _unchecked_server(settings: Settings, field: str) -> str | None:
    """That TLS to the database does not tell who answers."""
    url = getattr(settings, field)
    if url is None or checks_server(parameters_of(url.get_secret_value())):
        return None
    return (
        f"{variable(field)}: the connection is encrypted, but nobody checks who answers. Add "
        "channel_binding=require, or sslmode=verify-full with sslrootcert"
    )
