"""What was measured, as Markdown: medians, and ratios of what was measured in the same round."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median

from benchmarks.benchmark import OURS, Measurement, Rounds


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def side_by_side(rows: str) -> Callable[[Rounds], str]:
    """A table with a line for each way of doing each thing, edgekeeper's first.

    ``rows``: what is counted.
    """
    return partial(_side_by_side, rows)


def _side_by_side(rows: str, rounds: Rounds) -> str:
    heads = ["what", "by", "s", "CPU s", "of it Postgres", f"{rows}/s", f"{rows}/s per core",
             "peak MB", "time ÷ it", "CPU ÷ it"]  # fmt: skip
    return markdown(heads, (_line(rounds, place) for place in range(len(rounds[0]))))


def _line(rounds: Rounds, place: int) -> list[str]:
    """One way's medians, and edgekeeper's ratios to it."""
    first = rounds[0][place]
    if first.seconds is None:
        return [first.case, first.way, first.why_not, *[""] * 7]
    some = [each[place] for each in rounds]
    seconds, cpu = middle(some, "seconds"), middle(some, "all_cpu")
    served, peak = middle(some, "server_cpu"), middle(some, "peak_mb")
    return [
        first.case, first.way, number(seconds, 2), number(cpu, 2), number(served or None, 2),
        number(first.rows / seconds if seconds else None),
        number(first.rows / cpu if cpu else None), number(peak),
        *(_ratio(rounds, place, name) for name in ("seconds", "all_cpu")),
    ]  # fmt: skip


def _ratio(rounds: Rounds, place: int, name: str) -> str:
    """How many times what the peer took edgekeeper took, in the same round."""
    if rounds[0][place].way == OURS:
        return ""
    return number(ratio(rounds, place, name), 2)


def ratio(
    rounds: Rounds,
    place: int,
    name: str = "seconds",
    of_all: Callable[[Sequence[float]], float] = median,
) -> float | None:
    """The median of edgekeeper's share of a peer's, round by round."""
    found = []
    for each in rounds:
        peer = each[place]
        own = next(one for one in each if one.way == OURS and one.case == peer.case)
        upper, lower = getattr(own, name), getattr(peer, name)
        if upper is None or not lower:
            return None
        found.append(upper / lower)
    return of_all(found)


def middle(some: Sequence[Measurement], name: str) -> float | None:
    """The median of a field, or of one of ``also``; None where it was not measured."""
    values = [each.also[name] if name in each.also else getattr(each, name, None) for each in some]
    known = [value for value in values if value is not None]
    return median(known) if known else None


def number(value: float | None, places: int = 0) -> str:
    """A number as it is read; nothing for none."""
    return "" if value is None else f"{value:,.{places}f}"
