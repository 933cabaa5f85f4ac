"""Who is told of what: nothing on a clean night, one message that stands on its own otherwise."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from checks.model import Backend, RunStatus, StoreState
from checks.run import FINDINGS, RunRecord, StoreSummary, findings_table, settled, with_findings
from tasks import run_directory
from tasks.audit import AuditOptions, AuditRun
from tasks.notifying import tell
from tasks.settings import load_settings

FIRST_NIGHT = datetime(2026, 11, 1, 3, 15, tzinfo=UTC)
SECRET = "a-path-that-nobody-may-see"
PHOTO = "3f0b7a52-6c1e-4a1f-9d8e-0c7f5a2b9e11"
BREAKER = "40 of 1000 present edges of vercel-blob (4.00 %) would be taken away"


class Receiver(ThreadingHTTPServer):
    """Takes what Apprise posts as JSON; answers with ``status``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.messages: list[dict[str, Any]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.messages.append(json.loads(body))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


class Nights:
    """Audits night after night in one home, each told as the flow tells it."""

    def __init__(self, home: Path, urls: str, **settings: Any) -> None:
        self.settings = load_settings(None, home=str(home), notify_url=urls, **settings)
        self.home = home
        self.at = FIRST_NIGHT

    def night(
        self,
        *critical: str,
        unseen: bool = False,
        breaker: bool = False,
        acknowledged: bool = False,
    ) -> RunRecord:
        """An audit that finds the blobs of these memories lost."""
        self.at += timedelta(days=1)
        directory = run_directory.create(self.home, f"{self.at:%Y%m%dT%H%M%SZ}-7f3a")
        run = AuditRun(self.settings, AuditOptions(), directory, self.at)
        until = self.at + timedelta(days=30) if acknowledged else None
        table = findings_table(
            pd.DataFrame([_lost(each, self.at, until) for each in critical], columns=FINDINGS.names)
        )
        state = StoreState.UNREACHABLE if unseen else StoreState.COMPLETE
        store = StoreSummary(state=state, detail="it <b>did</b> not answer" if unseen else None)
        record = RunRecord(
            run_id=run.run_id, flow=run.flow, started_at=self.at, finished_at=self.at,
            stores={Backend.BLOB.value: store}, report="/srv/report.html",
            breaker=(BREAKER,) if breaker else (), inconclusive=(BREAKER,) if breaker else (),
        )  # fmt: skip
        record = settled(with_findings(record, table, now=self.at))
        directory.write_findings(table)
        directory.write_run(record)
        return tell(run, record)


def _lost(memory_id: str, at: datetime, until: datetime | None) -> dict[str, Any]:
    return {
        "fingerprint": memory_id[:16], "kind": "lost", "severity": "critical",
        "memory_id": memory_id, "memory_type": "image", "artifact": "asset", "backend": None,
        "location": None, "gallery_id": None, "expected": '{"present": true}',
        "observed": '{"present": false}', "evidence": "lookup",
        "explanation": "No store holds its file any more.", "repair": "none",
        "repair_detail": None, "first_seen": at, "runs_seen": 1, "acknowledged_until": until,
        "stays_open": None,
    }  # fmt: skip


@pytest.fixture
def nights(receiver: Receiver, tmp_path: Path) -> Nights:
    return Nights(tmp_path, receiver.url)


def test_a_clean_night_sends_nothing(nights: Nights, receiver: Receiver) -> None:
    assert nights.night().status is RunStatus.CLEAN
    assert receiver.messages == []


def test_a_new_critical_finding_is_told_once_and_its_end_too(
    nights: Nights, receiver: Receiver
) -> None:
    nights.night()
    told = nights.night(PHOTO)
    assert "notify" not in told.limits
    nights.night(PHOTO)
    nights.night()
    nights.night()
    first, second = receiver.messages
    assert first["title"] == "edgekeeper: 1 new critical finding"
    for part in ("lost", PHOTO, "No store holds its file any more.", "To do: ", told.run_id,
                 "/srv/report.html"):  # fmt: skip
        assert part in first["message"]
    assert (first["type"], second["type"]) == ("warning", "success")
    assert second["title"] == "edgekeeper: recovered"


def test_an_acknowledged_finding_is_not_told(nights: Nights, receiver: Receiver) -> None:
    nights.night(PHOTO, acknowledged=True)
    assert receiver.messages == []


def test_one_night_that_could_not_see_is_a_hiccup_and_the_second_is_told(
    nights: Nights, receiver: Receiver
) -> None:
    nights.night(unseen=True)
    assert receiver.messages == []
    nights.night(unseen=True)
    nights.night(unseen=True)
    (message,) = receiver.messages
    assert "2 times in a row" in message["title"]
    assert "vercel-blob was unreachable: it <b>did</b> not answer" in message["message"]
    nights.night()
    assert receiver.messages[1]["title"] == "edgekeeper: recovered"


def test_a_breaker_that_trips_is_told_the_first_time(nights: Nights, receiver: Receiver) -> None:
    nights.night(breaker=True)
    nights.night(breaker=True)
    (message,) = receiver.messages
    assert message["title"] == "edgekeeper: the breaker refuses repairs"
    assert BREAKER in message["message"]


def test_many_findings_are_one_message_that_says_how_many(
    nights: Nights, receiver: Receiver
) -> None:
    nights.night(*(f"{n:08x}-6c1e-4a1f-9d8e-0c7f5a2b9e11" for n in range(2_000)))
    (message,) = receiver.messages
    assert "2,000 new critical findings" in message["title"]
    assert "and 1,995 more" in message["message"]
    assert len(message["message"]) < 3_000


def test_whoever_asks_is_told_of_clean_nights_too(receiver: Receiver, tmp_path: Path) -> None:
    Nights(tmp_path, receiver.url, notify_when="always").night()
    assert [each["title"] for each in receiver.messages] == ["edgekeeper: clean"]


def test_a_receiver_that_fails_is_noted_without_its_url_and_the_others_are_told(
    receiver: Receiver, tmp_path: Path
) -> None:
    gone = f"json://127.0.0.1:1/{SECRET}"
    record = Nights(tmp_path, f"{gone},nonsense,{receiver.url}").night(PHOTO)
    assert len(receiver.messages) == 1
    noted = str(record.limits["notify"])
    assert "1 of 3 (json): it did not take the message" in noted
    assert "2 of 3" in noted
    assert SECRET not in noted


def test_a_receiver_that_refuses_is_noted(receiver: Receiver, tmp_path: Path) -> None:
    receiver.status = 500
    assert "notify" in Nights(tmp_path, receiver.url).night(PHOTO).limits
