"""Hostile rows, names and answers through a back-fill and audits: nothing leaks, runs or is fetched."""

import csv
import json
import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import stamina
import structlog
from listening import http_ok, listener

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import (
    BLOB,
    ICP,
    Box,
    audited,
    backfilled,
    settings_variables,
    verified,
)
from hostile_collection import HOSTILE_NAMES, INVISIBLE, TITLE, Parts, plant, plant_locations

from checks.run import RunRecord, exit_code
from tasks import log
from tasks.settings import Settings

API_TOKEN, HEARTBEAT = "api-token-marked-90412", "heartbeat-marked-key-55021"


@dataclass
class Ran:
    """What was left, and whom the process turned to."""

    box: Box
    home: Path
    port: int
    settings: Settings
    heard: list[bytes] = field(default_factory=list)
    asked: set[tuple[str, Any]] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    verified: list[RunRecord] = field(default_factory=list)
    unread: list[Any] = field(default_factory=list)

    @property
    def secrets(self) -> list[str]:
        given = self.box.directory.settings()
        pem = Path(given["IC_IDENTITY_PEM"]).read_text().splitlines()[1]
        token = given["BLOB_READ_WRITE_TOKEN"].rpartition("_")[2]
        return [self.box.directory.choices.database_password, token, pem, API_TOKEN, HEARTBEAT]

    def files(self, name: str = "*") -> list[Path]:
        return [path for path in sorted(self.home.rglob(name)) if path.is_file()]


def play(ran: Ran) -> None:
    """A back-fill, an audit that reads and repairs, and audits of stores that misbehave."""
    gallery = plant(ran.box, ran.settings, ran.port)
    backfilled(ran.settings)
    plant_locations(ran.box, ran.settings, ran.port)
    ran.verified.append(verified(ran.settings, gallery))
    audited(ran.settings, repair="ledger", verify="all")
    given = ran.box.directory.settings()
    said = (
        f"authorization: Bearer {given['BLOB_READ_WRITE_TOKEN']} from {given['DATABASE_URL']} and "
        f"{API_TOKEN}\n2026-11-23 ERROR forged \x1b[31m"
    )
    body = {"error": {"code": "bad_request", "message": said}}
    ran.box.fault(BLOB, "status", {"status": 400, "body": body}, path_regex="/api/blob")
    audited(ran.settings)
    ran.box.revive()
    ran.box.fault(BLOB, "status", {"status": 400, "body": body}, path_regex="^/(images|videos)/")
    ran.unread = audited(ran.settings, verify="all").of("unverifiable")
    ran.box.revive()
    away = {"location": f"http://127.0.0.1:{ran.port}/stolen"}
    moved = {"status": 307, "body": "", "headers": away}
    ran.box.fault(BLOB, "status", moved, method="GET")
    ran.box.fault(ICP, "status", moved, method="POST")
    audited(ran.settings, verify="all")
    ran.verified.append(verified(ran.settings, gallery))
    log.open_log(ran.home / "log.jsonl")
    structlog.get_logger("a store").warning("refused", reason=said, names=[*HOSTILE_NAMES, TITLE])
    log.close_log()


_watching: list[Ran] = []


def _witness(event: str, arguments: Any) -> None:
    """Sees every connection, look-up of a name and opening of a file that Python makes."""
    for ran in _watching:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            ran.asked.add(arguments[1][:2])
        elif event == "socket.getaddrinfo":
            ran.asked.add((str(arguments[0]), arguments[1]))
        elif event == "open" and str(arguments[0]).startswith("/etc/passwd"):
            ran.opened.add(str(arguments[0]))


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    kept = tempfile.TemporaryDirectory(prefix="edgekeeper-hostile-", ignore_cleanup_errors=True)
    mask, factory = os.umask(0o022), logging.getLogRecordFactory()
    with kept as top, listener(http_ok) as visits, pytest.MonkeyPatch.context() as patch:
        for name in settings_variables():
            patch.delenv(name, raising=False)
        box = Box.started(Path(top) / "sandbox").fill(60, 3, None)
        box.sql("TRUNCATE storage_edges")
        home = Path(top) / "home"
        beat = f"http://127.0.0.1:{visits.port}/{HEARTBEAT}"
        settings = box.settings(
            home, EDGEKEEPER_API_TOKEN=API_TOKEN, EDGEKEEPER_HEARTBEAT_URL=beat,
            EDGEKEEPER_GRACE_MINUTES="0",
        )  # fmt: skip
        done = Ran(box, home, visits.port, settings)
        sys.addaudithook(_witness)
        _watching.append(done)
        log.configure(level="debug", stream=(Path(top) / "terminal.txt").open("w"))
        try:
            with stamina.set_testing(True, attempts=2, cap=True):
                play(done)
            _watching.clear()
            done.heard = visits.said
            yield done
        finally:
            _watching.clear()
            log._sinks.secrets = ()
            log.configure()
            logging.setLogRecordFactory(factory)
            os.umask(mask)
            box.stop()


def test_no_secret_is_in_any_file_or_on_the_terminal(ran: Ran) -> None:
    terminal = ran.home.parent / "terminal.txt"
    for path in (*ran.files(), terminal):
        text = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            text += str(pq.read_table(path).to_pylist())
        for secret in ran.secrets:
            assert secret not in text, path
    names = {path.name for path in ran.files()}
    assert {"log.jsonl", "run.json", "report.html", "findings.csv", "findings.parquet"} <= names
    assert any("***" in path.read_text() for path in ran.files("run.json")), "one repeated them"


def test_no_secret_is_in_the_database(ran: Ran) -> None:
    assert any("***" in each.explanation for each in ran.unread), (
        "what was said of an object is told"
    )
    tables = ran.box.sql(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
        "WHERE schemaname IN ('audit', 'public')"
    )
    assert len(tables) > 10
    for (table,) in tables:
        for (text,) in ran.box.sql(f"SELECT t::text FROM {table} t"):  # noqa: S608 - the catalog's
            assert not any(secret in text for secret in ran.secrets), table


def test_everything_that_is_left_is_its_owner_s_alone(ran: Ran) -> None:
    assert len(ran.files()) > 20
    for path in ran.home.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_no_url_of_a_row_and_no_redirect_was_followed(ran: Ran) -> None:
    choices = ran.box.directory.choices
    stores = {choices.blob_port, choices.icp_port}
    assert stores <= {port for _, port in ran.asked}, "the witness saw the stores asked"
    assert {str(host) for host, _ in ran.asked} <= {"127.0.0.1", "b'127.0.0.1'"}
    assert ran.port not in {port for _, port in ran.asked}
    assert not ran.heard
    assert not ran.opened


def test_a_gallery_of_urls_that_lead_elsewhere_is_verified_without_them(ran: Ran) -> None:
    first, redirected = ran.verified
    for record in (first, redirected):
        assert record.gallery is not None
        assert len(record.gallery.memories) == 17
        blobs = [each for memory in record.gallery.memories for each in memory.replicas
                 if each.backend == BLOB and each.artifact == "asset"]  # fmt: skip
        assert not [each for each in blobs if each.sha256], (
            "no byte was read that is not the store's"
        )
    assert {each.kind for each in first.findings} >= {"invalid_location"}
    assert exit_code(redirected) == 3


def test_nothing_a_stranger_wrote_is_an_element_of_any_page(ran: Ran) -> None:
    pages = ran.files("*.html")
    assert len(pages) > 3
    shown = 0
    for path in pages:
        text = path.read_text("utf-8")
        parts = Parts()
        parts.feed(text)
        assert not parts.active, path
        assert not INVISIBLE & set(text), path
        shown += "it ran" in text
    assert shown, "the hostile names are shown, as text"


def test_no_cell_is_a_formula_and_none_can_break_out(ran: Ran) -> None:
    led = 0
    for path in ran.files("findings.csv"):
        text = path.read_text("utf-8")
        assert not set("\x1b\u202e\u200b\t") & set(text)
        for row in csv.reader(text.splitlines()):
            assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "-", "@"))]
            led += sum(cell.startswith("'") for cell in row)
        assert all(line.startswith('"') and line.endswith('"') for line in text.splitlines())
    assert led >= 4


def test_no_line_of_a_log_is_forged(ran: Ran) -> None:
    lines = [line for path in ran.files("log.jsonl") for line in path.read_text().splitlines()]
    events = [json.loads(line)["event"] for line in lines]
    assert events.count("refused") == 1, "the event is one line, whatever it holds"
    assert all(line.isascii() for line in lines)
    terminal = (ran.home.parent / "terminal.txt").read_text("utf-8")
    assert terminal.count("warning: refused ") == 1
    assert not re.search(r"(?m)^2026-11-23 ERROR", terminal)
    assert not INVISIBLE & set(terminal)


def test_hostile_names_were_listed(ran: Ran) -> None:
    tables = [pq.read_table(path).to_pylist() for path in ran.files("findings.parquet")]
    assert set(HOSTILE_NAMES) <= {row["location"] for table in tables for row in table}
