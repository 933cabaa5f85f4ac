"""Connection strings of Postgres as libpq reads them: where they lead, and how that is protected.

What a string leaves out libpq takes from variables such as ``PGHOSTADDR`` and ``PGSSLMODE``, and
from the service file that ``PGSERVICE`` names. So what would be used in the end is what is judged.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from checks.errors import SettingsError
from checks.normal import LOOPBACK_HOSTS

CONNECT_TIMEOUT_SECONDS = 15
EXAMPLE = "postgresql://user:password@host/db?sslmode=require"
_SCHEMES = ("postgres", "postgresql")
_PROTECTED = ("require", "verify-ca", "verify-full")
_UNPROTECTED = ("disable", "allow", "prefer")
_HIGHEST_PORT = 65_535
Parameters = Mapping[str, Any]


def parameters_of(url: str) -> dict[str, Any]:
    """What a connection string says, by libpq's names.

    Raises ValueError where it is none; its text never repeats the string, nor so the password.
    """
    try:
        parameters = conninfo_to_dict(url)
        is_url = urlsplit(url).scheme in _SCHEMES
        ports = [int(each) for each in str(parameters.get("port") or "").split(",") if each]
    except (psycopg.ProgrammingError, ValueError):
        raise ValueError("it is no postgresql:// connection string") from None
    if not is_url or not all(0 < port <= _HIGHEST_PORT for port in ports):
        raise ValueError("it is no postgresql:// connection string")
    return parameters


def stays_here(parameters: Parameters) -> bool:
    """Whether every host it could lead to is this machine; of a service's hosts nothing is known.

    ``hostaddr`` is what is connected to, whatever ``host`` says, and each may be a list.
    """
    default = _defaults()
    if parameters.get("service") or default.get("service"):
        return False
    named = (str(parameters.get(name) or default.get(name) or "") for name in ("host", "hostaddr"))
    hosts = [host.strip().lower() for each in named for host in each.split(",") if host.strip()]
    return all(host in LOOPBACK_HOSTS or host.startswith("/") for host in hosts)


def require_protection(parameters: Parameters) -> None:
    """Raises ValueError where plain text could go over a network because somebody asked for it."""
    if stays_here(parameters):
        return
    mode = parameters.get("sslmode")
    if mode is None:
        mode = _defaults().get("sslmode")
        if mode not in _UNPROTECTED or mode == _compiled_mode():
            return  # then it is set by us
        raise ValueError(
            f"PGSSLMODE, or a service file, asks for sslmode={mode}, which sends family data "
            "unprotected; use verify-full"
        )
    if mode in _UNPROTECTED:
        raise ValueError(f"sslmode={mode} sends family data unprotected; use sslmode=verify-full")
    if mode not in _PROTECTED:
        raise ValueError("its sslmode is none that libpq knows; use sslmode=verify-full")


def checks_server(parameters: Parameters) -> bool:
    """Whether somebody in between would be noticed: by the certificate, or by channel binding."""
    default = _defaults()
    mode, binding = (
        parameters.get(name) or default.get(name) for name in ("sslmode", "channel_binding")
    )
    return stays_here(parameters) or mode in ("verify-ca", "verify-full") or binding == "require"


def completed(url: str, purpose: str) -> str:
    """The connection string with what we always want; a mode that protects, where none is named.

    Raises SettingsError where it can't be parsed, or would send plain text over a network.
    """
    try:
        given = conninfo_to_dict(url)
        require_protection(given)
    except psycopg.ProgrammingError:  # libpq repeats the string, and so the password
        raise SettingsError(
            f"The connection string of the database can't be parsed. Example: {EXAMPLE}"
        ) from None
    except ValueError as error:
        raise SettingsError(f"The connection string of the database: {error}.") from None
    wanted: dict[str, Any] = {"application_name": purpose, "client_encoding": "UTF8"}
    if "connect_timeout" not in given:
        wanted["connect_timeout"] = CONNECT_TIMEOUT_SECONDS
    if "sslmode" not in given and not stays_here(given):
        named = _defaults().get("sslmode")
        wanted["sslmode"] = named if named in _PROTECTED else "require"
    return make_conninfo(url, **wanted)


def _defaults() -> dict[str, str]:
    """What libpq uses where a connection string says nothing: of its environment, or its own."""
    options = psycopg.pq.Conninfo.get_defaults()
    return {each.keyword.decode(): each.val.decode() for each in options if each.val}


def _compiled_mode() -> str:
    """The mode that libpq has by itself, which nobody asked for."""
    options = psycopg.pq.Conninfo.get_defaults()
    found = next((each.compiled for each in options if each.keyword == b"sslmode"), None)
    return (found or b"").decode()
