"""The few sentences that all suites are made of, each an expectation with a name of its own."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import great_expectations.expectations as _expectations

#: Its names are made at run time, which a type checker can't follow.
gx_expectations: Any = _expectations

SHA256 = r"^[0-9a-f]{64}$"


def _named(
    check: str, sentence: str, *, counts: bool = True, unjudged: str | None = None
) -> dict[str, Any]:
    """What every expectation carries: its name, its sentence, and whether it counts.

    ``unjudged`` says why, where no row has a value, nothing can be said.
    """
    return {
        "meta": {"check": check, "unjudged": unjudged},
        "description": sentence,
        "severity": "critical" if counts else "info",
    }


def unique(columns: tuple[str, ...], sentence: str) -> Any:
    """No two rows have the same values in ``columns``.

    Partitions are made by a hash of the key, so rows with the same key are always in the same
    partition: unique in each partition is unique in the whole table.
    """
    named = _named("key_unique", sentence)
    if len(columns) == 1:
        return gx_expectations.ExpectColumnValuesToBeUnique(column=columns[0], **named)
    return gx_expectations.ExpectCompoundColumnsToBeUnique(column_list=list(columns), **named)


def filled(column: str, sentence: str) -> Any:
    """``column`` is never null."""
    return gx_expectations.ExpectColumnValuesToNotBeNull(
        column=column, **_named(f"{column}_filled", sentence)
    )


def filled_where(
    column: str, condition: Any, check: str, sentence: str, *, counts: bool = True
) -> Any:
    """``column`` is not null in the rows that ``condition`` selects."""
    return gx_expectations.ExpectColumnValuesToNotBeNull(
        column=column, row_condition=condition, **_named(check, sentence, counts=counts)
    )


def one_of(column: str, values: Iterable[str], sentence: str) -> Any:
    """``column`` holds nothing but ``values``, or null."""
    return gx_expectations.ExpectColumnValuesToBeInSet(
        column=column,
        value_set=[str(value) for value in values],
        **_named(f"{column}_known", sentence),
    )


def sha256(column: str, sentence: str) -> Any:
    """``column`` holds SHA-256 digests in lower-case hex, or null."""
    return gx_expectations.ExpectColumnValuesToMatchRegex(
        column=column, regex=SHA256, **_named(f"{column}_form", sentence)
    )


def matches(column: str, pattern: str, sentence: str) -> Any:
    """``column`` has the form ``pattern``, or is null."""
    return gx_expectations.ExpectColumnValuesToMatchRegex(
        column=column, regex=pattern, **_named(f"{column}_form", sentence)
    )


def not_negative(column: str, sentence: str) -> Any:
    """``column`` holds no negative number."""
    return gx_expectations.ExpectColumnValuesToBeBetween(
        column=column, min_value=0, **_named(f"{column}_not_negative", sentence)
    )


def past(column: str, latest: datetime, sentence: str) -> Any:
    """No time in ``column`` is after ``latest``."""
    return gx_expectations.ExpectColumnValuesToBeBetween(
        column=column, max_value=latest, **_named(f"{column}_past", sentence)
    )


def since(
    column: str, earliest: datetime, check: str, sentence: str, *, counts: bool, unjudged: str
) -> Any:
    """No time in ``column`` is before ``earliest``."""
    return gx_expectations.ExpectColumnValuesToBeBetween(
        column=column,
        min_value=earliest,
        **_named(check, sentence, counts=counts, unjudged=unjudged),
    )


def true_where(
    column: str, condition: Any, check: str, sentence: str, *, counts: bool, unjudged: str
) -> Any:
    """``column`` is true in the rows that ``condition`` selects."""
    return gx_expectations.ExpectColumnValuesToBeInSet(
        column=column,
        value_set=[True],
        row_condition=condition,
        **_named(check, sentence, counts=counts, unjudged=unjudged),
    )


def within(
    value: str,
    limit: str,
    condition: Any,
    check: str,
    sentence: str,
    *,
    counts: bool,
    unjudged: str,
) -> Any:
    """``value`` is no more than ``limit`` in the rows that ``condition`` selects."""
    return gx_expectations.ExpectColumnPairValuesAToBeGreaterThanB(
        column_A=limit,
        column_B=value,
        or_equal=True,
        row_condition=condition,
        **_named(check, sentence, counts=counts, unjudged=unjudged),
    )
