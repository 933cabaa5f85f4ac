"""The Data Docs of a run: whole, private, built once, and loading nothing from anywhere."""

import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from spooled_samples import NOW, spool, true_rows

from tasks.quality import run_suites
from tasks.run_directory import RunDirectory, create

TABLES = ("ledger", "neon-db", "vercel-blob", "icp-canister")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    # The last four digits once made a date parser of the renderer fail: they look like an offset.
    made = create(tmp_path, "20261123T031500Z-7426")
    for table in TABLES:
        rows = true_rows(table)
        if table == "ledger":
            rows[5]["size_bytes"] = -17
        spool(table, rows, made.ledger if table == "ledger" else made.inventory(table))
    return made


def test_every_table_has_a_page_that_shows_what_failed(directory: RunDirectory) -> None:
    run_suites(directory, now=NOW)
    site = directory.data_docs
    index = (site / "index.html").read_text()
    for table in TABLES:
        page = next((site / "validations" / table).rglob("*.html"))
        assert str(page.relative_to(site)) in index
        assert (site / "expectations" / f"{table}.html").is_file()
    ledger = next((site / "validations" / "ledger").rglob("*.html")).read_text()
    assert "-17" in ledger
    assert "text-danger" in ledger


def test_no_page_loads_or_runs_anything(directory: RunDirectory) -> None:
    run_suites(directory, now=NOW)
    pages = list(directory.data_docs.rglob("*.html"))
    assert len(pages) == 9
    for page in pages:
        text = page.read_text()
        assert "Content-Security-Policy" in text
        assert not re.search(r"<script|<link|<img|(?:src|href)=[\"']?https?:", text)


def test_a_second_attempt_replaces_the_site_and_it_is_private(directory: RunDirectory) -> None:
    run_suites(directory, now=NOW)
    first = sorted(directory.data_docs.rglob("*"))
    run_suites(directory, now=NOW)
    assert sorted(directory.data_docs.rglob("*")) == first
    for path in [directory.data_docs, *first]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_importing_the_module_does_not_import_great_expectations() -> None:
    program = "import sys, tasks.quality, tasks.report; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_nothing_is_printed_and_nothing_is_sent(
    directory: RunDirectory, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    run_suites(directory, now=NOW)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""
