"""Writes the page a person reads in the morning, and the index of all runs.

Both are single files without scripts: they open from a disk, from a mail or in print, and a strict
content security policy keeps whatever a store or a user wrote from becoming more than text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from checks.run import SEVERITIES, RunRecord, findings_table
from tasks import wording
from tasks.at_risk_view import risk_view
from tasks.changes import Changes
from tasks.changes_view import changes_view
from tasks.pages import BAR_HEIGHT, BAR_WIDTH, page_environment
from tasks.quality import CheckResult
from tasks.report_view import SAMPLE, view_of
from tasks.run_directory import RunDirectory, former_runs, run_ids, write_text

#: How many runs the trend shows.
TREND_RUNS = 90
#: How many findings of a kind are shown at once; the rest of the sample is folded away.
_UNFOLDED = 5
#: How many memories of a gallery, and how many runs in the index, a page shows.
_ROWS = 500
_BAR_GAP = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One run in a trend: where its bar stands and how tall it is."""

    x: int
    y: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Trend:
    """The open findings of one severity over the last runs, the oldest first."""

    severity: str
    latest: int
    most: int
    width: int
    bars: tuple[Bar, ...]


def write_report(
    directory: RunDirectory,
    run: RunRecord,
    findings: Any,
    *,
    history: Sequence[RunRecord] = (),
    checks: Sequence[CheckResult] = (),
    changes: Changes | None = None,
    risk: pd.DataFrame | None = None,
    now: datetime | None = None,
) -> Path:
    """Writes ``report.html`` of a run.

    Args:
        directory: the run's directory.
        run: the record, with its findings counted.
        findings: all findings, as a data frame or as a table made by ``findings_table``.
        history: former runs, newest first; this run may be among them.
        checks: the results of the data-quality suites.
        changes: since the completed run before.
        risk: whose promise is touched, columns ``AT_RISK``.
        now: the time that ages refer to; by default the end of the run.

    Returns:
        where the page is.
    """
    table = findings if isinstance(findings, pa.Table) else findings_table(findings)
    moment = now or run.finished_at or datetime.now(UTC)
    same_flow = [former for former in history if former.flow == run.flow]
    runs = [run, *(former for former in same_flow if former.run_id != run.run_id)]
    page = page_environment().get_template("report.html.j2").render(
        run=run,
        view=view_of(run, table, now=moment),
        checks=sorted(checks, key=lambda check: (not check.failed, not check.counts)),
        has_data_docs=(directory.data_docs / "index.html").is_file(),
        trends=trends_of(runs),
        before=runs[1] if len(runs) > 1 else None,
        changes=changes_view(changes) if changes else None,
        risk=risk_view(risk) if risk is not None and len(risk) else None,
        now=moment,
        sample=SAMPLE,
        unfolded=_UNFOLDED,
        rows=_ROWS,
    )  # fmt: skip
    return write_text(directory.report, page)


def write_index(home: Path) -> Path:
    """Writes ``index.html``: all runs in ``home``, newest first, with trends.

    Runs whose record can't be read are named in a note.
    """
    history = former_runs(home, limit=_ROWS)
    audits = [run for run in history.runs if run.flow == "nightly-audit"]
    page = page_environment().get_template("index.html.j2").render(
        runs=history.runs,
        total=len(run_ids(home)),
        notes=history.notes,
        trends=trends_of(audits or list(history.runs)),
        last=next((run for run in audits if run.finished_at and not run.error), None),
        reports={
            run.run_id for run in history.runs
            if RunDirectory(home, run.run_id).report.is_file()
        },
    )  # fmt: skip
    return write_text(home / "index.html", page)


def trends_of(runs: Sequence[RunRecord]) -> tuple[Trend, ...]:
    """The open findings by severity over ``runs`` (newest first), each on a scale of its own."""
    shown = list(reversed(runs[:TREND_RUNS]))
    if not shown:
        return ()
    return tuple(_trend(severity, shown) for severity in SEVERITIES)


def _trend(severity: str, runs: Sequence[RunRecord]) -> Trend:
    """One severity's bars over ``runs``, oldest first; where something is open, it is seen."""
    numbers = [int(getattr(run.open, severity)) for run in runs]
    most = max(numbers)
    bars = []
    for place, (run, number) in enumerate(zip(runs, numbers, strict=True)):
        height = max(BAR_HEIGHT * number / most, 3.0) if number else 1.0
        title = f"{wording.moment(run.started_at)}: {wording.count(number)} open"
        bars.append(
            Bar(
                place * (BAR_WIDTH + _BAR_GAP),
                round(BAR_HEIGHT - height, 1),
                round(height, 1),
                title,
            )
        )
    width = len(runs) * (BAR_WIDTH + _BAR_GAP) - _BAR_GAP
    return Trend(severity, numbers[-1], most, width, tuple(bars))
