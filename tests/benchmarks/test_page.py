"""The page of benchmarks shows what is kept beside it, and nothing else is changed in it."""

import json
import shutil
from pathlib import Path

from benchmarks.__main__ import BENCHMARKS
from benchmarks.results import write_page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_tables_are_those_of_the_measurements(tmp_path: Path) -> None:
    page = Path(shutil.copy(DOCS / "benchmarks.md", tmp_path))
    results = json.loads((DOCS / "benchmarks.json").read_bytes())
    write_page(page, list(BENCHMARKS.values()), results)
    assert page.read_text("utf-8") == (DOCS / "benchmarks.md").read_text("utf-8")
    for name in results:
        assert f"<!-- measured: {name} -->\n" in page.read_text("utf-8")
