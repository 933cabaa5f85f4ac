"""Findings across runs: first seen, seen in how many runs, resolved."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from psycopg.types.json import Jsonb

from checks.errors import UsageError
from tasks.database import Connection, transaction
from tasks.queries import query

_BATCH = 5_000
_COLUMNS = ["fingerprint", "kind", "severity", "memory_id", "memory_type", "artifact", "backend",
            "location", "gallery_id", "doc", "needs"]  # fmt: skip
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
            hold) and, where used, the parts of the identity and ``needs``, the stores that a run
            must have seen whole to say that it is gone. Of equal fingerprints the first counts.
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
    whole: Collection[str],
    keep: Collection[str] = (),
    at: datetime | None = None,
) -> list[str]:
    """Marks the open findings that a run looked for and did not see as resolved.

    Args:
        conn: a connection that is not in a transaction.
        run_id: the run whose findings were recorded before.
        whole: the stores that it saw whole; a finding that needs another one stays open.
        keep: fingerprints about which it can't say (in flight, not confirmed).
        at: when; default now.

    Returns:
        The fingerprints that were resolved.
    """
    parameters = {
        "run_id": run_id,
        "at": at or datetime.now(UTC),
        "whole": list(whole),
        "keep": list(keep),
    }
    with transaction(conn):
        found = conn.execute(query("queries/findings", "resolve"), parameters).fetchall()
    return [fingerprint for (fingerprint,) in found]


@dataclass(frozen=True, slots=True)
class KnownFinding:
    """A finding as its history has it; ``doc`` is how a run last saw it (columns ``FINDINGS``)."""

    severity: str
    first_seen: datetime
    runs_seen: int
    last_seen: datetime
    resolved_at: datetime | None
    last_run_id: str
    doc: Mapping[str, Any]


def known_finding(conn: Connection, fingerprint: str) -> KnownFinding:
    """The finding with this fingerprint, open. Raises UsageError where there is none."""
    with transaction(conn, snapshot=True):
        row = conn.execute(
            query("queries/findings", "known"), {"fingerprint": fingerprint}
        ).fetchone()
    if row is None:
        raise UsageError(
            f"No finding has the fingerprint {fingerprint}; `edgekeeper findings --open` lists "
            "those that are open."
        )
    known = KnownFinding(*row)
    if known.resolved_at is not None:
        raise UsageError(
            f"Finding {fingerprint} was resolved on {known.resolved_at:%Y-%m-%d}: there is nothing "
            "left to decide."
        )
    return known


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
