"""What was observed of each memory, and of the gallery that holds them.

Presence counts only for bytes: an asset is *sound* in a store where its bytes were read in this run
and are what the ledger has recorded, or, where the ledger has no hash, what every other copy is.
What could not be looked at is taken once as sound and once as missing; where the two verdicts
differ, the verdict is ``unknown``.
"""

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.cases import ASSET_SLOTS, SLOT_NUMBER, WIDTH, Cases, View
from checks.judge import blind
from checks.model import Artifact, Backend
from checks.states import Edge, Memory, Object

Flags = NDArray[np.bool_]
_META_NEON = SLOT_NUMBER[Artifact.METADATA, Backend.NEON]
_META_ICP = SLOT_NUMBER[Artifact.METADATA, Backend.ICP]
_ASSET_ICP = SLOT_NUMBER[Artifact.ASSET, Backend.ICP]
_ASSET_WEB = [SLOT_NUMBER[Artifact.ASSET, Backend.NEON], SLOT_NUMBER[Artifact.ASSET, Backend.BLOB]]
#: Verdicts of a memory that make its gallery count as stored forever.
_FOREVER = frozenset({"stored_forever", "icp_only"})


def memory_verdicts(cases: Cases, view: View) -> NDArray[np.object_]:
    """A verdict for each memory of ``cases.memories``, in its order.

    One of ``stored_forever``, ``partially_on_icp``, ``standard_storage``, ``incomplete``, ``lost``,
    ``icp_only``, ``unknown``: the names of ``checks.run.MemoryVerdict``.
    """
    whole, doubtful = sound(cases), _doubtful(cases, view)
    worst = _verdicts(cases, whole & ~doubtful)
    best = _verdicts(cases, whole | doubtful)
    verdicts = np.where(worst == best, worst, "unknown").astype(object)
    verdicts[cases.memory == Memory.UNKNOWN] = "unknown"
    return verdicts


def sound(cases: Cases) -> Flags:
    """Which artifacts are there and right, shape (memories, 6)."""
    flags: Flags = cases.object == Object.THERE
    flags[:, ASSET_SLOTS] &= _bytes_agree(cases)[:, ASSET_SLOTS]
    return flags


def _bytes_agree(cases: Cases) -> Flags:
    """Whether the bytes that were read are the right ones, shape (memories, 6)."""
    size = cases.verdict.size
    read = cases.hashes.loc[cases.hashes["outcome"] == "read", "sha256"]
    seen = read.reindex(range(size)).to_numpy(dtype=object).reshape(-1, WIDTH)
    hashes = cases.edges["content_hash"].reindex(range(size)).to_numpy(dtype=object)
    ledger = hashes.reshape(-1, WIDTH)
    recorded = _only_value(ledger[:, ASSET_SLOTS])
    common = _only_value(seen[:, ASSET_SLOTS])
    # Edges that contradict each other have no say; then all copies must be the same.
    right = np.where(pd.notna(recorded), recorded, common)
    agree: Flags = pd.notna(seen) & pd.notna(right)[:, None] & (seen == right[:, None])
    return agree


def _only_value(values: NDArray[np.object_]) -> NDArray[np.object_]:
    """The one value in each row, None where there is none or more than one."""
    known = pd.notna(values)
    first = np.take_along_axis(values, known.argmax(axis=1)[:, None], axis=1)
    same = (~known | (values == first)).all(axis=1) & known.any(axis=1)
    only: NDArray[np.object_] = np.full(len(values), None, dtype=object)
    only[same] = first[same, 0]
    return only


def _doubtful(cases: Cases, view: View) -> Flags:
    """What could not be looked at, or was there and could not be read, shape (memories, 6)."""
    unread: Flags = cases.object == Object.THERE
    outcome = cases.hashes["outcome"].reindex(range(cases.verdict.size)).to_numpy(dtype=object)
    unread &= ~np.isin(outcome.astype(str), ["read", "gone"]).reshape(-1, WIDTH)
    unread[:, [slot for slot in range(WIDTH) if slot not in ASSET_SLOTS]] = False
    return unread | blind(cases, view)


def _verdicts(cases: Cases, there: Flags) -> NDArray[np.object_]:
    """The verdicts, were exactly the artifacts in ``there`` (shape (memories, 6)) in place."""
    row = there[:, _META_NEON]
    on_web = row & there[:, _ASSET_WEB].any(axis=1)
    on_icp = there[:, _META_ICP] & there[:, _ASSET_ICP]
    some_on_icp = there[:, _META_ICP] | there[:, _ASSET_ICP]
    assets = np.zeros(WIDTH, dtype=bool)
    assets[ASSET_SLOTS] = True
    # Damaged bytes are not lost: there is something to repair or to decide about.
    held = ((cases.object[:, assets] == Object.THERE) | there[:, assets]).any(axis=1)
    promised = (cases.edge[:, assets] != Edge.NONE).any(axis=1)
    promised |= cases.memories["row_url"].notna().to_numpy(dtype=bool)
    conditions = [
        row & promised & ~held,
        on_icp & (cases.memory == Memory.NEVER),
        on_icp & row,
        on_web & some_on_icp,
        on_web,
    ]
    kinds = ["lost", "icp_only", "stored_forever", "partially_on_icp", "standard_storage"]
    return np.select(conditions, kinds, "incomplete").astype(object)


def gallery_verdict(verdicts: Collection[str]) -> str:
    """What the memories' verdicts amount to: ``checks.run.GalleryVerdict.verdict``."""
    found = set(verdicts)
    if not found:
        return "empty"
    if found & {"lost", "incomplete"}:
        return "incomplete"
    if "unknown" in found:
        return "unknown"
    if found <= _FOREVER:
        return "stored_forever"
    return "standard_storage" if found == {"standard_storage"} else "partially_on_icp"
