"""Acknowledgements of findings: ``audit.ack``, and what they say of a run's findings."""

import getpass
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd
from psycopg.types.json import Jsonb

from checks.acknowledgement import Acknowledgement
from checks.errors import UsageError
from checks.run import Finding, side_of, utc
from tasks.database import Connection, transaction
from tasks.findings_history import KnownFinding
from tasks.queries import query

#: What a finding is told by an acknowledgement: columns of ``checks.run.FINDINGS``.
COLUMNS = ("acknowledged_until", "acknowledged_reason", "woken")


def acknowledge(
    conn: Connection, fingerprint: str, finding: KnownFinding, *, until: datetime, reason: str
) -> None:
    """Keeps an open finding quiet until a moment; said again, it counts from then on.

    Args:
        conn: a connection that is not in a transaction.
        fingerprint: of the finding.
        finding: as it stands: it wakes when it gets worse than that.
        until: when it wakes by itself.
        reason: for whoever reads the report.
    """
    parameters = {
        "fingerprint": fingerprint, "until": until, "reason": reason.replace("\x00", "\ufffd"),
        "by": person(), "severity": finding.severity, "first_seen": finding.first_seen,
        "observed": Jsonb(side_of(finding.doc.get("observed")) or {}),
    }  # fmt: skip
    with transaction(conn):
        conn.execute(query("queries/acknowledgements", "acknowledge"), parameters)


def withdraw(conn: Connection, fingerprint: str) -> None:
    """Takes an acknowledgement back. Raises UsageError where there is none."""
    with transaction(conn):
        statement = query("queries/acknowledgements", "withdraw")
        row = conn.execute(statement, {"fingerprint": fingerprint}).fetchone()
    if row is None:
        raise UsageError(f"Nobody has acknowledged a finding {fingerprint}.")


def keep_decision(
    conn: Connection,
    fingerprint: str,
    finding: KnownFinding,
    observed: Mapping[str, Any],
    *,
    run_id: str,
    reason: str,
) -> None:
    """Keeps that a person decided for the ledger, against what was observed just now."""
    parameters = {
        "fingerprint": fingerprint, "reason": reason.replace("\x00", "\ufffd"), "by": person(),
        "severity": finding.severity, "first_seen": finding.first_seen, "run_id": run_id,
        "observed": Jsonb(dict(observed)),
    }  # fmt: skip
    with transaction(conn):
        conn.execute(query("queries/acknowledgements", "decide"), parameters)


def decisions(conn: Connection) -> dict[str, Acknowledgement]:
    """By fingerprint, where a person decided for the ledger and the finding was not gone since."""
    with transaction(conn, snapshot=True):
        rows = conn.execute(query("queries/acknowledgements", "decided")).fetchall()
    return {row[0]: Acknowledgement(*row) for row in rows}


def acknowledgements(conn: Connection) -> dict[str, Acknowledgement]:
    """Everything that a person said of findings, by fingerprint."""
    with transaction(conn, snapshot=True):
        rows = conn.execute(query("queries/acknowledgements", "all")).fetchall()
    return {row[0]: Acknowledgement(*row) for row in rows}


def told(
    findings: pd.DataFrame, said: Mapping[str, Acknowledgement], now: datetime
) -> pd.DataFrame:
    """``findings`` (columns of ``FINDINGS``) with the columns ``COLUMNS``.

    An acknowledgement that no longer counts stays in sight, with why it does not.
    """
    values: dict[str, list[Any]] = {name: [None] * len(findings) for name in COLUMNS}
    about = findings["fingerprint"].isin(list(said))
    for place in about.to_numpy().nonzero()[0]:
        finding = findings.iloc[place]
        for name, value in sentence_of(said[finding["fingerprint"]], finding, now).items():
            values[name][place] = value
    times = pd.to_datetime(pd.Series(values[COLUMNS[0]], index=findings.index), utc=True)
    texts = {name: pd.Series(values[name], index=findings.index, dtype=object)
             for name in COLUMNS[1:]}  # fmt: skip
    return findings.assign(**{COLUMNS[0]: times}, **texts)


def sentence_of(
    said: Acknowledgement, finding: Mapping[str, Any] | pd.Series, now: datetime
) -> dict[str, Any]:
    """The values of ``COLUMNS`` for one finding; none where it was only decided about."""
    if said.until is None:
        return {}
    observed = finding["observed"]
    side = side_of(observed) if isinstance(observed, str) or observed is None else observed
    facts = {"severity": finding["severity"], "observed": side,
             "first_seen": utc(pd.Timestamp(finding["first_seen"]).to_pydatetime())}  # fmt: skip
    awake = said.why_awake(facts, now)
    return {
        "acknowledged_until": None if awake else said.until,
        "acknowledged_reason": said.reason,
        "woken": awake,
    }


def as_of_now(
    findings: Iterable[Finding], said: Mapping[str, Acknowledgement], now: datetime
) -> list[Finding]:
    """A run's findings with what is said of them now, whatever was said when the run ended."""
    nothing = dict.fromkeys(COLUMNS)
    return [
        each.model_copy(
            update=nothing | sentence_of(said[each.fingerprint], each.model_dump(), now)
            if each.fingerprint in said else nothing
        )
        for each in findings
    ]  # fmt: skip


def person() -> str:
    """Who is doing this, as far as the machine knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a user database
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
