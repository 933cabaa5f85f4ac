"""The heartbeat, to a real receiver: when it is sent, what is tried again, what is never done."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import stamina

from checks.model import RunStatus
from checks.run import RunRecord
from tasks import run_directory
from tasks.audit import AuditOptions, AuditRun
from tasks.heartbeat import beat
from tasks.settings import load_settings

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
SECRET = "0d8ff8a4-9d8c-4f0e-8a3b-2b1d8f6c9e55"


class Receiver(ThreadingHTTPServer):
    """Answers with the statuses it was given, one after the other, then always with the last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        self.received: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ping/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_GET(self) -> None:
        answers, received = self.server.answers, self.server.received
        status, headers = answers[min(len(received), len(answers) - 1)]
        received.append((self.command, self.path))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
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


@pytest.fixture(autouse=True)
def no_waits() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


def finished(
    home: Path, url: str | None, status: RunStatus = RunStatus.CLEAN
) -> tuple[AuditRun, RunRecord]:
    settings = load_settings(None, home=str(home), heartbeat_url=url)
    directory = run_directory.create(home, "20261123T031500Z-7f3a")
    run = AuditRun(settings, AuditOptions(), directory, NOW)
    record = RunRecord(
        run_id=run.run_id, flow=run.flow, status=status, started_at=NOW, finished_at=NOW
    )
    directory.write_run(record)
    return run, record


@pytest.mark.parametrize("status", [RunStatus.CLEAN, RunStatus.DRIFT, RunStatus.INCONCLUSIVE])
def test_a_completed_audit_is_told_once_whatever_it_found(
    status: RunStatus, receiver: Receiver, tmp_path: Path
) -> None:
    run, record = finished(tmp_path, receiver.url, status)
    assert beat(run, record) == record
    assert receiver.received == [("GET", f"/ping/{SECRET}")]


def test_a_failed_audit_is_not_told(receiver: Receiver, tmp_path: Path) -> None:
    run, record = finished(tmp_path, receiver.url, RunStatus.FAILED)
    assert beat(run, record) == record
    assert receiver.received == []


def test_without_a_url_nobody_is_told(tmp_path: Path) -> None:
    run, record = finished(tmp_path, None)
    assert beat(run, record) == record


def test_a_receiver_that_stumbles_is_told_again(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(503, {}), (429, {"retry-after": "0"}), (204, {})]
    run, record = finished(tmp_path, receiver.url)
    assert beat(run, record) == record
    assert len(receiver.received) == 3


def test_a_receiver_that_knows_no_such_check_is_asked_once_and_noted(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [(404, {})]
    run, record = finished(tmp_path, receiver.url)
    noted = beat(run, record)
    assert noted.status is RunStatus.CLEAN
    assert noted.limits["heartbeat"] == "not sent to 127.0.0.1: it answered 404"
    assert len(receiver.received) == 1
    kept = json.loads(run.directory.run_json.read_text("utf-8"))
    assert kept["limits"] == noted.limits
    assert SECRET not in json.dumps(kept)


def test_a_redirect_is_not_followed(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answers = [(302, {"location": f"{receiver.url}/elsewhere"}), (200, {})]
    run, record = finished(tmp_path, receiver.url)
    assert "redirects are not followed" in str(beat(run, record).limits["heartbeat"])
    assert receiver.received == [("GET", f"/ping/{SECRET}")]


def test_a_receiver_that_is_gone_is_a_note_and_never_an_error(
    receiver: Receiver, tmp_path: Path
) -> None:
    receiver.shutdown()
    receiver.server_close()
    run, record = finished(tmp_path, receiver.url)
    assert "did not answer" in str(beat(run, record).limits["heartbeat"])
