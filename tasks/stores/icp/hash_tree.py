"""Hash trees: a part of the network's state, with the hashes of all that is left out.

A tree comes as nested lists whose first element says what the rest is. It is checked and hashed in
one pass, and after that it answers three ways: a value, "provably not there", or "not shown".
"""

import hashlib
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import pairwise
from typing import Any

from checks.errors import UntrustedAnswerError

#: More levels than any state of the network has; Python's own stack holds about a thousand.
MAX_DEPTH = 150
_EMPTY, _FORK, _LABELED, _LEAF, _PRUNED = range(5)
_HASH_BYTES = 32


def _domain(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_EMPTY_HASH = hashlib.sha256(_domain("ic-hashtree-empty")).digest()
_FORK_DOMAIN = _domain("ic-hashtree-fork")
_LABELED_DOMAIN = _domain("ic-hashtree-labeled")
_LEAF_DOMAIN = _domain("ic-hashtree-leaf")


class Missing(Enum):
    """Why there is no value at a path."""

    ABSENT = "it is provably not there"
    UNKNOWN = "the certificate does not show whether it is there"


class HashTree:
    """A well-formed tree.

    Attributes:
        root_hash: the hash of the whole, which a signature vouches for.
    """

    def __init__(self, node: Any) -> None:
        """Checks and hashes a decoded tree.

        Raises UntrustedAnswerError where it is malformed, too deep, or its labels are out of
        order: in such a tree "not there" would prove nothing.
        """
        self._node = node
        self.root_hash = _hash(node, 0)
        for subtree in _subtrees(node):
            _check_order(subtree)

    def look_up(self, *path: bytes) -> bytes | Missing:
        """The value at ``path``, or why there is none.

        Raises UntrustedAnswerError where the path ends at a subtree instead of a value.
        """
        node = self._find(path)
        if isinstance(node, Missing):
            return node
        if node[0] == _LEAF:
            return bytes(node[1])
        if node[0] == _PRUNED:
            return Missing.UNKNOWN
        if node[0] == _EMPTY:
            return Missing.ABSENT
        raise UntrustedAnswerError(f"the certificate has a subtree at {_shown(path)}, no value")

    def children(self, *path: bytes) -> dict[bytes, "HashTree"]:
        """The subtrees that are shown below ``path``, by label; empty where none are."""
        node = self._find(path)
        if isinstance(node, Missing):
            return {}
        shown = (part for part in _flat(node) if part[0] == _LABELED)
        return {part[1]: _trusted(part[2]) for part in shown}

    def _find(self, path: Sequence[bytes]) -> Any:
        node: Any = self._node
        for label in path:
            node = _find_label(node, label)
            if isinstance(node, Missing):
                return node
        return node


def _trusted(node: Any) -> HashTree:
    """A part of a tree that was checked as a whole."""
    tree = HashTree.__new__(HashTree)
    tree._node = node  # noqa: SLF001 - this is the class's own module
    tree.root_hash = b""
    return tree


def _hash(node: Any, depth: int) -> bytes:
    """The hash of a node. Raises UntrustedAnswerError where it is none."""
    if depth > MAX_DEPTH:
        raise UntrustedAnswerError(f"a hash tree has more than {MAX_DEPTH} levels")
    match node:
        case [0]:
            return _EMPTY_HASH
        case [1, left, right]:
            parts = _hash(left, depth + 1) + _hash(right, depth + 1)
            return hashlib.sha256(_FORK_DOMAIN + parts).digest()
        case [2, bytes(label), subtree]:
            part = label + _hash(subtree, depth + 1)
            return hashlib.sha256(_LABELED_DOMAIN + part).digest()
        case [3, bytes(value)]:
            return hashlib.sha256(_LEAF_DOMAIN + value).digest()
        case [4, bytes(digest)] if len(digest) == _HASH_BYTES:
            return digest
        case _:
            raise UntrustedAnswerError("a hash tree has a node of no known kind")


def _subtrees(node: Any) -> Iterator[Any]:
    """Every node whose forks spread out into one list of labels."""
    yield node
    for part in _flat(node):
        if part[0] == _LABELED:
            yield from _subtrees(part[2])


def _flat(node: Any) -> list[Any]:
    """What a node's forks hold, from left to right, without what is empty."""
    if node[0] == _FORK:
        return _flat(node[1]) + _flat(node[2])
    return [] if node[0] == _EMPTY else [node]


def _check_order(node: Any) -> None:
    labels = [part[1] for part in _flat(node) if part[0] == _LABELED]
    if any(first >= second for first, second in pairwise(labels)):
        raise UntrustedAnswerError("a hash tree's labels are not in ascending order")


def _find_label(node: Any, label: bytes) -> Any:
    """The subtree at ``label``, or whether its absence is shown.

    It is, where both neighbours of its place are labels, or the end of the list.
    """
    before_is_shown = True
    for part in _flat(node):
        if part[0] == _LEAF:
            return Missing.ABSENT  # a value has nothing below it
        if part[0] == _PRUNED:
            before_is_shown = False
        elif part[1] == label:
            return part[2]
        elif part[1] < label:
            before_is_shown = True
        else:
            return Missing.ABSENT if before_is_shown else Missing.UNKNOWN
    return Missing.ABSENT if before_is_shown else Missing.UNKNOWN


def _shown(path: Sequence[bytes]) -> str:
    return "/" + "/".join(label.decode(errors="backslashreplace") for label in path)
