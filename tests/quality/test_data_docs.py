"""The Data Docs of a run: whole, private, built once, and loading nothing from anywhere."""

import re
import socket
import stat
import subprocess
import sys

import pytest
from spooled_samples import NOW, spool, true_rows

from checks.suites import MODULES, Limits
from tasks.quality import folders, run_suites, write_data_docs
from tasks.run_directory import RunDirectory, create

LIMITS = Limits.at(NOW)


def written(directory: RunDirectory) -> None:
    write_data_docs(directory, run_suites(directory, LIMITS), LIMITS, NOW)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with its site."""
    # The last four digits once made a date parser of the renderer fail: they look like an offset.
    made = create(tmp_path_factory.mktemp("home"), "20261123T031500Z-7426")
    for table, folder in folders(made).items():
        rows = true_rows(table)
        if table == "ledger":
            rows[5]["size_bytes"] = -17
        if table == "vercel-blob":
            rows[3]["location"] = '/<meta http-equiv="refresh" content="0;url=//evil.example">.jpg'
        if table == "run":
            rows[0]["value"] = 1_234.5
            rows = rows[:4]  # nothing is known of how often audits run
        spool(table, rows, folder)
    written(made)
    return made


def test_every_table_has_a_page_that_shows_what_failed(made: RunDirectory) -> None:
    site = made.data_docs
    index = (site / "index.html").read_text()
    for table in MODULES:
        page = next((site / "validations" / table).rglob("*.html"))
        assert str(page.relative_to(site)) in index
        assert (site / "expectations" / f"{table}.html").is_file()
    ledger = next((site / "validations" / "ledger").rglob("*.html")).read_text()
    assert "size bytes: -17, edge id: " in ledger
    assert "text-danger" in ledger
    assert (
        "of: all kinds, value: 1234.5"
        in next((site / "validations" / "run").rglob("*.html")).read_text()
    )
    assert "Not judged" in index
    assert "what is usual is not known" in index


def test_no_page_loads_or_runs_anything(made: RunDirectory) -> None:
    pages = list(made.data_docs.rglob("*.html"))
    assert len(pages) == 15
    for page in pages:
        text = page.read_text()
        assert "Content-Security-Policy" in text
        assert not re.search(r"<script|<link|<img|(?:src|href)=[\"']?https?:", text)
        assert not re.search(r"<[^>]*\son[a-z]+=", text)


def test_what_strangers_wrote_is_no_more_than_text(made: RunDirectory) -> None:
    page = next((made.data_docs / "validations" / "vercel-blob").rglob("*.html")).read_text()
    assert "&lt;meta http-equiv" in page
    assert 'content="0;url' not in page


def test_a_second_attempt_replaces_the_site_and_it_is_private(made: RunDirectory) -> None:
    first = sorted(made.data_docs.rglob("*"))
    written(made)
    assert sorted(made.data_docs.rglob("*")) == first
    for path in [made.data_docs, *first]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_importing_the_module_does_not_import_great_expectations() -> None:
    program = "import sys, tasks.quality, tasks.report; print('great_expectations' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_nothing_is_printed_and_nothing_is_sent(
    made: RunDirectory, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    written(made)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""
