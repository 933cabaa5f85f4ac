"""The identity of a finding across runs."""

import hashlib
import json


def fingerprint(
    kind: str,
    *,
    memory_id: str | None = None,
    memory_type: str | None = None,
    artifact: str | None = None,
    backend: str | None = None,
    location: str | None = None,
    gallery_id: str | None = None,
) -> str:
    """The first 16 hex digits of SHA-256 over a finding's identity, null where a part is not used.

    The identity is written as a compact JSON array in UTF-8, in the order of the parameters.
    """
    identity = [kind, memory_id, memory_type, artifact, backend, location, gallery_id]
    text = json.dumps(identity, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
