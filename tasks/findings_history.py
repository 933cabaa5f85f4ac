"""Findings across runs: first seen, seen in how many runs, resolved."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from psycopg.types.json import Jsonb

from tasks.database import Connection, transaction
from tasks.queries import query

_BATCH = 5_000
_COLUMNS = ["fingerprint", "kind", "severity", "memory_id", "memory_type", "artifact", "backend",
            "location", "gallery_id", "doc"]  # fmt: skip
HISTORY = ["fingerprint", "first_seen", "last_seen", "runs_seen", "complete_runs_seen"]


def record_findings(
    conn: Connection,
    run_id: str,
    findings: Iterable[Mapping[str, Any]],
    *,
    complete: bool,
    at: datetime | None = None,
) -> pd.DataFrame:
    """Writes a run's findings into their history; again for the same run changes no count.

    Args:
        conn: a connection that is not in a transaction.
        run_id: the run.
        findings: mappings with ``fingerprint``, ``kind``, ``severity``, ``doc`` (what JSON can
            hold) and, where used, the parts of the identity. Of equal fingerprints the first
            counts.
        complete: whether the run saw every store whole (a purge counts such runs alone).
        at: when they were seen; default now.

    Returns:
        A frame with a row per fingerprint and the columns ``HISTORY``; times in UTC.
    """
    seen_at = at or datetime.now(UTC)
    recorded = [pd.DataFrame(columns=HISTORY)]
    for batch in _batches(findings):
        parameters = {
            "run_id": run_id,
            "at": seen_at,
            "complete": int(complete),
            "findings": Jsonb(batch),
        }
        with transaction(conn):
            rows = conn.execute(query("queries/findings", "record"), parameters).fetchall()
        recorded.append(pd.DataFrame(rows, columns=HISTORY))
    return pd.concat(recorded[1:] or recorded, ignore_index=True)


def resolve_unseen(
    conn: Connection,
    run_id: str,
    *,
    backends: Collection[str],
    without_backend: bool,
    kinds: Collection[str] | None = None,
    keep: Collection[str] = (),
    at: datetime | None = None,
) -> list[str]:
    """Marks the open findings that a run looked for and did not see as resolved.

    Args:
        conn: a connection that is not in a transaction.
        run_id: the run whose findings were recorded before.
        backends: the stores about which the run is conclusive.
        without_backend: whether it is conclusive about findings that belong to no one store.
        kinds: the kinds that it looked for; None: all.
        keep: fingerprints about which it can't say (unread capsules, in flight).
        at: when; default now.

    Returns:
        The fingerprints that were resolved.
    """
    parameters = {
        "run_id": run_id,
        "at": at or datetime.now(UTC),
        "kinds": None if kinds is None else list(kinds),
        "backends": list(backends),
        "without_backend": without_backend,
        "keep": list(keep),
    }
    with transaction(conn):
        found = conn.execute(query("queries/findings", "resolve"), parameters).fetchall()
    return [fingerprint for (fingerprint,) in found]


def _batches(findings: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Batches of findings without a fingerprint twice."""
    seen: set[str] = set()
    batch: list[dict[str, Any]] = []
    for finding in findings:
        if finding["fingerprint"] in seen:
            continue
        seen.add(finding["fingerprint"])
        batch.append({name: _plain(finding.get(name)) for name in _COLUMNS})
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _plain(value: Any) -> Any:
    """A value as JSON and Postgres take it: no NaN, no NUL."""
    if isinstance(value, str):
        return value.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or value is pd.NaT or value is pd.NA or value != value:  # noqa: PLR0124 - NaN
        return None
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
