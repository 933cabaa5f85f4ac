# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper sandbox seed`` and ``sandbox drift``: what is in the sandbox, and what is wrong."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from checks.errors import InterruptedRunError, UsageError
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output
from edgekeeper.cli.progress import shown

if TYPE_CHECKING:
    from sandbox.dataset import Recipe
    from sandbox.directory import SandboxDirectory
    from sandbox.drift.findings import Finding

DEFAULT_DIRECTORY = Path(".edgekeeper/sandbox")

Directory = Annotated[
    Path,
    typer.Option("--dir", help="Where the sandbox keeps everything.", metavar="D"),
]
_TRUTH = typer.Option(
    metavar="FILE", help="File for the findings that the next `audit --verify all` must report."
)
_DRIFT_HELP = "all, or KIND=COUNT,… with the finding kinds, such as missing=6,orphaned=3."


@command
def seed(
    out: Output,
    memories: Annotated[int, typer.Option(min=0, help="How many memories.")],
    directory: Directory = DEFAULT_DIRECTORY,
    galleries: Annotated[
        int | None, typer.Option(min=0, help="How many galleries; default: a fortieth of them.")
    ] = None,
    number: Annotated[int, typer.Option("--seed", help="Same seed, same data.")] = 1,
    median_bytes: Annotated[
        int,
        typer.Option(min=1, help="Median size of a file; sizes are log-normal, 64 B to 64 MiB."),
    ] = 20_000,
    icp_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the memories that are on ICP too.")
    ] = 0.75,
    with_edges: Annotated[
        bool, typer.Option("--with-edges/--legacy", help="Write the true ledger, or none.")
    ] = True,
    drift_spec: Annotated[
        str | None,
        typer.Option(
            "--drift",
            metavar="SPEC",
            help=f"Damage it at once, as `drift` does: {_DRIFT_HELP}",
        ),
    ] = None,
    truth: Annotated[Path | None, _TRUTH] = None,
) -> None:
    """Fill an empty, running sandbox with users, memories and galleries, all days in the past.

    Five kinds of memories, most of them copied to the canister; file names with spaces, accents
    and percent signs; bytes that are computed, so that a million memories need no disk. With
    --drift the new data set is damaged at once, and --truth takes what an audit must find.

    Example: edgekeeper sandbox seed --memories 2000

    Example: edgekeeper sandbox seed --memories 500 --drift all --truth truth.json

    Exit codes: 0 filled; 2 not running, filled already, or a bad option; 5 internal error; 130
    interrupted (remove the directory then).
    """
    from sandbox.dataset import Recipe  # noqa: PLC0415 - --help does without all of these
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415
    from sandbox.drift.findings import check_writable  # noqa: PLC0415

    damage = _damage_to_do(drift_spec, truth, with_edges=with_edges)
    if truth is not None:
        check_writable(truth)
    place = SandboxDirectory.existing(directory)
    recipe = Recipe(
        seed=number,
        memories=memories,
        galleries=memories // 40 if galleries is None else galleries,
        median_bytes=median_bytes,
        icp_share=icp_share,
    )
    summary = _filled(out, place, recipe, with_edges=with_edges)
    out.say(" · ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.items()))
    if damage is not None and truth is not None:
        findings = damage(place, seed=number, truth=truth)
        summary["findings"] = len(findings)
        out.say(f"Damaged: {len(findings):,} findings to be made, listed in {truth}")
    out.json(summary)


@command
def drift(
    out: Output,
    truth: Annotated[Path, _TRUTH],
    directory: Directory = DEFAULT_DIRECTORY,
    drift_spec: Annotated[str, typer.Option("--drift", metavar="SPEC", help=_DRIFT_HELP)] = "all",
    number: Annotated[int, typer.Option("--seed", help="Same seed and data, same damage.")] = 1,
) -> None:
    """Damage a seeded sandbox that has a ledger, and write what an audit must then report.

    The file holds every finding of the next `audit --verify all`, no more and no less; those with
    `"needs": "listing"` are what an audit without --verify must report. No memory is damaged
    twice.

    Example: edgekeeper sandbox drift --truth truth.json

    Example: edgekeeper sandbox drift --drift missing=6,orphaned=3 --seed 7 --truth truth.json

    Exit codes: 0 damaged; 2 not running, no ledger, too few memories, or an unknown kind, and
    nothing was damaged; 5 internal error; 130 interrupted (remove the directory then).
    """
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    damage = _damage(drift_spec)
    findings = damage(SandboxDirectory.existing(directory), seed=number, truth=truth)
    counts = Counter(finding.kind for finding in findings)
    out.table(("finding", "count"), sorted(counts.items()))
    out.say(f"Damaged: {len(findings):,} findings to be made, listed in {truth}")
    out.json({"truth": str(truth), "findings": len(findings), "counts": dict(counts)})


def _damage_to_do(
    spec: str | None, truth: Path | None, *, with_edges: bool
) -> "Callable[..., list[Finding]] | None":
    """The damage that ``sandbox seed`` is to do, if any. Raises UsageError, SandboxError."""
    if (spec is None) != (truth is None):
        raise UsageError("--drift and --truth belong together: give both, or none.")
    if spec is None:
        return None
    if not with_edges:
        raise UsageError("--drift needs a ledger: leave out --legacy, or damage it later.")
    return _damage(spec)


def _damage(spec: str) -> "Callable[..., list[Finding]]":
    """The damage that a spec asks for, ready to be done. Raises SandboxError."""
    from sandbox.drift import inject, parse_spec  # noqa: PLC0415

    return partial(inject, wanted=parse_spec(spec))


def _filled(
    out: Output, place: "SandboxDirectory", recipe: "Recipe", *, with_edges: bool
) -> dict[str, int]:
    """Fills the sandbox while progress is shown; gives what there is now."""
    from sandbox.seed import seed as fill  # noqa: PLC0415
    from tasks.progress import advance  # noqa: PLC0415

    told = 0

    def seeded(done: int, total: int) -> None:
        nonlocal told
        advance("seeding memories", done - told, total)
        told = done

    try:
        with shown(out):
            return asdict(fill(place, recipe, with_edges=with_edges, progress=seeded))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            f"Interrupted: the sandbox is half filled. Stop it, remove {place.path} and start anew."
        ) from None
