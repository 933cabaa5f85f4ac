"""A run that repaired and is reverted leaves the ledger as it was, row for row."""

from collections.abc import Callable
from pathlib import Path

import pytest
from damaged_sandbox import Box, command_line, reverted

from tasks.database import connect
from tasks.journal import revert_run


@pytest.fixture(scope="module")
def whole(new_box: Callable[[str], Box]) -> Box:
    """A sandbox with every kind of damage that there is."""
    box = new_box("reverted").fill(300, 3, "all")
    box.keep()
    return box


@pytest.mark.timeout(900)  # seconds on an idle machine
def test_every_kind_of_repair_is_put_back_and_what_was_changed_since_is_left(
    whole: Box, home: Path
) -> None:
    before = whole.edges(physical=False)
    done = whole.audit(home, repair="ledger", verify="all")
    mended = whole.edges(physical=False)
    assert {row[0] for row in whole.sql("SELECT DISTINCT action FROM audit.repair")} == {
        "insert", "update", "delete",
    }  # fmt: skip

    changed, inserted = (_repaired(whole, action) for action in ("update", "insert"))
    whole.sql("UPDATE storage_edges SET sync_error = 'the app' WHERE id::text = %s", changed)
    whole.sql("DELETE FROM storage_edges WHERE id::text = %s", inserted)
    with connect(whole.directory.database_url) as conn:
        dry = revert_run(conn, done.record.run_id, dry_run=True)
    report = reverted(whole, done.record.run_id)
    for each in (dry, report):
        assert {left.edge_id for left in each.left} == {changed, inserted}
        assert each.reverted == len(_journal(whole)) - 2
    after = whole.edges(physical=False)
    assert after.pop(changed) == (*mended[changed][:10], "the app", mended[changed][11])
    assert after == {edge: row for edge, row in before.items() if edge != changed}

    told = command_line(whole, home, "revert", done.record.run_id)
    assert told.returncode == 1
    assert changed in told.stdout
    assert inserted in told.stdout

    whole.sql("UPDATE storage_edges SET sync_error = %s WHERE id::text = %s",
              mended[changed][10], changed)  # fmt: skip
    assert reverted(whole, done.record.run_id).reverted == 1
    assert whole.edges(physical=False) == before


def _repaired(box: Box, action: str) -> str:
    """An edge that the run changed only once."""
    (row,) = box.sql(
        "SELECT min(edge_id) FROM (SELECT edge_id, min(action) AS action FROM audit.repair "
        "GROUP BY edge_id HAVING count(*) = 1) AS once WHERE action = %s", action,
    )  # fmt: skip
    return str(row[0])


def _journal(box: Box) -> list[object]:
    return list(box.sql("SELECT id FROM audit.repair"))
