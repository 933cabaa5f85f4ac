"""Where a command's words go: JSON to stdout or a file, everything a person reads to stderr.

With ``--json -`` stdout holds JSON and nothing else; without it a command's own product (a table, a
report's path) is on stdout, and progress, logs and errors are on stderr all the same.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

STDOUT = "-"
_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan", "good": "green"}
#: Characters of the longest name that a table keeps in one piece: a memory's type and id.
_NAME_WIDTH = 46


@dataclass(slots=True)
class Output:
    """How one command speaks, as its options ask for."""

    json_path: str | None = None
    quiet: bool = False
    verbose: bool = False
    no_color: bool = False

    def start(self) -> None:
        """Sets up logging, and refuses a JSON path that can't be written before anything is done.

        Raises UsageError where the file's directory is not there.
        """
        if self.json_path is not None and not self.only_json:
            path = Path(self.json_path).expanduser().absolute()
            if not path.parent.is_dir():
                raise UsageError(f"--json: there is no directory {path.parent}; make it first.")
            self.json_path = str(path)
        level = "debug" if self.verbose else "error" if self.quiet else "warning"
        if self.no_color:
            os.environ["NO_COLOR"] = "1"  # also for libraries and for what they start
        from tasks import log  # noqa: PLC0415 - --help does without

        log.configure(level=level)

    @property
    def only_json(self) -> bool:
        """Whether stdout belongs to JSON."""
        return self.json_path == STDOUT

    def json(self, value: Any, *, with_secrets: bool = False) -> None:
        """Writes the outcome where ``--json`` says, if it was given, with secrets masked.

        ``with_secrets``: they are what was asked for. Raises UsageError where the file can't be
        written.
        """
        if self.json_path is None:
            return
        from tasks.log import without_secrets  # noqa: PLC0415 - --help does without

        shown = value if with_secrets else without_secrets(value)
        text = json.dumps(shown, indent=2, ensure_ascii=True, default=str) + "\n"
        if self.only_json:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            _write(Path(self.json_path), text)
        except OSError as error:
            raise UsageError(
                f"--json: {self.json_path} can't be written ({error.strerror})."
            ) from error

    def error(self, message: str) -> None:
        """Says what went wrong, a line for each problem, secrets masked."""
        console = self._console(to_stderr=True)
        for line in message.splitlines() or ["(no message)"]:
            console.print(f"[bold red]Error:[/] {_shown(line)}", soft_wrap=True)

    def notice(self, message: str) -> None:
        """Says what a person must know although nothing is wrong, also with ``--quiet``."""
        self._console(to_stderr=True).print(_shown(message), soft_wrap=True)

    def warn(self, message: str) -> None:
        """Says what is not wrong yet but should not stay as it is, also with ``--quiet``."""
        warning = f"[yellow]Warning:[/] {_shown(message)}"
        self._console(to_stderr=True).print(warning, soft_wrap=True)

    def progress(self, text: str) -> None:
        """Says what is being done."""
        if not self.quiet:
            self._console(to_stderr=True).print(_shown(text), style="dim", soft_wrap=True)

    @property
    def draws(self) -> bool:
        """Whether progress can be drawn: stderr is a terminal."""
        return not self.quiet and self.terminal().is_terminal

    def terminal(self) -> "Console":
        """Where progress is drawn."""
        return self._console(to_stderr=True)

    def say(self, text: str, style: str = "") -> None:
        """Says something of the outcome to a person."""
        if not self.quiet and not self.only_json:
            self._console().print(_shown(text), style=_STYLES.get(style, style), soft_wrap=True)

    def product(self, text: str) -> None:
        """Prints what was asked for, also with ``--quiet``."""
        if not self.only_json:
            sys.stdout.write(text if text.endswith("\n") else text + "\n")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Prints a table: drawn on a terminal, columns in plain lines elsewhere."""
        if self.quiet or self.only_json:
            return
        cells = [[_cell(cell) for cell in row] for row in rows]
        console = self._console()
        if not console.is_terminal:
            self.product(_aligned([list(columns), *cells]))
            return
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, header_style="bold", pad_edge=False)
        for number, column in enumerate(columns):
            longest = max((len(row[number]) for row in cells), default=0)
            # What names the row is folded last: an id in pieces can't be copied.
            least = min(longest, _NAME_WIDTH) if number == 0 else None
            table.add_column(column, overflow="fold", min_width=least)
        for row in cells:
            table.add_row(*(_escaped(cell) for cell in row))
        console.print(table)

    def _console(self, *, to_stderr: bool = False) -> "Console":
        from rich.console import Console  # noqa: PLC0415 - --help does without

        return Console(stderr=to_stderr, no_color=self.no_color or None, highlight=False)


def _cell(value: Any) -> str:
    """A value as a cell: no secret, and control characters from a store can't drive anything."""
    from tasks.log import mask  # noqa: PLC0415
    from tasks.wording import visible  # noqa: PLC0415

    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return visible(mask(str(value)))


def _write(path: Path, text: str) -> None:
    """Writes family data: whole or not at all, for its owner alone. Raises OSError."""
    if path.exists() and not path.is_file():  # a pipe or a device has no place to be renamed into
        path.write_text(text, encoding="utf-8")
        return
    from tasks.run_directory import write_text  # noqa: PLC0415 - --help does without

    write_text(path.resolve(), text)


def _shown(text: str) -> str:
    """Lines for rich, without secrets: what a store named or said can't drive the terminal."""
    from tasks.log import mask  # noqa: PLC0415 - --help does without
    from tasks.wording import visible  # noqa: PLC0415

    return _escaped("\n".join(map(visible, mask(text).split("\n"))))


def _escaped(text: str) -> str:
    """``text`` without meaning for rich."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(text)


def _aligned(rows: list[list[str]]) -> str:
    """Rows as lines, the columns under one another."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"
