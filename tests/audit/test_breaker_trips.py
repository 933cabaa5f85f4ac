"""The breaker over a whole audit: just under and just over its floor, and what a person is told."""

from pathlib import Path

import pytest
from damaged_sandbox import BLOB, Audited, Box

from edgekeeper.cli.output import Output
from edgekeeper.cli.summary import print_run

#: Edges of a memory that exists nowhere: a repair deletes them.
DANGLING = (
    "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present, location) "
    "SELECT gen_random_uuid(), 'image', 'asset', 'vercel-blob', true, 'images/none-' || n "
    "FROM generate_series(1, %s) AS n"
)


def told(done: Audited, home: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the terminal and the page say."""
    capsys.readouterr()
    print_run(Output(), done.record)
    page = (home / "runs" / done.record.run_id / "report.html").read_text("utf-8")
    return capsys.readouterr().out, page


def test_the_floor_may_always_be_taken_away(sound: Box, home: Path) -> None:
    sound.sql(DANGLING, 3)
    done = sound.audit(home, repair="ledger", percent=0.01)
    assert {each.repair for each in done.of("dangling_edge")} == {"applied"}
    assert done.code == 0


def test_one_more_takes_nothing_away_and_says_what_to_look_at(
    sound: Box, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound.sql(DANGLING, 4)
    before = sound.edges(BLOB)
    percent = 100 * 4 / (sum(row[4] for row in before.values()) + 1)  # just under what it would be

    asked = sound.audit(home, percent=percent)
    assert asked.code == 1
    assert {each.repair for each in asked.of("dangling_edge")} == {"proposed"}
    for text in told(asked, home, capsys):
        assert "epairs would be refused: 4 of" in text
        assert "edgekeeper findings --kind dangling_edge" in text

    done = sound.audit(home, repair="ledger", percent=percent)
    assert (done.code, done.record.status) == (3, "inconclusive")
    assert {each.repair for each in done.of("dangling_edge")} == {"refused"}
    assert sound.edges(BLOB) == before
    assert not sound.sql("SELECT FROM audit.repair")
    for text in told(done, home, capsys):
        assert "4 dangling_edge" in text
        assert "--allow-percent" in text

    assert sound.audit(home, repair="ledger", percent=percent * 1.02).code == 0
    assert len(sound.edges(BLOB)) == len(before) - 4
