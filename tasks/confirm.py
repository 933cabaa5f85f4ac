"""Looking directly at what the comparison found, before anybody is told.

A listing can lag behind the store and the app keeps writing while we list. So every finding is
looked at again: the store itself must say what its listing said, and *after that* the ledger's and
the app's rows must still be what they were. What changed meanwhile is in flight and is left to the
next run.

The order is what makes a finding true. Rows that are the same before and after the look stood still
while we looked: at that moment all that the finding says was so at once. Rows that are read before
the look prove nothing about the time of the look. What a finding says of several objects was so at
once if two rounds of looks at all of them agree: between the rounds nothing had changed.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from checks.cases import SLOT_NUMBER, WIDTH, ledger_digest
from checks.describe import plain_records
from checks.errors import StoreError, StoreUnreachableError
from checks.kinds import KINDS, Grain
from checks.model import Artifact, Backend
from checks.normal import is_uuid
from checks.states import Object
from tasks.snapshot import Reread
from tasks.stores.protocol import Observation, Store

#: Look-ups in flight at once; each store keeps its own rate besides.
CONCURRENCY = 16
#: More findings of one kind in one store than this are confirmed by a sample.
SAMPLE_ABOVE = 5_000
SAMPLE = 500
#: A listing may be a minute behind the store, and the store's clock behind or ahead of ours.
LISTING_LAG = timedelta(minutes=10)
#: Kinds about a whole memory: none of its edges may have changed.
_WHOLE = frozenset(
    {name for name, kind in KINDS.items() if kind.grain in (Grain.ASSET, Grain.MEMORY)}
    | {"dangling_edge", "outdated_replica"}
)
#: Kinds that rest on the asset's replicas in other stores too.
_COMPARED = frozenset({"replica_divergence", "outdated_replica"})
#: What the rows' two readings are compared by: a version alone may come again, as where a database
#: was put back to an earlier moment.
_EDGE_COLUMNS = [
    "edge_id", "present", "location", "content_hash", "size_bytes", "sync_state", "last_synced_at",
    "sync_error", "created_at", "updated_at", "version",
]  # fmt: skip
_ROW_COLUMNS = ["url", "created_at", "written_at", "version"]
#: Kinds that rest on the ledger's or the app's rows alone.
_ROWS_ONLY = frozenset({"invalid_id", "invalid_location", "invalid_row", "type_mismatch"})

RereadRows = Callable[[Iterable[tuple[str, str]]], Reread]
Lookup = tuple[Backend, Artifact, str]
#: What each look at an object gave, first to last.
Answers = dict[Lookup, list[Observation | None]]
Places = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a finding says of one object, to be looked at directly.

    Attributes:
        target: what to look up.
        state: what was concluded about it.
        version: the version that was seen, None where it does not matter.
        not_size: the size that it is said *not* to have.
        hopeless: its bytes could not be had. Where a look has no answer either, that is no news,
            and says nothing of its store.
    """

    target: Lookup
    state: Object
    version: str | None = None
    not_size: int | None = None
    hopeless: bool = False

    def holds(self, seen: Observation | None) -> bool:
        """Whether a direct look says what the listing said."""
        if seen is None:
            return self.state in (Object.ABSENT, Object.LINK)
        if self.state == Object.ABSENT:
            return False
        same = seen.is_link == (self.state == Object.LINK) and self.version in (None, seen.version)
        return same and (self.not_size is None or seen.size != self.not_size)


@dataclass(slots=True)
class Confirmation:
    """What is left of the findings.

    Attributes:
        kept: the findings that hold, with ``confirmed`` (bool): looked at directly.
        in_flight: how many were dropped, since something changed meanwhile.
        unknown: backends that could not be asked, with the reason; their findings were dropped.
        doubtful: backends that did not give some of the answers, with the reason of one; the
            findings that wanted these were dropped, and the others were looked at.
        unseen: the findings that were dropped for that.
        sampled: kinds and backends of which only a sample was looked at, with the sample's size.
        left_out: by backend, objects that its listing left out although they had been there for
            long, as direct looks found.
        hollow: listed assets whose bytes are not there although their memory stands still: columns
            ``key_hi, key_lo, memory_id, memory_type, backend``.
    """

    kept: pd.DataFrame
    in_flight: int = 0
    unknown: dict[Backend, str] = field(default_factory=dict)
    doubtful: dict[Backend, str] = field(default_factory=dict)
    unseen: pd.DataFrame = field(default_factory=pd.DataFrame)
    sampled: dict[str, int] = field(default_factory=dict)
    left_out: dict[Backend, set[str]] = field(default_factory=dict)
    hollow: pd.DataFrame | None = None

    @property
    def why_not(self) -> dict[Backend, str]:
        """The backends that did not give every answer, with a reason."""
        return self.doubtful | self.unknown


def unchanged_rows(findings: pd.DataFrame, reread: RereadRows) -> Places:
    """Which findings' rows in the ledger and in the app are what they were.

    Findings about objects that no memory is known for have no rows and pass.
    """
    about = findings["memory_id"].notna().to_numpy(dtype=bool)
    if not about.any():
        return ~about
    pairs = findings.loc[about, ["memory_id", "memory_type"]].drop_duplicates()
    written = pairs.assign(memory_id=pairs["memory_id"].str.upper())
    both = pd.concat([pairs, written[written["memory_id"].map(is_uuid).astype(bool)]])
    now = reread(both.itertuples(index=False, name=None))
    for frame in (now.ledger, now.memories):
        frame["memory_id"] = frame["memory_id"].str.lower().where(
            frame["memory_id"].map(is_uuid).astype(bool), frame["memory_id"]
        )  # fmt: skip
    index = pd.MultiIndex.from_frame(findings[["memory_id", "memory_type"]])
    rows = now.memories.set_index(["memory_id", "memory_type"])[_ROW_COLUMNS]
    row = _same(findings[[f"row_{name}" for name in _ROW_COLUMNS]], rows, index)

    edge_key = ["memory_id", "memory_type", "artifact", "backend"]
    edges = now.ledger.set_index(edge_key)[_EDGE_COLUMNS]
    edge = _same(findings[_EDGE_COLUMNS], edges, pd.MultiIndex.from_frame(findings[edge_key]))

    # What a memory without a row is, its edges say together.
    whole = (findings["kind"].isin(_WHOLE) | findings["row_version"].isna()).to_numpy(dtype=bool)
    digests = _digests(now.ledger, pairs)
    all_edges = findings["ledger_digest"].to_numpy() == digests.reindex(index).to_numpy()
    unchanged: Places = ~about | (row & edge & (~whole | all_edges))
    return unchanged


def _same(then: pd.DataFrame, now: pd.DataFrame, index: pd.MultiIndex) -> Places:
    """Which rows of ``then`` are the same in ``now``, there under ``index``; both absent is too."""
    again = now[~now.index.duplicated()].reindex(index).astype(object).to_numpy()
    before = then.astype(object).to_numpy()
    equal = (before == again) | (pd.isna(before) & pd.isna(again))
    same: Places = equal.astype(bool).all(axis=1)
    return same


def _digests(ledger: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """The digest of each memory's edges as they are now (see ``cases.ledger_digest``)."""
    index = pd.MultiIndex.from_frame(pairs)
    memory = index.get_indexer(pd.MultiIndex.from_frame(ledger[["memory_id", "memory_type"]]))
    slots = pd.MultiIndex.from_tuples(SLOT_NUMBER, names=["artifact", "backend"])
    slot = slots.get_indexer(pd.MultiIndex.from_frame(ledger[["artifact", "backend"]]))
    known = (memory >= 0) & (slot >= 0)
    edges = ledger[known].set_axis(memory[known] * WIDTH + slot[known])
    return pd.Series(ledger_digest(edges, len(pairs)), index=index)


async def confirm(
    findings: pd.DataFrame,
    stores: Mapping[Backend, Store],
    reread: RereadRows,
    *,
    about_to_act: bool = False,
    listed_from: datetime | None = None,
) -> Confirmation:
    """The findings that still hold when looked at directly.

    Args:
        findings: columns of ``Cases.frame`` and ``kind``, or object columns alone.
        stores: the stores that can be asked; what is in Neon is read again by ``reread``.
        reread: the rows of some memories as they are now.
        about_to_act: their repairs are made next.
        listed_from: when the stores' listings began.

    ``kept`` has a column ``looked_size``: the size that a direct look gave, null where none did.
    """
    if findings.empty:
        return Confirmation(findings.assign(confirmed=False, looked_size=None))
    result = Confirmation(findings.reset_index(drop=True))
    lookups = [_lookups(case, stores) for case in plain_records(result.kept)]
    chosen = _sample(result.kept, lookups, result, about_to_act=about_to_act)
    answers: Answers = {}
    await _look_at_all(lookups, chosen, stores, result, answers)
    settled = await asyncio.to_thread(unchanged_rows, result.kept, reread)
    if result.sampled and _contradicted(lookups, answers, chosen & settled):
        chosen = np.array([bool(each) for each in lookups], dtype=bool)
        result.sampled.clear()
        await _look_at_all(lookups, chosen, stores, result, answers)
        settled = await asyncio.to_thread(unchanged_rows, result.kept, reread)
    try:
        result.hollow = await _hollow(result.kept, lookups, answers, stores)
    except StoreError as error:
        result.unknown[Backend.ICP] = str(error)
    if listed_from is not None:
        result.left_out = _left_out(lookups, answers, listed_from - LISTING_LAG)
    _drop(result, lookups, answers, chosen, settled)
    return result


def _left_out(
    lookups: list[list[Claim]], answers: Answers, since: datetime
) -> dict[Backend, set[str]]:
    """What is there, was written before ``since``, and was not listed."""
    found: dict[Backend, set[str]] = {}
    for claim in (claim for claims in lookups for claim in claims):
        seen = answers[claim.target][-1] if claim.target in answers else None
        if claim.state != Object.ABSENT or seen is None or seen.is_link:
            continue
        if seen.written_at is not None and seen.written_at < since:
            found.setdefault(claim.target[0], set()).add(seen.location)
    return found


_HOLLOW = ["key_hi", "key_lo", "memory_id", "memory_type", "backend"]


async def _hollow(
    findings: pd.DataFrame,
    lookups: list[list[Claim]],
    answers: Answers,
    stores: Mapping[Backend, Store],
) -> pd.DataFrame | None:
    """Assets that the canister lists but does not hold, their memory being as it was listed.

    Its listing repeats what the uploader declared; only a direct look sees that the bytes are gone.
    """
    suspects = [
        place
        for place, claims in enumerate(lookups)
        for claim in claims
        if claim.state == Object.THERE
        and claim.target[:2] == (Backend.ICP, Artifact.ASSET)
        and None in answers.get(claim.target, ())
    ]
    still = []
    for place in suspects:
        claim = lookups[place][0]
        memory = await stores[Backend.ICP].look_up(claim.target[2], Artifact.METADATA)
        if memory is not None and memory.version == claim.version:
            still.append(place)
    return findings.iloc[still][_HOLLOW] if still else None


def _lookups(case: dict[str, Any], stores: Collection[Backend]) -> list[Claim]:
    """What to look at for a finding; nothing where rows or bytes were already looked at.

    What is said to be in none of the stores is looked up in each that can be asked: where one can't
    be and might hold it, the comparison has not said so.
    """
    kind = case["kind"]
    # A location that names nothing is put right by what was found by the row's url: is it there?
    if kind in _ROWS_ONLY and not (case.get("malformed") and case["object_location"]):
        return []
    if kind == "lost":
        return [Claim(place, Object.ABSENT) for place in _promised(case) if place[0] in stores]
    # A finding about a whole memory stands on its row in Neon; what tells of it is on ICP.
    on_icp = kind == "icp_only"
    backend = Backend.ICP if on_icp else Backend(case["backend"])
    if kind == "unverifiable":
        return _still_there(case, backend)
    lookup = _target(case, backend, Artifact(case.get("artifact") or "metadata"))
    state = Object.THERE if on_icp else Object(case["object_state"])
    read = case.get("outcome") == "read"
    wrong = case["size_bytes"] if kind == "size_mismatch" and not read else None
    claims = [Claim(lookup, state, seen_version(case), wrong)] if lookup else []
    if case.get("artifact") == Artifact.ASSET and kind in ("location_conflict", "missing"):
        claims += _at_the_url(case)
    if kind == "moved":
        place = (Backend.BLOB, Artifact.ASSET, case["moved_to"])
        claims.append(Claim(place, Object.THERE, case["moved_version"]))
    if kind in _COMPARED:
        claims += [claim for claim in _compared_with(case) if claim.target[0] in stores]
    if kind == "dangling_edge":
        claims += [
            Claim(place, Object.ABSENT) for place in _remains(case)
            if place[0] in stores and place[0] is not backend
        ]  # fmt: skip
    return claims


def _still_there(case: dict[str, Any], backend: Backend) -> list[Claim]:
    """Whether what could not be read is there at all, in whatever version.

    Of a canister's asset the memory is looked at: its chunks are what could not be had.
    """
    artifact = Artifact.METADATA if backend is Backend.ICP else Artifact.ASSET
    place = _target(case, backend, artifact)
    return [Claim(place, Object.THERE, hopeless=True)] if place else []


def seen_version(case: Mapping[str, Any]) -> str | None:
    """The version of the object that a finding is about: as it was read, else as it was listed."""
    return case["read_version"] if case.get("outcome") == "read" else case.get("object_version")


def _at_the_url(case: dict[str, Any]) -> list[Claim]:
    """What was concluded about the object that the row's url names where the edge names another.

    The app may have moved the file there: then it is not missing.
    """
    url = case.get("row_pathname")
    if case["backend"] != Backend.BLOB or not url or url == case.get("named"):
        return []
    version = case.get("row_object_version")
    state = Object.ABSENT if version is None else Object.THERE
    return [Claim((Backend.BLOB, Artifact.ASSET, url), state, version)]


def _compared_with(case: dict[str, Any]) -> list[Claim]:
    """What was concluded about the asset's replicas in other stores; Neon's is one of the rows."""
    others = json.loads(case.get("others") or "[]")
    return [
        Claim(
            (Backend(each["backend"]), Artifact.ASSET, each["location"]), Object.THERE,
            each["version"],
        )
        for each in others
        if each["backend"] != Backend.NEON
    ]  # fmt: skip


def _remains(case: dict[str, Any]) -> list[Lookup]:
    """Where something may be left of a memory that nothing seems to be left of."""
    places: list[Lookup] = [(Backend.ICP, Artifact.METADATA, case["memory_id"])]
    if case.get("blob_named"):
        places.append((Backend.BLOB, Artifact.ASSET, case["blob_named"]))
    return places


def _promised(case: dict[str, Any]) -> set[Lookup]:
    """Wherever an asset might be: where the edge says, where the row's url says, on ICP."""
    backends = (Backend.BLOB, Backend.ICP)
    targets = {each for name in backends if (each := _target(case, name, Artifact.ASSET))}
    if case.get("row_pathname"):
        targets.add((Backend.BLOB, Artifact.ASSET, case["row_pathname"]))
    return targets


def _target(case: dict[str, Any], backend: Backend, artifact: Artifact) -> Lookup | None:
    """Where an artifact is, or should be, in ``backend``."""
    if backend is Backend.NEON:
        return None
    own = case.get("backend") == backend
    if own and case.get("object_location"):
        return backend, artifact, case["object_location"]
    if backend is Backend.ICP:
        return backend, artifact, (case.get("location") if own else None) or case["memory_id"]
    location = (case.get("named") if own else None) or case.get("row_pathname")
    return (backend, artifact, location) if location else None


def _sample(
    findings: pd.DataFrame, lookups: list[list[Claim]], result: Confirmation, *, about_to_act: bool
) -> Places:
    """Which findings to look at: all, or an even sample of a kind that there are very many of.

    Directly before a repair everything is looked at whose repair takes something away.
    """
    taken = findings["kind"].isin([kind.name for kind in KINDS.values() if kind.takes_away])
    chosen = np.array([bool(each) for each in lookups], dtype=bool)
    groups = (findings["kind"] + " in " + findings["backend"].fillna("any store")).to_numpy()
    for group in np.unique(groups[chosen]):
        wanted = np.flatnonzero(chosen & (groups == group))
        if len(wanted) > SAMPLE_ABOVE and not (about_to_act and taken.iloc[wanted[0]]):
            chosen[wanted] = False
            chosen[wanted[:: len(wanted) // SAMPLE]] = True
            result.sampled[str(group)] = int(chosen[wanted].sum())
    return chosen


async def _look_at_all(
    lookups: list[list[Claim]],
    chosen: Places,
    stores: Mapping[Backend, Store],
    result: Confirmation,
    answers: Answers,
) -> None:
    """Adds the answers to the chosen findings' look-ups; a store that can't be asked gives none.

    What a finding says of several objects is looked at in two rounds.
    """
    for looks in (1, 2):
        wanted = {
            claim.target: claim.hopeless
            for place in np.flatnonzero(chosen)
            for claim in lookups[place]
            if _looks_needed(lookups[place]) >= looks and len(answers.get(claim.target, ())) < looks
        }
        await _look_up(wanted, stores, result, answers)


def _looks_needed(claims: list[Claim]) -> int:
    return 1 if len(claims) == 1 else 2


async def _look_up(
    targets: Mapping[Lookup, bool],
    stores: Mapping[Backend, Store],
    result: Confirmation,
    answers: Answers,
) -> None:
    """One look at each of some objects; those that are marked may be without an answer."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def ask(target: Lookup) -> None:
        backend, artifact, location = target
        async with gate:
            if backend in result.unknown or backend not in stores:
                return
            try:
                seen = await stores[backend].look_up(location, artifact)
                answers.setdefault(target, []).append(seen)
            except StoreError as error:
                if targets[target]:
                    return
                if isinstance(error, StoreUnreachableError):
                    result.unknown[backend] = str(error)
                    return
                # One capsule that can't be read, or one odd answer, says nothing of the others.
                result.doubtful[backend] = str(error)

    await asyncio.gather(*(ask(target) for target in targets))


def _verdict(claims: list[Claim], answers: Answers) -> bool | None:
    """Whether a finding holds; None where it could not be looked at."""
    wanted = (claim.target for claim in claims if not claim.hopeless)
    if any(len(answers.get(target, ())) < _looks_needed(claims) for target in wanted):
        return None
    return all(claim.holds(seen) for claim in claims for seen in answers.get(claim.target, ()))


def _contradicted(lookups: list[list[Claim]], answers: Answers, chosen: Places) -> bool:
    """Whether any finding of the sample does not hold."""
    return any(_verdict(lookups[place], answers) is False for place in np.flatnonzero(chosen))


def _drop(
    result: Confirmation,
    lookups: list[list[Claim]],
    answers: Answers,
    chosen: Places,
    settled: Places,
) -> None:
    """Leaves out what does not hold, whose rows changed, or what could not be looked at."""
    verdicts = [
        False if not settled[place]
        else _verdict(each, answers) if chosen[place]
        else None if _is_blind(each, result) else True
        for place, each in enumerate(lookups)
    ]  # fmt: skip
    keep = np.array([verdict is True for verdict in verdicts], dtype=bool)
    result.in_flight += sum(verdict is False for verdict in verdicts)
    result.unseen = result.kept[[verdict is None for verdict in verdicts]]
    sizes = [_looked_size(claims, answers) for claims in lookups]
    kept = result.kept.assign(confirmed=chosen, looked_size=pd.array(sizes, dtype="Int64"))
    # The listing can't tell a link from nothing at all.
    nothing = [
        kind == "external_only" and None in answers.get(each[0].target, ()) if each else False
        for each, kind in zip(lookups, kept["kind"], strict=True)
    ]
    kept["kind"] = kept["kind"].mask(pd.Series(nothing, dtype=bool), "missing")
    kept["object_state"] = kept["object_state"].mask(
        pd.Series(nothing, dtype=bool), Object.ABSENT.value
    )
    result.kept = kept[keep].reset_index(drop=True)


def _looked_size(claims: list[Claim], answers: Answers) -> int | None:
    """The size of what a finding is about, as the last direct look gave it."""
    seen = answers[claims[0].target][-1] if claims and claims[0].target in answers else None
    return None if seen is None else seen.size


def _is_blind(each: list[Claim], result: Confirmation) -> bool:
    """Whether a finding that was not in the sample is about a store that left some unanswered."""
    return any(claim.target[0] in result.why_not for claim in each)
