"""What is not as it was after the run before: new findings, worse ones, and those that are gone."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from checks.errors import UsageError
from checks.run import SEVERITY_RANK, RunRecord
from tasks.run_directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Changes:
    """How a run's findings differ from those of the completed run before it.

    Attributes:
        since: that run.
        new: the findings that were in no run before (columns of ``FINDINGS``).
        worse: those that were less grave before, with ``severity_before``.
        resolved: what was found before, was looked for again and is gone.
    """

    since: RunRecord
    new: pd.DataFrame
    worse: pd.DataFrame
    resolved: pd.DataFrame

    def counts(self) -> dict[str, int]:
        """How many of each."""
        return {"new": len(self.new), "worse": len(self.worse), "resolved": len(self.resolved)}


def changes_since(
    home: RunDirectory, before: RunRecord, findings: pd.DataFrame, resolved: Collection[str]
) -> Changes | None:
    """The changes since ``before``; None where its findings are not there any more.

    Args:
        home: the directory of this run, beside which the other one lies.
        before: the completed run before this one.
        findings: all findings of this run, columns of ``FINDINGS``.
        resolved: the fingerprints that this run resolved: what could not be looked at is none.
    """
    try:
        former = RunDirectory(home.home, before.run_id).read_findings().to_pandas()
    except (UsageError, OSError):
        return None
    was = former.drop_duplicates("fingerprint").set_index("fingerprint")["severity"]
    severity_before = findings["fingerprint"].map(was)
    worse = _ranks(findings["severity"]) < _ranks(severity_before)
    return Changes(
        since=before,
        new=findings[findings["runs_seen"] == 1],
        worse=findings[worse].assign(severity_before=severity_before[worse]),
        resolved=former[former["fingerprint"].isin(list(resolved))],
    )


def _ranks(severities: "pd.Series[Any]") -> "pd.Series[float]":
    """How grave each is, 0 the gravest; none where there is none, and so never less than another.

    By way of objects: of no texts at all pandas would make texts again.
    """
    return severities.astype(object).map(SEVERITY_RANK).astype("float64")
