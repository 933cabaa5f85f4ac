"""How much of what the stores hold was verified, and how long ago: as it is, store by store.

A copy counts as verified since its bytes were last read and were what the ledger says, as long as
the store has not written it since: another version is other bytes, which nobody has read.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from checks.cases import ASSET_SLOTS, SLOTS, WIDTH, Cases
from checks.states import Object

#: How long ago a verification may be, in days; None: any time.
WINDOWS: dict[str, int | None] = {"7d": 7, "30d": 30, "90d": 90, "ever": None}
_UNREADABLE = ("changed", "failed", "silent")


def stored_copies(cases: Cases, now: datetime) -> pd.DataFrame:
    """The copies of assets that one partition's stores hold, one row each.

    Args:
        cases: with what was read in this run and in former ones.
        now: when this run began.

    Returns:
        ``memory_id``, ``memory_type``, ``backend``, ``size`` (bytes), ``verified_at`` (null: never)
        and ``unreadable`` (its last reading came to no end).
    """
    return pd.concat([_copies(cases, slot, now) for slot in ASSET_SLOTS], ignore_index=True)


def covered(copies: pd.DataFrame, now: datetime) -> dict[str, dict[str, Any]]:
    """How many of the copies of :func:`stored_copies` were verified, and when.

    Returns:
        By backend: ``assets``, ``bytes``, ``verified`` (by window, ``assets`` and ``bytes``),
        ``oldest`` (the oldest of the last verifications, as text) and ``unverifiable``.
    """
    return {str(backend): _of_store(own, now) for backend, own in copies.groupby("backend")}


def _copies(cases: Cases, slot: int, now: datetime) -> pd.DataFrame:
    """The copies in one store."""
    memory = np.flatnonzero(cases.object[:, slot] == Object.THERE)
    case = memory * WIDTH + slot
    held, read, known = (
        frame.reindex(case) for frame in (cases.objects, cases.hashes, cases.remembered)
    )
    expected = cases.edges["content_hash"].reindex(case)
    same = held["object_version"].notna() & (known["verified_version"] == held["object_version"])
    good = (read["outcome"] == "read") & (expected.isna() | (expected == read["sha256"]))
    before = pd.to_datetime(known["verified_at"], utc=True).where(same.astype(bool))
    size = pd.to_numeric(read["read_size"]).fillna(pd.to_numeric(held["object_size"]))
    outcome = read["outcome"].fillna(known["known_outcome"])
    whose = cases.memories[["memory_id", "memory_type"]].iloc[memory].set_axis(case)
    return whose.assign(
        backend=SLOTS[slot][1].value,
        size=size.fillna(0).astype("float64"),
        verified_at=before.mask(good.astype(bool), pd.Timestamp(now)),
        unreadable=outcome.isin(_UNREADABLE),
    )


def _of_store(copies: pd.DataFrame, now: datetime) -> dict[str, Any]:
    verified = copies["verified_at"].notna()
    ages = pd.Timestamp(now) - copies["verified_at"]
    windows = {
        name: verified if days is None else verified & (ages <= pd.Timedelta(days=days))
        for name, days in WINDOWS.items()
    }
    oldest = copies["verified_at"].min()
    return {
        "assets": len(copies),
        "bytes": int(copies["size"].sum()),
        "verified": {
            name: {"assets": int(within.sum()), "bytes": int(copies["size"][within].sum())}
            for name, within in windows.items()
        },
        "oldest": None if pd.isna(oldest) else oldest.isoformat(),
        "unverifiable": int(copies["unreadable"].sum()),
    }


def together(parts: Iterable[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What :func:`covered` gave of several partitions, as of one."""
    stores: dict[str, dict[str, Any]] = {}
    for part in parts:
        for backend, own in part.items():
            stores[backend] = _added(stores[backend], own) if backend in stores else own
    return stores


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    moments = [each["oldest"] for each in (one, other) if each["oldest"]]
    return {
        **{name: one[name] + other[name] for name in ("assets", "bytes", "unverifiable")},
        "verified": {
            name: {unit: one["verified"][name][unit] + other["verified"][name][unit]
                   for unit in ("assets", "bytes")}
            for name in WINDOWS
        },
        "oldest": min(moments, key=datetime.fromisoformat) if moments else None,
    }  # fmt: skip


def full_cycle(total: int, budget: int, read: int, *, left: int) -> int | None:
    """How many runs like this one read everything once; None where that is never.

    Args:
        total: bytes held in stores that are read object by object.
        budget: of bytes.
        read: bytes in this run.
        left: assets that this run had no room for.
    """
    speed = min(budget, read) if left else budget  # where the time was over first
    return None if speed <= 0 else max(1, -(-total // speed))
