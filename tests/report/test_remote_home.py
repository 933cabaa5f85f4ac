"""A home on other storage: runs are kept there, and former ones are known on every machine."""

from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest

from checks.errors import SettingsError
from checks.run import RunRecord
from tasks.remote_home import fetch_history, is_remote, keep, report_url
from tasks.run_directory import RunDirectory, create, former_runs, write_text

RUN_ID = "20261123T031500Z-7f3a"


@pytest.fixture
def finished(tmp_path: Path) -> RunDirectory:
    directory = create(tmp_path / "here", RUN_ID)
    directory.write_run(
        RunRecord(
            run_id=RUN_ID, flow="nightly-audit", started_at=datetime(2026, 11, 23, tzinfo=UTC)
        )
    )
    write_text(directory.inventory("neon-db") / "part-00000.parquet", "rows")
    return directory


@pytest.mark.parametrize(
    ("home", "remote"),
    [("/var/lib/x", False), ("file:///x", False), ("s3://b/x", True), ("memory://x", True)],
)
def test_a_url_of_other_storage_is_remote(home: str, *, remote: bool) -> None:
    assert is_remote(home) is remote


def test_a_finished_run_is_kept_whole_and_its_record_comes_back(
    finished: RunDirectory, tmp_path: Path
) -> None:
    home = "memory://kept/runs-of-a-test"
    keep(home, finished)
    system = fsspec.filesystem("memory")
    assert system.cat(f"/kept/runs-of-a-test/runs/{RUN_ID}/inventory/neon-db/part-00000.parquet")
    assert report_url(home, finished) == f"{home}/runs/{RUN_ID}/report.html"

    elsewhere = tmp_path / "another machine"
    fetch_history(home, elsewhere)
    assert [run.run_id for run in former_runs(elsewhere).runs] == [RUN_ID]


def test_a_home_that_holds_nothing_yet_has_no_history(tmp_path: Path) -> None:
    fetch_history("memory://nothing/here", tmp_path)
    assert not former_runs(tmp_path).runs


def test_a_protocol_that_nothing_speaks_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"EDGEKEEPER_HOME.*carrier-pigeon"):
        fetch_history("carrier-pigeon://x", tmp_path)
