"""What the canister claimed, kept so that anybody can check it later, offline, with the root key.

A file holds what was asked and the subnet's certificate over the reply, in CBOR. The request's id
is computed from what was asked, the certificate names it, and the time of asking is part of it: a
reply to another question, of another canister, of another time or of another network does not pass.
A certified claim is what the canister *says*; only reading the bytes shows what they are.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2

from checks.errors import MalformedAnswerError, UntrustedAnswerError
from tasks.stores.icp.agent import CertifiedReply, reply_in
from tasks.stores.icp.candid import TEXT, Decoder
from tasks.stores.icp.canister import MEMORIES_LIST_ASSETS, MEMORIES_READ, Method
from tasks.stores.icp.certificate import moment, verify
from tasks.stores.icp.envelope import (
    EXPIRY_SECONDS,
    SELF_DESCRIBED,
    decode_cbor,
    field_in,
    hash_of,
    map_in,
)
from tasks.stores.icp.identity import principal_text
from tasks.stores.icp.memory import Asset, memory_of

SCHEMA = "edgekeeper.certificate/1"
MAX_BYTES = 8 * 1024 * 1024
_WHAT = "the kept certificate"
_METHODS: Mapping[str, Method] = {each.name: each for each in (MEMORIES_READ, MEMORIES_LIST_ASSETS)}
_ARGUMENT = Decoder(TEXT, "the question")


@dataclass(frozen=True, slots=True)
class Claim:
    """What the canister said about one memory, as its subnet certified it.

    Attributes:
        canister_id, subnet_id: principals as people write them.
        method: what was called.
        memory_id: what was asked about.
        time: when the subnet certified it, in UTC.
        present: whether the canister has the memory and it is not on its way out.
        assets: how many assets it has, of whatever kind.
        declared_size, declared_sha256: of the original, as its uploader declared them; None where
            the canister does not say.
    """

    canister_id: str
    subnet_id: str
    method: str
    memory_id: str
    time: datetime
    present: bool
    assets: int = 0
    declared_size: int | None = None
    declared_sha256: str | None = None


def archive(proof: CertifiedReply) -> bytes:
    """A certified reply as a file that :func:`examine` takes."""
    evidence = cbor2.dumps(
        {"content": dict(proof.content), "certificate": proof.certificate.raw}, canonical=True
    )
    body = {"schema": SCHEMA, "sha256": hashlib.sha256(evidence).digest(), "evidence": evidence}
    return SELF_DESCRIBED + cbor2.dumps(body, canonical=True)


def read_kept(path: Path, longest: int = MAX_BYTES) -> bytes:
    """A kept file, and never more of another one than shows that it is too long to be one.

    What has no end has no size either, so that the size says nothing.
    """
    with path.open("rb") as file:
        return file.read(longest + 1)


def examine(data: bytes, root_key: bytes) -> Claim:
    """What a kept file proves.

    Args:
        data: the file.
        root_key: DER of the network's root key: all that has to be trusted.

    Raises:
        MalformedAnswerError: it is no such file, or it was damaged.
        UntrustedAnswerError: it proves nothing; the message says what does not hold.
    """
    content, raw = _opened(data)
    canister_id = field_in(content, "canister_id", bytes, _WHAT)
    name = field_in(content, "method_name", str, _WHAT)
    method = _METHODS.get(name)
    if method is None or content.get("request_type") != "call":
        raise MalformedAnswerError(f"{_WHAT} is about a call of {name[:80]!r}, not about a memory")
    try:
        request_id = hash_of(content)
    except TypeError as error:
        raise MalformedAnswerError(f"{_WHAT} holds no request: {error}") from None
    asked = moment(field_in(content, "ingress_expiry", int, _WHAT)) - timedelta(
        seconds=EXPIRY_SECONDS
    )
    certificate = verify(raw, canister_id=canister_id, root_key=root_key, at=asked)
    reply = reply_in(certificate, name, request_id)
    if reply is None:
        raise UntrustedAnswerError(
            "the certificate says nothing of what was asked: it answers another request than the "
            f"{name} of canister {principal_text(canister_id)} that is kept with it"
        )
    memory_id = str(_ARGUMENT.decode(field_in(content, "arg", bytes, _WHAT)))
    return Claim(
        canister_id=principal_text(canister_id), subnet_id=principal_text(certificate.subnet_id),
        method=name, memory_id=memory_id, time=certificate.time,
        **_said(method, reply, memory_id),
    )  # fmt: skip


def _opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """What was asked, and the certificate. Raises MalformedAnswerError where it is damaged."""
    if len(data) > MAX_BYTES:
        raise MalformedAnswerError(f"{_WHAT} has more than {MAX_BYTES} bytes")
    if not data.startswith(SELF_DESCRIBED):
        raise MalformedAnswerError(f"{_WHAT} is no CBOR file")
    body = map_in(decode_cbor(data, _WHAT), _WHAT)
    if body.get("schema") != SCHEMA or set(body) != {"schema", "sha256", "evidence"}:
        raise MalformedAnswerError(f"{_WHAT} is not of the form {SCHEMA}")
    evidence = field_in(body, "evidence", bytes, _WHAT)
    if hashlib.sha256(evidence).digest() != body["sha256"]:
        raise MalformedAnswerError(f"{_WHAT} was damaged: its checksum does not fit")
    kept = map_in(decode_cbor(evidence, _WHAT), _WHAT)
    content = map_in(kept.get("content"), _WHAT)
    return content, field_in(kept, "certificate", bytes, _WHAT)


def _said(method: Method, reply: bytes, memory_id: str) -> dict[str, Any]:
    """What a reply says of the memory."""
    outcome, value = method.decoder.decode(reply)
    if outcome == "Err":
        kind, _ = value
        if kind != "NotFound":
            raise UntrustedAnswerError(f"the canister answered {kind}: nothing is claimed")
        return {"present": False}
    own_id = value["id"] if method is MEMORIES_READ else value["memory_id"]
    if own_id != memory_id:
        raise UntrustedAnswerError(f"the reply is about another memory than {memory_id}")
    if method is MEMORIES_LIST_ASSETS:
        return {"present": True, "assets": value["total_count"]}
    memory = memory_of(value)
    original = next(_originals(memory.assets), None)
    return {
        "present": not memory.deleted,
        "assets": len(memory.assets),
        "declared_size": original.declared_size if original else None,
        "declared_sha256": original.declared_sha256 if original else None,
    }


def _originals(assets: tuple[Asset, ...]) -> Iterator[Asset]:
    return (each for each in assets if each.asset_type == "Original" and not each.deleted)
