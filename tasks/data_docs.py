"""Writes the Data Docs of one run: a site of its own, built once from the summed results.

Importing this module imports Great Expectations, which takes seconds: see :mod:`tasks.quality`.
"""

import os
import re
import shutil
from collections.abc import Mapping
from datetime import datetime
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

from tasks.pages import TEMPLATES, page_environment
from tasks.run_directory import RunDirectory, write_text
from tasks.validation import Tally


def write_data_docs(
    context: Any, tallies: Mapping[str, list[Tally]], now: datetime, directory: RunDirectory
) -> None:
    """One page per table from the summed results: a site of this run alone.

    What a former attempt of the same run left is replaced, so that nothing ever accumulates. The
    pages are made to load nothing: as Great Expectations writes them, opening one asks seven hosts
    on the internet for scripts, styles and a logo with the time in its address.
    """
    shutil.rmtree(directory.data_docs, ignore_errors=True)
    run = RunIdentifier(run_name=f"edgekeeper_{directory.run_id}", run_time=now)
    for table, table_tallies in tallies.items():
        results = [_validation_result(tally) for tally in table_tallies]
        passed = sum(tally.passed for tally in table_tallies)
        result = ExpectationSuiteValidationResult(
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
            result,
        )
    context.build_data_docs(build_index=False)
    shutil.rmtree(directory.data_docs / "static", ignore_errors=True)
    for page in directory.data_docs.rglob("*.html"):
        page.write_text(_self_contained(page.read_text("utf-8")), "utf-8")
    _write_index(tallies, directory)
    _make_private(directory.data_docs)


def _validation_result(tally: Tally) -> Any:
    """A check's sums in the form in which Data Docs are rendered."""
    percent = 100 * tally.unexpected / tally.rows if tally.rows else 0.0
    present = tally.rows - tally.missing
    return ExpectationValidationResult(
        success=tally.passed,
        expectation_config=tally.configuration,
        result={
            "element_count": tally.rows,
            "missing_count": tally.missing,
            "missing_percent": 100 * tally.missing / tally.rows if tally.rows else 0.0,
            "unexpected_count": tally.unexpected,
            "unexpected_percent": percent,
            "unexpected_percent_total": percent,
            "unexpected_percent_nonmissing": 100 * tally.unexpected / present if present else 0.0,
            "partial_unexpected_list": tally.unexpected_values,
            "partial_unexpected_index_list": tally.sample,
        },
        exception_info={
            "raised_exception": tally.error is not None,
            "exception_message": tally.error,
            "exception_traceback": None,
        },
    )


#: What a page would load or run. Inline scripts only work with the loaded ones.
_LOADED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<a\b[^>]*greatexpectations\.io[^>]*>.*?</a>",
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
    return _LOADED.sub("", page).replace("</head>", head, 1)


def _write_index(tallies: Mapping[str, list[Tally]], directory: RunDirectory) -> None:
    """The first page: every table, with what came of it and where its pages are."""
    site = directory.data_docs
    rows = [
        {
            "table": table,
            "passed": sum(tally.passed for tally in table_tallies),
            "failed": sum(not tally.passed for tally in table_tallies),
            "rows": max((tally.rows for tally in table_tallies), default=0),
            "results": next((site / "validations" / table).rglob("*.html")).relative_to(site),
            "suite": f"expectations/{table}.html",
        }
        for table, table_tallies in tallies.items()
    ]
    template = page_environment().get_template("data-docs-index.html.j2")
    write_text(site / "index.html", template.render(rows=rows, run_id=directory.run_id))


def _make_private(site: Path) -> None:
    """Leaves what Great Expectations wrote to its owner alone."""
    for folder, _, files in os.walk(site):
        Path(folder).chmod(0o700)
        for name in files:
            (Path(folder) / name).chmod(0o600)
