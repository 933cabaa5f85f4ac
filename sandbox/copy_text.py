"""Rows in the text form of Postgres' COPY."""

import re
from collections.abc import Iterable

_SPECIAL = re.compile(r"[\\\n\r\t]")
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


def copy_row(values: Iterable[object]) -> str:
    """One line; None is NULL, and whatever is no text is written as ``str`` writes it."""
    return "\t".join(map(_field, values)) + "\n"


def _field(value: object) -> str:
    if value is None:
        return r"\N"
    text = value if isinstance(value, str) else str(value)
    return _SPECIAL.sub(lambda found: _ESCAPES[found.group()], text)
