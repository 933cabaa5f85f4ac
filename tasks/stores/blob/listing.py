"""Lists the whole store, and vouches for having done so.

Known of this API: pages that repeat, pages that are empty although more follow, cursors that lead
back. Each is noticed; whatever can't be made good ends the listing as incomplete, so that nothing
is taken for absent that was merely not seen. No step relies on the order of the objects.

A cursor leads only from one page to the next. A large store is therefore cut by its folders, as the
store itself names them, and these are listed side by side. A folder that comes into being meanwhile
is not seen, as an object is not that is written to a page already read: both are newer than the
moment from which absence counts.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import numpy as np

from checks.errors import MalformedAnswerError, StoreError, StoreUnreachableError
from checks.model import StoreState
from checks.normal import is_ignored
from tasks.stores.blob.answers import Blob, Page
from tasks.stores.blob.asking import PAGE_LIMIT, list_page
from tasks.stores.blob.connection import BlobConnection
from tasks.stores.protocol import ListingReport, Shard
from tasks.stores.side_by_side import merged

#: Pages in a row that bring nothing new before a listing is given up.
BARREN_PAGES = 100
#: Pages that any store may have, ten million objects, and how many times as many as are expected.
SPARE_PAGES = 10_000
PAGES_FACTOR = 20
#: With fewer pages a store is not cut; and of so many pages each, at least, are its folders on
#: average, since the last page of each is not full.
FEWEST_PAGES, PAGES_PER_FOLDER = 50, 10
#: How deep its folders are looked for.
_DEEPEST = 4
#: Folders listed at the same time.
AT_ONCE = 8
_WHOLE = Shard(("",))


async def cut(
    connection: BlobConnection, expected: int, on_attempt: Callable[[], None] = lambda: None
) -> Shard:
    """The folders that a store of about ``expected`` objects is listed by, and the levels above.

    The prefix of everything where it has too few objects, or too many folders for them.
    """
    levels: list[str] = []
    prefix = ""
    while worth_cutting(expected, 1) and len(levels) < _DEEPEST:
        page = await list_page(connection, prefix=prefix, folded=True, on_attempt=on_attempt)
        folders = _sound(page.folders, prefix)
        if page.cursor or not folders or not worth_cutting(expected, len(folders)):
            break
        levels.append(prefix)
        if len(folders) > 1:
            return Shard(tuple(folders), tuple(levels))
        prefix = folders[0]
    return _WHOLE


def worth_cutting(objects: int, folders: int) -> bool:
    """Whether so many objects in so many folders are listed folder by folder."""
    return objects // PAGE_LIMIT >= max(FEWEST_PAGES, PAGES_PER_FOLDER * folders)


def _sound(folders: Sequence[str], prefix: str) -> list[str]:
    """The folders directly under a prefix; none where one of them can't be one."""
    sound = all(
        folder.startswith(prefix)
        and folder[len(prefix) :].find("/") == len(folder) - len(prefix) - 1
        for folder in folders
    )
    return sorted(set(folders)) if sound else []


async def list_batches(
    connection: BlobConnection,
    ignored_prefixes: Sequence[str],
    report: ListingReport,
    shard: Shard | None = None,
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Rows of the blob inventory without its keys, page by page; see ``Store.list_batches``."""
    started = time.monotonic()
    report.state, report.detail = StoreState.INCOMPLETE, None
    try:
        shard = shard or await cut(connection, report.expected, report.count_request)
        chains = [_Chain(connection, report, name) for name in shard.names]
        chains += [_Chain(connection, report, level, folded=True) for level in shard.levels]
        async with aclosing(merged((each.blobs() for each in chains), AT_ONCE)) as pages:
            async for blobs in pages:
                report.ignored += sum(is_ignored(blob.pathname, ignored_prefixes) for blob in blobs)
                report.objects += len(blobs)
                report.bytes += sum(blob.size for blob in blobs)
                report.seconds = time.monotonic() - started
                if blobs:
                    yield [_row(blob) for blob in blobs]
        report.state, report.detail = StoreState.COMPLETE, _remark(chains)
    except StoreError as error:
        if report.objects == 0 and isinstance(error, StoreUnreachableError):
            report.state = StoreState.UNREACHABLE
        report.detail = str(error)
    finally:
        report.seconds = time.monotonic() - started


def _remark(chains: Iterable["_Chain"]) -> str | None:
    """What was odd about a listing that is whole all the same."""
    repeated = sum(chain.unseen.repeated for chain in chains)
    if not repeated:
        return None
    return f"the blob listing named {repeated} objects again; each was counted once"


class _Chain:
    """What lies under one prefix, page after page; ``folded``: directly under it alone."""

    def __init__(
        self,
        connection: BlobConnection,
        report: ListingReport,
        prefix: str,
        *,
        folded: bool = False,
    ) -> None:
        self.unseen = _Unseen()
        self._connection = connection
        self._report = report
        self._prefix = prefix
        self._folded = folded

    async def blobs(self) -> AsyncGenerator[list[Blob], None]:
        """The objects of each page that were on none before. Raises StoreError."""
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                blobs = self.unseen.of(self._own(page))
                self.unseen.guard_progress(blobs, page)
                yield blobs

    async def _pages(self) -> AsyncGenerator[Page, None]:
        """Page after page; the next one is already on its way while one is being used."""
        cursors: set[int] = set()  # their hashes: a cursor can be long
        expected = self._report.expected
        most = SPARE_PAGES + PAGES_FACTOR * expected // PAGE_LIMIT
        coming = self._ask(None)
        try:
            for _ in range(most):
                page = await coming
                repeated = page.cursor is not None and hash(page.cursor) in cursors
                if page.cursor is not None and not repeated:
                    cursors.add(hash(page.cursor))
                    coming = self._ask(page.cursor)
                yield page
                if repeated:
                    raise MalformedAnswerError(
                        "the blob listing gave a cursor that it had given before, so that it would "
                        "never end; what it holds beyond is unknown: run again later"
                    )
                if page.cursor is None:
                    return
            raise MalformedAnswerError(
                f"the blob listing has no end within {most} pages, of a store that should hold "
                f"about {expected} objects; it was given up, and what was not seen is unknown"
            )
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _ask(self, cursor: str | None) -> asyncio.Task[Page]:
        asked = list_page(
            self._connection, cursor, prefix=self._prefix, folded=self._folded,
            on_attempt=self._report.count_request,
        )  # fmt: skip
        return asyncio.create_task(asked)

    def _own(self, page: Page) -> Iterable[Blob]:
        """The objects of a page; without markers of folders, which are in the folder's own list.

        Raises MalformedAnswerError where one lies elsewhere: it would be listed twice, and what
        should be in its place never.
        """
        for blob in page.blobs:
            rest = blob.pathname[len(self._prefix) :]
            deeper = self._folded and "/" in rest
            if deeper and rest.find("/") == len(rest) - 1:
                continue
            if deeper or not blob.pathname.startswith(self._prefix):
                raise MalformedAnswerError(
                    f"asked for what lies under {self._prefix!r} the blob store listed "
                    f"{blob.pathname[:200]!r}"
                )
            yield blob


class _Unseen:
    """Tells objects that were not listed before, whatever the order, in 8 bytes for each."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._highest = ""
        self.repeated = 0
        self._barren = 0

    def of(self, blobs: Iterable[Blob]) -> list[Blob]:
        """Those that were on no page before, each once."""
        listed = list(blobs)
        unique: dict[str, Blob] = {}
        for blob in listed:
            unique.setdefault(blob.pathname, blob)
        if unique and min(unique) <= self._highest:
            unique = self._without_known(unique)
        self._hashes.extend(map(hash, unique))
        self._highest = max(self._highest, max(unique, default=""))
        self.repeated += len(listed) - len(unique)
        return list(unique.values())

    def _without_known(self, blobs: dict[str, Blob]) -> dict[str, Blob]:
        hashes = np.fromiter(map(hash, blobs), dtype=np.int64, count=len(blobs))
        known = np.isin(hashes, np.frombuffer(self._hashes, dtype=np.int64))
        return {
            pathname: blob
            for (pathname, blob), seen in zip(blobs.items(), known, strict=True)
            if not seen
        }

    def guard_progress(self, blobs: list[Blob], page: Page) -> None:
        """Raises MalformedAnswerError where page after page brings nothing new."""
        self._barren = 0 if blobs else self._barren + 1
        if self._barren > BARREN_PAGES and page.cursor is not None:
            raise MalformedAnswerError(
                f"the blob listing sent {self._barren} pages in a row with nothing new and says "
                "that more follow; it was given up: run again later"
            )


def _row(blob: Blob) -> dict[str, Any]:
    return {
        "location": blob.pathname,
        "size": blob.size,
        "version": str(blob.version),
        "written_at": blob.uploaded_at,
    }
