"""Writes the Data Docs of one run: a site of its own, built once from the summed results.

Importing this module imports Great Expectations, which takes seconds: see :mod:`tasks.quality`.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
    RunIdentifier,
)
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from markupsafe import escape

from checks.suites import Limits, all_suites
from tasks.log import mask
from tasks.pages import TEMPLATES, page_environment
from tasks.quality import CheckResult
from tasks.run_directory import RunDirectory, write_text
from tasks.validation import quiet_context, suite_in
from tasks.wording import visible


def write(
    directory: RunDirectory, results: Sequence[CheckResult], limits: Limits, now: datetime
) -> None:
    """One page per table from the summed results: a site of this run alone.

    What a former attempt of the same run left is replaced, so that nothing ever accumulates. The
    pages are made to load nothing: as Great Expectations writes them, opening one asks seven hosts
    on the internet for scripts, styles and a logo with the time in its address. A check that could
    not be judged is on the first page alone: there it is neither passed nor failed.
    """
    shutil.rmtree(directory.data_docs, ignore_errors=True)
    context = quiet_context(directory.data_docs)
    run = RunIdentifier(run_name=f"edgekeeper_{directory.run_id}", run_time=now)
    by_table = {
        table: list(own) for table, own in groupby(results, key=lambda result: result.table)
    }
    suites = all_suites()
    for table, own in by_table.items():
        judged = [each for each in own if each.passed is not None]
        configurations = {
            expectation.configuration.meta["check"]: expectation.configuration
            for expectation in suite_in(context, suites[table], limits).expectations
        }
        if judged:
            page = [_validation_result(each, configurations[each.check]) for each in judged]
            _add_page(context, run, table, page)
    context.build_data_docs(build_index=False)
    shutil.rmtree(directory.data_docs / "static", ignore_errors=True)
    for path in directory.data_docs.rglob("*.html"):
        path.write_text(_self_contained(path.read_text("utf-8")), "utf-8")
    _write_index(by_table, directory)
    _make_private(directory.data_docs)


def _add_page(context: Any, run: RunIdentifier, table: str, results: list[Any]) -> None:
    """Has the context know what came of a table's checks."""
    passed = sum(result.success for result in results)
    validation = ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=table,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={
            "run_id": run.to_json_dict(),
            "active_batch_definition": {"data_asset_name": table},
            "batch_kwargs": {"data_asset_name": table},
            "great_expectations_version": gx.__version__,
        },
    )
    context.validation_results_store.set(
        ValidationResultIdentifier(
            expectation_suite_identifier=ExpectationSuiteIdentifier(table),
            run_id=run,
            batch_identifier=table,
        ),
        validation,
    )


def _validation_result(result: CheckResult, configuration: Any) -> Any:
    """A check's sums in the form in which Data Docs are rendered."""
    percent = 100 * result.failed_rows / result.rows if result.rows else 0.0
    present = result.rows - result.missing
    return ExpectationValidationResult(
        success=not result.failed,
        expectation_config=configuration,
        result={
            "element_count": result.rows,
            "missing_count": result.missing,
            "missing_percent": 100 * result.missing / result.rows if result.rows else 0.0,
            "unexpected_count": result.failed_rows,
            "unexpected_percent": percent,
            "unexpected_percent_total": percent,
            "unexpected_percent_nonmissing": 100 * result.failed_rows / present if present else 0.0,
            "partial_unexpected_list": [_named(row) for row in result.sample],
        },
        exception_info={
            "raised_exception": result.error is not None,
            "exception_message": result.error and _text(result.error),
            "exception_traceback": None,
        },
    )


def _named(row: Mapping[str, str]) -> str:
    """A row by its value and its keys: of themselves these pages show the value alone."""
    return _text(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in row.items()))


def _text(written: str) -> str:
    """What others wrote as a text and nothing else: Great Expectations would take it for HTML."""
    return str(escape(visible(mask(written))))


#: What a page would load or run. Inline scripts only work with the loaded ones, and so do the
#: buttons that show the failed alone.
_LOADED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<a\b[^>]*greatexpectations\.io[^>]*>.*?</a>"
    r'|<div class="mb-2">\s*<p[^>]*>\s*Validation Filter:.*?(?:</div>\s*){3}',
    re.DOTALL | re.IGNORECASE,
)
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'\">"
)


def _self_contained(page: str) -> str:
    """``page`` without anything that is loaded or run, and with a stylesheet of ours."""
    style = (TEMPLATES / "data-docs.css").read_text("utf-8")
    head = f"{_POLICY}<style>{style}</style></head>"
    page = _LOADED.sub("", page).replace("</head>", head, 1)
    return page.replace("<html>", '<html lang="en">', 1)


def _write_index(by_table: Mapping[str, list[CheckResult]], directory: RunDirectory) -> None:
    """The first page: every table, with what came of it and where its pages are."""
    site = directory.data_docs
    rows = [
        {
            "table": table,
            "passed": sum(result.passed is True for result in results),
            "failed": sum(result.failed and result.counts for result in results),
            "noted": sum(result.failed and not result.counts for result in results),
            "unjudged": [result for result in results if result.passed is None],
            "rows": max(result.rows for result in results),
            "results": next(
                (str(page.relative_to(site))
                 for page in (site / "validations" / table).rglob("*.html")), None
            ),
            "suite": f"expectations/{table}.html",
        }
        for table, results in by_table.items()
    ]  # fmt: skip
    template = page_environment().get_template("data-docs-index.html.j2")
    write_text(site / "index.html", template.render(rows=rows, run_id=directory.run_id))


def _make_private(site: Path) -> None:
    """Leaves what Great Expectations wrote to its owner alone."""
    for folder, _, files in os.walk(site):
        Path(folder).chmod(0o700)
        for name in files:
            (Path(folder) / name).chmod(0o600)
