"""Reading bytes: the assets in the order that they are given in, and what became of each.

A mismatch is believed only after a second read from scratch. A store that stops answering ends the
reading of that store: what was not read is not verified, and nothing else is concluded. One object
that never comes whole does not: it could not be verified, and its turn comes again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from checks.errors import ObjectChangedError, StoreError, StoreUnreachableError
from checks.model import Artifact, Backend
from tasks.allowance import Allowance
from tasks.log import mask
from tasks.stores.protocol import HashedObject, Store

#: What reading one asset gave. ``outcome``: ``read``; ``gone``, no bytes are there; ``changed``
#: while it was read; ``silent``, nothing answered; ``failed`` for another reason, in
#: ``read_detail``.
HASHES = pa.schema(
    [
        ("key_hi", pa.uint64()),
        ("key_lo", pa.uint64()),
        ("memory_id", pa.string()),
        ("memory_type", pa.string()),
        ("backend", pa.string()),
        ("outcome", pa.string()),
        ("read_size", pa.int64()),
        ("sha256", pa.string()),
        ("md5", pa.string()),
        ("read_version", pa.string()),
        ("read_detail", pa.string()),
        ("expected_sha256", pa.string()),
        ("verified_sha256", pa.string()),
    ]
)
CONCURRENCY = 16
_SILENT_IN_A_ROW = 8
_PORTION = 1_000
_PORTION_SECONDS = 15.0


@dataclass(slots=True)
class Reading:
    """How the reading went.

    Attributes:
        read: assets whose bytes were read.
        bytes: read, second reads included.
        unknown: stores that stopped answering, with the reason.
    """

    read: int = 0
    bytes: int = 0
    unknown: dict[Backend, str] = field(default_factory=dict)

    def add(self, other: "Reading") -> None:
        """Adds what another one read."""
        self.read += other.read
        self.bytes += other.bytes
        self.unknown.update(other.unknown)


async def read_assets(
    line: Iterator[dict[str, Any]],
    stores: Mapping[Backend, Store],
    keep: Callable[[Reading, list[dict[str, Any]]], Awaitable[None]],
    progress: Callable[[int], None] = lambda _bytes: None,
    *,
    told: Callable[[Mapping[str, Any]], None] = lambda _row: None,
    allowance: Allowance | None = None,
    assured: int = 0,
) -> "Answers":
    """Reads and hashes assets in their order, while the allowance lasts; who answered.

    Args:
        line: the assets, with the columns of ``Cases.frame``; all in stores that can be read.
        stores: the stores by backend.
        keep: is given what came out of some assets, with the columns of ``HASHES``, every now and
            then, so that a run that is killed does not read them again.
        progress: called with the bytes as they come; less than none where an attempt failed.
        told: called with what came out of each asset.
        allowance: bytes and time; default no limit.
        assured: so many of the line are read whatever they cost.
    """
    allowance = allowance or Allowance()
    numbered = enumerate(line)
    rows = _Kept(keep)
    answers = Answers()

    turn = asyncio.Lock()  # one after the other: what is begun is the beginning of the line

    async def work() -> None:
        while True:
            async with AsyncExitStack() as while_read:
                async with turn:
                    number, target = next(numbered, (0, None))
                    if target is None:
                        return
                    place = allowance.place(target["object_size"] or 0, assured=number < assured)
                    if not await while_read.enter_async_context(place):
                        return
                reading = Reading()
                row = await _read(target, stores, answers, reading, progress)
                allowance.spent += reading.bytes
            if row is not None:
                told(row)
            await rows.add(reading, row)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    await rows.flush()
    return answers


@dataclass(slots=True)
class Answers:
    """Which stores answer: one object that can't be had is not yet a store that is away.

    Attributes:
        answered: stores that did.
        silent: how many in a row had no answer, and why the last one had none, by store.
    """

    answered: set[Backend] = field(default_factory=set)
    silent: dict[Backend, tuple[int, str]] = field(default_factory=dict)

    def note(self, backend: Backend, error: StoreError | None) -> None:
        """Takes note of an answer, or that there was none."""
        if isinstance(error, StoreUnreachableError):
            before, _ = self.silent.get(backend, (0, ""))
            self.silent[backend] = (before + 1, mask(str(error)))
        else:
            self.answered.add(backend)
            self.silent.pop(backend, None)

    def away(self, backend: Backend) -> bool:
        """Whether so many in a row had no answer that the others are not asked any more."""
        return self.silent.get(backend, (0, ""))[0] >= _SILENT_IN_A_ROW

    def unknown(self) -> dict[Backend, str]:
        """The stores that are away, or that have never answered, with the reason."""
        return {
            backend: reason for backend, (_, reason) in self.silent.items()
            if self.away(backend) or backend not in self.answered
        }  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "answered": sorted(backend.value for backend in self.answered),
            "silent": {backend.value: [*silence] for backend, silence in self.silent.items()},
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Answers":
        """What :meth:`facts` gave."""
        silent = {Backend(name): (count, why) for name, (count, why) in facts["silent"].items()}
        return cls(set(map(Backend, facts["answered"])), silent)

    def add(self, other: "Answers") -> None:
        """Adds what another process was answered: away from one of them is away."""
        self.answered |= other.answered
        for backend, silence in other.silent.items():
            self.silent[backend] = max(silence, self.silent.get(backend, (0, "")))


class _Kept:
    """What came out of assets, kept in portions: not too many, not too late."""

    def __init__(self, keep: Callable[[Reading, list[dict[str, Any]]], Awaitable[None]]) -> None:
        self._keep = keep
        self._rows: list[dict[str, Any]] = []
        self._reading = Reading()
        self._since = monotonic()

    async def add(self, reading: Reading, row: dict[str, Any] | None) -> None:
        self._reading.add(reading)
        if row is not None:
            self._rows.append(row)
        if len(self._rows) >= _PORTION or monotonic() - self._since > _PORTION_SECONDS:
            await self.flush()

    async def flush(self) -> None:
        rows, self._rows = self._rows, []
        reading, self._reading = self._reading, Reading()
        self._since = monotonic()
        await self._keep(reading, rows)


async def _read(
    target: dict[str, Any],
    stores: Mapping[Backend, Store],
    answers: Answers,
    result: Reading,
    progress: Callable[[int], None],
) -> dict[str, Any] | None:
    """What reading one asset gave; None where its store does not answer any more."""
    backend = Backend(target["backend"])
    if answers.away(backend):
        return None
    row = {name: target[name] for name in HASHES.names if name in target}
    row["expected_sha256"] = target.get("content_hash")
    try:
        hashed = await _believed(stores[backend], target, result, progress)
    except StoreError as error:
        answers.note(backend, error)
        return row | {"outcome": _outcome(error), "read_detail": mask(str(error))}
    answers.note(backend, None)
    if hashed is None:
        return row | {"outcome": "gone"}
    result.read += 1
    return row | {
        "outcome": "read", "read_size": hashed.size, "sha256": hashed.sha256,
        "md5": hashed.md5, "read_version": hashed.version,
    }  # fmt: skip


def _outcome(error: StoreError) -> str:
    """What an asset that could not be read is."""
    if isinstance(error, StoreUnreachableError):
        return "silent"
    return "changed" if isinstance(error, ObjectChangedError) else "failed"


def settled(hashes: pa.Table, unknown: Collection[Backend]) -> pa.Table:
    """``hashes`` with what had no answer as failed, or left out where its store is ``unknown``."""
    silent = pc.equal(hashes["outcome"], "silent")
    away = pc.is_in(hashes["backend"], pa.array([each.value for each in unknown], pa.string()))
    outcome = pc.if_else(silent, "failed", hashes["outcome"])
    place = hashes.schema.get_field_index("outcome")
    named = hashes.set_column(place, "outcome", outcome)
    return named.filter(pc.invert(pc.and_(silent, away)))


async def _believed(
    store: Store, target: dict[str, Any], result: Reading, progress: Callable[[int], None]
) -> HashedObject | None:
    """The asset's hashes; read again from scratch where they are not what the ledger says.

    Raises ObjectChangedError where two reads differ: the object is being written.
    """
    hashed = await _once(store, target, result, progress)
    if hashed is not None and target.get("content_hash") in (None, hashed.sha256):
        return hashed
    again = await _once(store, target, result, progress)
    if (again and again.sha256) != (hashed and hashed.sha256):
        raise ObjectChangedError(
            f"{target['object_location']} in {store.backend} gave different bytes when it was "
            "read twice: it is being written, or the store is not to be trusted with it"
        )
    return again


async def _once(
    store: Store, target: dict[str, Any], result: Reading, progress: Callable[[int], None]
) -> HashedObject | None:
    arriving = _Arriving(progress)
    try:
        hashed = await store.read(target["object_location"], arriving)
    except StoreError:
        arriving.truncate()
        raise
    if hashed is not None:
        result.bytes += hashed.size
    return hashed


class _Arriving:
    """Counts an object's bytes as they come, and takes them back where they come anew."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._size = 0

    def write(self, piece: bytes, /) -> int:
        self._size += len(piece)
        self._progress(len(piece))
        return len(piece)

    def seek(self, offset: int, /) -> int:
        return offset

    def truncate(self) -> int:
        if self._size:
            self._progress(-self._size)
        self._size = 0
        return 0


def note_hashes(rows: pd.DataFrame, edges: pd.DataFrame, readings: pd.DataFrame) -> pa.Table:
    """The notes' hashes, which Postgres computed from their texts, as rows of ``HASHES``.

    Args:
        rows: columns of ``columns.NEON_INVENTORY``.
        edges: columns of ``columns.LEDGER``, of the same partition.
        readings: columns of ``verification_history.READINGS``, of the same partition too.
    """
    own = (edges["backend"] == Backend.NEON.value) & (edges["artifact"] == Artifact.ASSET.value)
    expected = edges.loc[own, ["memory_id", "memory_type", "content_hash"]]
    verified = readings.loc[
        readings["backend"] == Backend.NEON.value, ["memory_id", "memory_type", "verified_sha256"]
    ]
    by = ["memory_id", "memory_type"]
    notes = rows[rows["content_sha256"].notna()]
    notes = notes.merge(expected, "left", by).merge(verified, "left", by)
    frame = notes.assign(
        backend=Backend.NEON.value, outcome="read", md5=None, read_detail=None
    ).rename(
        columns={"content_size": "read_size", "content_sha256": "sha256",
                 "version": "read_version", "content_hash": "expected_sha256"}
    )  # fmt: skip
    return pa.Table.from_pandas(frame[HASHES.names], HASHES, preserve_index=False)


def readable(backends: Iterable[Backend]) -> list[Backend]:
    """Of ``backends`` those whose bytes are read object by object; Postgres hashes its own."""
    return [backend for backend in backends if backend is not Backend.NEON]
