"""What is set up so that it works and is not safe: said by ``doctor``, each with what to do."""

import stat
from pathlib import Path

from tasks.conninfo import checks_server, parameters_of
from tasks.settings import Settings, variable
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


def _unchecked_server(settings: Settings, field: str) -> str | None:
    """That TLS to the database does not tell who answers."""
    url = getattr(settings, field)
    if url is None or checks_server(parameters_of(url.get_secret_value())):
        return None
    return (
        f"{variable(field)}: the connection is encrypted, but nobody checks who answers. Add "
        "channel_binding=require, or sslmode=verify-full with sslrootcert"
    )
