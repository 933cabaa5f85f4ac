"""A copy that is replaced on the canister: made anew whole, also where it was interrupted."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Box
from forever_box import content_of, copies_of, stored
from test_content_repair import check_whole, damage_copy, flipped, on_icp

from checks.errors import StoreError
from tasks.database import connect
from tasks.quarantine import expire, in_quarantine
from tasks.stores.icp.updates import Updates


def test_what_was_removed_and_not_made_again_is_made_by_the_next_run(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = on_icp(box, derived=True)
    content = content_of(box, pair)
    with box.canister_storage() as storage:
        before = storage.memory(pair[0])
    assert before is not None
    damage_copy(box, pair, flipped)

    async def dying(*_: Any) -> str:
        raise StoreError("the program ended here")

    with monkeypatch.context() as patch:
        patch.setattr(Updates, "create", dying)
        assert box.audit(home, verify="all", repair="content").code == 1
    with box.canister_storage() as storage:
        assert storage.memory(pair[0]) is None
    assert box.audit(home / "next", verify="all", repair="content").code == 0
    check_whole(box, home / "again", pair, content)
    with box.canister_storage() as storage:
        after = storage.memory(pair[0])
    assert after is not None
    assert sorted((a.asset_type, a.sha256) for a in after.assets) == sorted(
        (a.asset_type, a.sha256) for a in before.assets
    )


def expired(box: Box, home: Path) -> int:
    with connect(box.directory.database_url) as conn:
        return expire(conn, home)


def test_what_is_to_be_made_anew_is_kept_until_it_is_back_and_ninety_days_after(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = on_icp(box)
    content = content_of(box, pair)
    damage_copy(box, pair, flipped)

    async def dying(*_: Any) -> str:
        raise StoreError("the program ended here")

    with monkeypatch.context() as patch:
        patch.setattr(Updates, "create", dying)
        box.audit(home, verify="all", repair="content")
    long_ago = "UPDATE audit.quarantine SET taken_at = now() - interval '100 days', purged_at = "
    box.sql(long_ago + "now() - interval '100 days'")
    assert expired(box, home) == 0
    with connect(box.directory.database_url) as conn:
        (half,) = in_quarantine(conn)
    assert half.kept_at.is_dir()
    assert half.restored_at is None
    assert box.audit(home, verify="all", repair="content").code == 0
    check_whole(box, home, pair, content)
    assert expired(box, home) == 0
    box.sql("UPDATE audit.quarantine SET restored_at = now() - interval '91 days'")
    assert expired(box, home) == 1
    assert not half.kept_at.exists()


def test_a_note_that_was_edited_since_is_stored_again(box: Box, home: Path) -> None:
    pair = on_icp(box, "inline", note=True)
    text = "written anew, é"
    digest = hashlib.sha256(text.encode()).hexdigest()
    box.sql("UPDATE notes SET content = %s, updated_at = now() WHERE id = %s", text, pair[0])
    box.sql(
        "UPDATE storage_edges SET content_hash = %s, size_bytes = %s WHERE memory_id = %s AND "
        "backend = 'neon-db' AND artifact = 'asset'", digest, len(text.encode()), pair[0],
    )  # fmt: skip
    ran = stored(box.settings(home), [pair])
    assert ran.outcomes() == {pair: ("already stored", "stored")}, ran.record.store_forever
    assert copies_of(box, pair) == [text.encode()]
    assert box.audit(home / "again", verify="all").kinds == {}
