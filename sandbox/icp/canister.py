"""The canister: what each method of its interface answers, and whom."""

import re
import time
import uuid
from collections.abc import Callable, Container, Mapping
from typing import Any, Final

from sandbox.fault_rules import ANSWER, CONTENT_ACTIONS, WRONG_COUNT, Rule
from sandbox.icp import principal, views
from sandbox.icp.bodies import Bodies
from sandbox.icp.candid import CandidError
from sandbox.icp.interface import methods
from sandbox.icp.records import StoredCapsule, StoredMemory
from sandbox.icp.refusal import Refusal, Reject
from sandbox.icp.storage import CanisterStorage
from sandbox.icp.uploads import CHUNK_BYTES, Uploads

INLINE_MAX_BYTES: Final = 32 * 1024
INLINE_BUDGET_BYTES: Final = 50 * 1024 * 1024
PAGE_DEFAULT, PAGE_MOST = 50, 100
_CURSOR = re.compile(r"[0-9]{1,18}")

#: From some actions to the rule that one of them is to be done by.
TakeFault = Callable[[Container[str]], Rule | None]


class Canister:
    """Answers calls from a :class:`CanisterStorage`; nothing is kept between calls."""

    def __init__(self, storage: CanisterStorage, *, own_ids: bool = False) -> None:
        self._storage = storage
        self._bodies = Bodies(storage.directory / "blobs")
        self._uploads = Uploads(storage, self._bodies, own_ids=own_ids)
        self._handlers: Mapping[str, Callable[..., Any]] = {
            "whoami": self._whoami,
            "capsules_list": self._capsules_list,
            "memories_list": self._memories_list,
            "memories_ping": self._memories_ping,
            "memories_read": self._memories_read,
            "memories_list_assets": self._memories_list_assets,
            "asset_get_by_id": self._asset_get_by_id,
            "blob_get_meta": self._blob_get_meta,
            "blob_read_chunk": self._blob_read_chunk,
            "galleries_list": self._galleries_list,
            "galleries_read": self._galleries_read,
            "upload_config": self._upload_config,
            **self._uploads.handlers(),
        }

    def call(
        self,
        name: str,
        caller: bytes,
        argument: bytes,
        *,
        as_query: bool,
        fault: TakeFault = lambda _actions: None,
    ) -> bytes:
        """The reply to a call; ``fault`` is asked whether it is to come out wrong.

        Raises Reject where the canister has no such method, can't read the argument or traps.
        """
        method = methods().get(name)
        if method is None or (as_query and not method.is_query):
            kind = "query" if as_query else "update"
            raise Reject("IC0536", f"Canister has no {kind} method '{name}'.")
        try:
            arguments = method.read(argument)
        except CandidError as error:
            reason = f"failed to decode call arguments: {error}"
            raise Reject(
                "IC0503", f"Canister called `ic0.trap` with message: '{reason}'"
            ) from error
        forced = fault(ANSWER)
        if forced is not None and "hex" in forced.value:
            return bytes.fromhex(forced.value["hex"])
        if forced is not None:
            return method.write(("Err", (forced.value["err"], None)))
        if name == "memories_list":
            arguments.append(fault(CONTENT_ACTIONS))
        if name == "capsules_list":
            arguments.append(fault(WRONG_COUNT | {"stale_list"}))
        try:
            value = self._handlers[name](principal.to_text(caller), *arguments)
        except Refusal as refusal:
            value = ("Err", (refusal.kind, refusal.detail))
        return method.write(value)

    # Capsules and galleries ----------------------------------------------------------------------

    def _whoami(self, caller: str) -> bytes:
        return principal.from_text(caller)

    def _capsules_list(self, caller: str, fault: Rule | None) -> list[views.Value]:
        return [
            views.capsule_header(capsule, max(0, self._count(capsule.id, fault)))
            for capsule in self._readable(caller)
        ]

    def _count(self, capsule_id: str, fault: Rule | None) -> int:
        count = self._storage.count(capsule_id)
        if fault is None:
            return count
        if fault.action != "stale_list":
            return count + int(fault.value)
        new, gone = self._since(capsule_id, fault.value)
        return count - len(new) + len(gone)

    def _readable(self, caller: str) -> list[StoredCapsule]:
        return [capsule for capsule in self._storage.capsules() if capsule.admits(caller)]

    def _galleries_list(self, caller: str) -> list[views.Value]:
        capsules = {capsule.id for capsule in self._readable(caller)}
        galleries = self._storage.galleries()
        return [views.gallery_header(g) for g in galleries if g.capsule_id in capsules]

    def _galleries_read(self, caller: str, gallery_id: str) -> views.Tag:
        gallery = self._storage.gallery(gallery_id)
        if gallery is None:
            raise Refusal("NotFound")
        self._storage.admit(caller, gallery.capsule_id)
        return "Ok", views.whole_gallery(gallery)

    # Memories ------------------------------------------------------------------------------------

    def _memories_list(
        self,
        caller: str,
        capsule_id: str,
        cursor: str | None,
        limit: int | None,
        fault: Rule | None,
    ) -> views.Tag:
        self._storage.admit(caller, capsule_id)
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise Refusal("InvalidArgument", f"invalid cursor: {cursor[:40]}")
        start = int(cursor or "0")
        size = min(limit or PAGE_DEFAULT, PAGE_MOST)
        memories, more = self._storage.page(capsule_id, start, size)
        next_cursor = str(start + len(memories)) if more else None
        if fault is not None and fault.action == "stale_list":
            memories = self._as_it_was(capsule_id, memories, fault.value, first=start == 0)
        if fault is not None and fault.action == "repeat_cursor":
            next_cursor = cursor or "0"
        if fault is not None and fault.action == "fresh_cursor":
            memories = memories or self._storage.page(capsule_id, 0, 1)[0]
            next_cursor = str(start + size)
        items = [views.memory_header(memory) for memory in memories]
        if fault is not None:
            items = _damaged(items, fault)
        return "Ok", {"items": items, "next_cursor": next_cursor}

    def _as_it_was(
        self, capsule_id: str, memories: list[StoredMemory], seconds: float, *, first: bool
    ) -> list[StoredMemory]:
        """A page without what came in the last seconds, and with what went, on the first page."""
        new, gone = self._since(capsule_id, seconds)
        return [memory for memory in memories if memory.id not in new] + (gone if first else [])

    def _since(self, capsule_id: str, seconds: float) -> tuple[set[str], list[StoredMemory]]:
        """The ids of what came in the last seconds, and what went."""
        since = time.time_ns() - int(seconds * 1_000_000_000)
        new = self._storage.stored_since(capsule_id, since)
        return new, self._storage.removed_since(capsule_id, since)

    def _memories_ping(self, caller: str, ids: list[str]) -> views.Tag:
        """Says of the asset what is true of the metadata: nothing looks at the asset."""
        answers = []
        for memory_id in ids:
            present = self._may_read(caller, self._storage.capsule_of(memory_id))
            answers.append(
                {"memory_id": memory_id, "metadata_present": present, "asset_present": present}
            )
        return "Ok", answers

    def _may_read(self, caller: str, capsule_id: str | None) -> bool:
        capsule = self._storage.capsule(capsule_id) if capsule_id is not None else None
        return capsule is not None and capsule.admits(caller)

    def _memory(self, caller: str, memory_id: str) -> StoredMemory:
        memory = self._storage.memory(memory_id)
        if memory is None:
            raise Refusal("NotFound")
        self._storage.admit(caller, memory.capsule_id)
        return memory

    def _memories_read(self, caller: str, memory_id: str) -> views.Tag:
        return "Ok", views.whole_memory(self._memory(caller, memory_id), self._bodies.read)

    def _memories_list_assets(self, caller: str, memory_id: str) -> views.Tag:
        memory = self._memory(caller, memory_id)
        answer: views.Value = {
            f"{kind}_assets": [asset.asset_id for asset in memory.assets if asset.kind == kind]
            for kind in ("inline", "internal", "external")
        }
        return "Ok", {**answer, "memory_id": memory_id, "total_count": len(memory.assets)}

    # Assets and blobs ----------------------------------------------------------------------------

    def _asset_get_by_id(self, caller: str, memory_id: str, asset_id: str) -> views.Tag:
        memory = self._memory(caller, memory_id)
        asset = next((a for a in memory.assets if a.asset_id == asset_id), None)
        if asset is None:
            raise Refusal("NotFound")
        value: views.Value = {"size": asset.bytes, "sha256": views.declared_hash(asset)}
        if asset.kind == "inline":
            data = self._bodies.read(asset.body or "")
            inline = {**value, "bytes": data, "content_type": asset.mime_type}
            return "Ok", ("Inline", inline)
        if asset.kind == "internal":
            return "Ok", ("InternalBlob", {**value, "blob_id": asset.locator})
        return "Ok", ("ExternalUrl", {**value, "url": asset.url or asset.storage_key or ""})

    def _blob(self, caller: str, locator: str) -> tuple[str, int]:
        """The description and the true length of a blob."""
        blob = self._storage.blob(locator)
        if blob is None:
            raise Refusal("NotFound")
        capsule_id, body = blob
        self._storage.admit(caller, capsule_id)
        try:
            return body, self._bodies.length(body)
        except FileNotFoundError as error:
            raise Refusal("NotFound") from error

    def _blob_get_meta(self, caller: str, locator: str) -> views.Tag:
        _, size = self._blob(caller, locator)
        return "Ok", {"size": size, "chunk_count": -(-size // CHUNK_BYTES)}

    def _blob_read_chunk(self, caller: str, locator: str, index: int) -> views.Tag:
        body, size = self._blob(caller, locator)
        start = index * CHUNK_BYTES
        if start >= size:
            raise Refusal("NotFound")
        return "Ok", self._bodies.read(body, start, start + CHUNK_BYTES)

    def _upload_config(self, caller: str) -> views.Value:
        del caller
        return {
            "inline_max": INLINE_MAX_BYTES,
            "chunk_size": CHUNK_BYTES,
            "inline_budget_per_capsule": INLINE_BUDGET_BYTES,
        }


def _damaged(items: list[views.Value], fault: Rule) -> list[views.Value]:
    if fault.action == "drop_item":
        return items[: fault.value] + items[fault.value + 1 :]
    if fault.action == "duplicate_page":
        return items * 2 if fault.value is None else items + items[fault.value : fault.value + 1]
    if fault.action == "fresh_cursor":
        invented = ({**each, "id": str(uuid.uuid4())} for each in items[:1] * (fault.value or 0))
        return [*items, *invented]
    return items
