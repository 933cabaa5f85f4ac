"""What the report says of the changes since the run before, before it is a page."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from checks.run import RunRecord
from tasks.changes import Changes

#: How many findings of each sort the page names.
NAMED = 8


@dataclass(frozen=True, slots=True)
class Sort:
    """The findings that changed in one way.

    Attributes:
        title: what became of them.
        total: how many.
        severity: the gravest among them, None where there are none.
        named: the first of them, as rows of ``FINDINGS``.
    """

    title: str
    total: int
    severity: str | None
    named: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ChangesView:
    """The three sorts of change, and since when."""

    since: RunRecord
    sorts: tuple[Sort, ...]

    @property
    def any(self) -> bool:
        """Whether anything changed at all."""
        return any(sort.total for sort in self.sorts)


def changes_view(changes: Changes) -> ChangesView:
    """The changes as the page shows them, the worst sort first."""
    sorts = (("Worse", changes.worse), ("New", changes.new), ("Resolved", changes.resolved))
    return ChangesView(changes.since, tuple(_sort(title, rows) for title, rows in sorts))


def _sort(title: str, rows: pd.DataFrame) -> Sort:
    """One sort; the rows are ordered worst first, as all findings are."""
    first = rows.head(NAMED).astype(object)
    named = first.where(first.notna(), None).to_dict("records")
    severity = str(rows["severity"].iloc[0]) if len(rows) else None
    return Sort(title, len(rows), severity, tuple({str(k): v for k, v in r.items()} for r in named))
