"""Runs the data-quality suites over what a run spooled and measured, and writes their Data Docs.

Every row is validated. A table is taken partition by partition and the results are added up, so
that memory depends on a partition's size and not on the table's. Great Expectations is imported
when it is first needed; :func:`preload` does that early, in a thread of the caller's.
"""

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pandas as pd

from checks.model import Backend
from checks.run import Checks
from checks.suites import MODULES, Limits, Suite, all_suites
from tasks.partitions import partition_files
from tasks.run_directory import RunDirectory

if TYPE_CHECKING:
    from tasks.validation import Tally


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found in one table.

    Attributes:
        table: ``ledger``, the store whose inventory was checked, or another one with a suite.
        check: the check's name, unique in its table.
        sentence: what it expects.
        passed: whether every row is as expected; None where that can't be judged.
        counts: whether a failure is one; a check of severity info is shown only.
        rows: rows looked at.
        failed_rows: rows that are not as expected.
        sample: the keys, and the value where there is one, of up to twenty of them.
        error: why the check could not be carried out; it has failed then.
        missing: rows without a value, of which nothing is expected.
        unjudged: why nothing can be said.
        measured: what later runs compare themselves with.
    """

    table: str
    check: str
    sentence: str
    passed: bool | None
    counts: bool
    rows: int
    failed_rows: int
    sample: tuple[dict[str, str], ...] = ()
    error: str | None = None
    missing: int = 0
    unjudged: str | None = None
    measured: dict[str, Any] | None = None

    @property
    def failed(self) -> bool:
        """Whether a row is not as expected, or the check could not be carried out."""
        return self.passed is False


def preload() -> None:
    """Imports Great Expectations and the suites: 2 to 4 s of one core.

    What was imported is here to stay: from then on no collection of garbage looks through it, which
    with so many modules takes a third of a second each time. For a process that ends with its run,
    and once: what else is there at that moment stays too.
    """
    all_suites()
    _heavy_modules()
    gc.collect()
    gc.freeze()


def summary(results: Sequence[CheckResult]) -> Checks:
    """How many checks passed and failed; those that do not count are left out where they fail.

    One that could not be judged has neither passed nor failed.
    """
    failed = sum(result.failed and result.counts for result in results)
    return Checks(passed=sum(result.passed is True for result in results), failed=failed)


def folders(directory: RunDirectory) -> dict[str, Path]:
    """Where a run keeps the partitions of each table that has a suite."""
    own = {"ledger": directory.path / "ledger"}
    own |= {backend.value: directory.path / "inventory" / backend for backend in Backend}
    return {table: own.get(table, directory.path / "quality" / table) for table in MODULES}


def spooled_tables(directory: RunDirectory) -> dict[str, Path]:
    """The directory of every table that the run spooled, by the table's name."""
    return {
        table: folder for table, folder in folders(directory).items() if partition_files(folder)
    }


def run_suites(
    directory: RunDirectory, limits: Limits, *, tables: Mapping[str, Path] | None = None
) -> list[CheckResult]:
    """Validates every row of every spooled table.

    Args:
        directory: the run's directory.
        limits: what is measured against.
        tables: the directory of each table's partitions, where there are none its checks can't be
            judged; where left out, what :func:`spooled_tables` finds. Partitions are made by a
            hash of the key, so unique in each of them is unique in the table.

    Returns:
        one result per table and check, in the suites' order.
    """
    chosen = spooled_tables(directory) if tables is None else tables
    suites = all_suites()
    if unknown := set(chosen) - set(suites):
        raise ValueError(f"there is no suite for {unknown.pop()!r}")
    validation, _ = _heavy_modules()
    context = validation.quiet_context(directory.data_docs)
    files = {table: partition_files(chosen[table]) for table in suites if table in chosen}
    return [
        _check_result(suites[table], tally, there=bool(paths))
        for table, paths in files.items()
        for tally in validation.validated(context, suites[table], paths, limits)
    ]


def write_data_docs(
    directory: RunDirectory, results: Sequence[CheckResult], limits: Limits, now: datetime
) -> None:
    """Writes ``data-docs/``: a page per table, made of the results of all its checks.

    Args:
        directory: the run's directory.
        results: of one run, of all tables.
        limits: what was measured against.
        now: the moment that the pages give as the run's.
    """
    _heavy_modules()[1].write(directory, results, limits, now)


def _heavy_modules() -> tuple[ModuleType, ModuleType]:
    """The modules that import Great Expectations: not before somebody wants a suite run."""
    from tasks import data_docs, validation  # noqa: PLC0415 - see above

    return validation, data_docs


def _check_result(suite: Suite, tally: "Tally", *, there: bool) -> CheckResult:
    """What came of one check; ``there``: whether the table was spooled, if only as an empty one."""
    configuration = tally.configuration
    unjudged = configuration.meta["unjudged"]
    judged = unjudged is None or tally.error is not None or tally.rows > tally.missing
    if not there:
        unjudged, judged = unjudged or "This table was not read.", False
    return CheckResult(
        table=suite.table,
        check=configuration.meta["check"],
        sentence=configuration.description,
        passed=tally.passed if judged else None,
        counts=configuration.severity != "info",
        rows=tally.rows,
        failed_rows=tally.unexpected,
        sample=tuple({name: _shown(value) for name, value in row.items()} for row in tally.sample),
        error=tally.error,
        missing=tally.missing,
        unjudged=None if judged else unjudged,
    )


def _shown(value: Any) -> str:
    """A value of a sample as a text."""
    return "null" if pd.isna(value) else str(value)
