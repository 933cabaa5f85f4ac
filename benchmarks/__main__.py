"""``python -m benchmarks [NAME …]``: edgekeeper and its peers, side by side, in one run.

Prints a table for each benchmark; ``--json`` keeps the measurements, ``--docs`` puts the tables of
all that is kept into a page.
"""

import argparse
import sys
from pathlib import Path

from benchmarks import audit, backfill, compare, gate, hashing, presence, quality
from benchmarks.benchmark import Benchmark, Scale
from benchmarks.results import add, circumstances, entry, section, write_page

_ALL = (compare, presence, backfill, hashing, quality, audit)
BENCHMARKS = {each.BENCHMARK.name: each.BENCHMARK for each in _ALL}


def main() -> None:
    """Runs the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--memories", type=int, nargs="+", default=[100_000], help="sizes")
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many")
    parser.add_argument("--dir", type=Path, help="a sandbox that is up and seeded")
    parser.add_argument("--json", type=Path, help="keeps the measurements in this file")
    parser.add_argument("--docs", type=Path, help="puts what --json keeps into this page")
    parser.add_argument("--record", action="store_true", help="the ratios that CI holds to")
    options = parser.parse_args()
    if options.record:
        for what, value in gate.record().items():
            print(f"{what}: {value}")
        return
    if unknown := set(options.names) - set(BENCHMARKS):
        parser.error(f"{', '.join(sorted(unknown))}: there is {', '.join(BENCHMARKS)}")
    for name in options.names or BENCHMARKS:
        for memories in options.memories:
            _measure(BENCHMARKS[name], memories, options)


def _measure(benchmark: Benchmark, memories: int, options: argparse.Namespace) -> None:
    """Prepares one benchmark at one size, runs its rounds and prints its table."""
    print(f"{benchmark.name}: preparing {memories:,} memories", file=sys.stderr)
    told, rounds = circumstances(), []
    with benchmark.prepared(Scale(memories, options.dir)) as run:
        for number in range(options.rounds):
            print(f"{benchmark.name}: round {number + 1} of {options.rounds}", file=sys.stderr)
            rounds.append(run())
    made = entry(memories, told, rounds)
    print(f"## {benchmark.title}", section(benchmark, {"0": made}), sep="\n\n")
    if options.json is not None:
        results = add(options.json, benchmark.name, made)
        if options.docs is not None:
            write_page(options.docs, list(BENCHMARKS.values()), results)


if __name__ == "__main__":
    main()
