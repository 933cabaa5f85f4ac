# ruff: noqa: S608 - the tables' names are the sandbox's own
"""Rows that nobody expected become findings; none of them ends an audit."""

from pathlib import Path

import pytest
from damaged_sandbox import BLOB, ICP, Box

HUGE = 2**62
ODD_URLS = (
    None, "", "   ", "/relative.jpg", "images/x.jpg", "https://elsewhere.example/x.jpg",
    "http://127.0.0.1:1/x.jpg", "javascript:alert(1)", "data:text/html,<script>", "https://[::1",
    "https://user:secret@127.0.0.1/x", "ftp://x/y", "//x/y", "https://x\\y", "%00%01", "\x01\x1b[31m",
    "https://x/" + "a" * 5_000, "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "ünï/çødé.jpg", "🎉",
)  # fmt: skip
ODD_LOCATIONS = (
    *ODD_URLS, "icp://", "icp://a", "icp://a/b/c", "icp:///x", "vercel-blob:x", "a//b", "../x",
)  # fmt: skip
ODD_TEXT = "x\x01\x1b[31m\n\t\\u0000 \\x00 " + "é" * 10 + "🎉'\";--<script>"


def ids(box: Box, table: str, count: int) -> list[str]:
    return [str(row[0]) for row in box.sql(f'SELECT id FROM "{table}" ORDER BY id LIMIT {count}')]


def test_no_row_is_too_odd_for_an_audit(sound: Box, home: Path) -> None:
    images = sound.directory.tables.memories["image"]
    notes = sound.directory.tables.memories["note"]
    rows = ids(sound, images, len(ODD_URLS) + len(ODD_LOCATIONS))
    for memory_id, url in zip(rows, ODD_URLS, strict=False):
        sound.sql(f'UPDATE "{images}" SET url = %s WHERE id = %s', url, memory_id)
    edge = (
        "UPDATE storage_edges SET location = %s WHERE memory_id = %s "
        "AND artifact = 'asset' AND backend = %s::backend_t"
    )
    for memory_id, location in zip(rows[len(ODD_URLS) :], ODD_LOCATIONS, strict=True):
        for backend in (BLOB, ICP):
            sound.sql(edge, location, memory_id, backend)
    sound.sql(f'UPDATE "{images}" SET title = %s WHERE id = %s', "x" * 1_000_000, rows[0])
    sound.sql(f'UPDATE "{images}" SET title = %s WHERE id = %s', ODD_TEXT, rows[1])
    for number, memory_id in enumerate(ids(sound, notes, 3)):
        sound.sql(f'UPDATE "{notes}" SET content = %s WHERE id = %s', ODD_TEXT * number, memory_id)
    times = ("infinity", "-infinity", "0001-01-01", "99999-01-01", None)
    for number, at in enumerate(times):
        sound.sql(
            "UPDATE storage_edges SET updated_at = %s::timestamp, created_at = %s::timestamp, "
            "last_synced_at = %s::timestamp WHERE id IN "
            f"(SELECT id FROM storage_edges ORDER BY id OFFSET {number} LIMIT 1)",
            at, at, at,
        )  # fmt: skip
    for number, size in enumerate((HUGE, -1, 0)):
        sound.sql(
            "UPDATE storage_edges SET size_bytes = %s, content_hash = %s, sync_error = %s "
            f"WHERE id IN (SELECT id FROM storage_edges ORDER BY id OFFSET {10 + number} LIMIT 1)",
            size, ODD_TEXT, ODD_TEXT,
        )  # fmt: skip
    sound.sql(f"UPDATE \"{images}\" SET created_at = 'infinity' WHERE id = %s", rows[2])
    sound.sql(f"UPDATE \"{images}\" SET created_at = '-infinity' WHERE id = %s", rows[3])
    done = sound.audit(home, repair="ledger", verify="300000")
    assert done.code == 1
    found = done.of("invalid_location")
    bad_urls = {
        each.memory_id for each in found if each.memory_id in rows[: len(ODD_URLS)]
    }  # fmt: skip
    assert bad_urls == set(rows[: len(ODD_URLS)])
    assert not done.of("lost")
    assert not done.record.repairs.failed
    run = home / "runs" / done.record.run_id
    assert "\x1b" not in (run / "report.html").read_text("utf-8")
    again = sound.audit(home, repair="ledger")
    assert not again.record.repairs.applied + again.record.repairs.failed


@pytest.mark.parametrize("name", ["metadata", "image"])
def test_references_that_are_no_references_are_passed_over(
    name: str, sound: Box, home: Path
) -> None:
    tables = sound.directory.tables
    if name == "metadata":
        for number, value in enumerate(('{"thumbnail": 7}', '"\\u00e9"', "[1]", "null", '"{"')):
            sound.sql(
                f'UPDATE "{tables.memories["video"]}" SET metadata = %s::jsonb WHERE id IN '
                f'(SELECT id FROM "{tables.memories["video"]}" ORDER BY id OFFSET {number} LIMIT 1)',
                value,
            )
    else:
        sound.sql(f'UPDATE "{tables.users}" SET image = %s', "\x07not a url")
    done = sound.audit(home)
    assert set(done.kinds) <= {"orphaned", "unclassified"}  # thumbnails and avatars that were lost


def test_a_canister_memory_that_comes_twice_counts_once(sound: Box, home: Path) -> None:
    sound.fault(ICP, "duplicate_page", 0, canister_method="memories_list")
    done = sound.audit(home)
    assert done.record.stores[ICP].state == "complete"
    assert not done.kinds


def test_a_blob_that_is_listed_twice_counts_once(sound: Box, home: Path) -> None:
    sound.fault(BLOB, "duplicate_page", 0)
    done = sound.audit(home)
    assert done.record.stores[BLOB].state == "complete"
    assert not done.kinds
