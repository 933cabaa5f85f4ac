"""What an audit will cost, from what is known before it asks anything.

Pages and look-ups follow from how many objects there are; how many that is the ledger says, and
the last audit that listed them whole. Only the time is guessed: from how long the last one took.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from checks.run import Forecast, Usage

#: Requests before the first page: is it the right blob store; the canister's status and its
#: subnet's keys.
BLOB_OPENING, ICP_OPENING = 1, 2
#: Requests that reading one asset takes: asking for it and getting it; of the canister the memory
#: before and after, what its blob is, and its chunks. Small files come with the memory itself: this
#: is the most that it takes.
BLOB_READ, ICP_READ, CHUNK_BYTES = 2, 3, 2_000_000
#: Looks at an object about which there is a finding: two rounds.
LOOKS = 2
#: Where no audit was made yet: its seconds, of which some are for each edge, and bytes a second. So
#: it was measured with the stores on the same machine (docs/benchmarks.md); theirs are slower.
START_SECONDS, SECONDS_PER_EDGE, BYTES_PER_SECOND = 10.0, 7e-5, 50_000_000.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a store is known to hold.

    Attributes:
        page: how many objects its listing shows at a time.
        objects: that a listing will show.
        assets: of them those with bytes to read.
        bytes: of these.
        open_findings: about what is in it.
    """

    page: int = 1
    objects: int = 0
    assets: int = 0
    bytes: int = 0
    open_findings: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known before an audit.

    Attributes:
        edges: of the ledger.
        blob: what the blob store holds, None where it is not looked at.
        icp: what the canister holds, None where it is not looked at.
        capsules: how many memories each capsule has.
    """

    edges: int
    blob: Holdings | None
    icp: Holdings | None
    capsules: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Before:
    """How the last audit went that came to its end.

    Attributes:
        edges: of the ledger then.
        seconds: from its beginning to its end, without reading bytes.
        bytes_per_second: that it read, None where it read next to none.
    """

    edges: int
    seconds: float
    bytes_per_second: float | None


def forecast(
    known: Known,
    *,
    budget: int,
    minutes: float | None,
    before: Before | None,
    per_minute: Mapping[str, int],
    quota: Usage | None,
    used: Usage,
) -> Forecast:
    """What an audit will use.

    Args:
        known: what is known of the stores.
        budget: bytes to read.
        minutes: how long reading may take, None: as long as it takes.
        before: the last audit, None where there was none.
        per_minute: operations a minute that the plan allows, by the names of ``Usage``.
        quota: what the plan includes a month; None: no limit is known.
        used: of that, so far this month.
    """
    listing = Usage(
        blob_advanced=0 if known.blob is None else pages(known.blob.objects, known.blob.page),
        icp_requests=0
        if known.icp is None
        else (ICP_OPENING + 1 + _capsule_pages(known.icp, known.capsules)),
    )
    share = _share(known, budget)
    opening = Usage(blob_advanced=BLOB_OPENING if known.blob else 0)
    total = Usage.together([opening, listing, _reading(known, share), _looking(known)])
    at_least = max(
        (60 * getattr(total, name) / limit for name, limit in per_minute.items()), default=0.0
    )
    reading = _reading_seconds(known, share, before, minutes)
    return Forecast(
        listing=listing, total=total, seconds=max(_seconds(known, before) + reading, at_least),
        from_last_run=before is not None, used_this_month=used, quota=quota,
        over=tuple(_over(total, used, quota)),
    )  # fmt: skip


def pages(objects: int, size: int) -> int:
    """Pages of a listing; where nothing is there, an empty one says so."""
    return max(1, ceil(objects / size))


def _capsule_pages(icp: Holdings, capsules: Iterable[int]) -> int:
    """Pages of all capsules, which share none, and of memories that the ledger does not know."""
    capsules = tuple(capsules)
    unknown = max(0, icp.objects - sum(capsules))
    return sum(pages(number, icp.page) for number in capsules) + ceil(unknown / icp.page)


def _share(known: Known, budget: int) -> float:
    """Which share of all bytes the budget has room for."""
    whole = sum(each.bytes for each in (known.blob, known.icp) if each)
    return min(1.0, budget / whole) if whole else float(budget > 0)


def _reading(known: Known, share: float) -> Usage:
    blob, icp = known.blob or Holdings(), known.icp or Holdings()
    return Usage(
        blob_simple=round(share * BLOB_READ * blob.assets),
        blob_bytes=round(share * blob.bytes),
        icp_requests=round(share * (ICP_READ * icp.assets + icp.bytes / CHUNK_BYTES + icp.assets)),
    )


def _looking(known: Known) -> Usage:
    """The direct looks at what was found before: as much is likely to be found again."""
    blob, icp = known.blob or Holdings(), known.icp or Holdings()
    return Usage(blob_simple=LOOKS * blob.open_findings, icp_requests=LOOKS * icp.open_findings)


def _reading_seconds(
    known: Known, share: float, before: Before | None, minutes: float | None
) -> float:
    whole = sum(each.bytes for each in (known.blob, known.icp) if each)
    rate = (before and before.bytes_per_second) or BYTES_PER_SECOND
    seconds = share * whole / rate
    return seconds if minutes is None else min(seconds, 60 * minutes)


def _seconds(known: Known, before: Before | None) -> float:
    if before is None:
        return START_SECONDS + SECONDS_PER_EDGE * known.edges
    grown = known.edges / before.edges if before.edges else 1.0
    return before.seconds * max(grown, 1.0)


_NAMES = {
    "blob_advanced": "advanced operations", "blob_simple": "simple operations",
    "blob_bytes": "bytes of transfer",
}  # fmt: skip


def _over(total: Usage, used: Usage, quota: Usage | None) -> Iterable[str]:
    """A sentence for each part of the month's quota that the audit would pass."""
    if quota is None:
        return
    for name, words in _NAMES.items():
        most, so_far, more = (getattr(each, name) for each in (quota, used, total))
        if more and so_far + more > most:
            yield (f"about {more:,} {words} more, with {so_far:,} of the month's {most:,} used")
