"""The heartbeat: a URL outside is fetched when an audit is complete, so that silence is noticed.

Whoever listens there (a dead man's switch) raises the alarm when no audit has completed for a
while. The heartbeat says that an audit came to its end, not that it found nothing; a run that
failed or was interrupted sends none. What goes wrong with it never fails a run.
"""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlsplit

import httpx
import structlog
from pydantic import SecretStr

from checks.model import RunStatus
from checks.run import RunRecord
from tasks.audit import AuditRun
from tasks.publish import noted
from tasks.retries import retry_after, retrying
from tasks.settings import is_loopback

_log = structlog.get_logger(__name__)
_COMPLETED = (RunStatus.CLEAN, RunStatus.DRIFT, RunStatus.INCONCLUSIVE)
_TIMEOUT_SECONDS = 5.0
_ATTEMPTS = 3
_TOTAL_SECONDS = 15.0
_TOO_MANY_REQUESTS, _FIRST_SERVER_ERROR = 429, 500


class _NotAcceptedError(Exception):
    """The receiver answered with something else than success."""

    def __init__(self, response: httpx.Response) -> None:
        redirect = "; redirects are not followed" if response.is_redirect else ""
        super().__init__(f"it answered {response.status_code}{redirect}")
        self.response = response


def beat(run: AuditRun, record: RunRecord) -> RunRecord:
    """Fetches ``EDGEKEEPER_HEARTBEAT_URL``, where it is set and the audit is complete.

    Returns:
        ``record``; where the receiver could not be told, with a note of it in ``limits``, which
        is then in ``run.json`` too.
    """
    url = run.settings.heartbeat_url
    if url is None or record.status not in _COMPLETED:
        return record
    try:
        problem = asyncio.run(_told(url))
    except Exception as error:  # noqa: BLE001 - whatever it is, the audit itself is complete
        problem = type(error).__name__
    if problem is None:
        return record
    host = _host(url)
    _log.warning("heartbeat_not_sent", host=host, reason=problem)
    return noted(run, record, "heartbeat", f"not sent to {host}: {problem}")


async def _told(url: SecretStr) -> str | None:
    """None once the receiver has accepted it; otherwise why not; the URL is a secret."""
    address = url.get_secret_value()
    async with httpx.AsyncClient(
        timeout=_TIMEOUT_SECONDS,
        follow_redirects=False,  # where else it might lead to was not configured
        trust_env=not is_loopback(address),
        headers={"user-agent": "edgekeeper"},
    ) as client:

        async def attempt() -> None:
            # Only the status counts: the body, however long, is not read.
            async with asyncio.timeout(_TIMEOUT_SECONDS), client.stream("GET", address) as response:
                if not response.is_success:
                    raise _NotAcceptedError(response)

        try:
            await retrying(
                attempt,
                is_transient=_is_transient,
                attempts=_ATTEMPTS,
                total_seconds=_TOTAL_SECONDS,
            )
        except _NotAcceptedError as error:
            return str(error)
        except httpx.InvalidURL:
            return "EDGEKEEPER_HEARTBEAT_URL is no URL"
        except (httpx.HTTPError, TimeoutError) as error:
            return f"it did not answer ({type(error).__name__})"
    return None


def _is_transient(error: Exception) -> bool | float:
    """Whether another attempt is worth it, and after how many seconds if the receiver said so."""
    if not isinstance(error, _NotAcceptedError):
        return isinstance(error, httpx.TransportError | TimeoutError)
    status = error.response.status_code
    if status != _TOO_MANY_REQUESTS and status < _FIRST_SERVER_ERROR:
        return False
    wait = retry_after(error.response.headers, datetime.now(UTC))
    return True if wait is None else wait


def _host(url: SecretStr) -> str:
    """The part of the URL that may be told."""
    try:
        return urlsplit(url.get_secret_value()).hostname or "?"
    except ValueError:
        return "?"
