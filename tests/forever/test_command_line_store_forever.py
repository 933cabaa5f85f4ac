"""The program itself: what it prints, what it ends with."""

import json
from pathlib import Path

from damaged_sandbox import Box, command_line
from forever_box import check_stored, not_on_icp


def test_memories_are_stored_from_the_command_line(box: Box, home: Path, prefect_url: str) -> None:
    pairs = not_on_icp(box, limit=2)
    named = [word for i, kind in pairs for word in ("--memory", f"{kind}:{i}")]
    planned = command_line(
        box, home, "store-forever", *named, "--dry-run", PREFECT_API_URL=prefect_url
    )
    assert planned.returncode == 0, planned.stderr
    assert "Would copy" in planned.stdout
    done = command_line(
        box, home, "store-forever", *named, "--json", "-", PREFECT_API_URL=prefect_url
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["flow"], record["status"]) == ("store-forever", "clean")
    assert {m["memory_id"] for m in record["store_forever"]["memories"]} == {p[0] for p in pairs}
    for pair in pairs:
        check_stored(box, pair)


def test_a_call_that_names_nothing_is_refused(box: Box, home: Path) -> None:
    done = command_line(box, home, "store-forever")
    assert done.returncode == 2
    assert "Name what to store" in done.stderr
