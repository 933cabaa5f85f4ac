"""The page: it says what to do, escapes everything, runs nothing and stays small."""

import base64
import hashlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import report_samples as samples

from checks.model import StoreState
from checks.run import (
    Checks,
    Coverage,
    Edges,
    GalleryVerdict,
    MemoryVerdict,
    Open,
    Replica,
    RunRecord,
    StoreSummary,
    settled,
    with_findings,
)
from tasks.quality import CheckResult
from tasks.report import trends_of, write_index, write_report
from tasks.report_view import SAMPLE
from tasks.run_directory import RunDirectory, create
from tasks.settings import ALL_BYTES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FAILED_CHECK = CheckResult(
    "ledger", "content_hash_form", "Every content hash is a SHA-256.", passed=False, counts=True,
    rows=9, failed_rows=1, sample=({"edge_id": "edge-7", "content_hash": "ABC"},),
)  # fmt: skip


def page_of(directory: RunDirectory, number: int, **more: object) -> str:
    run, frame = samples.with_sample(number, **more)
    return write_report(directory, run, frame, history=samples.history()).read_text("utf-8")


def headline(page: str) -> str:
    return re.sub(r"<[^>]+>", "", re.search(r"<h1>.*?</h1>", page, re.DOTALL)[0]).strip()


def test_the_page_runs_nothing_loads_nothing_and_its_one_style_is_the_one_allowed(
    directory: RunDirectory,
) -> None:
    page = page_of(directory, 30)
    assert not re.search(
        r"<script|<link|<img|<iframe|\son\w+=|\sstyle=|url\(|@import|https?://(?!ep-x)", page
    )
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    assert page.count("<style") == 1


def test_whatever_a_store_or_a_user_wrote_is_text_and_can_be_seen(directory: RunDirectory) -> None:
    frame = samples.findings(30)
    hostile = "<script>alert(1)</script>\u202egnp.exe\x1b[2J\u200b\u0000{{7*7}}\"'><b>"
    for column in ("location", "explanation", "repair_detail", "memory_id", "backend", "evidence"):
        frame[column] = hostile
    frame["observed"] = '{"<i>x": "<u>\\u202e"}'
    frame["expected"] = "no json <b>"
    run = with_findings(
        samples.record(inconclusive=(hostile,), settings={hostile: hostile}), frame, now=samples.NOW
    )
    check = CheckResult(
        "ledger",
        "x",
        hostile,
        passed=False,
        counts=True,
        rows=1,
        failed_rows=1,
        sample=({hostile: hostile},),
    )
    page = write_report(directory, settled(run), frame, checks=[check]).read_text("utf-8")
    assert "<script" not in page
    assert not re.search("<[biu]>", page)
    assert "{{7*7}}" in page
    assert not set("\u202e\x1b\u200b\x00") & set(page)
    assert r"\u202egnp.exe\x1b[2J\u200b\x00" in page


@pytest.mark.parametrize(
    ("number", "more", "says"),
    [
        (0, {}, "Everything is where the ledger says it is."),
        (30, {}, "memories are at risk."),
        (
            0,
            {
                "stores": {
                    "vercel-blob": StoreSummary(state=StoreState.UNREACHABLE, detail="it timed out")
                }
            },
            "not conclusive",
        ),
        (0, {"error": "the database went away"}, "failed before it could conclude"),
        (0, {"error": "stopped", "interrupted": True}, "was interrupted"),
        (0, {"checks": Checks(passed=1, failed=1)}, "data-quality checks failed"),
        (0, {"gallery": GalleryVerdict(id="g", verdict="not_found")}, "no such gallery"),
        (0, {"gallery": GalleryVerdict(id="g", verdict="empty")}, "is empty"),
    ],
)
def test_the_headline_is_the_verdict(
    directory: RunDirectory, number: int, more: dict[str, object], says: str
) -> None:
    page = page_of(directory, number, **more)
    assert says in headline(page)
    assert ("--resume" in page) is ("error" in more)


def test_a_store_that_was_not_seen_whole_is_named_at_the_top(directory: RunDirectory) -> None:
    store = StoreSummary(state=StoreState.INCOMPLETE, detail="page 3 came twice.")
    page = page_of(directory, 0, stores={"vercel-blob": store})
    assert "Vercel Blob could not be listed whole: page 3 came twice. Nothing was concluded" in page


def one_kind(directory: RunDirectory, change: Callable[[], dict[str, object]]) -> str:
    frame = samples.findings(30)
    frame = frame[(frame["kind"] == "missing") & (frame["repair"] == "proposed")].assign(**change())
    run = settled(with_findings(samples.record(), frame, now=samples.NOW))
    return headline(write_report(directory, run, frame).read_text("utf-8"))


def test_repaired_acknowledged_and_noted_findings_leave_nothing_to_do(
    directory: RunDirectory,
) -> None:
    assert "to be settled" in one_kind(directory, dict)
    assert (
        one_kind(directory, lambda: {"repair": "applied"})
        == "Everything that was found has been repaired."
    )
    later = samples.NOW + timedelta(days=3)
    assert one_kind(directory, lambda: {"acknowledged_until": later}).startswith(
        "Everything is where"
    )
    assert one_kind(directory, lambda: {"severity": "info", "repair": "none"}).startswith(
        "Everything is where"
    )


def test_untracked_before_the_back_fill_is_one_line_with_the_command(
    directory: RunDirectory,
) -> None:
    frame = samples.findings(400).assign(kind="untracked", severity="warning", repair="proposed")
    run = settled(with_findings(samples.record(edges=Edges()), frame, now=samples.NOW))
    page = write_report(directory, run, frame).read_text("utf-8")
    assert "400 artifacts have no row in it" in page
    assert "backfill" in page
    assert "<article>" not in page


def test_a_hundred_thousand_findings_make_a_small_page_at_once(directory: RunDirectory) -> None:
    run, frame = samples.with_sample(100_000)
    start = time.monotonic()
    page = write_report(directory, run, frame).read_text("utf-8")
    assert time.monotonic() - start < 10
    assert len(page) < 600_000
    kinds = frame["kind"].nunique()
    assert page.count("<article>") <= kinds * SAMPLE
    assert "findings.csv" in page
    assert "100\u202f000" in page


def test_the_worst_finding_of_a_kind_is_shown_however_many_there_are(
    directory: RunDirectory,
) -> None:
    frame = samples.findings(500).assign(kind="hash_mismatch", severity="warning")
    frame.loc[471, ["severity", "fingerprint"]] = ["critical", "feedfacefeedface"]
    run = settled(with_findings(samples.record(), frame, now=samples.NOW))
    assert "feedfacefeedface" in write_report(directory, run, frame).read_text("utf-8")


def test_a_gallery_is_shown_memory_by_memory_with_its_evidence(directory: RunDirectory) -> None:
    replica = Replica(
        backend="icp-canister",
        artifact="asset",
        present=True,
        size_bytes=20_000,
        sha256="ab" * 32,
        evidence="certified",
        certificate="certificates/1.cbor",
    )
    memory = MemoryVerdict(
        memory_id="m-1", memory_type="image", verdict="stored_forever", replicas=(replica,)
    )
    gallery = GalleryVerdict(
        id="g-1", title="Oma's <80th>", verdict="stored_forever", memories=(memory,)
    )
    page = page_of(directory, 0, gallery=gallery, flow="verify-gallery")
    assert "Oma&#39;s &lt;80th&gt;" in page
    assert "certificates/1.cbor" in page
    assert "stored forever" in page


def test_a_failed_check_names_its_rows_and_a_run_without_anything_is_a_page_too(
    directory: RunDirectory,
) -> None:
    run, frame = samples.with_sample(0, checks=Checks(passed=1, failed=1))
    page = write_report(directory, run, frame, checks=[FAILED_CHECK]).read_text("utf-8")
    assert "edge-7" in page
    bare = RunRecord(
        run_id=directory.run_id, flow="backfill", started_at=samples.NOW, coverage=Coverage()
    )
    assert "Back-fill" in write_report(directory, bare, frame).read_text("utf-8")


def test_checks_that_failed_without_counting_and_those_that_had_nothing_to_judge_are_told_apart(
    directory: RunDirectory,
) -> None:
    noted = replace(FAILED_CHECK, table="run", check="findings_usual", counts=False)
    unjudged = replace(
        noted, check="run_lately", passed=None, failed_rows=0, sample=(),
        sentence="It ran lately.", unjudged="It is the first run.",
    )  # fmt: skip
    run, frame = samples.with_sample(0, checks=Checks(passed=45, failed=0))
    page = write_report(directory, run, frame, checks=[noted, unjudged]).read_text("utf-8")
    assert headline(page) == "Everything is where the ledger says it is."
    assert "45 checks passed, 0 failed, 1 noted, 1 could not be judged." in page
    assert "It ran lately." in page
    assert "It is the first run." in page


def test_a_clean_page_says_what_its_verdict_rests_on(directory: RunDirectory) -> None:
    page = page_of(directory, 0).replace("\u00a0", " ").replace("\u202f", " ")
    panel = page[page.index("<h1>") : page.index("</header>")]
    assert "328 440 ledger rows were compared with Neon, Vercel Blob, ICP canister." in panel
    assert "The bytes of 76.0 % of the stored copies were read at least once." in panel
    assert "Nothing to do." in panel


def test_what_limited_a_run_is_told_in_its_unit(directory: RunDirectory) -> None:
    limits = {"verify_budget_bytes": 5_000_000_000, "breaker_percent": 1.0}
    page = page_of(directory, 0, limits=limits)
    assert "<dt>verify budget</dt><dd>5.0\u00a0GB</dd>" in page
    assert "<dt>breaker</dt><dd>1\u00a0%</dd>" in page
    unlimited = page_of(directory, 0, limits={"verify_budget_bytes": ALL_BYTES})
    assert "<dt>verify budget</dt><dd>everything</dd>" in unlimited


def test_kinds_that_have_no_room_at_the_top_are_counted_there(directory: RunDirectory) -> None:
    page = page_of(directory, 30)
    assert "3 more kinds of finding to settle" in page[: page.index("</header>")]


def test_the_index_lists_the_runs_newest_first_and_names_the_broken_one(tmp_path: Path) -> None:
    for run in samples.history(3):
        create(tmp_path, run.run_id).write_run(run)
    broken = create(tmp_path, "20261101T031500Z-0bad")
    broken.run_json.write_text("{")
    page = write_index(tmp_path).read_text("utf-8")
    assert "The last audit ended 22" in page
    rows = page[page.index("<tbody>") :]
    assert rows.index("22\u00a0Nov") < rows.index("21\u00a0Nov") < rows.index("20\u00a0Nov")
    assert "20261101T031500Z-0bad" in page
    assert "No audit has been completed yet" in write_index(tmp_path / "runs").read_text("utf-8")


def test_trends_show_the_oldest_run_first_and_never_hide_a_single_finding() -> None:
    newest = samples.record(open=Open(critical=1))
    worst = samples.record(open=Open(critical=9_000))
    critical = trends_of([newest, worst])[0]
    assert (critical.latest, critical.most) == (1, 9_000)
    assert critical.bars[0].height > critical.bars[1].height >= 3


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_a_scroll_bar_to_the_side(
    directory: RunDirectory, tmp_path: Path, width: int
) -> None:
    run, frame = samples.with_sample(2_000)
    page = write_report(directory, run, frame, history=samples.history(), checks=[FAILED_CHECK])
    frame_page = tmp_path / "frame.html"
    frame_page.write_text(
        f'<iframe id="f" src="{page.as_uri()}" style="width:{width}px;height:900px;border:0"></iframe>'
        "<script>f.onload = () => { const d = f.contentDocument.documentElement;"
        " document.title = d.scrollWidth + '/' + getComputedStyle(d.ownerDocument.body).margin"
        " + '/' + d.scrollHeight }</script>"
    )
    done = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
         "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}",
         "--disable-background-networking", "--no-first-run", "--disable-quic",
         "--disable-component-update", "--disable-sync", "--window-size=1400,1000",
         "--virtual-time-budget=4000", frame_page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(\d+)/(\w+)/(\d+)</title>", done.stdout)
    assert title is not None, done.stderr[-2000:]
    assert int(title[1]) <= width
    assert title[2] == "0px"  # the style was accepted by the page's own policy
    assert int(title[3]) > 900


def test_the_page_says_how_much_of_each_store_was_verified_and_how_long_a_round_takes(
    directory: RunDirectory,
) -> None:
    text = page_of(directory, 3).replace("\u00a0", " ")
    assert "70 runs like this one" in text
    assert "61.2 % of copies, 65.3 % of bytes" in text
    assert "Verified within 30 days" in text
