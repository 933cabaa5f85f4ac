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
    are otherwise, a sample of these, and why a check could not be carried out.
    """
    if not results:
        return
    rows = [
        {
            "check_name": f"{each.table}.{each.check}", "success": each.passed,
            "severity": "warning" if each.counts else "info", "observed": _observed(each),
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
    return observed | {"error": storable(result.error)}
