"""The statement that is handed out after a verification, and checking one that was handed in.

A statement says what was checked, when, and what was found, by ids and hashes; never by titles or
contents. It is signed with the Ed25519 identity where one is set, over the canonical form of its
content (RFC 8785's: sorted keys, no blanks; there are no fractions in it).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from checks.errors import MalformedAnswerError, StoreError, UntrustedAnswerError
from checks.run import RunRecord, rfc3339
from tasks.run_directory import RunDirectory, write_text
from tasks.stores.icp.evidence import Claim, examine, read_kept
from tasks.stores.icp.identity import Identity, principal_text, self_authenticating

SCHEMA = "edgekeeper.statement/1"
FILE = "statement.json"
MAX_BYTES = 256 * 1024 * 1024
#: What is signed begins with this, so that no signature can stand for another thing.
_DOMAIN = bytes([len(SCHEMA)]) + SCHEMA.encode()
_PARTS = frozenset({"schema", "statement", "sha256", "signature"})
#: What is told of a statement, and what it has to be.
_TOLD = {"gallery_id": (str, type(None)), "verdict": (str,), "finished_at": (str, type(None))}
#: The names that certificates are kept under; no other file is opened, whatever a statement says.
_CERTIFICATE = re.compile(r"certificates/[0-9a-f]{32}\.cbor")


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking a statement showed.

    Attributes:
        content: what it says.
        signer: the principal that signed it, None where nobody did.
        claims: what the certificates beside it prove, by path.
        absent: certificates that it names and that are not beside it.
    """

    content: dict[str, Any]
    signer: str | None
    claims: Mapping[str, Claim]
    absent: tuple[str, ...]


def write_statement(
    directory: RunDirectory, run: RunRecord, certificates: Mapping[str, str], identity: Identity
) -> Path:
    """Writes ``statement.json`` beside the report.

    ``certificates``: SHA-256 by path within the run's directory.
    """
    content = _content(run, certificates)
    canonical = _canonical(content)
    body = {
        "schema": SCHEMA,
        "statement": content,
        "sha256": hashlib.sha256(canonical).hexdigest(),
        "signature": _signature(identity, canonical),
    }
    return write_text(directory.path / FILE, _readable(body))


def _content(run: RunRecord, certificates: Mapping[str, str]) -> dict[str, Any]:
    assert run.gallery is not None  # noqa: S101 - of a verification
    gallery = run.gallery.model_dump(mode="json")
    return {
        "run_id": run.run_id,
        "started_at": rfc3339(run.started_at),
        "finished_at": None if run.finished_at is None else rfc3339(run.finished_at),
        "edgekeeper": run.version,
        "status": run.status.value,
        "stores": {name: store.state.value for name, store in run.stores.items()},
        "gallery_id": gallery["id"],
        "verdict": gallery["verdict"],
        "on_icp": gallery["on_icp"],
        "memories": gallery["memories"],
        "findings": dict(run.counts),
        "certificates": dict(certificates),
    }


def _signature(identity: Identity, canonical: bytes) -> dict[str, str] | None:
    """The signature, None where the identity has no Ed25519 key."""
    if identity.public_key is None:
        return None
    if not isinstance(load_der_public_key(identity.public_key), Ed25519PublicKey):
        return None
    value = identity.sign(_DOMAIN + canonical)
    return {
        "algorithm": "Ed25519",
        "principal": principal_text(identity.principal),
        "public_key": identity.public_key.hex(),
        "value": "" if value is None else value.hex(),
    }


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _readable(body: Any) -> str:
    return json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def check_statement(path: Path, root_key: bytes) -> Checked:
    """Checks a statement, and the certificates that lie beside it.

    Raises MalformedAnswerError where it is no statement or was damaged, UntrustedAnswerError where
    its signature or one of its certificates does not hold.
    """
    body = _opened(path)
    content = body["statement"]
    canonical = _canonical(content)
    if hashlib.sha256(canonical).hexdigest() != body["sha256"]:
        raise MalformedAnswerError("the statement was changed: its checksum does not fit")
    signer = _signer(body["signature"], canonical)
    claims, absent = _certificates(path.parent, content, root_key)
    return Checked(content, signer, claims, absent)


def _opened(path: Path) -> dict[str, Any]:
    """The statement's parts; it has to be written exactly as edgekeeper writes it."""
    data = read_kept(path, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise MalformedAnswerError(f"the statement has more than {MAX_BYTES} bytes")
    try:
        body = json.loads(data)
        as_written = _readable(body).encode() == data
    except (ValueError, RecursionError):
        raise MalformedAnswerError("the statement is no JSON: it was damaged") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA or set(body) != _PARTS:
        raise MalformedAnswerError(f"it is no statement of the form {SCHEMA}")
    content = body["statement"]
    if not as_written or not isinstance(content, dict):
        raise MalformedAnswerError("the statement is not as edgekeeper wrote it: it was changed")
    for name, kinds in _TOLD.items():
        if not isinstance(content.get(name, ...), kinds):
            raise MalformedAnswerError(f"the statement does not say its {name}, or not as a text")
    return body


def _signer(signature: Any, canonical: bytes) -> str | None:
    """The principal whose signature holds. Raises UntrustedAnswerError where none does."""
    if signature is None:
        return None
    try:
        public_key = bytes.fromhex(signature["public_key"])
        key = load_der_public_key(public_key)
        if signature["algorithm"] != "Ed25519" or not isinstance(key, Ed25519PublicKey):
            raise UntrustedAnswerError("the statement's signature is not of the kind Ed25519")
        value = bytes.fromhex(signature["value"])
        key.verify(value, _DOMAIN + canonical)
        claimed = signature["principal"]
        exact = (signature["public_key"], signature["value"]) == (public_key.hex(), value.hex())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        raise UntrustedAnswerError("the statement's signature does not hold") from None
    principal = principal_text(self_authenticating(public_key))
    if (
        not exact
        or claimed != principal
        or set(signature) != {"algorithm", "principal", "public_key", "value"}
    ):
        raise UntrustedAnswerError("the statement's signature is not as edgekeeper writes it")
    return principal


def _certificates(
    directory: Path, content: dict[str, Any], root_key: bytes
) -> tuple[dict[str, Claim], tuple[str, ...]]:
    """What the certificates beside the statement prove, and which are not there."""
    named = content.get("certificates")
    if not isinstance(named, dict):
        raise MalformedAnswerError("the statement does not say which certificates it rests on")
    claims: dict[str, Claim] = {}
    absent: list[str] = []
    for name, digest in named.items():
        if not _CERTIFICATE.fullmatch(name):
            raise MalformedAnswerError("the statement names a file that is no kept certificate's")
        path = directory / name
        inside = path.resolve().is_relative_to(directory.resolve())
        if not inside or not path.is_file():
            absent.append(name)
            continue
        data = read_kept(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise UntrustedAnswerError(f"{name} is not the certificate that the statement names")
        try:
            claims[name] = examine(data, root_key)
        except StoreError as error:
            raise UntrustedAnswerError(f"{name}: {error}") from None
    return claims, tuple(absent)
