"""Drift of all kinds that a join can see, in one edge of a thousand: a tenth of it of each kind.

Of the memories of ``benchmarks.collection`` every 250th is damaged in one way.
"""

import numpy as np
import pandas as pd

#: What is wrong with a memory: in the ledger, or in what the stores hold.
KINDS = ("no blob", "no replica", "no edge", "not marked", "no memory", "orphan", "other size",
         "copying for long", "failed", "no location")  # fmt: skip
_EVERY = 250
#: The backend whose store lacks the memory.
_LACKING = {"no blob": ("vercel-blob",), "no replica": ("icp-canister",),
            "no memory": ("neon-db", "vercel-blob", "icp-canister")}  # fmt: skip


def with_drift(frame: pd.DataFrame, start: int) -> pd.DataFrame:
    """``frame`` with ``drift``: what is wrong with each memory, or empty.

    ``start``: how many memories came before.
    """
    places = np.arange(start, start + len(frame))
    chosen = np.array(KINDS, dtype=object)[places // _EVERY % len(KINDS)]
    return frame.assign(drift=np.where(places % _EVERY == 0, chosen, ""))


def in_store(frame: pd.DataFrame, backend: str) -> pd.DataFrame:
    """The memories that a store holds, and what it holds besides."""
    lacking = [kind for kind, backends in _LACKING.items() if backend in backends]
    held = frame[~frame["drift"].isin(lacking)]
    if backend != "vercel-blob":
        return held
    left = held[held["drift"] == "orphan"]
    return pd.concat([held, left.assign(pathname=left["pathname"] + ".left")])


def in_ledger(edges: pd.DataFrame) -> pd.DataFrame:
    """The edges as a ledger has them that drifted; columns of ``columns.LEDGER`` and ``drift``."""
    blob = edges["backend"] == "vercel-blob"
    drift = edges["drift"].where(blob, "")
    edges = edges.assign(
        present=edges["present"] & (drift != "not marked"),
        size_bytes=edges["size_bytes"].where(drift != "other size", edges["size_bytes"] + 1),
        location=edges["location"].where(drift != "no location", "https://"),
        sync_state=np.select(
            [drift == "copying for long", drift == "failed"], ["migrating", "failed"], "idle"
        ),
    )
    return edges[drift != "no edge"]


def in_stores(edges: pd.DataFrame) -> pd.DataFrame:
    """The edges that a ledger would have that knows exactly what the stores hold."""
    lacks = pd.Series(data=False, index=edges.index)
    for kind, backends in _LACKING.items():
        lacks |= (edges["drift"] == kind) & edges["backend"].isin(backends)
    left = edges[(edges["drift"] == "orphan") & (edges["backend"] == "vercel-blob")]
    left = left.assign(location=left["location"] + ".left", memory_id=_others(left["memory_id"]))
    return pd.concat([edges[~lacks], left])


def _others(ids: "pd.Series[str]") -> "pd.Series[str]":
    """Ids that no memory has: the version of a UUID is 4 in all others."""
    return ids.str.slice(0, 14) + "1" + ids.str.slice(15)
