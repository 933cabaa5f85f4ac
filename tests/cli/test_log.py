"""What leaves the log: no secret, no control character, one line for each event."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tasks import log
from tasks.settings import load_settings


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    text = io.StringIO()
    log.configure(level="info", stream=text)
    yield text
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def test_no_configured_secret_and_nothing_like_one_is_logged(
    stream: io.StringIO, tmp_path: Path
) -> None:
    settings = load_settings(
        None,
        database_url="postgresql://app:p%40ss-word@127.0.0.1/db",
        api_token="averylongbearertoken",
    )
    log.protect(settings)
    log.open_run_log(tmp_path / "log.jsonl", "20261123T031500Z-7f3a")
    structlog.get_logger("test").warning(
        "store_refused",
        url="postgresql://other:unknownsecret@host/db",
        header={"authorization": "Bearer unknown.token.value"},
        told=["averylongbearertoken", "p%40ss-word", "p@ss-word"],
        token="vercel_blob_rw_abc_topsecret",
    )
    written = stream.getvalue() + (tmp_path / "log.jsonl").read_text("utf-8")
    for secret in ("unknownsecret", "unknown.token.value", "averylongbearertoken", "ss-word",
                   "topsecret"):  # fmt: skip
        assert secret not in written
    event = json.loads((tmp_path / "log.jsonl").read_text("utf-8"))
    assert event["event"] == "store_refused"
    assert event["run_id"] == "20261123T031500Z-7f3a"
    assert event["level"] == "warning"


def test_a_file_name_can_neither_drive_the_terminal_nor_forge_a_line(stream: io.StringIO) -> None:
    structlog.get_logger("test").warning("object_odd", location="a\x1b[2Jb\nerror: forged\u202e")
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert "\x1b" not in written
    assert "\u202e" not in written


def test_events_below_the_level_go_to_the_file_alone(stream: io.StringIO, tmp_path: Path) -> None:
    log.open_log(tmp_path / "log.jsonl")
    structlog.get_logger("test").debug("page_read", number=7)
    assert stream.getvalue() == ""
    assert json.loads((tmp_path / "log.jsonl").read_text("utf-8"))["number"] == 7
