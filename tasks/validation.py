"""Validates spooled tables with Great Expectations, partition by partition, and adds up.

Importing this module imports Great Expectations, which takes seconds: see :mod:`tasks.quality`.
"""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)

from checks.columns import CHECKED
from checks.suites import Limits, Suite
from tasks.memory import release_unused
from tasks.partitions import DICTIONARY

#: Small partitions are validated together up to this many rows: the cost per batch is fixed.
ROWS_PER_BATCH = 250_000
#: How many rows a failed check names.
SAMPLE = 20


@dataclass(slots=True)
class Tally:
    """One check's results over the partitions seen so far."""

    configuration: Any
    rows: int = 0
    missing: int = 0
    unexpected: int = 0
    sample: list[dict[Any, Any]] = field(default_factory=list)
    error: str | None = None

    def add(self, result: Any, frame: pd.DataFrame, keys: Sequence[str]) -> None:
        """Adds what Great Expectations said of the rows of ``frame``, naming some by ``keys``.

        It is asked for row numbers only: naming every one of 400,000 bad rows takes it minutes.
        """
        outcome = result.result or {}
        self.rows += int(outcome.get("element_count", len(frame)))
        self.missing += int(outcome.get("missing_count") or 0)
        self.unexpected += int(outcome.get("unexpected_count") or 0)
        room = SAMPLE - len(self.sample)
        numbers = (outcome.get("partial_unexpected_index_list") or [])[:room]
        if numbers:
            column = self.configuration.kwargs.get("column")
            names = list(dict.fromkeys([*([column] if column else []), *keys]))
            named = frame.loc[numbers, names].astype(object)
            self.sample += named.where(named.notna(), None).to_dict("records")
        if not result.success and not outcome.get("unexpected_count"):
            self.error = _reason(result)

    @property
    def passed(self) -> bool:
        """Whether every row so far is as expected."""
        return self.unexpected == 0 and self.error is None


def quiet_context(site: Path) -> Any:
    """An ephemeral context that sends nothing, shows no bars and writes to ``site`` alone."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        data_docs_sites={
            "run": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {
                    "class_name": "TupleFilesystemStoreBackend",
                    "base_directory": str(site),
                },
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            }
        },
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def validated(
    context: Any, suite: Suite, partitions: Sequence[Path], limits: Limits
) -> list[Tally]:
    """Every check of ``suite`` over every partition."""
    checked = suite_in(context, suite, limits)
    tallies = [Tally(expectation.configuration) for expectation in checked.expectations]
    by_check = {tally.configuration.meta["check"]: tally for tally in tallies}
    for frame in _frames(suite, partitions):
        result = _batch(context, suite.table, _plain(frame)).validate(
            checked,
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": SAMPLE,
            },
        )
        for outcome in result.results:
            by_check[outcome.expectation_config.meta["check"]].add(outcome, frame, suite.keys)
        context.data_sources.delete(suite.table)
        gc.collect()  # what is left of it hangs together in circles
        release_unused()
    return tallies


def suite_in(context: Any, suite: Suite, limits: Limits) -> Any:
    """``suite`` as Great Expectations has it, added to a context."""
    expectations = suite.expectations(limits)
    return context.suites.add(gx.ExpectationSuite(name=suite.table, expectations=expectations))


def _batch(context: Any, table: str, frame: pd.DataFrame) -> Any:
    """``frame`` as Great Expectations takes it.

    A data source keeps every frame it was ever given, and a context all its data sources: each
    frame gets one of its own, to be deleted with it.
    """
    source = context.data_sources.add_pandas(table)
    definition = source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("partition")
    return definition.get_batch({"dataframe": frame})


def _frames(suite: Suite, partitions: Sequence[Path]) -> Iterator[pd.DataFrame]:
    """The rows of ``partitions`` with the columns that ``suite`` reads, in bearable batches."""
    schema = pa.schema([CHECKED[suite.table].field(name) for name in suite.columns])
    gathered: list[pa.Table] = []
    rows = 0
    for path in partitions:
        table = pq.read_table(path, columns=list(suite.columns), partitioning=None)
        if rows and rows + table.num_rows > ROWS_PER_BATCH:
            yield _frame(gathered)
            gathered, rows = [], 0
        gathered.append(table.select(schema.names).cast(schema))
        rows += table.num_rows
    if rows:
        yield _frame(gathered)


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    """``tables`` as one frame; integers stay integers where some are null."""
    integers = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(types_mapper=integers.get)
    few = [name for name in DICTIONARY if name in frame.columns]
    return frame.astype(dict.fromkeys(few, "category"))


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with its integers as floats: of others Great Expectations compares row by row."""
    integers = [name for name, kind in frame.dtypes.items() if kind == pd.Int64Dtype()]
    plain: pd.DataFrame = frame.astype(dict.fromkeys(integers, "float64"))
    return plain


def _reason(result: Any) -> str:
    """Why Great Expectations could not carry out a check, in one line."""
    information = result.exception_info or {}
    if "exception_message" not in information:  # several, by metric
        information = next(iter(information.values()), {})
    message = str(information.get("exception_message") or "no reason was given")
    return message.splitlines()[0]
