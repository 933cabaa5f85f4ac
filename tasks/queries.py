"""The SQL statements: read from ``sql/``, found by name, completed with identifiers.

A file holds statements, each headed by ``-- name: <name>`` and a comment that says what it does.
Parts in braces are filled with composed SQL (identifiers and expressions, quoted by psycopg);
values stay parameters of the statement.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from psycopg import sql

from checks.errors import EdgekeeperError

SQL_ROOT = Path(__file__).resolve().parent.parent / "sql"
_HEAD = re.compile(r"^-- name: (?P<name>\w+)[ \t]*\n", re.MULTILINE)
_COMMENT = re.compile(r"\A(?:--[^\n]*\n)*")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file.

    Attributes:
        name: what it is called.
        description: the comment above it.
        text: the SQL, without a closing semicolon.
    """

    name: str
    description: str
    text: str


@cache
def statements(file: str) -> dict[str, Statement]:
    """All statements of ``sql/<file>.sql`` by name, in the order of the file."""
    source = (SQL_ROOT / f"{file}.sql").read_text(encoding="utf-8")
    parts = _HEAD.split(source)[1:]
    found: dict[str, Statement] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        comment = _COMMENT.match(body)
        described = comment[0] if comment else ""
        description = " ".join(line.removeprefix("--").strip() for line in described.splitlines())
        text = body.removeprefix(described).strip().removesuffix(";")
        if name in found:
            raise EdgekeeperError(f"sql/{file}.sql names two statements {name}; rename one")
        found[name] = Statement(name, description, text)
    return found


def query(file: str, name: str, /, **parts: sql.Composable) -> sql.Composed:
    """The statement ``name`` of ``sql/<file>.sql`` with its parts in braces filled in.

    Raises EdgekeeperError where there is no such statement: the installation is damaged.
    """
    statement = statements(file).get(name)
    if statement is None:
        raise EdgekeeperError(f"sql/{file}.sql has no statement {name}; reinstall edgekeeper")
    return sql.SQL(statement.text).format(**parts)
