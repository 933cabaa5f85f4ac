"""Findings as people and programs read them: identity, severity, both sides, and a sentence."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pandas as pd

from checks import content_sentences
from checks.content_sentences import day, what, where
from checks.fingerprint import fingerprint
from checks.kinds import IDENTITY, KINDS, Grain, Severity
from checks.model import Artifact, Evidence, RepairState
from checks.states import Object

#: Kinds about bytes that are lost, rotten or in doubt in one store.
_IN_DOUBT = frozenset({"missing", "hash_mismatch", "size_mismatch"})
#: Grains whose cases bring both their sides with them (see ``galleries`` and ``duplicates``).
_WHOLE_COLLECTION = (Grain.CONTENT, Grain.GALLERY)
#: Kinds of objects that may be removed one day: only if they are the version that was first seen.
_MAY_GO = frozenset({"orphaned"})
_AT_ONCE = 5_000


def identify(kind: str, case: dict[str, Any]) -> dict[str, str | None]:
    """The identity of a finding: its grain's fields from ``case``, the others null."""
    names = ("memory_id", "memory_type", "artifact", "backend", "location", "gallery_id")
    identity: dict[str, str | None] = dict.fromkeys(names)
    grain = KINDS[kind].grain
    for name in IDENTITY[grain]:
        identity[name] = case.get(name)
    if grain is Grain.OBJECT:
        identity["location"] = case.get("object_location") or case.get("location")
    if grain is Grain.ASSET:
        identity["artifact"] = Artifact.ASSET.value
    if kind == "icp_only":
        identity["backend"] = "icp-canister"
    if kind == "type_mismatch":
        identity["memory_type"] = None
    return identity


def severity(kind: str, case: dict[str, Any]) -> Severity:
    """What the finding means for the promise made to the user.

    Critical where bytes are lost, rotten or in doubt and no other verified replica holds them.
    """
    if KINDS[kind].always_info:
        return Severity.INFO
    if kind == "lost":
        return Severity.CRITICAL
    if kind == "replica_divergence":  # each version is safe where each copy is what its edge says
        return Severity.WARNING if case.get("sound_everywhere") else Severity.CRITICAL
    asset = case.get("artifact") == Artifact.ASSET
    if kind in _IN_DOUBT and asset and not case.get("verified_elsewhere"):
        return Severity.CRITICAL
    return Severity.WARNING


def describe(case: dict[str, Any]) -> dict[str, Any]:
    """One case with its ``kind`` as a finding row (columns of ``run.FINDINGS``).

    Null values of ``case`` must be None.
    """
    kind = case["kind"]
    identity = identify(kind, case)
    return {
        "fingerprint": fingerprint(kind, **identity),
        "kind": kind,
        "severity": severity(kind, case).value,
        **identity,
        "expected": _json(_expected(case)),
        "observed": _json(_observed(case)),
        "evidence": _evidence(case).value,
        "explanation": _SENTENCES[kind](case) + _besides(case),
        "repair": RepairState.NONE.value,
        "repair_detail": None,
        # The ledger can follow a file; that the app shows nobody the file stays open.
        "stays_open": kind == "moved" and case.get("row_url") is not None,
    }


def plain_records(cases: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of a frame as dictionaries with None for every kind of missing value.

    A dictionary needs twenty times the memory of a row in a frame: only so many are made at once.
    """
    for start in range(0, len(cases), _AT_ONCE):
        yield from _plain_records(cases.iloc[start : start + _AT_ONCE])


def _plain_records(cases: pd.DataFrame) -> Iterator[dict[str, Any]]:
    columns = [str(name) for name in cases.columns]
    lists = [
        cases[name].astype(object).where(cases[name].notna(), None).tolist() for name in columns
    ]
    return (dict(zip(columns, values, strict=True)) for values in zip(*lists, strict=True))


def _evidence(case: dict[str, Any]) -> Evidence:
    if case["kind"] == "moved" or case.get("outcome") in ("read", "gone", "changed", "failed"):
        return Evidence.SHA256
    return Evidence.LOOKUP if case.get("confirmed") else Evidence.LISTING


def _expected(case: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says, or for a lost asset the row's own URL; empty where nothing does."""
    if KINDS[case["kind"]].grain in _WHOLE_COLLECTION:
        return dict(case.get("expected_facts") or {})
    if case.get("edge_id") is None:
        promised = case.get("row_pathname") if case["kind"] == "lost" else None
        return {"present": True, "location": promised} if promised else {}
    names = ("present", "location", "content_hash", "size_bytes", "sync_state", "sync_error")
    return _known({name: case.get(name) for name in names})


def _observed(case: dict[str, Any]) -> dict[str, Any]:
    """What the store was seen to hold."""
    kind = case["kind"]
    if KINDS[kind].grain in _WHOLE_COLLECTION:
        return dict(case.get("observed_facts") or {})
    read = case.get("outcome") == "read"
    there = case.get("object_state") == Object.THERE and case.get("outcome") != "gone"
    return (
        {"present": there}
        | _known(
            {
                "location": case.get("object_location"),
                "content_hash": case.get("sha256") if read else None,
                "size_bytes": case.get("read_size") if read else case.get("object_size"),
                "written_at": case.get("object_written_at"),
                "moved_to": case.get("moved_to"),
                "version": case.get("object_version") if kind in _MAY_GO else None,
                "link_only": True if case.get("object_state") == Object.LINK else None,
            }
        )
        | _beside_the_url(case)
    )


def _beside_the_url(case: dict[str, Any]) -> dict[str, Any]:
    """What is where the row's url says, where that is the question."""
    if case["kind"] != "location_conflict":
        return {}
    there = case.get("row_object_version") is not None
    return {"url_present": there} | _known(
        {
            "url_location": case.get("row_pathname"),
            "url_size_bytes": case.get("row_object_size"),
            "url_written_at": case.get("row_object_written_at"),
        }
    )


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """The values that there are; whole numbers as such, although a frame with gaps has floats."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in values.items()
        if value is not None
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, default=_text, ensure_ascii=False)


def _text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.item() if hasattr(value, "item") else str(value)


def _stuck(case: dict[str, Any]) -> str:
    there = case["object_state"] == Object.THERE
    found = "it is there" if there else "it is not there"
    return (
        f"The copy of {what(case)} to {where(case)} has been under way since "
        f"{day(case.get('updated_at'))}; {found}."
    )


def _duplicate(case: dict[str, Any]) -> str:
    size, saves = (int(case.get(name) or 0) for name in ("size_bytes", "saves"))
    return (
        f"By the ledger's hashes {int(case.get('memories') or 0)} memories hold the same {size} "
        f"bytes, {' and '.join(case.get('examples') or ['…'])} among them; held once in each store "
        f"that would save {saves} bytes."
    )


def _besides(case: dict[str, Any]) -> str:
    """What else applies to the edge: of several kinds only the gravest is a finding."""
    named = [KINDS[name] for name in (case.get("besides") or "").split(", ") if name in KINDS]
    return "".join(
        f" It is also {kind.name}: {kind.meaning[0].lower()}{kind.meaning[1:]}" for kind in named
    )


def _conflict(case: dict[str, Any]) -> str:
    own = case.get("object_state") == Object.THERE
    other = case.get("row_object_version") is not None
    return (
        f"For {what(case)} the ledger names {case.get('named')} in {where(case)}"
        f"{_seen(own, case.get('object_written_at'))}, the row's url names "
        f"{case.get('row_pathname')}{_seen(other, case.get('row_object_written_at'))}."
        f"{'' if own else ' The app may have moved it: the edge is not turned off on a guess.'}"
    )


def _moved(case: dict[str, Any]) -> str:
    url = case.get("row_url")
    return (
        f"{what(case).capitalize()} is no longer at {case.get('named') or 'its place'} in "
        f"{where(case)}; {case.get('moved_to') or 'another object'}, which nothing refers to, has "
        "the same SHA-256: it was read in this run."
        f"{' The url in its row names nothing: the app has to be told as well.' if url else ''}"
    )


def _seen(there: bool, written_at: Any) -> str:  # noqa: FBT001 - reads well where it is called
    return f" (there, written {day(written_at)})" if there else " (not there)"


def _bad_location(case: dict[str, Any]) -> str:
    problem = case.get("location_problem") or case.get("row_url_problem") or "it is empty"
    if case.get("edge_id") is not None and case.get("malformed"):
        return f"The ledger's location of {what(case)} names no object: {problem}."
    return (
        f"The url in the row of {case['memory_type']} {case['memory_id']} is unusable: {problem}."
    )


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "lost": lambda c: (
        f"The asset of {c['memory_type']} {c['memory_id']} was promised, and none of the stores "
        "holds it."
    ),
    "missing": content_sentences.missing,
    "size_mismatch": content_sentences.size_mismatch,
    "hash_mismatch": content_sentences.hash_mismatch,
    "stale_hash": content_sentences.stale_hash,
    "outdated_replica": content_sentences.outdated_replica,
    "replica_divergence": content_sentences.replica_divergence,
    "stuck": _stuck,
    "invalid_location": _bad_location,
    "invalid_row": lambda c: (
        f"The ledger's row about {what(c)} in {where(c)} can't be used: "
        f"{c.get('row_problem') or 'it has an impossible value'}."
    ),
    "location_conflict": _conflict,
    "moved": _moved,
    "invalid_id": lambda c: (
        f"{where(c).capitalize()} has a {c['memory_type']} under an id that is no canonical UUID."
    ),
    "external_only": lambda c: (
        f"The ledger says that the canister holds {what(c)}; it holds only a link to it."
    ),
    "deleted_memory": lambda c: (
        f"Neon no longer has {c['memory_type']} {c['memory_id']}, but edges or objects are left."
    ),
    "unmarked": lambda c: f"{where(c).capitalize()} holds {what(c)}; the ledger says it does not.",
    "untracked": lambda c: f"{where(c).capitalize()} holds {what(c)}; the ledger has no row.",
    "sync_failed": lambda c: (
        f"The last copy of {what(c)} to {where(c)} failed and nothing is there."
    ),
    "stale_failure": lambda c: (
        f"The ledger shows a failure for {what(c)} in {where(c)}, but it is there."
    ),
    "dangling_edge": lambda c: (
        f"The ledger has a row about {what(c)} in {where(c)}; no store has that memory."
    ),
    "unverifiable": lambda c: (
        f"The bytes of {what(c)} in {where(c)} could not be compared: "
        f"{c.get('read_detail') or 'they could not be read'}."
    ),
    "icp_only": lambda c: (
        f"The canister holds {c['memory_type']} {c['memory_id']}, and nothing in Neon says that "
        "it was ever there."
    ),
    "hash_unknown": lambda c: f"{where(c).capitalize()} holds {what(c)}; no hash is recorded.",
    "orphaned": lambda c: (
        f"The ledger says that {c['memory_type']} {c['memory_id']} is gone from Neon; this copy of "
        f"it is left in {where(c)}."
        if c.get("memory_id")
        else f"Nothing refers to this object in {where(c)}."
    ),
    "unclassified": lambda c: f"Nothing refers to anything in this folder of {where(c)}.",
    "duplicate_content": _duplicate,
    "gallery_divergence": lambda c: (
        f"Gallery {c.get('gallery_id')} differs between Neon and the canister: "
        f"{c.get('how') or 'its items or their order'}."
    ),
    "dangling_item": lambda c: (
        f"Gallery {c.get('gallery_id')} in {c.get('place') or 'a store'} has an item for "
        f"{c.get('memory_type')} {c.get('memory_id')}, which is gone."
    ),
    "type_mismatch": lambda c: f"The id {c['memory_id']} is used by memories of two types.",
}
