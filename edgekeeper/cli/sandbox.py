"""``edgekeeper sandbox``: a local stand-in for Neon, Vercel Blob and the canister."""

import functools
import json
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.drift.findings import Finding

USAGE_ERROR = 2
INTERRUPTED = 130
P = ParamSpec("P")

app = typer.Typer(
    help="A local Postgres, Vercel Blob and Internet Computer to try everything on.",
    no_args_is_help=True,
)


class Variant(StrEnum):
    """Which tables the app has."""

    DOCUMENT = "document"
    DEPLOYED = "deployed"


Directory = Annotated[
    Path,
    typer.Option("--dir", help="Where the sandbox keeps everything.", metavar="D"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")]
JsonPath = Annotated[
    str | None,
    typer.Option("--json", help="Write a summary as JSON to this file, - for stdout."),
]
Truth = Annotated[
    Path | None,
    typer.Option(help="File for the findings that the next `audit --verify all` must report."),
]
DEFAULT_DIRECTORY = Path(".edgekeeper/sandbox")


def _one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """A command that answers a SandboxError with one line and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SandboxError as error:
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(USAGE_ERROR) from error
        except KeyboardInterrupt as error:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from error

    return wrapped


@app.command()
@_one_line_errors
def up(
    *,
    directory: Directory = DEFAULT_DIRECTORY,
    variant: Annotated[
        Variant | None,
        typer.Option(
            help="document: tables as in the design document; deployed: singular names and "
            "text ids. Default: what the sandbox has, document for a new one."
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return as soon as all three servers answer.")
    ] = False,
) -> None:
    """Start the three servers on loopback ports and print the settings that lead to them.

    Data, ports and keys are kept in the directory and survive a restart. Stays in the foreground
    until Ctrl-C unless --detach is given.

    Example: edgekeeper sandbox up

    Example: edgekeeper sandbox up --dir /tmp/try --detach

    Exit codes: 0 started (--detach) or stopped by `sandbox down`; 2 can't start, the line says
    why; 130 stopped by Ctrl-C.
    """
    from sandbox import supervisor  # noqa: PLC0415  # loads psycopg; --help does without
    from sandbox.directory import SandboxDirectory, dotenv  # noqa: PLC0415

    place = SandboxDirectory.of(directory)
    chosen = variant.value if variant else None

    def print_settings() -> None:
        typer.echo(dotenv(place.settings()), nl=False)
        sys.stdout.flush()

    if detach:
        if supervisor.running(place) is None:
            supervisor.run_detached(place, chosen)
        else:
            place.make(chosen)
            typer.echo(f"already running in {place.path}", err=True)
        print_settings()
        return

    def ready() -> None:
        print_settings()
        typer.echo(f"running in {place.path}; Ctrl-C stops it, the data stay", err=True)

    received = supervisor.run(place, chosen, ready)
    typer.echo("stopped", err=True)
    if received == signal.SIGINT:
        raise typer.Exit(INTERRUPTED)


@app.command()
@_one_line_errors
def down(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the servers and wait until they are gone; the data stay.

    Example: edgekeeper sandbox down

    Example: edgekeeper sandbox down --dir /tmp/try

    Exit codes: 0 nothing is running any more; 2 no sandbox there, or it does not end.
    """
    from sandbox import supervisor  # noqa: PLC0415
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    place = SandboxDirectory.existing(directory)
    stopped = supervisor.stop(place)
    typer.echo("stopped" if stopped else f"not running: {place.path}", err=True)


@app.command()
@_one_line_errors
def env(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Print the settings as lines for a shell to evaluate.

    Example: eval "$(edgekeeper sandbox env)"

    Example: eval "$(edgekeeper sandbox env --dir /tmp/try)"

    Exit codes: 0 printed; 2 no sandbox there.
    """
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    for name, value in SandboxDirectory.existing(directory).settings().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
@_one_line_errors
def seed(
    *,
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
        str | None, typer.Option("--drift", help="Damage it then, as `sandbox drift` does.")
    ] = None,
    truth: Truth = None,
    quiet: Quiet = False,
    json_path: JsonPath = None,
) -> None:
    """Fill an empty, running sandbox with users, memories and galleries, all days in the past.

    Five kinds of memories, most of them copied to the canister; file names with spaces, accents
    and percent signs; bytes that are computed, so that a million memories need no disk. With
    --drift the new data set is damaged at once, and --truth takes what an audit must find.

    Example: edgekeeper sandbox seed --memories 2000

    Example: edgekeeper sandbox seed --memories 500 --drift all --truth truth.json

    Exit codes: 0 filled; 2 not running, filled already, or a bad option; 130 interrupted (remove
    the directory then).
    """
    from sandbox.dataset import Recipe  # noqa: PLC0415
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415
    from sandbox.drift.findings import check_writable  # noqa: PLC0415
    from sandbox.seed import seed as fill  # noqa: PLC0415

    if (drift_spec is None) != (truth is None):
        raise SandboxError("--drift and --truth belong together: give both, or none")
    if drift_spec is not None and not with_edges:
        raise SandboxError(
            "--drift needs a ledger: leave out --legacy, or run `sandbox drift` later"
        )
    damage = _parsed(drift_spec) if drift_spec is not None else None
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
    progress = _Progress(quiet=quiet)
    summary: dict[str, object] = asdict(
        fill(place, recipe, with_edges=with_edges, progress=progress.seeded)
    )
    progress.end(" · ".join(f"{count} {name.replace('_', ' ')}" for name, count in summary.items()))
    if damage is not None and truth is not None:
        findings = damage(place, seed=number, truth=truth)
        summary["findings"] = len(findings)
        progress.end(f"{len(findings)} findings to be made: {truth}")
    _report(summary, json_path)


@app.command()
@_one_line_errors
def drift(
    *,
    truth: Annotated[
        Path,
        typer.Option(help="File for the findings that the next `audit --verify all` must report."),
    ],
    directory: Directory = DEFAULT_DIRECTORY,
    drift_spec: Annotated[
        str,
        typer.Option("--drift", help="all, or KIND=COUNT,… (finding kinds)."),
    ] = "all",
    number: Annotated[int, typer.Option("--seed", help="Same seed and data, same damage.")] = 1,
    quiet: Quiet = False,
    json_path: JsonPath = None,
) -> None:
    """Damage a seeded sandbox that has a ledger, and write what an audit must then report.

    The file holds every finding of the next `audit --verify all`, no more and no less; those with
    `"needs": "listing"` are what an audit without --verify must report. No memory is damaged
    twice.

    Example: edgekeeper sandbox drift --truth truth.json

    Example: edgekeeper sandbox drift --drift missing=6,orphaned=3 --seed 7 --truth truth.json

    Exit codes: 0 damaged; 2 not running, no ledger, too few memories, or an unknown kind; nothing
    was damaged then.
    """
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    damage = _parsed(drift_spec)
    findings = damage(SandboxDirectory.existing(directory), seed=number, truth=truth)
    _Progress(quiet=quiet).end(f"{len(findings)} findings to be made: {truth}")
    counts = Counter(finding.kind for finding in findings)
    _report({"truth": str(truth), "findings": len(findings), "counts": dict(counts)}, json_path)


def _parsed(spec: str) -> "partial[list[Finding]]":
    """The damage that a spec asks for, ready to be done."""
    from sandbox.drift import inject, parse_spec  # noqa: PLC0415

    return partial(inject, wanted=parse_spec(spec))


class _Progress:
    """Progress on stderr: one line that is written over on a terminal, a line for each tenth."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._tenth = 0

    def seeded(self, done: int, total: int) -> None:
        """Tell how many memories are done."""
        tenth = done * 10 // total
        if self._quiet or not (self._live or tenth > self._tenth):
            return
        self._tenth = tenth
        text = f"seeded {done:,} of {total:,} memories"
        typer.echo(f"\r{text}" if self._live else text, err=True, nl=not self._live)

    def end(self, text: str) -> None:
        """Tell what came of it."""
        if not self._quiet:
            typer.echo(f"\r\x1b[K{text}" if self._live else text, err=True)


def _report(summary: dict[str, object], destination: str | None) -> None:
    if destination is None:
        return
    text = json.dumps(summary, indent=2)
    if destination == "-":
        typer.echo(text)
        return
    try:
        Path(destination).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SandboxError(f"{destination}: can't be written ({error.strerror})") from error
