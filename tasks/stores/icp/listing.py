"""Listing the canister, capsule by capsule, out of pages that are cut from an unordered map.

An item can be skipped between two pages, or come twice. So what comes is de-duplicated, its number
is compared with the capsule's own count, and where fewer came the capsule is listed again until
nothing new turns up, at most three times. A capsule that still is not whole, or can't be read at
all, is unknown; the others are not affected by it. Several are listed at the same time.

A listing's headers do not say whether a memory is on its way out (``deleted_at``): such a memory is
listed as any other. Looking it up or reading it finds it absent.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from heapq import heapreplace
from typing import Any

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    StoreError,
    StoreUnreachableError,
)
from checks.model import StoreState
from tasks.stores.icp.agent import ReplyTooLargeError
from tasks.stores.icp.canister import PAGE_LIMIT, Canister
from tasks.stores.icp.memory import Capsule, MemoryPage, inventory_row
from tasks.stores.protocol import ListingReport, Shard
from tasks.stores.side_by_side import merged

PASSES = 3
_SPARE_PAGES = 1_000
#: Pages may be shorter than asked for; twenty times as many as there would be is no listing.
_PAGES_FACTOR = 20
#: How many memories there are is something that the canister says itself. Of all its pages no more
#: are read than these, and so many times as many as the ledger and former runs make expect.
SPARE_PAGES_IN_ALL = 10_000
EXPECTED_FACTOR = 5

Row = dict[str, Any]


async def cut(canister: Canister, number: int, known_capsules: Collection[str]) -> list[Shard]:
    """The capsules dealt out to so many shards, each with about as many memories.

    Those that the ledger knows and the identity does not see are in the first.
    """
    counts = {each.id: each.memory_count for each in await canister.capsules()}
    shards = min(number, len(counts))
    if shards <= 1:
        return []
    names: list[list[str]] = [[] for _ in range(shards)]
    memories = [(0, place) for place in range(len(names))]  # a heap: the lightest comes first
    for capsule in sorted(counts, key=counts.__getitem__, reverse=True):
        held, place = memories[0]
        names[place].append(capsule)
        heapreplace(memories, (held + counts[capsule] + 1, place))
    names[0] += sorted(set(known_capsules) - counts.keys())
    return [Shard(tuple(each)) for each in names]


class Listing:
    """One listing of everything that the identity sees."""

    def __init__(
        self,
        canister: Canister,
        report: ListingReport,
        known_capsules: Collection[str],
        in_flight: int,
        gone_capsules: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> None:
        """``known_capsules`` there should be, says the ledger; ``gone_capsules`` are no more.

        ``only``: the others are somebody else's to list; None: all are listed.
        """
        self._canister = canister
        self._report = report
        self._only = only
        # What somebody has seen when the shards were cut should be there as well.
        self._known = known_capsules if only is None else only
        self._gone = gone_capsules
        self._certified_gone: list[str] = []
        self._in_flight = in_flight
        self._pages_left = SPARE_PAGES_IN_ALL + EXPECTED_FACTOR * report.expected // PAGE_LIMIT
        self._started = time.monotonic()
        self._requests_before = canister.agent.transport.requests

    async def batches(self) -> AsyncIterator[list[Row]]:
        """Rows of :data:`checks.columns.ICP_INVENTORY` without keys, a page or less at a time."""
        self._report.state = StoreState.INCOMPLETE
        try:
            capsules = await self._capsules()
            if capsules is None:
                return
            # A capsule's pages come one after the other: the longest row of them begins first.
            ordered = sorted(capsules.values(), key=lambda each: each.memory_count, reverse=True)
            chains = map(self._list_or_report, ordered)
            async with aclosing(merged(chains, self._in_flight)) as batches:
                async for rows in batches:
                    self._report.objects += len(rows)
                    self._report.bytes += sum(row["size"] or 0 for row in rows)
                    self._measure()
                    yield rows
            self._conclude(capsules)
        finally:
            self._measure()

    async def _capsules(self) -> dict[str, Capsule] | None:
        """The capsules that are visible, None where that could not be found out."""
        try:
            found = await self._canister.capsules()
            capsules = {
                each.id: each for each in found if self._only is None or each.id in self._only
            }
        except StoreError as error:
            unreachable = isinstance(error, StoreUnreachableError)
            self._report.state = StoreState.UNREACHABLE if unreachable else StoreState.INCOMPLETE
            self._report.detail = str(error)
            self._report.unknown_parts |= dict.fromkeys(self._known, str(error))
            return None
        for capsule_id in self._known:
            if capsule_id not in capsules and (why := await self._why_unknown(capsule_id)):
                self._report.unknown_parts[capsule_id] = why
        return capsules

    async def _why_unknown(self, capsule_id: str) -> str | None:
        """Why it is unknown what a capsule holds that is not visible; None: it is gone for good."""
        if capsule_id not in self._gone:
            return (
                "the ledger knows it, or it was there a moment ago, but this identity does not see "
                "it; if it is gone for good, name it in EDGEKEEPER_ICP_GONE_CAPSULES"
            )
        try:
            gone = await self._canister.is_certified_gone(capsule_id)
        except StoreError as error:
            return f"it is said to be gone, which the canister did not certify: {error}"
        if not gone:
            return (
                "EDGEKEEPER_ICP_GONE_CAPSULES says that it is gone, but the canister answers for it"
            )
        self._certified_gone.append(capsule_id)
        return None

    async def _list_or_report(self, capsule: Capsule) -> AsyncGenerator[list[Row], None]:
        """The rows of one capsule; why it is not whole, where it is not, is in the report."""
        try:
            async with aclosing(self._list_capsule(capsule)) as batches:
                async for rows in batches:
                    yield rows
        except StoreError as error:
            self._report.unknown_parts[capsule.id] = str(error)

    async def _list_capsule(self, capsule: Capsule) -> AsyncGenerator[list[Row], None]:
        """Lists a capsule until it is whole. Raises StoreError where it can't be."""
        seen: set[str] = set()
        expected = capsule.memory_count
        for number in range(PASSES):
            before = len(seen)
            async with aclosing(self._list_pages(capsule.id, expected, seen)) as batches:
                async for rows in batches:
                    yield rows
            if len(seen) >= expected:
                return
            expected = await self._count(capsule.id)  # some may have been deleted meanwhile
            if len(seen) >= expected:
                return
            if number and len(seen) == before:
                break
        raise StoreError(
            f"{len(seen)} of its {expected} memories came, however often it was listed"
        )

    async def _list_pages(
        self, capsule_id: str, expected: int, seen: set[str]
    ) -> AsyncGenerator[list[Row], None]:
        """One pass through a capsule's pages: what was not seen before."""
        cursor: str | None = None
        cursors: set[str] = set()
        limit = PAGE_LIMIT
        pages = _SPARE_PAGES + _PAGES_FACTOR * (expected // PAGE_LIMIT)
        for _ in range(pages):
            self._pages_left -= 1
            if self._pages_left < 0:
                raise MalformedAnswerError(
                    "the canister sent many times as many pages as there should be, of about "
                    f"{self._report.expected} memories; its listing was given up"
                )
            page, limit = await self._page(capsule_id, cursor, limit)
            if page is None:
                raise AccessRefusedError(
                    "this identity may not read it, or it is gone; check IC_IDENTITY_PEM"
                )
            rows = self._new_rows(capsule_id, page.items, seen)
            if rows:
                yield rows
            if page.next_cursor is None:
                return
            _check_cursor(page.next_cursor, cursor, cursors)
            if not page.items:
                raise MalformedAnswerError("an empty page says that another one follows")
            cursor = page.next_cursor
            cursors.add(cursor)
        raise MalformedAnswerError(f"its listing has no end within {pages} pages")

    async def _page(
        self, capsule_id: str, cursor: str | None, limit: int
    ) -> tuple[MemoryPage | None, int]:
        """One page of ``limit`` memories, or of as many as fit into a reply; and the next's limit.

        Titles of any length are in it, so that few of them may fill a reply.
        """
        while True:
            try:
                page = await self._canister.memories_page(capsule_id, cursor, limit)
            except ReplyTooLargeError:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
            else:
                return page, min(PAGE_LIMIT, 2 * limit)

    @staticmethod
    def _new_rows(capsule_id: str, items: list[dict[str, Any]], seen: set[str]) -> list[Row]:
        rows = []
        for item in items:
            if item["capsule_id"] != capsule_id:
                raise MalformedAnswerError(
                    f"its listing has memory {item['id'][:80]} of another capsule"
                )
            if item["id"] not in seen:
                seen.add(item["id"])
                rows.append(inventory_row(capsule_id, item))
        return rows

    async def _count(self, capsule_id: str) -> int:
        """How many memories the capsule has now. Raises AccessRefusedError where it is gone."""
        for capsule in await self._canister.capsules():
            if capsule.id == capsule_id:
                return capsule.memory_count
        raise AccessRefusedError("it is no longer visible to this identity")

    def _conclude(self, capsules: dict[str, Capsule]) -> None:
        unread = [name for name in capsules if name in self._report.unknown_parts]
        if unread:
            reason = self._report.unknown_parts[unread[0]]
            self._report.detail = (
                f"{len(unread)} of {len(capsules)} capsules could not be read whole; "
                f"{unread[0]}: {reason}"
            )
        elif not capsules:
            # Whom nothing is shown can't say that nothing is there.
            whose = "capsule" if self._only is None else "capsule of its shard any more"
            self._report.detail = f"this identity sees no {whose}; check IC_IDENTITY_PEM"
        else:
            self._report.state = StoreState.COMPLETE
            if self._certified_gone:
                self._report.detail = f"certified to be gone: {', '.join(self._certified_gone)}"

    def _measure(self) -> None:
        self._report.seconds = time.monotonic() - self._started
        self._report.requests = self._canister.agent.transport.requests - self._requests_before


def _check_cursor(following: str, cursor: str | None, cursors: Collection[str]) -> None:
    """Raises MalformedAnswerError where following a cursor would lead back."""
    if following in cursors or following == cursor:
        raise MalformedAnswerError(f"its listing came back to cursor {following[:40]}")
    before = cursor or "0"
    both_are_numbers = following.isdecimal() and before.isdecimal()
    if both_are_numbers and int(following) <= int(before):
        raise MalformedAnswerError(f"its listing went from cursor {before} to {following[:40]}")
