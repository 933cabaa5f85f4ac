"""What a report says has changed: new, worse, no longer there, whatever there was before and is now."""

from pathlib import Path

import pandas as pd
import pytest
import report_samples as samples

from checks.run import FINDINGS, RunRecord, findings_table
from tasks.changes import Changes, changes_since
from tasks.changes_view import changes_view
from tasks.run_directory import create


def compared(
    home: Path, before: pd.DataFrame, now: pd.DataFrame, resolved: list[str]
) -> Changes | None:
    """The changes between the findings of two nights."""
    former = samples.record("20261122T031500Z-0001")
    create(home, former.run_id).write_findings(findings_table(before))
    return changes_since(create(home, samples.record().run_id), former, now, resolved)


def nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=FINDINGS.names)


def test_what_is_new_worse_or_gone_is_told_apart(tmp_path: Path) -> None:
    before = samples.findings(12).assign(severity="warning", runs_seen=3)
    now = before.iloc[2:].copy()
    now.iloc[0, now.columns.get_loc("severity")] = "critical"
    now.iloc[1, now.columns.get_loc("severity")] = "info"
    now.iloc[2, now.columns.get_loc("runs_seen")] = 1
    changes = compared(tmp_path, before, now, [before["fingerprint"].iloc[0]])
    assert changes is not None
    assert changes.counts() == {"new": 1, "worse": 1, "resolved": 1}
    assert changes.worse["fingerprint"].tolist() == [now["fingerprint"].iloc[0]]
    assert changes.worse["severity_before"].tolist() == ["warning"]
    # What is not among the findings but could not be looked at either is not called resolved.
    assert changes.resolved["fingerprint"].tolist() == [before["fingerprint"].iloc[0]]


@pytest.mark.parametrize("before", [0, 5])
@pytest.mark.parametrize("now", [0, 5])
def test_a_night_without_findings_before_or_after_is_no_error(
    tmp_path: Path, before: int, now: int
) -> None:
    frames = [samples.findings(n).assign(runs_seen=2) if n else nothing() for n in (before, now)]
    changes = compared(tmp_path, *frames, [])
    assert changes is not None
    assert changes.counts() == {"new": 0, "worse": 0, "resolved": 0}
    assert not changes_view(changes).any


def test_findings_that_are_pruned_leave_nothing_to_compare_with(tmp_path: Path) -> None:
    run: RunRecord = samples.record("20261122T031500Z-0001")
    directory = create(tmp_path, samples.record().run_id)
    assert changes_since(directory, run, samples.findings(3), []) is None
