"""How values read on a page: counts, sizes, times, and texts that try to hide what they hold."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from checks.run import utc
from tasks.settings import ALL_BYTES

#: Unicode's categories that show nothing, or change how their neighbours show: control, format
#: (which holds the bidi overrides and zero-width characters), surrogates, line and paragraph ends.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_KILO = 1000


#: How a gallery's items and their order are on the canister, by ``GalleryVerdict.on_icp``.
ON_ICP = {
    "same": "the same",
    "different": "different, see the findings",
    "not_there": "no such gallery is there that this identity can see: they are in Neon alone",
    "unknown": "unknown, since the canister could not be asked",
}


#: What a run uses, by the names of ``checks.run.Usage``.
USED = {
    "blob_advanced": "Blob advanced operations", "blob_simple": "Blob simple operations",
    "blob_bytes": "Blob transfer", "icp_requests": "canister requests",
}  # fmt: skip


def amount(name: str, number: int) -> str:
    """How much of something is used: bytes with a unit, all else a count."""
    return size(number) if name.endswith("bytes") else count(number)


def visible(text: str) -> str:
    r"""``text`` with everything that can't be seen, or turns text around, as an escape.

    A file name may hold a right-to-left override or a terminal's control sequence; on a page it is
    shown as ``\u202e`` or ``\x1b``.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escaped(character: str) -> str:
    """One character as Python writes it in a literal; a joiner inside an emoji is one too."""
    return character.encode("unicode_escape").decode("ascii")


def count(number: int) -> str:
    """``12 345``: digits in threes, set apart by a narrow space that does not break."""
    return f"{number:,}".replace(",", "\u202f")


def size(number: int) -> str:
    """Bytes in the unit that suits them: ``812 B``, ``3.4 MB``."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < _KILO or unit == "TB":
            digits = 0 if unit == "B" or amount >= _KILO / 10 else 1
            return f"{amount:.{digits}f}\u00a0{unit}"
        amount /= _KILO
    raise AssertionError  # pragma: no cover - the loop returns


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 4 min``."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth is of interest
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(whole, 60)
    if not minutes:
        return f"{whole}\u00a0s"
    hours, minutes_left = divmod(minutes, 60)
    if not hours:
        return f"{minutes}\u00a0min {rest}\u00a0s"
    return f"{hours}\u00a0h {minutes_left}\u00a0min"


def moment(time: datetime | None) -> str:
    """``23 Nov 2026, 03:15 UTC``, or a dash where there is none."""
    if time is None:
        return "\u2013"
    there = utc(time)
    return f"{there.day}\u00a0{there:%b\u00a0%Y, %H:%M}\u00a0UTC"


def age(then: datetime, now: datetime) -> str:
    """How long ago ``then`` was: ``today``, ``1 day ago``, ``12 days ago``."""
    days = (utc(now) - utc(then)) // timedelta(days=1)
    if days < 1:
        return "today"
    return "1 day ago" if days == 1 else f"{count(days)} days ago"


def percent(part: int, whole: int) -> str:
    """A share that never rounds to all or nothing where it is neither."""
    if not whole:
        return "\u2013"
    share = 100 * part / whole
    if 0 < part < whole:
        share = min(max(share, 0.1), 99.9)
    digits = 0 if share in (0, 100) else 1
    return f"{share:.{digits}f}\u00a0%"


def limit(name: str, value: Any) -> str:
    """What bounded a run, in the unit that its name tells of: ``5.0 GB``, ``1 %``."""
    if name.endswith("_bytes") and isinstance(value, int):
        return "everything" if value >= ALL_BYTES else size(value) if value else "none"
    if name.endswith("_percent") and isinstance(value, (int, float)):
        return f"{value:g}\u00a0%"
    return str(value)


def plural(number: int, one: str, many: str) -> str:
    """``1 memory``, ``3 memories``."""
    return f"{count(number)} {one if number == 1 else many}"


def copy_read(row: Mapping[str, Any]) -> str:
    """A line about a copy whose bytes were to be read; ``row``: columns of ``HASHES``."""
    match row["outcome"]:
        case "read" if row["expected_sha256"] is None:
            said = "read; the ledger has no hash of it"
        case "read":
            same = row["sha256"] == row["expected_sha256"]
            said = "as the ledger says" if same else "NOT the bytes that the ledger names"
        case "gone":
            said = "NOT there"
        case _:
            said = f"could not be read: {row['read_detail']}"
    bytes_read = size(row["read_size"]) if row["outcome"] == "read" else ""
    return (
        f"{row['memory_type']:<8} {row['memory_id']}  {row['backend']:<12} {bytes_read:>8}  {said}"
    )
