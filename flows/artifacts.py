"""What a flow run leaves in Prefect: summary, worst findings, a link to the report, progress.

Ids, not contents: Prefect's database is no place for family data. That Prefect does not take one
never fails a run, whose outcome is in its own directory.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from uuid import UUID

import prefect.runtime.flow_run
import structlog
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from checks.notices import sentence
from checks.run import RunRecord
from tasks.log import mask
from tasks.wording import visible

#: How many findings the table holds: the worst; all are in ``findings.csv``.
WORST = 100
_COLUMNS = ("severity", "kind", "memory_type", "memory_id", "artifact", "backend", "location",
            "gallery_id", "explanation", "repair", "fingerprint")  # fmt: skip
_log = structlog.get_logger(__name__)


def leave(record: RunRecord) -> None:
    """Leaves summary, findings and link of a run that ended; outside of a flow run nothing."""
    if prefect.runtime.flow_run.get_id() is None:
        return
    name = record.flow
    verdict = sentence(record)
    _leave(
        create_markdown_artifact,
        key=f"{name}-summary", markdown=summary(record), description=verdict,
    )  # fmt: skip
    rows = [
        {column: _plain(getattr(finding, column)) for column in _COLUMNS}
        for finding in record.findings[:WORST]
    ]
    if rows:
        worst = f"The worst {len(rows):,} of {record.findings_total:,} findings"
        _leave(create_table_artifact, key=f"{name}-findings", table=rows, description=worst)
    if record.report:
        link = record.report if "://" in record.report else Path(record.report).as_uri()
        _leave(create_link_artifact, key=f"{name}-report", link=link, link_text="report.html")


class Progress:
    """How far a flow run has come, in percent; outside of a flow run it does nothing."""

    def __init__(self, flow: str) -> None:
        self._id: UUID | None = None
        if prefect.runtime.flow_run.get_id() is not None:
            made = _leave(create_progress_artifact, progress=0.0, key=f"{flow}-progress")
            self._id = made if isinstance(made, UUID) else None

    def reached(self, percent: float, what: str) -> None:
        """Notes that so much is done, and what comes next."""
        if self._id is not None:
            _leave(update_progress_artifact, artifact_id=self._id, progress=percent,
                   description=what)  # fmt: skip


def summary(record: RunRecord) -> str:
    """The run as Markdown: the verdict, the kinds found, the stores."""
    lines = [f"**{sentence(record)}**", ""]
    lines += [f"- not conclusive: {_cell(reason)}" for reason in record.inconclusive]
    if record.counts:
        lines += ["", "| finding | count |", "|---|---:|"]
        lines += [f"| {_cell(kind)} | {count:,} |" for kind, count in record.counts.items()]
    if record.stores:
        lines += ["", "| store | state | objects | detail |", "|---|---|---:|---|"]
        lines += [
            f"| {_cell(name)} | {store.state.value} | {store.objects:,} | "
            f"{_cell(store.detail or '')} |"
            for name, store in record.stores.items()
        ]
    if record.repairs.applied:
        undo = f"`edgekeeper revert {record.run_id}`"
        lines += ["", f"Repaired: {record.repairs.applied:,}. Undo: {undo}"]
    return "\n".join(lines)


def _leave(make: Callable[..., Any], **what: Any) -> Any:
    """What Prefect gives for an artifact; None, and an event, where it does not take it."""
    try:
        return make(**what)
    except Exception as error:  # noqa: BLE001 - the run's outcome does not rest on Prefect's
        _log.warning("artifact_not_left", key=what.get("key"), reason=type(error).__name__)
        return None


def _plain(value: Any) -> Any:
    return visible(mask(value)) if isinstance(value, str) else value


def _cell(text: str) -> str:
    """A text of others as a cell of a Markdown table."""
    line = escape(visible(mask(" ".join(text.split()))))
    for mark in "\\`*_[]|":
        line = line.replace(mark, f"\\{mark}")
    return line
