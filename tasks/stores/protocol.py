"""What a store must be able to do, whatever it is.

"Not there" is an answer (``None``); anything that kept us from looking is a
:class:`checks.errors.StoreError`. Nobody may confuse the two.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from checks.model import Artifact, Backend, StoreState


@dataclass(frozen=True, slots=True)
class Observation:
    """What a store said about one object, at one moment.

    Attributes:
        location: the object's name in normal form.
        size: bytes; None where the store does not say.
        version: what changes whenever the object is written (etag, ``updated_at``).
        written_at: when the object was last written, in UTC.
        content_type: as the store has it.
        declared_sha256: hex of what an uploader or store *declares*; may cause bytes to be read,
            never a repair.
        is_link: the store holds only a link; the bytes are elsewhere.
    """

    location: str
    size: int | None
    version: str | None
    written_at: datetime | None
    content_type: str | None = None
    declared_sha256: str | None = None
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class HashedObject:
    """An object's bytes, read from first to last.

    Attributes:
        size: bytes read.
        sha256: lower-case hex.
        md5: lower-case hex.
        version: the store's version of what was read; the same before and after.
    """

    size: int
    sha256: str
    md5: str
    version: str | None


class Sink(Protocol):
    """What an object's bytes are written to as they come: a binary file, or what counts them."""

    def write(self, piece: bytes, /) -> int:
        """Takes the next bytes."""
        ...

    def seek(self, offset: int, /) -> int:
        """Goes back to the beginning, where an attempt is made anew."""
        ...

    def truncate(self) -> int:
        """Forgets what follows."""
        ...


def emptied(file: Sink | None) -> None:
    """Empties the file that an attempt to read writes to: the one before may have begun to."""
    if file is not None:
        file.seek(0)
        file.truncate()


@dataclass(slots=True)
class ListingReport:
    """How a listing went: the only thing that may turn "not seen" into "not there".

    Attributes:
        state: ``complete`` only where every page was read and made sense.
        objects: objects listed.
        bytes: their sizes added up, where known.
        seconds: how long it took.
        requests: requests sent, retries included.
        detail: one sentence about what went wrong, else None.
        unknown_parts: names of parts (capsules, tables) that could not be read whole, each with
            its reason; what lies in them is unknown.
        ignored: how many of the objects are no memories, as a setting says: never orphaned.
        expected: about how many objects there should be; a listing with many times as many has no
            end.
        shrunk_from: how many the last whole listing had, where this one is doubted for being so
            much shorter.
        doubted: anything may be lacking, and not only what its unknown parts hold.
    """

    state: StoreState
    objects: int = 0
    bytes: int = 0
    seconds: float = 0.0
    requests: int = 0
    detail: str | None = None
    unknown_parts: dict[str, str] = field(default_factory=dict)
    ignored: int = 0
    expected: int = 0
    shrunk_from: int | None = None
    doubted: bool = False

    def count_request(self) -> None:
        """One more was sent."""
        self.requests += 1


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a store's listing that has nothing in common with the others.

    Attributes:
        names: of the store's own parts, each with all that lies in it: a canister's capsules,
            prefixes of pathnames.
        levels: prefixes of which only what lies directly under them belongs to it.
    """

    names: tuple[str, ...]
    levels: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """What tells it from the others, and is the same whenever it is made again."""
        told = json.dumps([sorted(self.names), sorted(self.levels)])
        return sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


class Store(Protocol):
    """One backend. Every method may raise a :class:`checks.errors.StoreError`."""

    backend: Backend

    async def identity(self) -> str:
        """What tells this store from any other one: it is pinned by the first run.

        Raises AccessRefusedError where the credentials are not accepted.
        """
        ...

    async def shards(self, number: int, expected: int) -> list[Shard]:
        """Cuts the listing into ``number`` parts at most, none where it is better not cut.

        ``expected``: about how many objects there are. Together they are all that was in the store
        when this was asked.
        """
        ...

    def list_batches(
        self, report: ListingReport, shard: Shard | None = None
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Everything the store holds, or one shard of it, in batches of its inventory's rows.

        ``report`` is kept up to date while the listing goes on, and its ``state`` is set before the
        iterator ends. A listing that can't go on ends early with the state ``incomplete`` or
        ``unreachable`` and a detail; it does not raise.
        """
        ...

    async def look_up(
        self, location: str, artifact: Artifact = Artifact.ASSET
    ) -> Observation | None:
        """The artifact at ``location`` as the store knows it now, or None: it is not there.

        A canister memory is one location for two artifacts; elsewhere ``artifact`` makes no
        difference. Where the location is not known, a canister memory's id will do.
        """
        ...

    async def read(self, location: str, into: Sink | None = None) -> HashedObject | None:
        """Reads all bytes of the object and hashes them; memory does not grow with its size.

        They are written to ``into`` too, from its beginning: what is in it counts only if this
        gives their hashes. None where the object is not there. Raises ObjectChangedError where the
        bytes that came are not those of the version the store names.
        """
        ...

    async def aclose(self) -> None:
        """Closes connections."""
        ...
