"""One way of showing what can't be seen, for pages, terminals and spreadsheets."""

import base64
import logging
import shlex
from pathlib import Path

import pyarrow as pa
import pytest
from leaks import Marks

from checks.kinds import filled
from tasks import log
from tasks.settings import MASK, load_settings, masked
from tasks.spreadsheet import cell

PASSWORD = "marked-password"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\u00a0+", "\uff1d", "\uff20"])
def test_a_cell_that_a_spreadsheet_would_run_is_led_by_an_apostrophe(start: str) -> None:
    assert cell(f"{start}1+1").startswith("'")
    assert cell(f"1{start}").startswith("1")


@pytest.mark.parametrize("start", ["\t", "\r", "\n", "\x1b", "\u202e", "\u200b"])
def test_what_can_not_be_seen_is_an_escape_in_a_cell(start: str) -> None:
    text = cell(f"{start}=1+1")
    assert text.isprintable()
    assert text.startswith("\\")


def test_a_number_and_nothing_stay_what_they_are() -> None:
    assert [cell(each) for each in (-5, 1.5, None, True)] == ["-5", "1.5", "", "True"]


def test_an_id_can_not_break_out_of_the_command_that_is_to_be_copied() -> None:
    hostile = "x; rm -rf ~ #`id`$(id)"
    command = filled("edgekeeper presence memory {memory_type} {memory_id}", memory_type="image",
                     memory_id=hostile)  # fmt: skip
    assert shlex.split(command) == ["edgekeeper", "presence", "memory", "image", hostile]
    plain = filled("edgekeeper resolve {fingerprint}", fingerprint="0123456789abcdef")
    assert plain == "edgekeeper resolve 0123456789abcdef"


def test_a_password_in_the_home_s_url_is_shown_nowhere() -> None:
    settings = load_settings(None, home=f"sftp://me:{PASSWORD}@host/path")
    assert PASSWORD not in str(masked(settings))
    log.protect(settings)
    try:
        assert PASSWORD not in log.mask(f"could not reach {PASSWORD}")
    finally:
        log._sinks.secrets = ()


def test_the_parts_of_secrets_are_secrets_and_in_every_encoding() -> None:
    settings = load_settings(
        None, heartbeat_url="https://hc-ping.com/ping/3f2a0c1e-5b7d-4e8f", api_token='a"token with=signs',
        notify_url="slack://TokenA1234/TokenB1234/TokenC1234", blob_token="vercel_blob_rw_ab_lastpart",
    )  # fmt: skip
    log.protect(settings)
    try:
        said = log.mask(
            "3f2a0c1e-5b7d-4e8f TokenA1234 TokenB1234 lastpart a%22token%20with%3Dsigns "
            r'{"x": "a\"token with=signs"} https://hc-ping.com is down'
        )
    finally:
        log._sinks.secrets = ()
    assert (
        said == f'{MASK} {MASK} {MASK} {MASK} {MASK} {{"x": "{MASK}"}} https://hc-ping.com is down'
    )


def test_a_secret_in_hex_or_base64_is_one_and_so_is_half_of_it() -> None:
    secret = "Kq7-a-marked/secret+of-34-letters"
    log.protect(load_settings(None, api_token=secret))
    encoded = [f(f"{before}{secret}:z".encode()).decode() for before in ("", "m", "me:")
               for f in (base64.b64encode, base64.urlsafe_b64encode)]  # fmt: skip
    cut = (f"{secret[:20]} … {secret[-14:]}", f"{secret[:-1]}", f"{secret[1:]}")
    try:
        said = [log.mask(each) for each in (*encoded, secret.encode().hex(), *cut)]
        tables = [pa.table({"said": [each]}) for each in (*encoded, secret.encode().hex(), *cut)]
        columns = [log.mask_table(table)["said"].to_pylist() for table in tables]
        assert log.mask("Kq7-a-marke, a word") == "Kq7-a-marke, a word"
    finally:
        log._sinks.secrets = ()
    assert columns == [[each] for each in said]
    assert not Marks({"token": secret}).found_in(" ".join(said).encode())
    assert said[-3:] == [f"{MASK} … {MASK}", MASK, MASK]


def test_the_path_of_an_identity_is_no_secret_and_its_neighbours_are_shown(tmp_path: Path) -> None:
    pem = tmp_path / "sandbox" / "identity.pem"
    report = f"Report: {tmp_path}/sandbox/home/runs/report.html"
    pem.parent.mkdir()
    said = []
    for _ in range(2):  # what is no file may be a key that was pasted without its first line
        log.protect(load_settings(None, identity_pem=str(pem)))
        said.append(log.mask(report))
        log._sinks.secrets = ()
        pem.touch()
    assert said[0] != report
    assert said[1] == report


def test_what_a_library_logs_is_masked_before_any_handler_sees_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log.protect(load_settings(None, api_token="marked-api-token"))
    logger = logging.getLogger("some.library")
    error = RuntimeError("refused marked-api-token")
    told = ("http://u:secretword@h", "marked-api-token")
    try:
        logger.error("asked %s with %s\nforged", *told, exc_info=(type(error), error, None))
    finally:
        log._sinks.secrets = ()
    assert "marked-api-token" not in caplog.text
    assert "secretword" not in caplog.text
    assert "\nforged" not in caplog.text
    assert "RuntimeError: refused" in caplog.text
