"""Runs the data-quality suites over what a run spooled, and writes their Data Docs.

Every row is validated. A table is taken partition by partition and the results are added up, so
that memory depends on a partition's size and not on the table's. Great Expectations is imported
when it is first needed; :func:`preload` does that early, in a thread of the caller's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from checks.run import Checks
from checks.suites import MODULES, Suite, all_suites
from tasks.partitions import partition_files
from tasks.run_directory import RunDirectory

if TYPE_CHECKING:
    from tasks.validation import Tally


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found in one table.

    Attributes:
        table: ``ledger``, or the store whose inventory was checked.
        check: the check's name, unique in its table.
        sentence: what it expects.
        passed: whether every row is as expected.
        counts: whether a failure is one; a check of severity info is shown only.
        rows: rows looked at.
        failed_rows: rows that are not as expected.
        sample: the keys, and the value where there is one, of up to twenty of them.
        error: why the check could not be carried out; it has failed then.
    """

    table: str
    check: str
    sentence: str
    passed: bool
    counts: bool
    rows: int
    failed_rows: int
    sample: tuple[dict[str, str], ...] = ()
    error: str | None = None


def preload() -> None:
    """Imports Great Expectations and the suites: 2 to 4 s of one core."""
    all_suites()
    _heavy_modules()


def summary(results: Sequence[CheckResult]) -> Checks:
    """How many checks passed and failed; those that do not count are left out where they fail."""
    failed = sum(not result.passed and result.counts for result in results)
    return Checks(passed=sum(result.passed for result in results), failed=failed)


def spooled_tables(directory: RunDirectory) -> dict[str, Path]:
    """The directory of every table that the run spooled, by the table's name."""
    folders = {
        table: directory.path / ("ledger" if table == "ledger" else f"inventory/{table}")
        for table in MODULES
    }
    return {table: folder for table, folder in folders.items() if partition_files(folder)}


def run_suites(
    directory: RunDirectory,
    *,
    now: datetime,
    tables: Mapping[str, Path] | None = None,
    data_docs: bool = True,
) -> list[CheckResult]:
    """Validates every row of every spooled table; writes ``data-docs/`` once, from the sums.

    Args:
        directory: the run's directory.
        now: when the last snapshot was taken; times after it (and some skew) are in the future.
        tables: the directory of each table's partitions (``ledger``, or a store's name); where
            left out, what :func:`spooled_tables` finds. Partitions are made by a hash of the key,
            so unique in each of them is unique in the table.
        data_docs: whether to write the site.

    Returns:
        one result per table and check, in the suites' order.
    """
    folders = spooled_tables(directory) if tables is None else tables
    suites = all_suites()
    if unknown := set(folders) - set(suites):
        raise ValueError(f"there is no suite for {unknown.pop()!r}")
    validation, docs = _heavy_modules()
    context = validation.quiet_context(directory.data_docs)
    tallies = {
        table: validation.validated(context, suite, partition_files(folders[table]), now)
        for table, suite in suites.items()
        if table in folders
    }
    if data_docs:
        docs.write_data_docs(context, tallies, now, directory)
    return [
        _check_result(suites[table], tally)
        for table, table_tallies in tallies.items()
        for tally in table_tallies
    ]


def _heavy_modules() -> tuple[ModuleType, ModuleType]:
    """The modules that import Great Expectations: not before somebody wants a suite run."""
    from tasks import data_docs, validation  # noqa: PLC0415 - see above

    return validation, data_docs


def _check_result(suite: Suite, tally: "Tally") -> CheckResult:
    """What came of one check."""
    configuration = tally.configuration
    return CheckResult(
        table=suite.table,
        check=configuration.meta["check"],
        sentence=configuration.description,
        passed=tally.passed,
        counts=configuration.severity != "info",
        rows=tally.rows,
        failed_rows=tally.unexpected,
        sample=tuple({name: _shown(value) for name, value in row.items()} for row in tally.sample),
        error=tally.error,
    )


def _shown(value: Any) -> str:
    """A value of a sample as a text."""
    return "null" if pd.isna(value) else str(value)
