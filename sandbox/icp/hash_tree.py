"""The certified state: a hash tree, and the part of it that proves what was asked for.

A tree is written down as nested dicts with byte-string labels and byte-string leaves. A witness is
the CBOR form of the specification (arrays that begin with 0 empty, 1 fork, 2 labeled, 3 leaf or
4 pruned) in which everything that was not asked for is replaced by its hash.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

State = Mapping[bytes, "State | bytes"]
Path = Sequence[bytes]
Node = list[Any]

EMPTY, FORK, LABELED, LEAF, PRUNED = range(5)


class Wanted(dict[bytes, "Wanted"]):
    """Which labels to show; ``whole`` shows everything below."""

    whole = False


NOTHING: Final = Wanted()


def wanted(paths: Iterable[Path]) -> Wanted:
    """The labels on these paths, and everything below their ends."""
    top = Wanted()
    for path in paths:
        here = top
        for label in path:
            here = here.setdefault(label, Wanted())
        here.whole = True
    return top


def witness(state: "State | bytes", show: Wanted) -> tuple[Node, bytes]:
    """The tree cut down to what is wanted, and its root hash.

    Where a wanted label is not there, its neighbours are shown, which proves its absence.
    """
    if isinstance(state, bytes):
        digest = _digest("leaf", state)
        shown = show.whole or show
        return ([LEAF, state] if shown else [PRUNED, digest]), digest
    if not state:
        return [EMPTY], _digest("empty")
    labels = sorted(state)
    parts = _shown_labels(labels, show)
    branches = []
    for label in labels:
        below = parts.get(label, NOTHING)
        node, digest = witness(state[label], below)
        branches.append(([LABELED, label, node], _digest("labeled", label, digest), label in parts))
    node, digest, shown_any = _fork(branches)
    return (node if shown_any else [PRUNED, digest]), digest


def _shown_labels(labels: Sequence[bytes], show: Wanted) -> dict[bytes, Wanted]:
    if show.whole:
        everything = Wanted()
        everything.whole = True
        return dict.fromkeys(labels, everything)
    parts: dict[bytes, Wanted] = {}
    for label, below in show.items():
        position = bisect_left(labels, label)
        if position < len(labels) and labels[position] == label:
            parts[label] = below
        else:
            for neighbour in labels[max(0, position - 1) : position + 1]:
                parts.setdefault(neighbour, NOTHING)
    return parts


def _fork(branches: Sequence[tuple[Node, bytes, bool]]) -> tuple[Node, bytes, bool]:
    if len(branches) == 1:
        return branches[0]
    middle = len(branches) // 2
    left, left_digest, left_shown = _fork(branches[:middle])
    right, right_digest, right_shown = _fork(branches[middle:])
    node = [
        FORK,
        left if left_shown else [PRUNED, left_digest],
        right if right_shown else [PRUNED, right_digest],
    ]
    return node, _digest("fork", left_digest, right_digest), left_shown or right_shown


def _digest(kind: str, *parts: bytes) -> bytes:
    domain = f"ic-hashtree-{kind}".encode()
    return hashlib.sha256(b"".join([bytes([len(domain)]), domain, *parts])).digest()
