"""What a spreadsheet may be given: cells that are text, whatever a stranger named a file."""

from typing import Any

from tasks.wording import visible

#: A spreadsheet takes a cell that starts with one of these for a formula, some of them in their
#: full-width form too.
_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BLANK = " \u00a0\u3000"


def cell(value: Any) -> str:
    """``value`` as a cell: what can't be seen is written as an escape, and no formula is one.

    A tab or a line end before a formula is an escape by then; so is what would drive the terminal
    that the file is shown on. A number stays one.
    """
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, int | float):
        return text
    text = visible(text)
    return f"'{text}" if text.lstrip(_BLANK).startswith(_FORMULA_STARTS) else text
