# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper sandbox``: a local stand-in for Neon, Vercel Blob and the canister.

What fills and damages it is in ``edgekeeper.cli.sandbox_data``.
"""

import shlex
import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from edgekeeper.cli import sandbox_data
from edgekeeper.cli.command import INTERRUPTED, command
from edgekeeper.cli.output import Output
from edgekeeper.cli.sandbox_data import DEFAULT_DIRECTORY, Directory

if TYPE_CHECKING:
    from sandbox.directory import SandboxDirectory

app = typer.Typer(
    help="A local Postgres, Vercel Blob and Internet Computer to try everything on.",
    no_args_is_help=True,
)


class Variant(StrEnum):
    """Which tables the app has."""

    DOCUMENT = "document"
    DEPLOYED = "deployed"


@app.command("up")
@command
def up(
    out: Output,
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
) -> int:
    """Start the three servers on loopback ports and print the settings that lead to them.

    Data, ports and keys are kept in the directory and survive a restart; the settings are in its
    .env. Stays in the foreground until Ctrl-C unless --detach is given.

    The blob store and the canister do wrong on request: POST /__faults with rules, each an action
    (status, delay, trickle, truncate, reset, flip_bit, endless_body; in listings drop_item,
    duplicate_page, repeat_cursor, fresh_cursor, stale_list; of the canister wrong_count, answer)
    and the requests it is for. A refused rule says what it takes. DELETE /__faults ends them all.

    Example: edgekeeper sandbox up

    Example: edgekeeper sandbox up --dir /tmp/try --detach

    Exit codes: 0 started (--detach) or stopped by `sandbox down`; 2 can't start, the line says
    why; 5 internal error; 130 stopped by Ctrl-C.
    """
    from sandbox import supervisor  # noqa: PLC0415 - loads psycopg; --help does without
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    place = SandboxDirectory.of(directory)
    chosen = variant.value if variant else None
    if detach:
        if supervisor.running(place) is None:
            out.progress("starting Postgres, the blob store and the canister …")
            supervisor.run_detached(place, chosen)
            out.progress(f"running in {place.path}; to stop it: {_sandbox('down', place)}")
        else:
            place.make(chosen)
            out.progress(f"already running in {place.path}")
        _print_settings(out, place)
        return 0

    def ready() -> None:
        _print_settings(out, place)
        out.progress(f"running in {place.path}; Ctrl-C stops it, the data stay")

    received = supervisor.run(place, chosen, ready)
    out.progress("stopped")
    return INTERRUPTED if received == signal.SIGINT else 0


@app.command("down")
@command
def down(out: Output, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Stop the servers and wait until they are gone; the data stay.

    Example: edgekeeper sandbox down

    Example: edgekeeper sandbox down --dir /tmp/try

    Exit codes: 0 nothing is running any more; 2 no sandbox there, or it does not end; 5 internal
    error; 130 interrupted.
    """
    from sandbox import supervisor  # noqa: PLC0415
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    place = SandboxDirectory.existing(directory)
    stopped = supervisor.stop(place)
    out.json({"directory": str(place.path), "stopped": stopped})
    out.progress("stopped" if stopped else f"not running: {place.path}")


@app.command("env")
@command
def env(out: Output, directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Print the settings as lines for a shell to evaluate.

    Example: eval "$(edgekeeper sandbox env)"

    Example: eval "$(edgekeeper sandbox env --dir /tmp/try)"

    Exit codes: 0 printed; 2 no sandbox there; 5 internal error.
    """
    from sandbox.directory import SandboxDirectory  # noqa: PLC0415

    settings = SandboxDirectory.existing(directory).settings()
    out.json(settings, with_secrets=True)
    out.product(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
    )


app.command("seed")(sandbox_data.seed)
app.command("drift")(sandbox_data.drift)


def _print_settings(out: Output, place: "SandboxDirectory") -> None:
    """Prints what the sandbox's ``.env`` holds, at once: whoever waits for it reads a pipe."""
    from sandbox.directory import dotenv  # noqa: PLC0415

    settings = place.settings()
    out.json(settings, with_secrets=True)
    out.product(dotenv(settings))


def _sandbox(act: str, place: "SandboxDirectory") -> str:
    """The command that does ``act`` to this sandbox."""
    if place.path == DEFAULT_DIRECTORY.resolve():
        return f"edgekeeper sandbox {act}"
    return f"edgekeeper sandbox {act} --dir {shlex.quote(str(place.path))}"
