"""The canister's updates: upload sessions, and memories made from or rid of what was uploaded."""

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from sandbox.icp import views
from sandbox.icp.bodies import Bodies
from sandbox.icp.records import StoredAsset
from sandbox.icp.refusal import Refusal
from sandbox.icp.storage import CanisterStorage

CHUNK_BYTES: Final = 1_500_000
MAX_CHUNKS: Final = 16_384
MAX_ACTIVE: Final = 100
LIFETIME_NS: Final = 2 * 60 * 60 * 1_000_000_000
DIGEST_BYTES: Final = 32
UUID_SHAPE: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

_BEGIN = (
    "INSERT INTO upload (caller, capsule_id, expected_chunks, idem, started_at) VALUES (?,?,?,?,?)"
)
_ACTIVE = "SELECT session, idem FROM upload WHERE caller = ? AND capsule_id = ? AND result IS NULL"
_SESSION = "SELECT caller, capsule_id, expected_chunks, result FROM upload WHERE session = ?"
_PUT = "INSERT INTO upload_chunk (session, chunk_index, bytes) VALUES (?, ?, ?)"
_ARRIVED = "SELECT bytes FROM upload_chunk WHERE session = ? ORDER BY arrival"
_KNOWN = "SELECT result FROM idempotency WHERE scope = ? AND caller = ? AND key = ?"
_REMEMBER = "INSERT OR REPLACE INTO idempotency (scope, caller, key, result) VALUES (?, ?, ?, ?)"


class Uploads:
    """The update methods; each is one transaction.

    With ``own_ids`` the canister gives every memory an id of its own making, as one does that
    doesn't honour the rule that a UUID given as ``idem`` is to be the memory's id.
    """

    def __init__(self, storage: CanisterStorage, bodies: Bodies, *, own_ids: bool) -> None:
        self._storage = storage
        self._database = storage.database
        self._bodies = bodies
        self._own_ids = own_ids

    def handlers(self) -> Mapping[str, Callable[..., Any]]:
        """The methods by their names in the interface."""
        plain: dict[str, Callable[..., Any]] = {
            "uploads_begin": self._begin,
            "uploads_put_chunk": self._put_chunk,
            "uploads_finish": self._finish,
            "uploads_abort": self._abort,
            "memories_create_with_internal_blobs": self._create,
            "memories_add_asset": self._add_asset,
            "memories_delete": self._delete,
        }
        return {name: self._in_transaction(handler) for name, handler in plain.items()}

    def _in_transaction(self, handler: Callable[..., Any]) -> Callable[..., views.Tag]:
        def handle(*arguments: Any) -> views.Tag:
            with self._storage.transaction():
                return "Ok", handler(*arguments)

        return handle

    # Sessions ------------------------------------------------------------------------------------

    def _begin(self, caller: str, capsule_id: str, expected_chunks: int, idem: str) -> int:
        self._storage.admit(caller, capsule_id)
        if not 0 < expected_chunks <= MAX_CHUNKS:
            raise Refusal("InvalidArgument", f"expected_chunks must be between 1 and {MAX_CHUNKS}")
        now = time.time_ns()
        self._database.execute("DELETE FROM upload WHERE started_at < ?", (now - LIFETIME_NS,))
        active = self._database.execute(_ACTIVE, (caller, capsule_id)).fetchall()
        for session, known in active:
            if known == idem:
                return int(session)
        if len(active) >= MAX_ACTIVE:
            raise Refusal("ResourceExhausted")
        row = (caller, capsule_id, expected_chunks, idem, now)
        return int(self._database.execute(_BEGIN, row).lastrowid or 0)

    def _session(self, caller: str, session: int) -> tuple[str, int, str | None]:
        """The capsule, the number of chunks and the result (if finished) of a live session."""
        number = min(session, 2**63 - 1)
        query = f"{_SESSION} AND started_at >= ?"
        row = self._database.execute(query, (number, time.time_ns() - LIFETIME_NS)).fetchone()
        if row is None:
            raise Refusal("NotFound")
        owner, capsule_id, expected_chunks, result = row
        if owner != caller:
            raise Refusal("Unauthorized")
        return capsule_id, expected_chunks, result

    def _put_chunk(self, caller: str, session: int, index: int, data: bytes) -> None:
        _, expected_chunks, result = self._session(caller, session)
        if result is not None:
            raise Refusal("Conflict", "upload already finished")
        if index >= expected_chunks:
            raise Refusal("InvalidArgument", f"chunk index {index} out of range")
        if len(data) > CHUNK_BYTES:
            raise Refusal("InvalidArgument", f"chunk larger than {CHUNK_BYTES} bytes")
        self._database.execute(_PUT, (session, index, data))

    def _finish(self, caller: str, session: int, sha256: bytes, total_len: int) -> views.Value:
        capsule_id, expected_chunks, result = self._session(caller, session)
        if result is None:
            self._check(session, expected_chunks, sha256, total_len)
            result = self._keep(session, capsule_id, sha256, total_len)
        value: views.Value = json.loads(result)
        digest = bytes.fromhex(value["checksum_sha256"])
        return {**value, "checksum_sha256": digest, "storage_backend": views.tag("Icp")}

    def _check(self, session: int, expected_chunks: int, sha256: bytes, total_len: int) -> None:
        query = "SELECT count(DISTINCT chunk_index) FROM upload_chunk WHERE session = ?"
        received = self._database.execute(query, (session,)).fetchone()[0]
        if received != expected_chunks:
            reason = f"missing chunks: {received} of {expected_chunks} received"
            raise Refusal("InvalidArgument", reason)
        digest, length = hashlib.sha256(), 0
        for chunk in self._arrived(session):
            digest.update(chunk)
            length += len(chunk)
        if length != total_len:
            reason = f"size_mismatch: expected {total_len}, received {length}"
            raise Refusal("InvalidArgument", reason)
        if digest.digest() != sha256:
            reason = f"checksum_mismatch: expected {sha256.hex()}, computed {digest.hexdigest()}"
            raise Refusal("InvalidArgument", reason)

    def _arrived(self, session: int) -> Iterator[bytes]:
        for row in self._database.execute(_ARRIVED, (session,)):
            yield row[0]

    def _keep(self, session: int, capsule_id: str, sha256: bytes, total_len: int) -> str:
        blob_id = f"blob_{uuid.uuid4().hex}"
        self._storage.put_blob(blob_id, capsule_id, self._bodies.store(self._arrived(session)))
        result = json.dumps(
            {
                "blob_id": blob_id,
                "memory_id": "",
                "storage_location": blob_id,
                "size": total_len,
                "checksum_sha256": sha256.hex(),
                "uploaded_at": time.time_ns(),
            }
        )
        self._database.execute("DELETE FROM upload_chunk WHERE session = ?", (session,))
        query = "UPDATE upload SET result = ? WHERE session = ?"
        self._database.execute(query, (result, session))
        return result

    def _abort(self, caller: str, session: int) -> None:
        self._session(caller, session)
        self._database.execute("DELETE FROM upload WHERE session = ?", (session,))

    # Memories ------------------------------------------------------------------------------------

    def _create(
        self, caller: str, capsule_id: str, metadata: views.Value, inputs: list[Any], idem: str
    ) -> str:
        self._storage.admit(caller, capsule_id)
        scope = f"memory of {capsule_id}"
        known = self._known(scope, caller, idem)
        if known is not None and self._storage.capsule_of(known) == capsule_id:
            return known
        memory_id = self._new_id(capsule_id, idem)
        if self._storage.capsule_of(memory_id) != capsule_id:
            assets = tuple(self._asset(capsule_id, given) for given in inputs)
            now = time.time_ns()
            memory = views.stored_memory(memory_id, capsule_id, metadata, assets, now)
            self._storage.add_memory(memory)
        self._database.execute(_REMEMBER, (scope, caller, idem, memory_id))
        return memory_id

    def _new_id(self, capsule_id: str, idem: str) -> str:
        if self._own_ids or not UUID_SHAPE.fullmatch(idem):
            return str(uuid.uuid4())
        holder = self._storage.capsule_of(idem)
        if holder is not None and holder != capsule_id:
            raise Refusal("Conflict", f"memory {idem} already exists")
        return idem

    def _add_asset(self, caller: str, memory_id: str, given: views.Value, idem: str) -> str:
        memory = self._storage.memory(memory_id)
        if memory is None:
            raise Refusal("NotFound")
        self._storage.admit(caller, memory.capsule_id)
        scope = f"asset of {memory_id}"
        known = self._known(scope, caller, idem)
        if known is not None and any(asset.asset_id == known for asset in memory.assets):
            return known
        asset = self._asset(memory.capsule_id, given)
        self._storage.update_memory(memory.with_asset(asset, time.time_ns()))
        self._database.execute(_REMEMBER, (scope, caller, idem, asset.asset_id))
        return asset.asset_id

    def _delete(self, caller: str, memory_id: str, delete_assets: bool) -> None:  # noqa: FBT001
        capsule_id = self._storage.capsule_of(memory_id)
        if capsule_id is None:
            raise Refusal("NotFound")
        self._storage.admit(caller, capsule_id)
        self._storage.delete_memory(memory_id, blobs=delete_assets)

    def _asset(self, capsule_id: str, given: views.Value) -> StoredAsset:
        """The asset over an uploaded blob of the same capsule."""
        blob = self._storage.blob(given["blob_id"])
        if blob is None or blob[0] != capsule_id:
            raise Refusal("NotFound")
        asset_id = str(uuid.uuid4())
        return views.stored_asset(
            asset_id, given["blob_id"], given["metadata"], blob[1], time.time_ns()
        )

    def _known(self, scope: str, caller: str, idem: str) -> str | None:
        row = self._database.execute(_KNOWN, (scope, caller, idem)).fetchone()
        return row[0] if row else None
