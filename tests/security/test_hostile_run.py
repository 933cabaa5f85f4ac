# ruff: noqa: S608 - the tables' names are the sandbox's own
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
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import stamina
import structlog
from listening import http_ok, listener

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import BLOB, ICP, Box, audited, backfilled, settings_variables

from tasks import log
from tasks.settings import Settings

API_TOKEN, HEARTBEAT = "api-token-marked-90412", "heartbeat-marked-key-55021"
SCRIPT = "<script>document.title='it ran'</script><img src=x onerror=\"document.title='it ran'\">"
HOSTILE_NAMES = (
    f"images/{SCRIPT}.jpg", "images/\u202egpj.exe", "images/\u200b{{7*7}}.jpg", '=HYPERLINK("x";"y")',
    "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "images/<table><base href=x>.jpg", "images/$(id)`id`.jpg",
)  # fmt: skip
TITLE = f"{SCRIPT}\x1b[31m\u202e\r\n=1+1"


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

    @property
    def secrets(self) -> list[str]:
        given = self.box.directory.settings()
        pem = Path(given["IC_IDENTITY_PEM"]).read_text().splitlines()[1]
        token = given["BLOB_READ_WRITE_TOKEN"].rpartition("_")[2]
        return [self.box.directory.choices.database_password, token, pem, API_TOKEN, HEARTBEAT]

    def files(self, name: str = "*") -> list[Path]:
        return [path for path in sorted(self.home.rglob(name)) if path.is_file()]


def hostile_urls(store: str, port: int) -> list[str]:
    """URLs that look like the store's own, or lead to where nobody should go."""
    own = f"{store.lower()}.public.blob.vercel-storage.com"
    return [
        "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "javascript:alert(1)",
        f"https://{own}.evil.example/images/a.jpg", f"https://{own}@evil.example/images/a.jpg",
        f"https://evil.example\\@{own}/a.jpg", f"https://{own}:8443/images/a.jpg",
        "https://otherstore.public.blob.vercel-storage.com/a.jpg", f"http://{own}/a.jpg",
        f"https://{own.replace('e', chr(0x435), 1)}/a.jpg", f"http://127.0.0.1:{port}/a.jpg",
        f"http://localhost:{port}/a.jpg", f"//127.0.0.1:{port}/a.jpg", f"http://[::1]:{port}/a.jpg",
        f"http://2130706433:{port}/a.jpg", f"http://127.0.0.1:{port}\t/a.jpg",
        f"https://{own}\u3002evil.example/a.jpg",
    ]  # fmt: skip


def plant(ran: Ran) -> None:
    """Hostile texts in the database, hostile names in the blob store."""
    box = ran.box
    urls = hostile_urls(ran.settings.blob_store_id or "", ran.port)
    for number, url in enumerate(urls):
        place = f"(SELECT id FROM images ORDER BY id OFFSET {number} LIMIT 1)"
        box.sql(f"UPDATE images SET url = %s, title = %s WHERE id = {place}", url, TITLE)
    box.sql("UPDATE users SET image = %s", urls[0])
    box.sql("UPDATE videos SET metadata = %s", json.dumps({"thumbnail": urls[3]}))
    token = ran.settings.blob_token
    assert token is not None
    headers = {"authorization": f"Bearer {token.get_secret_value()}"}
    for name in HOSTILE_NAMES:
        httpx.put(
            f"{ran.settings.blob_api_url}/",
            params={"pathname": name},
            content=b"x",
            headers=headers,
        ).raise_for_status()


def play(ran: Ran) -> None:
    """A back-fill, an audit that reads and repairs, and audits of stores that misbehave."""
    plant(ran)
    backfilled(ran.settings)
    for number, url in enumerate(hostile_urls(ran.settings.blob_store_id or "", ran.port)):
        place = f"(SELECT id FROM storage_edges WHERE backend = '{BLOB}' ORDER BY id OFFSET {number} LIMIT 1)"
        ran.box.sql(f"UPDATE storage_edges SET location = %s WHERE id = {place}", url)
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
    away = {"location": f"http://127.0.0.1:{ran.port}/stolen"}
    moved = {"status": 307, "body": "", "headers": away}
    ran.box.fault(BLOB, "status", moved, method="GET")
    ran.box.fault(ICP, "status", moved, method="POST")
    audited(ran.settings, verify="all")
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
    tables = ran.box.sql(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables "
        "WHERE schemaname IN ('audit', 'public')"
    )
    assert len(tables) > 10
    for (table,) in tables:
        for (text,) in ran.box.sql(f"SELECT t::text FROM {table} t"):
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


class _Parts(HTMLParser):
    """The elements of a page that could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        odd = [
            name for name, value in attrs
            if name.startswith("on") or re.match(r"\s*(javascript|data|https?):", value or "")
        ]  # fmt: skip
        if tag in ("script", "img", "iframe", "object", "embed", "base") or odd:
            self.active.append(f"{tag} {odd}")


def test_nothing_a_stranger_wrote_is_an_element_of_any_page(ran: Ran) -> None:
    pages = ran.files("*.html")
    assert len(pages) > 3
    shown = 0
    for path in pages:
        text = path.read_text("utf-8")
        parts = _Parts()
        parts.feed(text)
        assert not parts.active, path
        assert not set("\u202e\x1b\u200b\x07") & set(text), path
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
    assert not set("\x1b\u202e\u200b") & set(terminal)


def test_hostile_names_were_listed(ran: Ran) -> None:
    tables = [pq.read_table(path).to_pylist() for path in ran.files("findings.parquet")]
    assert set(HOSTILE_NAMES) <= {row["location"] for table in tables for row in table}
