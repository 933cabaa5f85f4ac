"""Measurements as JSON, and the tables of a page that are made from it."""

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark, Measurement, Rounds

Results = dict[str, dict[str, Any]]
#: What stands around the tables of one benchmark in a page.
_BEGIN, _END = "<!-- measured: {} -->", "<!-- /measured -->"


def circumstances() -> dict[str, Any]:
    """When and on what something is measured, and how busy that is with other things."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "niceness": os.nice(0),
    }


def entry(memories: int, told: Mapping[str, Any], rounds: Rounds) -> dict[str, Any]:
    """What is kept of one benchmark at one size."""
    return {
        "memories": memories, **told, "rounds": [[asdict(one) for one in each] for each in rounds],
    }  # fmt: skip


def add(path: Path, name: str, entry: Mapping[str, Any]) -> Results:
    """Keeps an entry in a file, in the place of one of the same size; all that the file holds."""
    results: Results = json.loads(path.read_bytes()) if path.exists() else {}
    results.setdefault(name, {})[str(entry["memories"])] = dict(entry)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return results


def section(benchmark: Benchmark, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """One benchmark's tables, the smallest size first."""
    parts = [benchmark.about, ""]
    for _, each in sorted(entries.items(), key=lambda item: int(item[0])):
        rounds = [[Measurement(**one) for one in some] for some in each["rounds"]]
        parts += [_told(each, len(rounds)), "", benchmark.table(rounds)]
    return "\n".join(parts)


def write_page(path: Path, benchmarks: Sequence[Benchmark], results: Results) -> None:
    """Puts the tables between their marks in a page, and leaves everything else as it is."""
    text = path.read_text("utf-8")
    for each in benchmarks:
        if each.name in results:
            begin = _BEGIN.format(each.name)
            pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(_END)}", re.DOTALL)
            tables = section(each, results[each.name])
            text = pattern.sub(lambda _, b=begin, t=tables: f"{b}\n{t}\n{_END}", text)  # type: ignore[misc]
    path.write_text(text, "utf-8")


def _told(entry: Mapping[str, Any], rounds: int) -> str:
    """The circumstances as a sentence."""
    at = datetime.fromisoformat(entry["at"])
    beside = "that had nothing else to do"
    if entry["load_before"] > 0.5:  # noqa: PLR2004
        first = "with priority over" if entry["niceness"] < 0 else "beside"
        beside = f"{first} other work (load {entry['load_before']})"
    return (
        f"{entry['memories']:,} memories, {at:%d %B %Y}, {entry['cores']} cores "
        f"({entry['machine']}, Python {entry['python']}) {beside}, medians of {rounds} "
        f"round{'' if rounds == 1 else 's'}:"
    )
