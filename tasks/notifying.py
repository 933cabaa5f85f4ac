"""The summary of an audit, sent through Apprise to wherever ``EDGEKEEPER_NOTIFY_URL`` leads.

When and what: :mod:`checks.notices`. What goes wrong with sending never fails a run: it is noted in
the run's record, by number and scheme of the URL, since the rest of it is a secret.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import structlog

from checks.errors import UsageError
from checks.model import RunStatus
from checks.notices import Notice, notice
from checks.run import Finding, RunRecord, findings_of
from tasks.audit import AuditRun
from tasks.log import mask
from tasks.publish import noted
from tasks.run_directory import RunDirectory, completed_runs
from tasks.wording import visible

_log = structlog.get_logger(__name__)
#: Former runs that are looked at.
_HISTORY = 30


def tell(run: AuditRun, record: RunRecord) -> RunRecord:
    """Sends the message that an audit gives reason for, where a receiver is set.

    Returns:
        ``record``; where a receiver could not be told, with a note of it in ``limits``, which is
        then in ``run.json`` too.
    """
    settings = run.settings
    if not settings.notify_url or record.status is RunStatus.FAILED:
        return record
    completed = completed_runs(run.directory.home, run.flow, before=run.run_id)
    former = list(islice(completed, _HISTORY))
    new_critical = _new_critical(run.directory, record, former)
    message = notice(record, former, new_critical, always=settings.notify_when == "always")
    if message is None:
        return record
    urls = [url.get_secret_value() for url in settings.notify_url]
    problems = [
        f"{number} of {len(urls)} ({url.partition(':')[0]}): {problem}"
        for number, url in enumerate(urls, start=1)
        if (problem := _sent(url, message)) is not None
    ]
    if not problems:
        _log.info("notified", title=message.title, receivers=len(urls))
        return record
    _log.warning("notification_not_sent", receivers=problems)
    return noted(run, record, "notify", f"not sent to {'; '.join(problems)}")


def _new_critical(
    directory: RunDirectory, record: RunRecord, former: Sequence[RunRecord]
) -> list[Finding]:
    """The open critical findings that were not open and critical the time before."""
    known: set[str] = set()
    if former:
        with suppress(UsageError, OSError):  # pruned or damaged: then all of them are told again
            before = RunDirectory(directory.home, former[0].run_id)
            known = {each.fingerprint for each in _open_critical(before, former[0])}
    return [each for each in _open_critical(directory, record) if each.fingerprint not in known]


def _open_critical(directory: RunDirectory, record: RunRecord) -> list[Finding]:
    """A run's critical findings that nobody had repaired or acknowledged when it ended."""
    ended = record.finished_at or record.started_at
    return [
        each
        for each in findings_of(directory.read_findings())
        if each.severity == "critical" and each.is_open(ended)
    ]


def _sent(url: str, message: Notice) -> str | None:
    """None once the receiver has taken the message, otherwise why not, without the URL."""
    import apprise  # noqa: PLC0415 - slow to load, and most nights are silent

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would say it past our masks
    asset = apprise.AppriseAsset(
        app_id="edgekeeper", app_desc="edgekeeper", app_url="", image_url_mask="",
        image_url_logo="", secure_logging=True, async_mode=False,
    )  # fmt: skip
    receiver = apprise.Apprise(asset=asset)
    if not receiver.add(url):
        return "Apprise does not know such a URL"
    kind = apprise.NotifyType.SUCCESS if message.good else apprise.NotifyType.WARNING
    parts: dict[str, Any] = {
        "title": visible(mask(message.title)),
        "body": "\n".join(visible(mask(line)) for line in message.body.split("\n")),
    }
    try:
        taken = receiver.notify(**parts, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the audit is complete
        return type(error).__name__
    return None if taken else "it did not take the message"
