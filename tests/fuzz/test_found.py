"""What fuzzing found once: each of these crashed, or took hours, or read without an end."""

import contextlib
import hashlib
import json
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from evidence_targets import resealed
from recordings import ROOT_KEY, recorded
from text_targets import examine_text

from checks import normal
from checks.errors import MalformedAnswerError, SettingsError, StoreError, UsageError
from checks.normal import BlobAddress, LocationProblem
from edgekeeper.cli.output import Output
from edgekeeper.cli.verify import _check
from tasks import statement
from tasks.blob_names import pathnames
from tasks.log import mask
from tasks.retries import http_date, retry_after
from tasks.settings import ALL_BYTES, MASK, byte_budget, load_settings, masked
from tasks.statement import check_statement
from tasks.stores.blob.answers import BlobVersion
from tasks.stores.icp.evidence import MAX_BYTES, examine, read_kept
from tasks.stores.icp.transport import Transport

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 16 Nov 20261844674407370955 13:32:12 GMT",
        "Mon, 16 Nov 2026 13:32:02 +999999999999",
        "",
    ],
)
def test_a_date_that_makes_no_sense_is_none(date: str) -> None:
    assert http_date(date) is None
    assert retry_after({"retry-after": date}, NOW) is None


def test_a_refused_clock_is_told_from_a_date_without_a_zone_too() -> None:
    transport = Transport.__new__(Transport)
    transport.url = "https://icp-api.io"
    response = httpx.Response(400, headers={"date": "Mon, 16 Nov 2009 13:32:02 -0000"})
    error = transport._error(response, b"Invalid request expiry")
    assert "ahead of the network's" in str(error)


@pytest.mark.parametrize(
    "text",
    ["a" * 200_000, "x://y:" * 30_000, "bearer" + " " * 200_000, "-----BEGIN A " * 15_000,
     "vercel_blob_rw_" * 15_000, "x://y@z:" * 20_000 + "@"],
)  # fmt: skip
def test_a_long_text_is_masked_in_time(text: str) -> None:
    started = time.thread_time()
    mask(text)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:secret@host/db",
        "x://u:secret@a://b:secret@h",
        "1://:se/cret@h",
        "//app:secret@host:5432,b/app",
        "see ftp://u:s@@h",
    ],
)
def test_a_password_in_a_url_is_masked_whatever_stands_around_it(url: str) -> None:
    masked = mask(f"could not reach {url}: try again")
    assert "secret" not in masked
    assert "se/cret" not in masked
    assert MASK in masked
    assert masked.endswith(": try again")


def test_a_home_that_is_a_url_without_its_scheme_is_shown_without_its_password() -> None:
    home = "//app:m4rked@ep-x.neon.tech:5432,b/app?sslmode=verify-full&hostaddr=127.0.0.1"
    assert "m4rked" not in str(masked(load_settings(None, home=home)))


def test_a_token_that_stands_under_a_wrong_name_is_not_shown() -> None:
    assert "m4rked" not in str(masked(load_settings(None, home="vercel_blob_rw_Ab_m4rked")))


@pytest.mark.parametrize("text", ["/* " * 100_000, "service:(" * 100_000, "service:() " * 90_000])
def test_an_interface_that_is_none_is_read_in_time(text: str) -> None:
    started = time.thread_time()
    with pytest.raises(SettingsError):
        examine_text(b"\x02" + text.encode())
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "content",
    [
        {}, {"gallery_id": 5, "verdict": "whole", "finished_at": None},
        {"gallery_id": None, "verdict": [], "finished_at": None},
        {"gallery_id": None, "verdict": "whole", "finished_at": {}},
    ],
)  # fmt: skip
def test_a_statement_that_says_nothing_does_not_hold(
    content: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "statement.json").write_bytes(resealed(content | {"certificates": {}}))
    with pytest.raises(MalformedAnswerError, match="does not say its"):
        check_statement(tmp_path / "statement.json", ROOT_KEY)


@pytest.mark.parametrize("named", [{}, {"certificates": ["a"]}])
def test_a_statement_that_rests_on_nothing_does_not_hold(
    named: dict[str, object], tmp_path: Path
) -> None:
    content = {"gallery_id": None, "verdict": "whole", "finished_at": None, **named}
    (tmp_path / "statement.json").write_bytes(resealed(content))
    with pytest.raises(MalformedAnswerError, match="which certificates it rests on"):
        check_statement(tmp_path / "statement.json", ROOT_KEY)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/dev/zero", "certificates/../../x", "a\0b", "x" * 5_000, ".", ""],
)
def test_a_statement_names_no_other_files_than_its_certificates(name: str, tmp_path: Path) -> None:
    content = {
        "gallery_id": None,
        "verdict": "whole",
        "finished_at": None,
        "certificates": {name: ""},
    }
    (tmp_path / "statement.json").write_bytes(resealed(content))
    with pytest.raises(MalformedAnswerError, match="no kept certificate"):
        check_statement(tmp_path / "statement.json", ROOT_KEY)


def test_a_certificate_that_leads_out_of_the_directory_is_not_read(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").write_bytes(recorded("evidence.cbor")[0])
    digest = hashlib.sha256(elsewhere.read_bytes()).hexdigest()
    name = f"certificates/{'0' * 32}.cbor"
    content = {
        "gallery_id": None,
        "verdict": "whole",
        "finished_at": None,
        "certificates": {name: digest},
    }
    desk = tmp_path / "desk"
    (desk / "certificates").mkdir(parents=True)
    (desk / "statement.json").write_bytes(resealed(content))
    (desk / name).symlink_to(elsewhere)
    assert check_statement(desk / "statement.json", ROOT_KEY).absent == (name,)


def test_of_a_file_without_an_end_no_more_is_read_than_shows_that_it_is_none() -> None:
    data = read_kept(Path("/dev/zero"))
    assert len(data) == MAX_BYTES + 1
    with pytest.raises(MalformedAnswerError, match="more than"):
        examine(data, ROOT_KEY)


def test_of_a_statement_without_an_end_no_more_is_read_than_shows_that_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = recorded("statement.json")
    endless = tmp_path / "statement.json"
    os.mkfifo(endless)
    monkeypatch.setattr(statement, "MAX_BYTES", len(file) - 1)
    writing = threading.Thread(target=_write, args=(endless, file * 10), daemon=True)
    writing.start()
    with pytest.raises(MalformedAnswerError, match="more than"):
        check_statement(endless, ROOT_KEY)
    writing.join(10)


def _write(path: Path, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), path.open("wb") as file:
        file.write(data)


def test_a_root_key_that_is_none_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IC_ROOT_KEY", "00")
    (tmp_path / "a.cbor").write_bytes(recorded("evidence.cbor")[0])
    with pytest.raises(UsageError, match="IC_ROOT_KEY"):
        _check(Output(), tmp_path / "a.cbor")


def test_recorded_evidence_and_its_statement_hold(tmp_path: Path) -> None:
    """The fuzzers begin with what is right: else they would see one refusal a million times."""
    assert all(examine(each, ROOT_KEY).present for each in recorded("evidence*.cbor"))
    (file,) = recorded("statement.json")
    (tmp_path / "statement.json").write_bytes(file)
    assert check_statement(tmp_path / "statement.json", ROOT_KEY).signer
    damaged = json.loads(file)
    damaged["statement"]["verdict"] = "lost"
    (tmp_path / "statement.json").write_text(json.dumps(damaged))
    with pytest.raises(StoreError):
        check_statement(tmp_path / "statement.json", ROOT_KEY)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + "TB", "all"])
def test_more_bytes_than_there_are_is_all(text: str) -> None:
    assert byte_budget(text) == ALL_BYTES


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EDGEKEEPER_HOME", "~nobody-of-this-name/x"), ("EDGEKEEPER_HOME", "s3://b\udcb5cket"),
        ("IC_IDENTITY_PEM", "a\0b"), ("EDGEKEEPER_ICP_CAPSULE", "\udcff"),
        ("EDGEKEEPER_API_TOKEN", "\udcff"), ("EDGEKEEPER_NOTIFY_URL", "slack://a/b, sla\udcffk://c"),
        ("EDGEKEEPER_BLOB_IGNORE", "avatars, rep\udcffrts"),
    ],
)  # fmt: skip
def test_a_value_that_is_no_text_or_leads_nowhere_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        load_settings(None, **{variable: value})


def test_a_settings_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"IC_URL=https://caf\xe9")
    with pytest.raises(SettingsError, match=r"\.env could not be read: it is no text"):
        load_settings(tmp_path / ".env")


def test_a_url_longer_than_any_object_s_is_no_url() -> None:
    own = "https://abcdef123.public.blob.vercel-storage.com/"
    address = BlobAddress("AbCdEf123")
    assert address.pathname(own + "a" * 900, bare=False) == "a" * 900
    long = own + "a%20b/" * 400_000
    assert not address.owns(long)
    assert address.pathname(long, bare=False) is LocationProblem.UNPARSEABLE
    assert pathnames(address, [long]) == [LocationProblem.UNPARSEABLE]


@pytest.mark.parametrize("etag", ['"W/"x@y@2020-01-01"', 'W/W/""x"', '"', '"' * 200_000])
def test_an_etag_is_the_same_after_it_was_written_down(etag: str) -> None:
    version = BlobVersion(normal.etag(etag), datetime(2023, 5, 4, tzinfo=UTC))
    assert BlobVersion.parse(str(version)) == version
    assert BlobVersion.parse(str(version)).is_kept_by(version)
