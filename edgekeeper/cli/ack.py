# ruff: noqa: FBT002 - Typer takes options from arguments with defaults
"""``edgekeeper ack``: take note of a finding until a date, so that it wakes nobody until then."""

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated

import typer

from checks.errors import UsageError
from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output
from edgekeeper.cli.saying import Fingerprint, reason_of

if TYPE_CHECKING:
    from tasks.database import Connection


@command
def ack(
    out: Output,
    fingerprint: Fingerprint,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="The last day on which it is quiet (UTC): 2026-12-31."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why, for whoever reads the report.")
    ] = None,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take an acknowledgement back.")
    ] = False,
) -> int:
    """Take note of a finding: until the date it counts neither for exit codes nor notifications.

    The report goes on showing it, with the reason. It wakes up when the date has passed, and before
    that when it gets worse: a graver severity, other facts, or gone and come back.

    Example: edgekeeper ack 3f2a0c1e5b7d4e8f --until 2026-12-31 --reason "owner sends it again"

    Example: edgekeeper ack 3f2a0c1e5b7d4e8f --withdraw

    Exit codes: 0 noted; 2 there is no such open finding, or the date is not in the future; 3 the
    database can't be reached.
    """
    if withdraw:
        if until is not None or reason is not None:
            raise UsageError("--withdraw goes without --until and --reason. Nothing was done.")
        return _withdrawn(out, fingerprint)
    if until is None or reason is None:
        raise UsageError("Say --until DATE and --reason TEXT. Nothing was done.")
    return _acknowledged(out, fingerprint, _last_moment(until), reason_of(reason))


def _last_moment(text: str) -> datetime:
    """The end of a day, or a moment given as such. Raises UsageError where it is not to come."""
    try:
        if len(text) == len("2026-12-31"):
            moment = datetime.combine(date.fromisoformat(text), time(23, 59, 59), UTC)
        else:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    except ValueError:
        raise UsageError(f"--until {text}: write a date such as 2026-12-31.") from None
    if moment <= datetime.now(UTC):
        raise UsageError(f"--until {text} is past: nothing would be quiet. Nothing was done.")
    return moment


def _acknowledged(out: Output, fingerprint: str, until: datetime, reason: str) -> int:
    from checks.run import rfc3339  # noqa: PLC0415 - --help does without all of these
    from tasks.acknowledgements import acknowledge  # noqa: PLC0415
    from tasks.findings_history import known_finding  # noqa: PLC0415

    with _connection() as conn:
        finding = known_finding(conn, fingerprint)
        acknowledge(conn, fingerprint, finding, until=until, reason=reason)
    told = {"fingerprint": fingerprint, "kind": finding.doc["kind"], "severity": finding.severity}
    out.json(told | {"acknowledged_until": rfc3339(until), "reason": reason})
    out.say(f"{finding.doc['kind']}, {finding.severity}: {finding.doc['explanation']}")
    out.say(
        f"Acknowledged until {until:%Y-%m-%d %H:%M} UTC. It wakes before that if it gets worse; to "
        f"take this back: edgekeeper ack {fingerprint} --withdraw"
    )
    return 0


def _withdrawn(out: Output, fingerprint: str) -> int:
    from tasks.acknowledgements import withdraw  # noqa: PLC0415 - --help does without

    with _connection() as conn:
        withdraw(conn, fingerprint)
    out.json({"fingerprint": fingerprint, "acknowledged_until": None})
    out.say(f"Finding {fingerprint} is no longer acknowledged.")
    return 0


def _connection() -> "Connection":
    """A connection to a database with our own tables, which a newer version may have changed."""
    from tasks import log  # noqa: PLC0415 - --help does without all of these
    from tasks.database import connect  # noqa: PLC0415
    from tasks.schema import ensure_audit_schema  # noqa: PLC0415
    from tasks.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    log.protect(settings)
    conn = connect(settings.batch_database_url, purpose="edgekeeper ack")
    ensure_audit_schema(conn)
    return conn
