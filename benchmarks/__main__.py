"""``python -m benchmarks``: a sandbox, audits of it, peers beside them, a table for the docs."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.audits import audited
from benchmarks.peers import peers
from benchmarks.reading import reading
from benchmarks.tables import audit_table, machine, peer_table, reading_table


def main() -> None:
    """Seeds a sandbox, or takes the one of ``--dir`` as it is, and prints Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many")
    parser.add_argument("--dir", type=Path, help="a sandbox that is up and seeded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekeeper-bench-") as temporary:
        directory = options.dir or Path(temporary)
        if options.dir is None:
            _edgekeeper("up", directory, "--detach")
            seeding = ("--memories", str(options.memories), "--icp-share", "1", "--quiet")
            _edgekeeper("seed", directory, *seeding)
        try:
            _measure(directory, options.rounds)
        finally:
            if options.dir is None:
                _edgekeeper("down", directory)


def _measure(directory: Path, rounds: int) -> None:
    """Each round runs everything once, so that what is compared was measured side by side."""
    audits, others, reads = [], [], []
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        audits.append(audited(directory))
        others.append(peers(directory))
        reads.append(reading(directory))
    print(machine(), audit_table(audits), sep="\n")
    print(peer_table(audits, others), reading_table(reads), sep="\n")


def _edgekeeper(verb: str, directory: Path, *options: str) -> None:
    command = [sys.executable, "-m", "edgekeeper", "sandbox", verb, "--dir", str(directory)]
    subprocess.run([*command, *options], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
