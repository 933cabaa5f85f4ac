"""The pages in a real browser: quiet, no wider than a phone, nothing that axe-core calls serious."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import report_samples as samples

from checks.suites import Limits
from tasks.at_risk import AT_RISK
from tasks.changes import Changes
from tasks.quality import CheckResult, folders, run_suites, write_data_docs
from tasks.report import write_index, write_report
from tasks.run_directory import RunDirectory, create

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "quality"))

from spooled_samples import NOW, spool, true_rows  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed"),
    pytest.mark.skipif(
        not (HERE / "js" / "node_modules" / "axe-core").is_dir(),
        reason="axe-core is not installed: npm ci in tests/report/js",
    ),
]


def changes_of(frame: pd.DataFrame) -> Changes:
    """Changes of every sort among some findings."""
    third = len(frame) // 3
    return Changes(
        since=samples.history(2)[1],
        new=frame.head(third),
        worse=frame.iloc[third : third + 4].assign(severity_before="warning"),
        resolved=frame.tail(third),
    )


def risk_of(frame: pd.DataFrame) -> pd.DataFrame:
    """A few hundred owners and galleries with something at risk."""
    chosen = frame[frame["memory_id"].notna()].head(900)
    number = pd.Series(range(len(chosen)), index=chosen.index)
    return pd.DataFrame(
        {
            "owner_id": "00000000-0000-4000-8000-" + (number % 170).map("{:012d}".format),
            "gallery_id": "00000000-0000-4000-9000-" + (number % 90).map("{:012d}".format),
            "memory_type": chosen["memory_type"], "memory_id": chosen["memory_id"],
            "severity": chosen["severity"], "kinds": chosen["kind"],
        },
        columns=AT_RISK,
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Reports with none, thirty and a hundred thousand findings, the index, and Data Docs."""
    home = tmp_path_factory.mktemp("home")
    for run in samples.history(90):
        create(home, run.run_id).write_run(run)
    found = []
    for number in (0, 30, 100_000):
        directory = create(home, f"20261124T0315{number % 60:02d}Z-{number:06x}")
        run, frame = samples.with_sample(number, run_id=directory.run_id)
        directory.write_run(run)
        changes = changes_of(frame) if number else None
        risk = risk_of(frame) if number else None
        checks = checked(directory) if number else []
        found.append(
            write_report(
                directory, run, frame, history=samples.history(90), changes=changes, risk=risk,
                checks=checks,
            )
        )  # fmt: skip
    site = directory.data_docs
    results = next((site / "validations" / "ledger").rglob("*.html"))
    return [*found, write_index(home), site / "index.html", results]


def checked(directory: RunDirectory) -> list[CheckResult]:
    """Checks of every outcome, and their Data Docs."""
    for table, folder in folders(directory).items():
        rows = true_rows(table)
        if table == "ledger":
            rows[5]["size_bytes"] = -17
        if table == "gallery-items":
            rows[2]["tracked"] = False
        spool(table, rows[:4] if table == "run" else rows, folder)
    results = run_suites(directory, Limits.at(NOW))
    write_data_docs(directory, results, Limits.at(NOW), NOW)
    return results


@pytest.mark.timeout(600)
def test_every_page_is_quiet_fits_a_phone_and_is_accessible(
    pages: list[Path], tmp_path: Path
) -> None:
    out = Path(os.environ.get("EDGEKEEPER_SCREENSHOTS") or tmp_path)
    done = subprocess.run(
        ["node", str(HERE / "js" / "look.mjs"), str(CHROMIUM), str(out),
         *(page.as_uri() for page in pages)],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout)
    assert len(seen) == 2 * len(pages)
    assert len(list(out.glob("*.png"))) >= len(seen)
    for look in seen:
        where = f"{look['url']} ({look['view']})"
        assert look["errors"] == [], where
        assert look["scrollWidth"] <= look["width"], where
        grave = [each for each in look["violations"] if each["impact"] in ("serious", "critical")]
        assert grave == [], where
