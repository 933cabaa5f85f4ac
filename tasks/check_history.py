"""The data-quality checks across runs: a row per run and check in ``audit.check_result``."""

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from tasks.database import Connection, transaction
from tasks.ledger import storable
from tasks.log import without_secrets
from tasks.quality import CheckResult
from tasks.queries import query


def record_checks(conn: Connection, run_id: str, results: Sequence[CheckResult]) -> None:
    """Writes a run's results; those of a resumed run take the place of its earlier ones.

    A check is named ``<table>.<check>``; ``observed`` holds how many rows were looked at, how many
    are otherwise, a sample of these, why a check could not be carried out, and what was measured
    for later runs to compare themselves with.
    """
    if not results:
        return
    rows = [
        {
            "check_name": f"{each.table}.{each.check}", "success": each.passed,
            "severity": "warning" if each.counts else "info", "observed": _observed(each),
            "unjudged": each.unjudged,
        }
        for each in results
    ]  # fmt: skip
    with transaction(conn):
        conn.execute(
            query("queries/check_results", "record"), {"run_id": run_id, "results": Jsonb(rows)}
        )


def _observed(result: CheckResult) -> dict[str, Any]:
    """What a check saw."""
    sample = [{name: storable(value) for name, value in row.items()} for row in result.sample]
    observed: dict[str, Any] = without_secrets(
        {"rows": result.rows, "failed_rows": result.failed_rows, "sample": sample}
    )
    return observed | {"error": storable(result.error), "measured": result.measured}


def former_measures(
    conn: Connection, check: str, run_id: str, number: int
) -> list[tuple[str, dict[str, Any]]]:
    """What a check, named as in :func:`record_checks`, measured in the last runs before one.

    The newest first, each with its run's id.
    """
    wanted = {"check_name": check, "run_id": run_id, "number": number}
    return conn.execute(query("queries/check_results", "measured"), wanted).fetchall()
