# ruff: noqa: S608 - the names of tables and columns are put together, and all of them are ours
"""An app that lives while it is audited: memories are made, copied, changed, renamed and deleted.

What the app does is an *errand*: a list of steps in the order in which an app makes them, each of
them one write to one store. Whoever plays the app makes one step of one errand at a time, so that
anything may happen between two of them, or the rest may never happen.

Every write goes where the app's would go: SQL over a connection of its own, the blob store's API,
signed update calls to the canister.
"""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import psycopg
from damaged_sandbox import BLOB, ICP, NEON, Box
from ic.candid import decode, encode
from ic.canister import Canister
from psycopg import errors as pg

from sandbox.seed import OWN_CAPSULE
from tasks.stores.icp import IcpStore

Step = Callable[[], object]
APP = "the app"
#: A lock that the audit holds is waited for so long; then the step is made later.
LOCK_TIMEOUT = "15ms"
#: Postgres' own housekeeping may lock a table for a moment: whoever only looks waits for it.
PATIENCE = "60s"
#: Lives that are played side by side, each with as many memories of the first state.
MOST_LIVES, MEMORIES_EACH = 32, 3
_KEPT_FILES = ("object", "former", "upload", "part")
_KEPT_COPIES = ("memory", "removed", "blob", "idempotency", "upload", "upload_chunk")
_WITNESS = Path(__file__).with_name("witness.sql")
_ABSENT_IN_BASE = (
    "url storage_key bucket asset_location description width height deleted_at processing_status "
    "processing_error"
)
_ABSENT_IN_MEMORY = (
    "description date_of_memory file_created_at parent_folder_id deleted_at people_in_memory "
    "location memory_notes created_by"
)
_UPSERT = (
    "INSERT INTO storage_edges AS e (memory_id, memory_type, artifact, backend, {columns}) "
    "VALUES (%(memory_id)s, %(memory_type)s, %(artifact)s, %(backend)s, {values}) "
    "ON CONFLICT (memory_id, memory_type, artifact, backend) {then}"
)


class BusyError(Exception):
    """The step could not be made yet: the audit holds a lock that it needs."""


class FailedError(Exception):
    """The step failed, as an app's may: what it needed was gone. The errand is given up."""


class World:
    """A sandbox that is brought back to its first state within milliseconds, and the app in it.

    The app has a thread of its own: hooks in the audit's event loop have it make a step and wait.
    """

    def __init__(self, box: Box) -> None:
        self.box = box
        self.tables = box.directory.tables
        self.blobs = sqlite3.connect(
            box.directory.blob / "objects.sqlite", check_same_thread=False, isolation_level=None
        )
        self.copies = sqlite3.connect(
            box.directory.icp / "canister.sqlite3", check_same_thread=False, isolation_level=None
        )
        self.database = psycopg.connect(
            box.directory.database_url, autocommit=True, application_name=APP,
            options=f"-c lock_timeout={LOCK_TIMEOUT}",
        )  # fmt: skip
        self.http = httpx.Client(
            base_url=f"{box.directory.blob_origin}/api/blob",
            headers={"authorization": f"Bearer {box.directory.choices.blob_token}"},
        )
        self.loop = asyncio.new_event_loop()
        self.icp = IcpStore.from_settings(box.settings(Path("unused")))
        text = self.loop.run_until_complete(self.icp.canister.service_interface())
        self.interface = Canister(None, "aaaaa-aa", candid=text)
        self.owner = str(self._value("SELECT id FROM all_users ORDER BY id LIMIT 1"))
        self._keep()

    def close(self) -> None:
        self.loop.run_until_complete(self.icp.aclose())
        self.loop.close()
        self.http.close()
        self.database.close()
        self.blobs.close()
        self.copies.close()

    def _value(self, statement: str) -> Any:
        row = self.database.execute(statement.encode()).fetchone()
        return row[0] if row else None

    # The first state

    def _keep(self) -> None:
        """Keeps all three stores as they are, with a witness in the database that notes writes."""
        for name in ("storage_edges", *self.tables.memories.values()):
            self.database.execute(f"CREATE TABLE kept_{name} AS TABLE {name}".encode())
        self.database.execute(_WITNESS.read_bytes())
        for name in ("storage_edges", *self.tables.memories.values()):
            self.database.execute(
                f"CREATE TRIGGER witness AFTER INSERT OR UPDATE OR DELETE ON {name} "
                "FOR EACH ROW EXECUTE FUNCTION witness()".encode()
            )
        self.copies.execute("UPDATE memory SET stored_at = 0")
        # Nothing here is about galleries: whose memory the app deletes would be a finding of theirs.
        self.copies.execute("DELETE FROM gallery")
        self.database.execute(f"DELETE FROM {self.tables.gallery_items}".encode())
        for store, names in ((self.blobs, _KEPT_FILES), (self.copies, _KEPT_COPIES)):
            for name in names:
                store.execute(f"CREATE TABLE kept_{name} AS SELECT * FROM {name}")

    def set_back(self) -> None:
        """The first state of all three stores, without any trace of a run; pinned stores stay."""
        ours = "SELECT tablename FROM pg_tables WHERE schemaname = 'audit'"
        audit = [name for (name,) in self.database.execute(ours) if name != "store_identity"]
        tables = ("storage_edges", *self.tables.memories.values())
        statements = ["BEGIN", "SET LOCAL lock_timeout = '10s'", "TRUNCATE witness"]
        statements += [f"DELETE FROM audit.{name}" for name in audit]
        statements += ["SET LOCAL session_replication_role = replica"]
        for name in tables:
            statements += [f"DELETE FROM {name}", f"INSERT INTO {name} TABLE kept_{name}"]
        self.database.execute("; ".join([*statements, "COMMIT"]).encode())
        self._restore(self.blobs, _KEPT_FILES)
        self._restore(self.copies, _KEPT_COPIES)

    @staticmethod
    def _restore(store: sqlite3.Connection, names: tuple[str, ...]) -> None:
        store.execute("BEGIN IMMEDIATE")
        for name in names:
            store.execute(f"DELETE FROM {name}")
            store.execute(f"INSERT INTO {name} SELECT * FROM kept_{name}")
        store.execute("COMMIT")

    def forget_the_past(self) -> None:
        """Makes what was done until now so old that a listing that lags behind knows of it."""
        old = round((time.time() - 2 * 24 * 60 * 60) * 1000)
        self.blobs.execute("UPDATE object SET uploaded_at = ?1 WHERE uploaded_at > ?1", (old,))
        self.blobs.execute("DELETE FROM former")
        self.copies.execute("DELETE FROM removed")
        self.database.execute("TRUNCATE witness")

    def shared_out(self, lives: int) -> list[list["Memory"]]:
        """The first state's memories, some for each life."""
        known = [
            Memory(memory_id, kind, pathname, on_icp=on_icp)
            for memory_id, kind, pathname, on_icp in _known(self)
        ]
        return [known[number::MOST_LIVES] for number in range(lives)]

    @contextmanager
    def patiently(self) -> Iterator[None]:
        """Waits for locks: only for what the audit itself does not hold up."""
        self.database.execute(f"SET lock_timeout = '{PATIENCE}'".encode())
        try:
            yield
        finally:
            self.database.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'".encode())

    # One write to one store

    def sql(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Raises BusyError where the audit holds the row."""
        try:
            cursor = self.database.execute(statement.encode(), values or None)
        except pg.LockNotAvailable:
            raise BusyError from None
        return cursor.fetchall() if cursor.description else []

    def upsert(self, edge: dict[str, str], *, then: str = "", **values: Any) -> None:
        """An edge as the app writes it: inserted, or ``then`` where it is there already."""
        columns = list(values)
        keep = ", ".join(f"{name} = excluded.{name}" for name in columns)
        statement = _UPSERT.format(
            columns=", ".join(columns), values=", ".join(f"%({name})s" for name in columns),
            then=then or f"DO UPDATE SET {keep}",
        )  # fmt: skip
        self.sql(statement, **edge, **values)

    def update(self, edge: dict[str, str], **values: Any) -> None:
        assignments = ", ".join(f"{name} = %({name})s" for name in values)
        self.sql(f"UPDATE storage_edges SET {assignments} WHERE {_THIS}", **edge, **values)

    def put_file(self, pathname: str, data: bytes) -> None:
        headers = {"x-allow-overwrite": "1", "x-content-type": "image/jpeg"}
        self.http.put(
            "/", params={"pathname": pathname}, content=data, headers=headers
        ).raise_for_status()

    def copy_file(self, source: str, target: str) -> None:
        params = {"pathname": target, "fromUrl": self.url(source)}
        answer = self.http.put("/", params=params, headers={"x-allow-overwrite": "1"})
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise FailedError
        answer.raise_for_status()

    def delete_file(self, pathname: str) -> None:
        self.http.post("/delete", json={"urls": [self.url(pathname)]}).raise_for_status()

    def delete_copy(self, memory_id: str) -> None:
        """With its assets."""
        self.call("memories_delete", memory_id, True)  # noqa: FBT003 - the canister's interface

    def url(self, pathname: str) -> str:
        return f"{self.box.directory.blob_origin}/{quote(pathname)}"

    def call(self, method: str, *values: Any) -> Any:
        """An update call to the canister; its ``Ok``."""
        types = getattr(self.interface, method)
        argument = encode(
            [{"type": kind, "value": one} for kind, one in zip(types.args, values, strict=True)]
        )
        call = self.icp.canister.agent.call(method, argument)
        reply = self.loop.run_until_complete(call).reply
        answer = decode(reply, types.rets)[0]["value"]
        if "NotFound" in answer.get("Err", ()):
            raise FailedError
        assert "Ok" in answer, (method, answer)
        return answer["Ok"]


_THIS = (
    "memory_id = %(memory_id)s AND memory_type = %(memory_type)s AND artifact = %(artifact)s "
    "AND backend = %(backend)s"
)


class Memory:
    """A memory as the app knows it."""

    def __init__(self, memory_id: str, kind: str, pathname: str | None, *, on_icp: bool) -> None:
        self.id = memory_id
        self.kind = kind
        self.pathname = pathname
        self.on_icp = on_icp
        self.exists = True
        self.errands = 0

    @property
    def is_note(self) -> bool:
        return self.kind == "note"

    def edge(self, artifact: str, backend: str) -> dict[str, str]:
        return {
            "memory_id": self.id, "memory_type": self.kind,
            "artifact": artifact, "backend": backend,
        }  # fmt: skip

    @property
    def asset(self) -> dict[str, str]:
        return self.edge("asset", NEON if self.is_note else BLOB)


class App:
    """What the app can do; every errand is the steps that are left of it.

    An errand that makes no sense for its memory as it is then has no steps.
    """

    def __init__(self, world: World, memories: list["Memory"], number: int) -> None:
        self.world = world
        self.memories = memories
        self.number = number
        self.made = 0

    def _bytes(self) -> bytes:
        """Bytes that nothing else has, each time longer."""
        return hashlib.sha512(self._next()).digest() * 3 + bytes(self.made)

    def _new_id(self) -> str:
        return str(UUID(bytes=hashlib.sha256(self._next()).digest()[:16], version=4))

    def _next(self) -> bytes:
        self.made += 1
        return f"{self.number}-{self.made}".encode()

    # Errands

    def create_file(self, _: Memory, variant: int) -> list[Step]:
        world, data = self.world, self._bytes()
        memory = Memory(new := self._new_id(), "image", f"images/new-{new}.jpg", on_icp=False)
        facts = _facts(data) | {"present": True, "location": memory.pathname}

        def put() -> None:
            world.put_file(memory.pathname or "", data)

        def row() -> None:
            world.sql(
                f"INSERT INTO {world.tables.memories['image']} (id, owner_id, url, "
                "owner_secure_code) VALUES (%(id)s, %(owner)s, %(url)s, '')",
                id=memory.id, owner=world.owner, url=world.url(memory.pathname or ""),
            )  # fmt: skip
            self.memories.append(memory)

        def row_edge() -> None:
            world.upsert(memory.edge("metadata", NEON), then="DO NOTHING", present=True)

        def file_edge() -> None:
            world.upsert(memory.asset, **facts)

        return [[put, row, row_edge, file_edge], [put, row, file_edge, row_edge]][variant % 2]

    def create_note(self, _: Memory, variant: int) -> list[Step]:
        world, text = self.world, self._bytes().hex()
        memory = Memory(self._new_id(), "note", None, on_icp=False)
        facts = _facts(text.encode()) if variant % 2 else {}

        def row() -> None:
            world.sql(
                f"INSERT INTO {world.tables.memories['note']} (id, owner_id, title, content, "
                "owner_secure_code) VALUES (%(id)s, %(owner)s, '', %(text)s, '')",
                id=memory.id, owner=world.owner, text=text,
            )  # fmt: skip
            self.memories.append(memory)

        return [
            row,
            lambda: world.upsert(memory.edge("metadata", NEON), then="DO NOTHING", present=True),
            lambda: world.upsert(memory.asset, present=True, **facts),
        ]

    def store_forever(self, memory: Memory, variant: int) -> list[Step]:
        """To ICP: both edges migrating, the upload, both edges present; variants fail half-way."""
        if not memory.exists or memory.on_icp:
            return []
        copy = _Copying(self.world, memory, data := self._content(memory))
        edges = [memory.edge(artifact, ICP) for artifact in ("metadata", "asset")]

        def begin(edge: dict[str, str]) -> Step:
            return lambda: self.world.upsert(
                edge, sync_state="migrating", sync_error=None, then="DO UPDATE SET "
                "sync_state = 'migrating', sync_error = NULL"
            )  # fmt: skip

        def fail(edge: dict[str, str]) -> Step:
            return lambda: self.world.update(
                edge, present=False, sync_state="failed", sync_error="upload failed"
            )

        def done(edge: dict[str, str]) -> Step:
            hashed = _facts(data) if edge["artifact"] == "asset" and variant % 2 else {}
            return lambda: self.world.update(
                edge, present=True, sync_state="idle", location=copy.location, **hashed
            )

        def stored() -> None:
            copy.create()
            memory.on_icp = True

        begun = [*map(begin, edges), copy.begin, copy.put, copy.finish]
        if variant // 2 % 3 == 0:
            return [*begun[: 2 + variant % 4], *map(fail, edges)]
        return [*begun, stored, *map(done, edges)]

    def overwrite(self, memory: Memory, variant: int) -> list[Step]:
        """New bytes under the same name, then the ledger; of a note, its text."""
        if not memory.exists:
            return []
        data = self._bytes()
        if memory.is_note:
            return self._edit(memory, data.hex(), variant)

        def put() -> None:
            self.world.put_file(memory.pathname or "", data)

        facts = _facts(data) | {"present": True, "location": memory.pathname}
        return [put, lambda: self.world.upsert(memory.asset, **facts)]

    def _edit(self, memory: Memory, text: str, variant: int) -> list[Step]:
        statement = (
            f"UPDATE {self.world.tables.memories['note']} SET content = %(text)s, "
            "updated_at = now() WHERE id = %(id)s"
        )

        def row() -> None:
            self.world.sql(statement, text=text, id=memory.id)

        def edge() -> None:
            self.world.upsert(memory.asset, present=True, **_facts(text.encode()))

        return [edge, row] if variant % 4 == 3 else [row, edge]

    def rename(self, memory: Memory, variant: int) -> list[Step]:
        if not memory.exists or memory.pathname is None:
            return []
        old, new = memory.pathname, f"images/renamed-{self._new_id()}.jpg"
        world, table = self.world, self.world.tables.memories[memory.kind]

        def row() -> None:
            statement = f"UPDATE {table} SET url = %(url)s WHERE id = %(id)s"
            world.sql(statement, url=world.url(new), id=memory.id)
            memory.pathname = new

        def edge() -> None:
            world.update(memory.asset, location=new)

        copied = [lambda: world.copy_file(old, new)]
        written: list[Step] = [edge, row] if variant % 2 else [row, edge]
        gone: list[Step] = [lambda: world.delete_file(old)]
        return [*copied, *gone, *written] if variant % 8 == 7 else [*copied, *written, *gone]

    def delete(self, memory: Memory, variant: int) -> list[Step]:
        """Everything of a memory, its stores in one of many orders."""
        if not memory.exists:
            return []
        memory.exists = False
        world, table = self.world, self.world.tables.memories[memory.kind]
        this = "memory_id = %(id)s AND memory_type = %(kind)s"
        ledger = [
            f"DELETE FROM storage_edges WHERE {this}",
            f"UPDATE storage_edges SET present = false WHERE {this}",
        ][variant % 2]
        parts: list[Step] = [
            lambda: world.sql(f"DELETE FROM {table} WHERE id = %(id)s", id=memory.id),
            lambda: world.sql(ledger, id=memory.id, kind=memory.kind),
        ]
        if memory.pathname is not None:
            parts.append(lambda: world.delete_file(memory.pathname or ""))
        if memory.on_icp:
            parts.append(lambda: world.delete_copy(memory.id))
        turn = variant // 2 % len(parts)
        order = parts[turn:] + parts[:turn]
        return order[::-1] if variant // 8 % 2 else order

    def take_back(self, memory: Memory, variant: int) -> list[Step]:
        """The copy on ICP alone is deleted."""
        if not memory.exists or not memory.on_icp:
            return []
        memory.on_icp = False
        steps: list[Step] = [lambda: self.world.delete_copy(memory.id)]
        edges = (memory.edge(artifact, ICP) for artifact in ("metadata", "asset"))
        steps += [partial(self.world.update, edge, present=False) for edge in edges]
        return steps[::-1] if variant % 2 else steps

    def write_edge(self, memory: Memory, variant: int) -> list[Step]:
        """The app writes what the ledger says already: a write all the same."""
        edge = self._some_edge(memory, variant)
        again = "last_synced_at = now(), present = true"
        if variant // 4 % 2:
            again = "sync_state = 'idle', sync_error = NULL"
        statement = f"UPDATE storage_edges SET {again} WHERE {_THIS}"
        return [lambda: self.world.sql(statement, **edge)] if memory.exists else []

    def write_row(self, memory: Memory, _: int) -> list[Step]:
        """Something about a memory that is none of the ledger's business."""
        table = self.world.tables.memories[memory.kind]
        statement = f"UPDATE {table} SET updated_at = now() WHERE id = %(id)s"
        return [lambda: self.world.sql(statement, id=memory.id)] if memory.exists else []

    # What goes wrong: from then on it stands, unless the app happens to put it right

    def lose_file(self, memory: Memory, _: int) -> list[Step]:
        pathname = memory.pathname
        return [lambda: self.world.delete_file(pathname)] if pathname else []

    def lose_copy(self, memory: Memory, _: int) -> list[Step]:
        held = self.world.copies.execute("SELECT 1 FROM memory WHERE id = ?", (memory.id,))
        if held.fetchone() is None:
            return []
        return [lambda: self.world.delete_copy(memory.id)]

    def lose_edge(self, memory: Memory, variant: int) -> list[Step]:
        edge = self._some_edge(memory, variant)
        return [lambda: self.world.sql(f"DELETE FROM storage_edges WHERE {_THIS}", **edge)]

    def unmark(self, memory: Memory, variant: int) -> list[Step]:
        edge = self._some_edge(memory, variant)
        return [lambda: self.world.update(edge, present=False)]

    def show_failure(self, memory: Memory, variant: int) -> list[Step]:
        edge = self._some_edge(memory, variant)
        return [lambda: self.world.update(edge, sync_state="failed", sync_error="timed out")]

    def forget_hash(self, memory: Memory, _: int) -> list[Step]:
        return [lambda: self.world.update(memory.asset, content_hash=None)]

    def lose_row(self, memory: Memory, _: int) -> list[Step]:
        table = self.world.tables.memories[memory.kind]
        return [lambda: self.world.sql(f"DELETE FROM {table} WHERE id = %(id)s", id=memory.id)]

    def leave_file(self, _: Memory, variant: int) -> list[Step]:
        """An object that nothing refers to, in a folder that is in use or apart."""
        folder = "exports" if variant % 4 == 3 else "images"
        pathname, data = f"{folder}/left-{self._new_id()}.jpg", self._bytes()
        return [lambda: self.world.put_file(pathname, data)]

    def claim_nothing(self, _: Memory, variant: int) -> list[Step]:
        """Edges of a memory that never was."""
        memory = Memory(self._new_id(), "image", None, on_icp=False)
        if variant % 2:
            edge, location = memory.edge("asset", BLOB), f"images/never-{memory.id}.jpg"
        else:
            edge, location = memory.edge("asset", ICP), f"icp://{OWN_CAPSULE}/{memory.id}"
        return [lambda: self.world.upsert(edge, present=True, location=location)]

    def _some_edge(self, memory: Memory, variant: int) -> dict[str, str]:
        places = [memory.edge("metadata", NEON), memory.asset]
        if memory.on_icp:
            places += [memory.edge("metadata", ICP), memory.edge("asset", ICP)]
        return places[variant % len(places)]

    def _content(self, memory: Memory) -> bytes:
        if memory.is_note:
            statement = (
                f"SELECT content FROM {self.world.tables.memories['note']} WHERE id = %(id)s"
            )
            rows = self.world.sql(statement, id=memory.id)
            return str(rows[0][0]).encode() if rows else b""
        with self.world.box.blob_storage() as storage:
            found = storage.get(memory.pathname or "")
            return storage.bodies.open(found.body).read() if found else self._bytes()


class _Copying:
    """One upload to the canister, request by request."""

    def __init__(self, world: World, memory: Memory, data: bytes) -> None:
        self.world = world
        self.memory = memory
        self.data = data or b"nothing"
        self.session = 0
        self.blob_id = ""
        self.location = f"icp://{OWN_CAPSULE}/{memory.id}"

    def begin(self) -> None:
        self.session = self.world.call("uploads_begin", OWN_CAPSULE, 1, self.memory.id)

    def put(self) -> None:
        self.world.call("uploads_put_chunk", self.session, 0, self.data)

    def finish(self) -> None:
        digest = hashlib.sha256(self.data).digest()
        result = self.world.call("uploads_finish", self.session, digest, len(self.data))
        self.blob_id = result["blob_id"]

    def create(self) -> None:
        kind = self.memory.kind.capitalize()
        asset = {"blob_id": self.blob_id, "metadata": {"Document": self._details()}}
        method = "memories_create_with_internal_blobs"
        self.world.call(method, OWN_CAPSULE, _metadata(kind), [asset], self.memory.id)

    def _details(self) -> dict[str, Any]:
        base = {name: [] for name in _ABSENT_IN_BASE.split()} | {
            "name": "original", "mime_type": "image/jpeg", "bytes": len(self.data),
            "asset_type": {"Original": None}, "sha256": [hashlib.sha256(self.data).digest()],
            "tags": [], "created_at": 1, "updated_at": 1,
        }  # fmt: skip
        names = ("document_type", "language", "page_count", "word_count")
        return {name: [] for name in names} | {"base": base}


def _metadata(kind: str) -> dict[str, Any]:
    return {name: [] for name in _ABSENT_IN_MEMORY.split()} | {
        "memory_type": {kind: None}, "title": [""], "content_type": "image/jpeg",
        "created_at": 1, "updated_at": 1, "uploaded_at": 1, "tags": [],
        "database_storage_edges": [{"Icp": None}], "shared_count": 0,
        "sharing_status": {"Private": None}, "total_size": 0, "asset_count": 1,
    }  # fmt: skip


def _facts(data: bytes) -> dict[str, Any]:
    return {"content_hash": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def _known(world: World) -> Iterator[tuple[str, str, str | None, bool]]:
    """Id, type, pathname of the file and whether it is on ICP, of every memory of the first state."""
    statement = (
        "SELECT memory_id::text, memory_type::text, max(location) FILTER (WHERE backend = %(blob)s),"
        " bool_or(backend = %(icp)s) FROM kept_storage_edges GROUP BY 1, 2 ORDER BY 1"
    )
    yield from world.sql(statement, blob=BLOB, icp=ICP)
