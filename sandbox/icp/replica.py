"""What a replica does with a request once it is open: query, call, read_state, status."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sandbox.icp.candid import unsigned
from sandbox.icp.canister import Canister, TakeFault
from sandbox.icp.certificate import Certifier, encode
from sandbox.icp.envelope import BadRequestError, Request, hash_of
from sandbox.icp.hash_tree import Path, State
from sandbox.icp.interface import source
from sandbox.icp.keys import NetworkKeys
from sandbox.icp.principal import to_text
from sandbox.icp.refusal import Reject

QUERY_REPLY_BYTES: Final = 3 * 1024 * 1024
UPDATE_REPLY_BYTES: Final = 2 * 1024 * 1024
KEPT_REPLY_BYTES: Final = 256 * 1024 * 1024
MAX_PATHS: Final = 1_000
MAX_LABELS: Final = 127
MODULE_HASH: Final = hash_of("edgekeeper sandbox canister")

_RESPONSE: Final = b"\x0bic-response"


@dataclass(slots=True)
class _Call:
    """An executed update call: who sent it, until when it is remembered, what came of it."""

    sender: bytes
    expiry: int
    outcome: State


class Replica:
    """One node of one subnet with one canister, whatever id that is called by."""

    def __init__(self, keys: NetworkKeys, canister: Canister) -> None:
        self._keys = keys
        self._canister = canister
        self._certifier = Certifier(keys)
        self._calls: dict[bytes, _Call] = {}

    def status(self) -> bytes:
        """What ``/api/v2/status`` answers."""
        return encode(
            {
                "root_key": self._keys.root.der,
                "impl_version": "edgekeeper-sandbox",
                "replica_health_status": "healthy",
            }
        )

    # Queries -------------------------------------------------------------------------------------

    def query(self, request: Request, canister_id: bytes, fault: TakeFault) -> bytes:
        """A query's answer, signed by the node."""
        try:
            reply = self._execute(request, canister_id, fault, as_query=True)
            answer: dict[str, Any] = {"status": "replied", "reply": {"arg": reply}}
        except Reject as reject:
            answer = {
                "status": "rejected",
                "reject_code": reject.code,
                "reject_message": reject.message,
                "error_code": reject.error_code,
            }
        now = time.time_ns()
        signed = hash_of({**answer, "timestamp": now, "request_id": request.id})
        signature = {
            "timestamp": now,
            "signature": self._keys.node.sign(_RESPONSE + signed),
            "identity": self._keys.node_id,
        }
        return encode({**answer, "signatures": [signature]})

    def _execute(
        self, request: Request, canister_id: bytes, fault: TakeFault, *, as_query: bool
    ) -> bytes:
        content = request.content
        name = content["method_name"]
        try:
            reply = self._canister.call(
                name, request.sender, content["arg"], as_query=as_query, fault=fault
            )
            _check_size(reply, QUERY_REPLY_BYTES if as_query else UPDATE_REPLY_BYTES)
        except Reject as reject:
            message = f"Error from Canister {to_text(canister_id)}: {reject.message}"
            raise Reject(reject.error_code, message, reject.code) from reject
        return reply

    # Update calls --------------------------------------------------------------------------------

    def call(self, request: Request, canister_id: bytes, fault: TakeFault) -> None:
        """Execute an update call, unless a call with this id was executed before."""
        self._forget()
        if request.id in self._calls:
            return
        try:
            reply = self._execute(request, canister_id, fault, as_query=False)
            outcome: State = {b"status": b"replied", b"reply": reply}
        except Reject as reject:
            outcome = {
                b"status": b"rejected",
                b"reject_code": unsigned(reject.code),
                b"reject_message": reject.message.encode(),
                b"error_code": reject.error_code.encode(),
            }
        self._calls[request.id] = _Call(request.sender, request.expiry, outcome)

    def call_result(self, request: Request, canister_id: bytes, *, sharded: bool) -> bytes:
        """What a synchronous call answers: a certificate of what came of it."""
        path = (b"request_status", request.id)
        state = self._state(canister_id, [path])
        certificate = self._certifier.certify(state, [path], sharded=sharded)
        return encode({"status": "replied", "certificate": certificate})

    def _forget(self) -> None:
        """Drop calls that can't be sent again, and replies beyond what is kept: they are done."""
        now = time.time_ns()
        for request_id in [key for key, call in self._calls.items() if call.expiry < now]:
            del self._calls[request_id]
        kept = 0
        for call in reversed(self._calls.values()):
            kept += len(_leaf(call.outcome, b"reply"))
            if kept > KEPT_REPLY_BYTES:
                call.outcome = {b"status": b"done"}

    # State ---------------------------------------------------------------------------------------

    def read_canister_state(self, request: Request, canister_id: bytes, *, sharded: bool) -> bytes:
        """A certificate of the parts of the state that the request names."""
        paths = _paths(request)
        for path in paths:
            self._check_canister_path(path, request.sender, canister_id)
        state = self._state(canister_id, paths)
        return encode({"certificate": self._certifier.certify(state, paths, sharded=sharded)})

    def read_subnet_state(self, request: Request, *, sharded: bool) -> bytes:
        """Likewise, of those that belong to the subnet."""
        paths = _paths(request)
        for path in paths:
            if path and path[0] not in (b"time", b"subnet", b"canister_ranges"):
                raise BadRequestError(f"Invalid path requested: {_shown(path)}", 404)
        return encode({"certificate": self._certifier.certify({}, paths, sharded=sharded)})

    def _check_canister_path(self, path: Path, sender: bytes, canister_id: bytes) -> None:
        match list(path):
            case [b"time"] | [b"subnet", *_] | [b"canister_ranges", *_]:
                return
            case [b"request_status", request_id, *rest] if len(rest) <= 1:
                call = self._calls.get(request_id)
                if call is not None and call.sender != sender:
                    message = "The user tries to access Request ID not signed by the caller"
                    raise BadRequestError(message, 403)
            case [b"canister", named, b"module_hash" | b"controllers"] if named == canister_id:
                return
            case [b"canister", named, b"metadata", _] if named == canister_id:
                return
            case [b"canister", named, *_] if named != canister_id:
                raise BadRequestError(
                    f"Effective principal id in URL {to_text(canister_id)} does not match "
                    f"requested principal id: {to_text(named)}.",
                )
            case _:
                raise BadRequestError(f"Invalid path requested: {_shown(path)}", 404)

    def _state(self, canister_id: bytes, paths: Sequence[Path]) -> State:
        """The state beside the subnet's own: this canister, and the calls that are asked for."""
        asked = {path[1] for path in paths if len(path) > 1 and path[0] == b"request_status"}
        calls = {key: self._calls[key].outcome for key in asked if key in self._calls}
        canister: State = {
            b"controllers": encode([self._keys.subnet_id]),
            b"metadata": {b"candid:service": source().encode()},
            b"module_hash": MODULE_HASH,
        }
        return {b"canister": {canister_id: canister}, b"request_status": calls}


def _check_size(reply: bytes, limit: int) -> None:
    if len(reply) > limit:
        raise Reject(
            "IC0504",
            "Canister violated contract: ic0.msg_reply_data_append: application payload "
            f"size ({len(reply)}) cannot be larger than {limit}.",
        )


def _leaf(state: State, label: bytes) -> bytes:
    value = state.get(label, b"")
    return value if isinstance(value, bytes) else b""


def _paths(request: Request) -> list[Path]:
    paths = request.content.get("paths")
    if not isinstance(paths, list) or len(paths) > MAX_PATHS:
        raise BadRequestError(f"The field paths is no list of at most {MAX_PATHS} paths")
    for path in paths:
        if not isinstance(path, list) or len(path) > MAX_LABELS:
            raise BadRequestError(f"A path is no list of at most {MAX_LABELS} labels")
        if not all(isinstance(label, bytes) for label in path):
            raise BadRequestError("A label in a path is no blob")
    return paths


def _shown(path: Path) -> str:
    return "/" + "/".join(label.decode(errors="backslashreplace") for label in path)


def check_call(request: Request, canister_id: bytes) -> str:
    """The method that a query or call names; BadRequestError where a field is not as it must be."""
    content: Mapping[str, Any] = request.content
    kinds: dict[str, type[Any]] = {"canister_id": bytes, "method_name": str, "arg": bytes}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise BadRequestError(f"The request's field {name} is missing or no {kind.__name__}")
    if content["canister_id"] != canister_id:
        raise BadRequestError(
            f"Specified CanisterId {to_text(content['canister_id'])} does not match effective "
            f"canister id in URL {to_text(canister_id)}",
        )
    return str(content["method_name"])
