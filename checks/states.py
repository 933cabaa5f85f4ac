"""The state table: what is concluded about one artifact of one memory in one store.

A function of four things, total over every combination, written once as data. Each rule is a
pattern over (memory row, edge, object, sync state), ``any`` matching everything; the first rule
that matches decides. :data:`TABLE` holds the answer for every combination, so that a whole frame is
judged by one array lookup.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray


class Memory(IntEnum):
    """The memory's row in Neon.

    ``NEVER``: it is not there and nothing says that it ever was: a memory may live on ICP alone.
    ``DELETED``: it is gone, and the ledger already says so (its Neon edges are false).
    """

    THERE = 0
    GONE = 1
    NEVER = 2
    DELETED = 3
    UNKNOWN = 4


class Edge(IntEnum):
    """The ledger's row.

    ``MALFORMED``: its location names no object of the store, or a value is outside its domain.
    """

    NONE = 0
    FALSE = 1
    TRUE = 2
    MALFORMED = 3


class Object(IntEnum):
    """What the store was seen to hold. ``LINK``: only a link to bytes that are elsewhere."""

    THERE = 0
    ABSENT = 1
    LINK = 2
    UNKNOWN = 3


class Sync(IntEnum):
    """The edge's sync state; ``ERROR`` is idle with an error text, ``NONE`` is no edge at all."""

    NONE = 0
    IDLE = 1
    ERROR = 2
    FAILED = 3
    YOUNG = 4
    OLD = 5


class Verdict(IntEnum):
    """What a combination of states means.

    ``COMPARE``: ledger and store agree that it is there; the contents are compared next.
    ``IN_FLIGHT``: a copy is under way; nothing is concluded. ``REMNANT``: it belongs to a memory
    whose row is gone; the memory as a whole is judged. ``TRACKED``: left in a store by a memory
    that is known to be deleted; it is an orphan.
    """

    AGREE = 0
    COMPARE = 1
    UNKNOWN = 2
    IN_FLIGHT = 3
    REMNANT = 4
    ICP_ONLY = 5
    ORPHAN = 6
    MISSING = 7
    UNTRACKED = 8
    UNMARKED = 9
    STUCK = 10
    SYNC_FAILED = 11
    STALE_FAILURE = 12
    EXTERNAL_ONLY = 13
    INVALID = 14
    IMPOSSIBLE = 15


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table; an empty tuple matches everything."""

    why: str
    verdict: Verdict
    memory: tuple[Memory, ...] = ()
    edge: tuple[Edge, ...] = ()
    object: tuple[Object, ...] = ()
    sync: tuple[Sync, ...] = ()

    def matches(self, memory: Memory, edge: Edge, obj: Object, sync: Sync) -> bool:
        """Whether the combination falls under this rule."""
        pairs = (
            (self.memory, memory), (self.edge, edge), (self.object, obj), (self.sync, sync)
        )  # fmt: skip
        return all(not allowed or value in allowed for allowed, value in pairs)


_M, _E, _O, _S = Memory, Edge, Object, Sync
_LIVE = (_M.THERE, _M.NEVER)
_GONE = (_M.GONE,)
_NOT_HELD = (_O.ABSENT, _O.LINK)

RULES: tuple[Rule, ...] = (
    Rule("no edge has no sync state", Verdict.IMPOSSIBLE,
         edge=(_E.NONE,), sync=(_S.IDLE, _S.ERROR, _S.FAILED, _S.YOUNG, _S.OLD)),
    Rule("an edge always has a sync state", Verdict.IMPOSSIBLE,
         edge=(_E.FALSE, _E.TRUE, _E.MALFORMED), sync=(_S.NONE,)),
    Rule("nothing is concluded where we could not look at the row", Verdict.UNKNOWN,
         memory=(_M.UNKNOWN,)),
    Rule("a row that can't be read supersedes what follows", Verdict.INVALID,
         memory=_LIVE, edge=(_E.MALFORMED,)),
    Rule("nothing is concluded where we could not look at the store", Verdict.UNKNOWN,
         object=(_O.UNKNOWN,)),
    # The memory's row is gone.
    Rule("left over by a memory whose row is gone", Verdict.REMNANT,
         memory=_GONE, edge=(_E.FALSE, _E.TRUE, _E.MALFORMED)),
    Rule("left in a store by a memory whose row is gone", Verdict.REMNANT,
         memory=_GONE, edge=(_E.NONE,), object=(_O.THERE,)),
    Rule("nothing left", Verdict.AGREE, memory=_GONE),
    Rule("the ledger knows that the memory is deleted, its object is still there", Verdict.ORPHAN,
         memory=(_M.DELETED,), object=(_O.THERE,)),
    Rule("deleted, and this object is gone too, but the ledger says it is there", Verdict.REMNANT,
         memory=(_M.DELETED,), edge=(_E.TRUE,)),
    Rule("deleted, and gone", Verdict.AGREE, memory=(_M.DELETED,)),
    # No edge.
    Rule("on ICP, and Neon never had it", Verdict.ICP_ONLY,
         memory=(_M.NEVER,), edge=(_E.NONE,), object=(_O.THERE,)),
    Rule("the object is there and nothing tracks it", Verdict.UNTRACKED,
         memory=(_M.THERE,), edge=(_E.NONE,), object=(_O.THERE,)),
    Rule("nothing there, nothing claimed", Verdict.AGREE, edge=(_E.NONE,)),
    # A copy is or was under way.
    Rule("a copy is under way", Verdict.IN_FLIGHT, sync=(_S.YOUNG,)),
    Rule("claimed, a copy hangs, and the object is gone: the graver of the two", Verdict.MISSING,
         edge=(_E.TRUE,), object=(_O.ABSENT,), sync=(_S.OLD,)),
    Rule("a copy has been under way for too long", Verdict.STUCK, sync=(_S.OLD,)),
    # present=false.
    Rule("it is there, the ledger says it is not", Verdict.UNMARKED,
         edge=(_E.FALSE,), object=(_O.THERE,)),
    Rule("a copy failed and nothing is there", Verdict.SYNC_FAILED,
         edge=(_E.FALSE,), object=_NOT_HELD, sync=(_S.FAILED,)),
    Rule("not there, as the ledger says", Verdict.AGREE, edge=(_E.FALSE,)),
    # present=true.
    Rule("only a link is there", Verdict.EXTERNAL_ONLY, edge=(_E.TRUE,), object=(_O.LINK,)),
    Rule("the ledger says it is there, it is not", Verdict.MISSING,
         edge=(_E.TRUE,), object=(_O.ABSENT,)),
    Rule("it is there, the ledger still shows a failure", Verdict.STALE_FAILURE,
         edge=(_E.TRUE,), object=(_O.THERE,), sync=(_S.FAILED, _S.ERROR)),
    Rule("both say it is there", Verdict.COMPARE, edge=(_E.TRUE,), object=(_O.THERE,)),
)  # fmt: skip


def judge(memory: Memory, edge: Edge, obj: Object, sync: Sync) -> Rule:
    """The first rule that matches the combination.

    Raises LookupError where none does: the table is meant to be total.
    """
    for rule in RULES:
        if rule.matches(memory, edge, obj, sync):
            return rule
    raise LookupError(f"no rule for {memory!r}, {edge!r}, {obj!r}, {sync!r}")


def _table() -> NDArray[np.int8]:
    table = np.empty((len(Memory), len(Edge), len(Object), len(Sync)), dtype=np.int8)
    for memory, edge, obj, sync in product(Memory, Edge, Object, Sync):
        table[memory, edge, obj, sync] = judge(memory, edge, obj, sync).verdict
    return table


#: The verdict for every combination, indexed by the four states in the order of their classes.
TABLE = _table()
