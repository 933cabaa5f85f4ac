"""Is it the right store? The first run pins which stores they are; other ones are refused.

A token of the staging store or a connection string to a restored copy would otherwise make a whole
collection look lost.
"""

from collections.abc import Mapping

from checks.errors import AccessRefusedError, StoreIdentityError
from checks.model import Backend
from tasks.database import Connection, transaction
from tasks.queries import query
from tasks.settings import Settings


def configured_identities(conn: Connection, settings: Settings) -> dict[Backend, str]:
    """What tells each configured store from any other one, without asking the stores themselves."""
    found = {
        Backend.NEON: _database_identity(conn),
        Backend.BLOB: settings.blob_store_id,
        Backend.ICP: settings.canister_id,
    }
    return {backend: identity for backend, identity in found.items() if identity}


def _database_identity(conn: Connection) -> str | None:
    """The database's own identity, None where this user may not ask for it."""
    try:
        with transaction(conn, snapshot=True):
            row = conn.execute(query("queries/store_identity", "database_identity")).fetchone()
    except AccessRefusedError:
        return None
    return str(row[0]) if row else None


def check_pinned(
    conn: Connection, identities: Mapping[Backend, str], run_id: str, *, accept: bool
) -> None:
    """Pins stores that were never seen, and refuses those that are not the pinned ones.

    Raises StoreIdentityError, before anything is pinned, unless ``accept`` is set.
    """
    pinned = pinned_identities(conn)
    others = [
        f"{backend} was {pinned[backend]} and is now {identity}"
        for backend, identity in identities.items()
        if pinned.get(backend, identity) != identity
    ]
    if others and not accept:
        raise StoreIdentityError(
            f"{'; '.join(others)}: not the store that earlier runs saw. Check the settings, or "
            "pass --accept-new-store if this is meant."
        )
    with transaction(conn):
        for backend, identity in identities.items():
            conn.execute(
                query("queries/store_identity", "pin"),
                {"backend": backend.value, "identity": identity, "run_id": run_id},
            )


def pinned_identities(conn: Connection) -> dict[str, str]:
    """The pinned identity of each backend that has one."""
    with transaction(conn, snapshot=True):
        return dict(conn.execute(query("queries/store_identity", "pinned")).fetchall())
