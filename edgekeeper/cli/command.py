"""What all commands share: the output options, and the one place where errors become exit codes."""

import functools
import inspect
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from checks.errors import EdgekeeperError, InterruptedRunError
from edgekeeper.cli.output import Output

OK, INTERNAL_ERROR, INTERRUPTED = 0, 5, 130
P = ParamSpec("P")
_PANEL = "Output"

JsonPath = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="PATH|-", rich_help_panel=_PANEL,
        help="Write the outcome as JSON to this file; with - only JSON goes to stdout.",
    ),
]  # fmt: skip
Quiet = Annotated[
    bool, typer.Option("--quiet", rich_help_panel=_PANEL, help="Say only what is wrong.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", rich_help_panel=_PANEL, help="Show every event on stderr.")
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", rich_help_panel=_PANEL, help="No colours; as NO_COLOR does."),
]


def _options(
    *,
    json_path: JsonPath = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> Output:
    """The output that the options ask for; its signature is appended to every command's."""
    return Output(json_path=json_path, quiet=quiet, verbose=verbose, no_color=no_color)


def command(function: Callable[Concatenate[Output, P], int | None]) -> Callable[..., None]:
    """Makes a Typer command of a function that takes an ``Output`` and gives the exit code.

    None means 0. The command gets the options that all commands have, and ends as ``ending`` says.
    """
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    shared = inspect.signature(_options).parameters
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*own, *shared.values())
    ]

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        out = _options(**{name: given.pop(name) for name in shared})
        with _ending(out):
            code = function(out, **given)  # type: ignore[call-arg] # Typer fills the others
            raise typer.Exit(code or OK)

    del wrapped.__wrapped__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


@contextmanager
def _ending(out: Output) -> Iterator[None]:
    """Turns whatever a command raises into one message and the contract's exit code."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        out.start()
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        out.notice("Interrupted. To do it all, run the same command again.")
        raise typer.Exit(INTERRUPTED) from None
    except InterruptedRunError as error:
        out.notice(str(error))
        raise typer.Exit(error.exit_code) from None
    except EdgekeeperError as error:
        out.error(str(error) or (type(error).__doc__ or "").strip())
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        sys.stderr.close()  # nobody reads any more
        raise typer.Exit(OK) from None
    except Exception as error:  # noqa: BLE001 - the last one to see it: no traceback on a terminal
        code, message = _explained(error)
        out.error(message)
        raise typer.Exit(code) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(_number: int, _frame: object) -> None:
    """SIGTERM ends a command as Ctrl-C does: at a checkpoint."""
    raise KeyboardInterrupt


def _explained(error: Exception) -> tuple[int, str]:
    """The exit code and the line for an error that is none of edgekeeper's tree."""
    if type(error).__name__ == "SandboxError":  # the sandbox knows nothing of our tree
        return 2, " ".join(str(error).split())
    try:
        traceback = f"The traceback is in {_logged(error)}."
    except OSError as unwritable:
        traceback = f"The traceback could not be written down ({unwritable.strerror})."
    return INTERNAL_ERROR, f"Internal error: {type(error).__name__}: {error}. {traceback}"


def _logged(error: Exception) -> Path:
    """Writes the traceback to the run's log, or to one beside the runs, and says where."""
    import structlog  # noqa: PLC0415 - loaded only where something is to be logged

    from tasks import log  # noqa: PLC0415

    path = log.current_log()
    if path is None:
        path = _home() / "log.jsonl"
        log.open_log(path)
    structlog.get_logger(__name__).critical(
        "command failed", exc_info=(type(error), error, error.__traceback__), shown=True
    )
    return path


def _home() -> Path:
    """``$EDGEKEEPER_HOME``, or its default where the settings themselves are not usable."""
    from tasks.settings import load_settings  # noqa: PLC0415

    try:
        return load_settings().home_path()
    except Exception:  # noqa: BLE001 - an error is being told: another one must not hide it
        return Path(".edgekeeper").absolute()
