"""Whether the values of a ledger's row are what they can be: everybody may have written it.

A row whose artifact, backend or memory type is unknown has no place beside the others; any other
row keeps its place, and what is wrong with it is said in words.
"""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from checks.model import Artifact, Backend, MemoryType, SyncState

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OTHER_FORM = re.compile(r"\s*(?:sha-?256[:-])?(?:0x)?(?P<digits>[0-9a-f]{64})\s*", re.IGNORECASE)
_PLACES = {"artifact": Artifact, "backend": Backend, "memory_type": MemoryType}
_EDGE = ["key_hi", "key_lo", "memory_type", "artifact", "backend"]


def canonical_sha256(text: str | None) -> str | None:
    """A SHA-256 in lower-case hex, however it is written; None where ``text`` is none."""
    match = _OTHER_FORM.fullmatch(text) if text else None
    return match["digits"].lower() if match else None


def displaced(edges: pd.DataFrame) -> pd.Series:
    """Why a row of the ledger (columns ``columns.LEDGER``) has no place, null where it has one.

    Of several rows with one place the first has it: one whose id is written in canonical form
    before others.
    """
    problems = np.full(len(edges), None, dtype=object)
    spelled = edges["memory_id"] == edges["memory_id"].str.lower()
    order = np.argsort(~spelled.to_numpy(dtype=bool), kind="stable")
    taken = edges.iloc[order].duplicated(_EDGE).to_numpy(dtype=bool)
    problems[order[taken]] = "the ledger has another row for the same place"
    for column, known in _PLACES.items():
        strange = ~edges[column].isin([each.value for each in known]).to_numpy(dtype=bool)
        problems[strange] = f"its {column} is not known to this version"
    return pd.Series(problems, index=edges.index, dtype=object)


def row_problems(edges: pd.DataFrame) -> NDArray[np.object_]:
    """What is wrong with each row's values (columns ``columns.LEDGER``), None where nothing is.

    Several problems of one row are joined by commas.
    """
    hashes = edges["content_hash"]
    good = hashes.isna() | hashes.str.fullmatch(_SHA256).fillna(value=False).astype(bool)
    checks = {
        "it does not say whether the artifact is there": edges["present"].isna(),
        "its sync state is not known to this version": ~edges["sync_state"].isin(
            [each.value for each in SyncState]
        ),
        "its hash is no SHA-256 in lower-case hex": ~good,
        "its size is negative": edges["size_bytes"].fillna(0) < 0,
    }
    problems = np.full(len(edges), None, dtype=object)
    for problem, wrong in checks.items():
        places = np.flatnonzero(wrong.to_numpy(dtype=bool))
        problems[places] = [
            problem if before is None else f"{before}, {problem}" for before in problems[places]
        ]
    return problems
