"""The finding kinds and the state table as a page of Markdown: what ``docs/`` shows of them."""

from collections.abc import Iterable
from enum import IntEnum

from checks.kinds import IDENTITY, KINDS, Kind
from checks.states import RULES, Edge, Memory, Object, Rule, Sync

_HEAD = """# Finding kinds

Gravest first: where two kinds apply to one edge, the graver one is reported, and its explanation
names the other. *Grain* is what one finding is about, and what identifies it across runs. The
ledger is changed with `--repair ledger` only; nothing here ever writes to the app's own tables.

Severity is about the promise made to the user. *critical*: bytes are lost, rotten or in doubt, and
no other replica is known to hold them; *warning*: another one does, or the ledger says something
untrue; *info*: nothing is at risk. A replica is known to hold bytes if they were read in this run,
or if they were read before and the store's version of the object is what it was then.
"""
_STATES_HEAD = """## The state table

What is concluded about one artifact of one memory in one store, from its row in Neon, its edge, the
object and the edge's sync state. The first rule that matches decides; an empty cell matches
everything. Every combination has a verdict. Where the verdict is *compare*, contents are compared
next: `checks/contents.py`.
"""


def page() -> str:
    """The whole page."""
    return f"{_HEAD}\n{kinds_table()}\n{_STATES_HEAD}\n{states_table()}"


def kinds_table() -> str:
    """One line per kind."""
    head = ("kind", "what it means", "severity", "grain", "ledger repair", "content repair", "next")
    return _table(head, map(_kind_row, KINDS.values()))


def states_table() -> str:
    """One line per rule of the state table, in their order."""
    head = ("row in Neon", "edge", "object", "sync state", "verdict", "why")
    return _table(head, map(_rule_row, RULES))


def _kind_row(kind: Kind) -> tuple[str, ...]:
    identity = ", ".join(IDENTITY[kind.grain])
    return (
        f"`{kind.name}`", kind.meaning, "info" if kind.always_info else "",
        f"{kind.grain}: {identity}",
        kind.ledger_repair or "-", kind.content_repair or "-", kind.next_step,
    )  # fmt: skip


def _rule_row(rule: Rule) -> tuple[str, ...]:
    patterns: tuple[tuple[Memory | Edge | Object | Sync, ...], ...] = (
        rule.memory, rule.edge, rule.object, rule.sync
    )  # fmt: skip
    return (*map(_names, patterns), _name(rule.verdict), rule.why)


def _names(values: Iterable[IntEnum]) -> str:
    return ", ".join(map(_name, values))


def _name(value: IntEnum) -> str:
    return value.name.lower().replace("_", " ")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
