"""Fills an empty sandbox: rows in Postgres, bytes in both stand-ins, and the true ledger."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_all_start_methods, get_context

import psycopg
from psycopg import sql

from sandbox import postgres
from sandbox.app_tables import AppTables
from sandbox.batch import EDGE_COLUMNS, Batch, Outline, in_runs, make_batch, object_url
from sandbox.batch import stored_object as stored
from sandbox.blob.storage import BlobStorage
from sandbox.copy_text import copy_row
from sandbox.dataset import Recipe, User, make_uuid, to_datetime
from sandbox.directory import SandboxDirectory
from sandbox.errors import SandboxError
from sandbox.galleries import Gallery, make_galleries
from sandbox.icp.bodies import Bodies
from sandbox.icp.storage import CanisterStorage, StoredCapsule
from sandbox.identity import principal_of

BATCH_MEMORIES = 1_000
OWN_CAPSULE = "capsule_edgekeeper"  # what Store Forever writes to unless told otherwise
_SHARED_GALLERIES = 5  # every fifth gallery is shared with somebody, and its first memory
_NS = 1_000_000
_GALLERY_COLUMNS = ("id", "owner_id", "title", "is_public", "created_at", "updated_at")
_ITEM_COLUMNS = (
    "id", "gallery_id", "memory_id", "memory_type", "position", "caption", "is_featured",
    "created_at", "updated_at",
)  # fmt: skip
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a seeded sandbox holds."""

    memories: int
    users: int
    galleries: int
    blob_objects: int
    canister_memories: int
    canister_galleries: int
    edges: int


@dataclass(frozen=True, slots=True)
class Stores:
    """The three stores of a sandbox, open for writing behind the stand-ins' backs."""

    database: psycopg.Connection
    blob: BlobStorage
    canister: CanisterStorage
    bodies: Bodies
    tables: AppTables


def seed(
    directory: SandboxDirectory,
    recipe: Recipe,
    *,
    with_edges: bool,
    progress: Progress | None = None,
) -> Summary:
    """Fill an empty sandbox whose Postgres runs.

    ``progress`` is told how many memories of how many are done. Memory use grows by a few hundred
    bytes for each memory.
    Raises SandboxError where the sandbox is not running, or not empty.
    """
    with (
        postgres.connect(directory) as database,
        closing(BlobStorage(directory.blob)) as blob,
        closing(CanisterStorage(directory.icp)) as canister,
    ):
        stores = Stores(database, blob, canister, Bodies(directory.icp / "blobs"), directory.tables)
        _refuse_filled(stores, directory)
        if with_edges and not has_ledger(database):
            postgres.make_ledger(database)
        users = [recipe.user(number) for number in range(recipe.users)]
        _write_users(stores, users, directory)
        outlines: list[Outline] = []
        for batch in _batches(
            recipe, directory.tables, directory.blob_origin, with_edges=with_edges
        ):
            _write(stores, batch)
            outlines.extend(batch.outlines)
            if progress is not None:
                progress(len(outlines), recipe.memories)
        _write_galleries(stores, users, recipe, outlines)
        database.commit()
        database.autocommit = True
        database.execute("ANALYZE")
        return _summary(stores)


def has_ledger(database: psycopg.Connection) -> bool:
    """Whether there is a table for the ledger."""
    query = "SELECT to_regclass('storage_edges') IS NOT NULL"
    return database.execute(query).fetchone() == (True,)


def _refuse_filled(stores: Stores, directory: SandboxDirectory) -> None:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(stores.tables.users))
    filled = stores.database.execute(query).fetchone() == (True,)
    if filled or stores.blob.count() or stores.canister.count():
        raise SandboxError(
            f"the sandbox in {directory.path} is filled already; seed another --dir, or stop this "
            "one and remove its directory"
        )


def _batches(
    recipe: Recipe, tables: AppTables, origin: str, *, with_edges: bool
) -> Iterator[Batch]:
    """All batches in order, made by all cores where there are many."""
    make = partial(make_batch, recipe, tables, origin, with_edges=with_edges)
    runs = iter(in_runs(recipe.memories, BATCH_MEMORIES))
    workers = os.cpu_count() or 1
    if recipe.memories <= 2 * BATCH_MEMORIES or workers == 1:
        yield from map(make, runs)
        return
    # fork, where there is such a thing, spares the workers from importing the command line anew.
    method = "fork" if "fork" in get_all_start_methods() else None
    with ProcessPoolExecutor(workers, mp_context=get_context(method)) as pool:
        # A few batches ahead of the writer and no more, so that memory does not grow.
        ahead: deque[Future[Batch]] = deque(
            pool.submit(make, run) for run in islice(runs, workers + 2)
        )
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(make, run) for run in islice(runs, 1))
            yield batch


def _write(stores: Stores, batch: Batch) -> None:
    for kind, rows in batch.rows.items():
        _copy(stores.database, stores.tables.memories[kind], stores.tables.columns[kind], rows)
    if batch.edges:
        _copy(stores.database, "storage_edges", EDGE_COLUMNS, batch.edges)
    stores.blob.insert(batch.objects)
    for text in batch.texts:
        stores.bodies.store([text.encode()])
    stores.canister.add_memories(batch.memories)


def _write_users(stores: Stores, users: Iterable[User], directory: SandboxDirectory) -> None:
    service = principal_of(directory.identity)
    people, accounts, capsules, avatars = [], [], [], []
    for user in users:
        image = None
        if user.avatar:
            avatars.append(stored(user.avatar))
            image = object_url(directory.blob_origin, user.avatar.pathname)
        people.append(copy_row((user.id, user.name, user.email, image)))
        accounts.append(copy_row((user.account_id, "user", user.id, to_datetime(user.created_at))))
        created_at = user.created_at * _NS
        owners = (user.principal,)
        capsules.append(
            StoredCapsule(
                user.capsule_id, user.principal, owners, (service,), created_at, created_at
            )
        )
    _copy(stores.database, stores.tables.users, ("id", "name", "email", "image"), "".join(people))
    columns = ("id", "type", "user_id", "created_at")
    _copy(stores.database, stores.tables.accounts, columns, "".join(accounts))
    stores.blob.insert(avatars)
    if all(capsule.subject != service for capsule in stores.canister.capsules()):
        oldest = capsules[0].created_at
        capsules.append(StoredCapsule(OWN_CAPSULE, service, (service,), (service,), oldest, oldest))
    stores.canister.add_capsules(capsules)


def _write_galleries(
    stores: Stores, users: list[User], recipe: Recipe, outlines: list[Outline]
) -> None:
    runs = iter(make_galleries(recipe, outlines))
    while galleries := list(islice(runs, BATCH_MEMORIES)):
        rows = [_gallery_row(gallery, users[gallery.owner]) for gallery in galleries]
        _copy(stores.database, stores.tables.galleries, _GALLERY_COLUMNS, "".join(rows))
        items = (row for gallery in galleries for row in _item_rows(gallery))
        _copy(stores.database, stores.tables.gallery_items, _ITEM_COLUMNS, "".join(items))
        shared = galleries[::_SHARED_GALLERIES]
        _write_shares(stores, shared, users, recipe)
        stores.canister.add_galleries(
            gallery.stored(users[gallery.owner].capsule_id)
            for gallery in galleries
            if gallery.on_icp
        )


def _gallery_row(gallery: Gallery, owner: User) -> str:
    at = to_datetime(gallery.created_at)
    return copy_row((gallery.id, owner.account_id, gallery.title, gallery.is_public, at, at))


def _item_rows(gallery: Gallery) -> Iterator[str]:
    at = to_datetime(gallery.created_at)
    for item in gallery.items:
        memory = (item.memory.id, item.memory.kind)
        place = (item.position, item.caption, item.is_featured)
        yield copy_row((item.id, gallery.id, *memory, *place, at, at))


def _write_shares(
    stores: Stores, galleries: list[Gallery], users: list[User], recipe: Recipe
) -> None:
    shares: dict[str, list[str]] = {"gallery": [], "memory": []}
    for gallery in galleries:
        rng = recipe.rng("share", gallery.id)
        owner, guest = users[gallery.owner], users[(gallery.owner + 1) % len(users)]
        at = to_datetime(gallery.created_at)
        code = f"{rng.getrandbits(128):032x}"
        said = (owner.account_id, "user", guest.account_id, "read", code, at, at)
        shares["gallery"].append(copy_row((make_uuid(rng), *said, gallery.id)))
        memory = gallery.items[0].memory
        shares["memory"].append(copy_row((make_uuid(rng), *said, memory.id, memory.kind)))
    columns = (
        "id", "owner_id", "shared_with_type", "shared_with_id", "access_level",
        "invitee_secure_code", "invitee_secure_code_created_at", "created_at",
    )  # fmt: skip
    _copy(
        stores.database,
        stores.tables.gallery_shares,
        (*columns, "gallery_id"),
        "".join(shares["gallery"]),
    )
    target = (*columns, "memory_id", "memory_type")
    _copy(stores.database, stores.tables.memory_shares, target, "".join(shares["memory"]))


def _copy(database: psycopg.Connection, table: str, columns: Iterable[str], rows: str) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with database.cursor().copy(statement) as copy:
        copy.write(rows)


def _summary(stores: Stores) -> Summary:
    def count(table: str) -> int:
        statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        row = stores.database.execute(statement).fetchone()
        return int(row[0]) if row else 0

    return Summary(
        memories=sum(map(count, stores.tables.memories.values())),
        users=count(stores.tables.users),
        galleries=count(stores.tables.galleries),
        blob_objects=stores.blob.count(),
        canister_memories=stores.canister.count(),
        canister_galleries=len(stores.canister.galleries()),
        edges=count("storage_edges") if has_ledger(stores.database) else 0,
    )
