"""``edgekeeper demo``: the whole story on a sandbox, from a legacy data set to a mended ledger."""

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from checks.errors import EdgekeeperError
from edgekeeper.cli.audit import run_audit
from edgekeeper.cli.backfill import run_backfill
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output
from edgekeeper.cli.schema import apply_to_database

if TYPE_CHECKING:
    from checks.run import RunRecord
    from sandbox.directory import SandboxDirectory

DIRECTORY = Path(".edgekeeper/demo")
SEED = 1
_SHOWN = 10


class DemoError(EdgekeeperError):
    """The demonstration did not go as it should."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first audit's findings beside the truth: lines for what is too much or too little."""

    expected: int
    overlooked: tuple[str, ...]
    invented: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether the audit found exactly what was damaged."""
        return not self.overlooked and not self.invented


@command
def demo(
    out: Output,
    memories: Annotated[
        int, typer.Option(min=100, max=100_000, help="How many memories to try it on.")
    ] = 500,
) -> int:
    """Show everything on a sandbox: seed, back-fill, damage, audit and repair, audit again.

    Starts a local Postgres, blob store and canister in .edgekeeper/demo, and stops them at the
    end; a former demo there is replaced. Needs no settings and touches nothing else.

    Example: edgekeeper demo

    Exit codes: 0 the audit found exactly the damage that was done, and mended what a ledger repair
    can mend; 1 it did not; 2 the sandbox can't start; 5 internal error; 130 interrupted.
    """
    began = time.monotonic()
    with _sandbox(out) as place:
        first, truth = _first_audit(out, place, memories)
        out.progress("auditing again …")
        second = _record(run_audit(_quietly(out), repair="ledger", verify="all"))
    comparison = compare(first, truth)
    return _tell(out, comparison, first, second, time.monotonic() - began)


def compare(run: "RunRecord", truth: list[dict[str, Any]]) -> Comparison:
    """Compares a run's findings with the truth, by fingerprint."""
    found = {each.fingerprint: f"{each.kind} {_where(each.model_dump())}" for each in run.findings}
    expected = {each["fingerprint"]: f"{each['kind']} {_where(each)}" for each in truth}
    return Comparison(
        len(expected),
        tuple(sorted(expected[key] for key in expected.keys() - found.keys())),
        tuple(sorted(found[key] for key in found.keys() - expected.keys())),
    )


def _where(finding: dict[str, Any]) -> str:
    names = ("memory_type", "memory_id", "artifact", "backend", "location", "gallery_id")
    return " ".join(str(finding[name]) for name in names if finding.get(name))


@contextmanager
def _sandbox(out: Output) -> Iterator["SandboxDirectory"]:
    """A fresh sandbox that this process is set up for, stopped at the end."""
    from sandbox import supervisor  # noqa: PLC0415 - --help does without
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    place = SandboxDirectory.of(DIRECTORY)
    if place.choices_file.exists():
        supervisor.stop(place)
        shutil.rmtree(place.path)
    place.make(None)
    _start_prefect(place)
    out.progress("starting Postgres, the blob store and the canister …")
    try:
        supervisor.run_detached(place, None)
        _use(place)
        yield place
    finally:
        supervisor.stop(place)


def _start_prefect(place: "SandboxDirectory") -> None:
    """Starts the Prefect server beside the sandbox, instead of after it."""
    from flows import server  # noqa: PLC0415

    os.environ.pop("PREFECT_API_URL", None)  # a demonstration is nothing for a real server
    server.begin(place.path / "home")


def _use(place: "SandboxDirectory") -> None:
    """Lets this process' settings be the sandbox's and nothing else: not a person's own store."""
    from tasks.settings import Settings, variable  # noqa: PLC0415

    for field in Settings.model_fields:
        os.environ.pop(variable(field), None)
    os.environ.update(place.settings())
    os.chdir(place.path)  # a .env where the command was called has no say here


def _first_audit(
    out: Output, place: "SandboxDirectory", memories: int
) -> tuple["RunRecord", list[dict[str, Any]]]:
    """From an empty sandbox to the audit of a damaged one; gives its record and the truth."""
    from sandbox.dataset import Recipe  # noqa: PLC0415
    from sandbox.drift import inject, parse_spec  # noqa: PLC0415
    from sandbox.seed import seed  # noqa: PLC0415

    out.progress(f"seeding {memories:,} memories without a ledger …")
    recipe = Recipe(
        seed=SEED, memories=memories, galleries=memories // 40,
        median_bytes=20_000, icp_share=0.75,
    )  # fmt: skip
    seed(place, recipe, with_edges=False)
    out.progress("making the ledger's tables and views …")
    apply_to_database(dry_run=False)
    out.progress("back-filling the ledger, hashing every file …")
    backfill = run_backfill(_quietly(out), hash_content=True, batch=5_000, restart=False)
    if backfill["status"] in ("failed", "inconclusive"):
        raise DemoError(f"The back-fill did not come to its end: {backfill.get('error')}")
    truth = place.path / "truth.json"
    damaged = inject(place, wanted=parse_spec("all"), seed=SEED, truth=truth)
    out.progress(f"damaged on purpose: {len(damaged)} findings to be made")
    out.progress("auditing: listing, comparing, hashing everything, repairing the ledger …")
    # So much damage at once would rightly trip the breaker: here it is meant.
    record = run_audit(_quietly(out), repair="ledger", verify="all", allow_percent=100.0)
    findings: list[dict[str, Any]] = json.loads(truth.read_text("utf-8"))["findings"]
    return _record(record), findings


def _quietly(out: Output) -> Output:
    """The same output without progress of its own: the demonstration tells its own story."""
    return Output(quiet=True, no_color=out.no_color)


def _record(record: dict[str, Any]) -> "RunRecord":
    from checks.run import RunRecord  # noqa: PLC0415

    return RunRecord.model_validate(record)


def _tell(
    out: Output, comparison: Comparison, first: "RunRecord", second: "RunRecord", seconds: float
) -> int:
    """Tells how it went; gives the exit code."""
    from edgekeeper.cli.summary import print_run  # noqa: PLC0415

    mended = second.repairs
    left = mended.applied + mended.failed + mended.superseded + mended.refused
    good = comparison.exact and not left
    out.json(
        {
            "exact": comparison.exact, "expected": comparison.expected,
            "overlooked": comparison.overlooked, "invented": comparison.invented,
            "left_to_mend": left, "report": first.report, "second_report": second.report,
            "seconds": round(seconds, 1),
        }
    )  # fmt: skip
    print_run(out, first, with_next_step=False)
    out.say("")
    out.say(
        f"Damage done: {comparison.expected}; found exactly that: "
        f"{'yes' if comparison.exact else 'NO'}.",
        "good" if comparison.exact else "critical",
    )
    for word, lines in (
        ("overlooked", comparison.overlooked), ("invented", comparison.invented)
    ):  # fmt: skip
        for line in lines[:_SHOWN]:
            out.say(f"  {word}: {line}", "critical")
        if len(lines) > _SHOWN:
            out.say(f"  {word}: {len(lines) - _SHOWN} more", "critical")
    out.say(
        f"Second audit: {left} left that a ledger repair could mend, "
        f"{second.open.critical + second.open.warning} open findings that none can.",
        "critical" if left else "good",
    )
    home = shlex.quote(str(Path("home").absolute()))  # the sandbox's: that is where we are
    out.say(
        f"To look around: EDGEKEEPER_HOME={home} edgekeeper findings --open --run {first.run_id}"
    )
    out.say(f"{seconds:.0f} s. The reports:")
    for page in (first.report, second.report):
        out.product(str(page))
    return 0 if good else 1
