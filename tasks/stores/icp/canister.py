"""The canister's methods, typed. What is not there is None; what can't be known is raised.

Here are those that an audit needs; what writes is in :mod:`tasks.stores.icp.updates`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ic.candid import Types, encode

from checks.errors import AccessRefusedError, MalformedAnswerError, StoreError
from tasks.stores.icp import interface
from tasks.stores.icp.agent import Agent, CertifiedReply
from tasks.stores.icp.candid import BLOB, Decoder, Type, Variant, Vec
from tasks.stores.icp.envelope import decode_cbor
from tasks.stores.icp.hash_tree import Missing
from tasks.stores.icp.identity import principal_text
from tasks.stores.icp.memory import BlobMeta, Capsule, Memory, MemoryPage, memory_of

PAGE_LIMIT = 100
MAX_CURSOR_LENGTH = 200
#: Twice what a canister can hold in all (500 GiB of stable memory).
MAX_BLOB_BYTES = 1 << 40
_NAT32_END = 1 << 32


@dataclass(frozen=True)
class Method:
    """A method of the canister: how its argument is written and its answer read.

    ``is_result`` says whether it answers ``Ok`` or ``Err``.
    """

    name: str
    arguments: tuple[Any, ...]
    decoder: Decoder
    is_result: bool

    def encode(self, values: Sequence[Any]) -> bytes:
        """The argument, in Candid."""
        pairs = zip(self.arguments, values, strict=True)
        return bytes(encode([{"type": kind, "value": value} for kind, value in pairs]))


def _method(name: str, arguments: tuple[Any, ...], answer: Type) -> Method:
    return Method(name, arguments, Decoder(answer, name), is_result=isinstance(answer, Variant))


_TEXT, _NAT32 = Types.Text, Types.Nat32
WHOAMI = _method("whoami", (), interface.WHOAMI)
CAPSULES_LIST = _method("capsules_list", (), Vec(interface.CAPSULE_HEADER))
MEMORIES_LIST = _method(
    "memories_list",
    (_TEXT, Types.Opt(_TEXT), Types.Opt(_NAT32)),
    interface.result(interface.MEMORY_PAGE),
)
MEMORIES_PING = _method(
    "memories_ping", (Types.Vec(_TEXT),), interface.result(Vec(interface.MEMORY_PRESENCE))
)
MEMORIES_READ = _method("memories_read", (_TEXT,), interface.result(interface.MEMORY))
MEMORIES_LIST_ASSETS = _method(
    "memories_list_assets", (_TEXT,), interface.result(interface.MEMORY_ASSETS)
)
ASSET_GET_BY_ID = _method("asset_get_by_id", (_TEXT, _TEXT), interface.result(interface.ASSET))
BLOB_GET_META = _method("blob_get_meta", (_TEXT,), interface.result(interface.BLOB_META))
BLOB_READ_CHUNK = _method("blob_read_chunk", (_TEXT, _NAT32), interface.result(BLOB))
GALLERIES_LIST = _method("galleries_list", (), Vec(interface.GALLERY_HEADER))
GALLERIES_READ = _method("galleries_read", (_TEXT,), interface.result(interface.GALLERY))
UPLOAD_CONFIG = _method("upload_config", (), interface.UPLOAD_CONFIG)

#: What an audit calls; a canister without one of these can't be audited.
NEEDED = (
    WHOAMI, CAPSULES_LIST, MEMORIES_LIST, MEMORIES_PING, MEMORIES_READ, MEMORIES_LIST_ASSETS,
    ASSET_GET_BY_ID, BLOB_GET_META, BLOB_READ_CHUNK, GALLERIES_LIST, GALLERIES_READ, UPLOAD_CONFIG,
)  # fmt: skip


class CanisterRefusalError(StoreError):
    """The canister answered with an error of its own.

    ``kind`` is the interface's word for it, such as ``NotFound`` or ``ResourceExhausted``.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def outcome(method: Method, values: Sequence[Any], reply: bytes) -> Any:
    """What a method answered.

    Raises CanisterRefusalError where it answered with an error, AccessRefusedError where the
    error is that the caller may not ask.
    """
    answer = method.decoder.decode(reply)
    if not method.is_result:
        return answer
    result, value = answer
    if result == "Ok":
        return value
    kind, detail = value
    message = f"{method.name}{_shown(values)} answered {kind}{f': {detail}' if detail else ''}"
    if kind == "Unauthorized":
        raise AccessRefusedError(
            f"{message}; check IC_IDENTITY_PEM: its principal must be an owner or controller "
            "of the capsule"
        )
    raise CanisterRefusalError(message, kind)


class Canister:
    """The canister as one identity sees it. Every method may raise a StoreError."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    async def whoami(self) -> str:
        """The principal that the canister takes the identity for."""
        return str(await self._query(WHOAMI))

    async def capsules(self) -> list[Capsule]:
        """The capsules that the identity sees."""
        headers = await self._query(CAPSULES_LIST)
        return [
            Capsule(header["id"], header["memory_count"], _principal(header["subject"]))
            for header in headers
        ]

    async def memories_page(
        self, capsule_id: str, cursor: str | None = None, limit: int = PAGE_LIMIT
    ) -> MemoryPage | None:
        """One page of a capsule's memories; None: the identity may not read it, or it is gone."""
        page = await self._query(
            MEMORIES_LIST, capsule_id, [] if cursor is None else [cursor], [limit]
        )
        if page is None:
            return None
        next_cursor = page["next_cursor"]
        if next_cursor is not None and len(next_cursor) > MAX_CURSOR_LENGTH:
            raise MalformedAnswerError("memories_list gave a cursor of absurd length")
        return MemoryPage(page["items"], next_cursor)

    async def is_certified_gone(self, capsule_id: str) -> bool:
        """Whether the whole subnet answers that this identity has no such capsule.

        It answers the same of a capsule of somebody else: that one is gone a person has to know.
        """
        page, _ = await self.certified(MEMORIES_LIST, capsule_id, [], [1])
        return page is None

    async def ping(self, memory_ids: Sequence[str]) -> dict[str, bool]:
        """Whether each memory's *metadata* is there; the canister never looks at the asset."""
        answers = await self._query(MEMORIES_PING, list(memory_ids)) or []
        return {answer["memory_id"]: answer["metadata_present"] for answer in answers}

    async def memory(self, memory_id: str) -> Memory | None:
        """A memory with its assets, inline ones with their bytes.

        None: it is not there, *or* it is in a capsule that the identity may not read.
        """
        decoded = await self._query(MEMORIES_READ, memory_id)
        if decoded is None:
            return None
        if decoded["id"] != memory_id:
            raise MalformedAnswerError(f"memories_read gave another memory than {memory_id}")
        return memory_of(decoded)

    async def asset_ids(self, memory_id: str) -> dict[str, Any] | None:
        """The ids of a memory's assets by their kind."""
        return await self._query(MEMORIES_LIST_ASSETS, memory_id)  # type: ignore[no-any-return]

    async def asset(self, memory_id: str, asset_id: str) -> tuple[str, dict[str, Any]] | None:
        """One asset: ``Inline``, ``InternalBlob`` or ``ExternalUrl``, and its fields."""
        return await self._query(ASSET_GET_BY_ID, memory_id, asset_id)  # type: ignore[no-any-return]

    async def blob_meta(self, locator: str) -> BlobMeta | None:
        """The true size of a blob; None: there is no such blob.

        Raises MalformedAnswerError where no canister could hold that many bytes.
        """
        meta = await self._query(BLOB_GET_META, locator)
        if meta is None:
            return None
        if meta["size"] > MAX_BLOB_BYTES:
            raise MalformedAnswerError(
                f"blob_get_meta says that a blob has {meta['size']} bytes: no canister holds that"
            )
        return BlobMeta(meta["size"], meta["chunk_count"])

    async def blob_chunk(self, locator: str, index: int) -> bytes | None:
        """One chunk of a blob; None: there is no such chunk."""
        if not 0 <= index < _NAT32_END:
            raise MalformedAnswerError(f"a blob has more than {_NAT32_END} chunks")
        return await self._query(BLOB_READ_CHUNK, locator, index)  # type: ignore[no-any-return]

    async def galleries(self) -> list[dict[str, Any]]:
        """The headers of the galleries that the identity sees."""
        return await self._query(GALLERIES_LIST)  # type: ignore[no-any-return]

    async def gallery(self, gallery_id: str) -> dict[str, Any] | None:
        """A gallery with its items in order."""
        return await self._query(GALLERIES_READ, gallery_id)  # type: ignore[no-any-return]

    async def upload_config(self) -> dict[str, int]:
        """The sizes that uploads have to keep to."""
        return await self._query(UPLOAD_CONFIG)  # type: ignore[no-any-return]

    async def certified(self, method: Method, *values: Any) -> tuple[Any, CertifiedReply]:
        """A query method's answer as an update call makes it: decoded, and with its proof."""
        proof = await self.agent.call(method.name, method.encode(values))
        return self._answer(method, values, proof.reply), proof

    # The canister itself -------------------------------------------------------------------------

    async def service_interface(self) -> str | None:
        """The text of the interface that the canister publishes, certified; None: it doesn't."""
        canister_id = self.agent.canister_id
        path = (b"canister", canister_id, b"metadata", b"candid:service")
        value = (await self.agent.read_state([path])).tree.look_up(*path)
        return None if isinstance(value, Missing) else value.decode(errors="replace")

    async def module_hash(self) -> str | None:
        """The hash of the canister's code, certified, in hex; None: it has none."""
        path = (b"canister", self.agent.canister_id, b"module_hash")
        value = (await self.agent.read_state([path])).tree.look_up(*path)
        return None if isinstance(value, Missing) else value.hex()

    async def controllers(self) -> list[str]:
        """The principals that may change the canister, certified."""
        path = (b"canister", self.agent.canister_id, b"controllers")
        value = (await self.agent.read_state([path])).tree.look_up(*path)
        if isinstance(value, Missing):
            raise StoreError(f"the canister's controllers are not certified: {value.value}")
        controllers = decode_cbor(value, "the canister's controllers")
        if not isinstance(controllers, list) or not all(isinstance(c, bytes) for c in controllers):
            raise MalformedAnswerError("the canister's controllers are no list of principals")
        return [principal_text(controller) for controller in controllers]

    # ---------------------------------------------------------------------------------------------

    async def _query(self, method: Method, *values: Any) -> Any:
        reply = await self.agent.query(method.name, method.encode(values))
        return self._answer(method, values, reply)

    def _answer(self, method: Method, values: Sequence[Any], reply: bytes) -> Any:
        """What a method answered; None for ``NotFound``."""
        try:
            return outcome(method, values, reply)
        except CanisterRefusalError as error:
            if error.kind == "NotFound":
                return None
            raise


def _principal(person: tuple[str, str]) -> str | None:
    """The principal that a ``PersonRef`` names, None where it names nobody by one."""
    kind, name = person
    return name if kind == "Principal" else None


def _shown(values: Sequence[Any]) -> str:
    """What a method was called with, as far as it is short: a chunk's bytes are not."""
    shown = (str(value)[:80] for value in values if isinstance(value, str | int))
    return f"({', '.join(shown)})" if values else ""
