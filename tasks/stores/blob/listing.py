"""Lists the whole store, and vouches for having done so.

Known of this API: pages that repeat, pages that are empty although more follow, cursors that lead
back. Each is noticed; whatever can't be made good ends the listing as incomplete, so that nothing
is taken for absent that was merely not seen. No step relies on the order of the objects.
"""

import asyncio
import time
from array import array
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import numpy as np

from checks.errors import MalformedAnswerError, StoreError, StoreUnreachableError
from checks.model import StoreState
from checks.normal import is_ignored
from tasks.stores.blob.answers import Blob, Page
from tasks.stores.blob.asking import PAGE_LIMIT, list_page
from tasks.stores.blob.connection import BlobConnection
from tasks.stores.protocol import ListingReport

#: Pages in a row that bring nothing new before a listing is given up.
BARREN_PAGES = 100
#: Pages that any store may have, ten million objects, and how many times as many as are expected.
SPARE_PAGES = 10_000
PAGES_FACTOR = 20


async def list_batches(
    connection: BlobConnection, ignored_prefixes: Sequence[str], report: ListingReport
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Rows of the blob inventory without its keys, page by page; see ``Store.list_batches``."""
    started = time.monotonic()
    report.state, report.detail = StoreState.INCOMPLETE, None
    unseen = _Unseen()
    pages = _pages(connection, report)
    try:
        async for page in pages:
            blobs = unseen.of(page.blobs)
            unseen.guard_progress(blobs, page)
            report.ignored += sum(is_ignored(blob.pathname, ignored_prefixes) for blob in blobs)
            report.objects += len(blobs)
            report.bytes += sum(blob.size for blob in blobs)
            report.seconds = time.monotonic() - started
            if blobs:
                yield [_row(blob) for blob in blobs]
        report.state, report.detail = StoreState.COMPLETE, unseen.remark()
    except StoreError as error:
        if report.objects == 0 and isinstance(error, StoreUnreachableError):
            report.state = StoreState.UNREACHABLE
        report.detail = str(error)
    finally:
        await pages.aclose()
        report.seconds = time.monotonic() - started


async def _pages(connection: BlobConnection, report: ListingReport) -> AsyncGenerator[Page, None]:
    """Page after page; the next one is already on its way while one is being used."""

    def count() -> None:
        report.requests += 1

    def ask(cursor: str | None) -> asyncio.Task[Page]:
        return asyncio.create_task(list_page(connection, cursor, on_attempt=count))

    cursors: set[int] = set()  # their hashes: a cursor can be long
    most = SPARE_PAGES + PAGES_FACTOR * report.expected // PAGE_LIMIT
    coming = ask(None)
    try:
        for _ in range(most):
            page = await coming
            repeated = page.cursor is not None and hash(page.cursor) in cursors
            if page.cursor is not None and not repeated:
                cursors.add(hash(page.cursor))
                coming = ask(page.cursor)
            yield page
            if repeated:
                raise MalformedAnswerError(
                    "the blob listing gave a cursor that it had given before, so that it would "
                    "never end; what it holds beyond is unknown: run again later"
                )
            if page.cursor is None:
                return
        raise MalformedAnswerError(
            f"the blob listing has no end within {most} pages, of a store that should hold about "
            f"{report.expected} objects; it was given up, and what was not seen is unknown"
        )
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


class _Unseen:
    """Tells objects that were not listed before, whatever the order, in 8 bytes for each."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._highest = ""
        self._repeated = 0
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
        self._repeated += len(listed) - len(unique)
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

    def remark(self) -> str | None:
        """What was odd about a listing that is whole all the same."""
        if not self._repeated:
            return None
        return f"the blob listing named {self._repeated} objects again; each was counted once"


def _row(blob: Blob) -> dict[str, Any]:
    return {
        "location": blob.pathname,
        "size": blob.size,
        "version": str(blob.version),
        "written_at": blob.uploaded_at,
    }
