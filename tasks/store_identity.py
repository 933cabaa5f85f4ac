"""Is it the right store? The first run pins which stores they are; other ones are refused.

A token of the staging store or a connection string to a restored copy would otherwise make a whole
collection look lost.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from checks.errors import AccessRefusedError, StoreError, StoreIdentityError
from checks.model import Backend
from tasks.database import Connection, transaction
from tasks.queries import query
from tasks.settings import Settings
from tasks.stores import open_store
from tasks.stores.icp.store import IcpStore

#: How long a start waits for a store; one that is slower is not pinned in this run.
ANSWER_SECONDS = 10.0


def configured_identities(conn: Connection, settings: Settings) -> dict[Backend, str]:
    """What tells each configured store from any other one, without asking the stores themselves."""
    found = {backend: settings.store_name(backend) for backend in Backend}
    found[Backend.NEON] = _database_identity(conn)
    return {backend: identity for backend, identity in found.items() if identity}


def _database_identity(conn: Connection) -> str | None:
    """The database's own identity, None where this user may not ask for it."""
    try:
        with transaction(conn, snapshot=True):
            row = conn.execute(query("queries/store_identity", "database_identity")).fetchone()
    except AccessRefusedError:
        return None
    return str(row[0]) if row else None


def answering(settings: Settings, backends: Collection[Backend]) -> frozenset[Backend]:
    """Which of ``backends`` answered just now as the store that the settings name.

    They are asked side by side and for a few seconds. The database is one: it is connected already.
    Raises SettingsError where a store can't be asked with these settings, or is too old.
    """
    asked = [backend for backend in Backend if backend in backends and settings.store_name(backend)]
    return asyncio.run(_answering(settings, asked)) | {Backend.NEON}


async def _answering(settings: Settings, backends: Sequence[Backend]) -> frozenset[Backend]:
    asked = (_answers(settings, backend) for backend in backends)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return frozenset(each for each, there in zip(backends, answers, strict=True) if there)


async def _answers(settings: Settings, backend: Backend) -> bool:
    """Whether one store answered. What keeps it from answering is the listing's to say."""
    store = open_store(backend, settings)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            if isinstance(store, IcpStore):
                await store.check_interface()
            await store.identity()
    except (StoreError, TimeoutError):
        return False
    finally:
        await store.aclose()
    return True


def check_pinned(
    conn: Connection,
    identities: Mapping[Backend, str],
    run_id: str,
    answered: Collection[Backend],
    *,
    accept: bool,
) -> None:
    """Pins stores that were never seen, and refuses those that are not the pinned ones.

    Only those that ``answered`` are pinned: a slip in the settings must not become the truth.

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
            if backend in answered:
                conn.execute(
                    query("queries/store_identity", "pin"),
                    {"backend": backend.value, "identity": identity, "run_id": run_id},
                )


def pinned_identities(conn: Connection) -> dict[str, str]:
    """The pinned identity of each backend that has one."""
    with transaction(conn, snapshot=True):
        return dict(conn.execute(query("queries/store_identity", "pinned")).fetchall())
