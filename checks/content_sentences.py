"""What is said of bytes that are not what the ledger says: since when, and who still agrees."""

import json
from datetime import datetime
from typing import Any

from checks.model import Artifact, Backend

Case = dict[str, Any]
STORE_NAMES = {
    Backend.NEON.value: "Neon",
    Backend.BLOB.value: "Vercel Blob",
    Backend.ICP.value: "the canister",
}
_SHOWN_DIGITS = 12


def what(case: Case) -> str:
    """``the asset of image 3f2a…``: what an edge's finding is about."""
    return f"the {case['artifact']} of {case['memory_type']} {case['memory_id']}"


def where(case: Case) -> str:
    """The store that a finding is about."""
    return store_name(case.get("backend"))


def store_name(backend: Any) -> str:
    """A store as people call it."""
    return STORE_NAMES.get(str(backend), str(backend))


def day(value: Any) -> str:
    """A date, of a time or of a text that holds one."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return f"{value:%d %b %Y}".lstrip("0") if isinstance(value, datetime) else "an unknown day"


def agreement(case: Case) -> str:
    """Who else holds the asset, and whether that is what the ledger says of this one."""
    if case.get("artifact") != Artifact.ASSET:
        return ""
    copies = others(case)
    if not copies:
        return " No other store was seen to have a copy."
    return "".join(f" {_capital(_copy(case, copy))}." for copy in copies)


def others(case: Case) -> list[Case]:
    """The asset's replicas in other stores (see ``replicas.attach``)."""
    found: list[Case] = json.loads(case.get("others") or "[]")
    return found


def _copy(case: Case, copy: Case) -> str:
    name, expected = store_name(copy["backend"]), case.get("content_hash")
    if copy["sha256"] is not None:
        if copy["sha256"] == expected:
            return f"{name} and the ledger still agree: its copy was read in this run"
        if copy["sha256"] == case.get("sha256"):
            return f"{name} was read too and has the same bytes as this copy"
        return f"{name} was read too and has other bytes"
    if copy["holds"] and expected in (None, copy["recorded"]):
        return (
            f"{name} and the ledger agreed when its copy was last read, on "
            f"{day(copy['verified_at'])}, and it was not written since"
        )
    return f"{name} has a copy that was not read"


def missing(case: Case) -> str:
    """Something that the ledger claims is not there."""
    if case.get("outcome") == "gone":
        return (
            f"{_capital(where(case))} lists {what(case)}, but its bytes can't be read: they are "
            f"not there.{agreement(case)}"
        )
    return (
        f"The ledger says since {day(case.get('updated_at'))} that {where(case)} holds "
        f"{what(case)}; it is not in the complete listing.{agreement(case)}"
    )


def size_mismatch(case: Case) -> str:
    """The length is another one, and nobody has written it."""
    seen = case.get("read_size" if case.get("outcome") == "read" else "object_size")
    return (
        f"The ledger says {_bytes(case.get('size_bytes'))}, {where(case)} has {_bytes(seen)} for "
        f"{what(case)}, although {_unwritten(case)}.{agreement(case)}"
    )


def hash_mismatch(case: Case) -> str:
    """The bytes are other ones, and nobody has written them."""
    return (
        f"{_capital(what(case))} in {where(case)} was read twice and its SHA-256 is not the "
        f"ledger's, although {_unwritten(case)}: the bytes changed by themselves.{agreement(case)}"
    )


def stale_hash(case: Case) -> str:
    """The bytes were written after the ledger's row."""
    doubt = (
        " The ledger's hash was once seen to be that of the bytes: whether the new ones are meant "
        "a person has to say."
        if case.get("ever_verified")
        else ""
    )
    return (
        f"{_capital(what(case))} in {where(case)} was written {_after(case)}, and differs from it."
        f"{agreement(case)}{doubt}"
    )


def outdated_replica(case: Case) -> str:
    """The original was written after this copy."""
    source = next(iter(others(case)), None)
    original = (
        f"the original in {store_name(source['backend'])} was written {day(source['written_at'])}"
        if source
        else "the original was written since"
    )
    return (
        f"{_capital(what(case))} in {where(case)} is of "
        f"{day(case.get('object_written_at'))} and an older version: {original}."
    )


def replica_divergence(case: Case) -> str:
    """Nobody can say which bytes are right: the facts of every store."""
    own = {
        "backend": case.get("backend"), "recorded": case.get("content_hash"),
        "sha256": case.get("sha256"), "written_at": case.get("object_written_at"),
    }  # fmt: skip
    copies = [own, *others(case)]
    facts = "; ".join(_facts(copy) for copy in copies)
    return (
        f"Which bytes of {case['memory_type']} {case['memory_id']} are right can't be decided: "
        f"{_why(copies)}. {_capital(facts)}."
    )


def _why(copies: list[Case]) -> str:
    recorded = {copy["recorded"] for copy in copies if copy["recorded"]}
    read = {copy["sha256"] for copy in copies if copy["sha256"]}
    if len(recorded) > 1:
        return "the ledger's own rows have different hashes"
    if len(read) == 1 and len(copies) > 1 and all(copy["sha256"] for copy in copies):
        return "all copies hold the same bytes, which are not the ledger's"
    if len(read) > 1:
        return "the copies differ"
    return "they are not the ledger's, and which of the two is newer is not known"


def _facts(copy: Case) -> str:
    """What the ledger says of one replica, and what it was seen to be."""
    read = f"read as {_short(copy['sha256'])}" if copy["sha256"] else "not read"
    written = f", written {day(copy['written_at'])}" if copy["written_at"] else ""
    recorded = _short(copy["recorded"]) if copy["recorded"] else "no hash"
    return f"{store_name(copy['backend'])}: the ledger has {recorded}, {read}{written}"


def _short(sha256: str) -> str:
    return f"{sha256[:_SHOWN_DIGITS]}…"


def _unwritten(case: Case) -> str:
    """Why nobody can have written the bytes."""
    written = day(case.get("object_written_at"))
    if case.get("verified_at"):
        return (
            f"it was not written (last {written}) since it was last verified, on "
            f"{day(case['verified_at'])}"
        )
    return f"it was last written {written}, before the ledger's row"


def _after(case: Case) -> str:
    """When the bytes were written, and how long that was after the ledger's row."""
    written = case.get("object_written_at")
    touched = case.get("updated_at") or case.get("created_at")
    if not (isinstance(written, datetime) and isinstance(touched, datetime) and written > touched):
        return f"after it was last verified ({day(case.get('verified_at'))})"
    days = (written - touched).days
    later = f"{days} day{'s' if days != 1 else ''} after" if days else "less than a day after"
    return f"{day(written)}, {later} the ledger's row ({day(touched)})"


def _bytes(size: Any) -> str:
    return "no size" if size is None else f"{int(size)} bytes"


def _capital(text: str) -> str:
    """The text with a capital letter; a sentence may begin with the name of a store."""
    return text[:1].upper() + text[1:]
