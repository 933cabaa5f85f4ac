"""What a person said of a finding: noted until a date, or decided; and when that no longer counts.

Who takes note of a finding takes note of it as it stood. Once the date has passed, or the finding
has got worse or is another one under the same name, it is awake again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from checks.run import SEVERITY_RANK, Severity

#: Times of a finding are kept in whole seconds in the files and to the microsecond in the database.
_SAME_MOMENT = timedelta(seconds=1)
_NOT_SEEN = object()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a person said of a finding, and how it stood then.

    Attributes:
        fingerprint: of the finding.
        reason: in the person's words.
        by: who, and where.
        at: when.
        until: the finding is quiet until then; None where it was decided and not acknowledged.
        decision: ``ledger`` where a person decided that the ledger is right, else None.
        severity: the finding's then.
        observed: what was observed then.
        first_seen: since when it had been seen then.
    """

    fingerprint: str
    reason: str
    by: str
    at: datetime
    until: datetime | None
    severity: Severity
    first_seen: datetime
    observed: Mapping[str, Any] = field(default_factory=dict)
    decision: str | None = None

    def why_awake(self, finding: Mapping[str, Any], now: datetime) -> str | None:
        """Why the acknowledgement no longer keeps a finding quiet; None where it does.

        Args:
            finding: ``severity``, ``first_seen`` and ``observed`` (an object) as they are now.
            now: the moment that it is asked for.
        """
        if self.until is None:
            return "it was not acknowledged"
        if self.until <= now:
            return "its date has passed"
        if _graver(finding["severity"], self.severity):
            return f"it is {finding['severity']} now and was {self.severity}"
        return self.why_void(finding)

    def why_void(self, finding: Mapping[str, Any]) -> str | None:
        """Why what was said is about something else by now; None where it is still the same.

        A fact that was not looked at then or is not now does not tell: bytes are read by turns.
        """
        if abs(finding["first_seen"] - self.first_seen) >= _SAME_MOMENT:
            return "it was gone in the meantime and has come back"
        if changed := changed_facts(self.observed, finding["observed"] or {}):
            return f"what was observed has changed since ({', '.join(changed)})"
        return None


def changed_facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The facts that both sides know and have otherwise, named as people read them."""
    return [
        name.replace("_", " ") for name, value in before.items()
        if now.get(name, _NOT_SEEN) not in (value, _NOT_SEEN)
    ]  # fmt: skip


def _graver(severity: Severity, other: Severity) -> bool:
    return SEVERITY_RANK[severity] < SEVERITY_RANK[other]
