"""Every damage to a single replica is mended from another, and nothing is overwritten on a guess."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import BLOB, ICP, Box
from forever_box import Pair, blobs_without_a_memory, content_of, copies_of, not_on_icp

from sandbox.blob.storage import StoredObject
from sandbox.content import parse
from sandbox.icp.bodies import Bodies
from sandbox.icp.storage import StoredAsset
from tasks.database import Connection
from tasks.quarantine import Kept, keep
from tasks.stores.icp.updates import Updates

ON_ICP = (
    "SELECT e.memory_id::text, e.memory_type::text FROM storage_edges e WHERE e.backend = "
    "'icp-canister' AND e.artifact = 'asset' AND e.present AND (e.memory_type = 'note') = %s "
    "ORDER BY 1 LIMIT 60"
)


def on_icp(box: Box, kind: str = "internal", *, note: bool = False, derived: bool = False) -> Pair:
    """A memory with a copy on the canister of which nothing is wrong."""
    return all_on_icp(box, kind, note=note, derived=derived)[0]


def all_on_icp(
    box: Box, kind: str = "internal", *, note: bool = False, derived: bool = False
) -> list[Pair]:
    """All memories with such a copy, in a fixed order."""
    found = []
    for memory_id, memory_type in box.sql(ON_ICP, note):
        with box.canister_storage() as storage:
            memory = storage.memory(memory_id)
        assert memory is not None
        originals = [each for each in memory.assets if each.asset_type == "Original"]
        if originals[0].kind == kind and derived == (len(memory.assets) > 1):
            found.append((memory_id, memory_type))
    return found


def pathname(box: Box, pair: Pair) -> str:
    ((location,),) = box.sql(
        "SELECT location FROM storage_edges WHERE memory_id = %s AND backend = 'vercel-blob'",
        pair[0],
    )
    return str(location)


def damage_file(
    box: Box, pair: Pair, change: Callable[[StoredObject], StoredObject] | None
) -> None:
    """Changes a file behind the store's back, or takes it away."""
    name = pathname(box, pair)
    with box.blob_storage() as storage:
        found = storage.get(name)
        assert found is not None
        if change is None:
            storage.delete([name])
        else:
            storage.replace(change(found))


def damage_copy(box: Box, pair: Pair, change: Callable[[StoredAsset], StoredAsset] | None) -> None:
    """Changes the original on the canister behind its back, or takes the memory away."""
    with box.canister_storage() as storage:
        if change is None:
            storage.delete_memories([pair[0]])
            return
        memory = storage.memory(pair[0])
        assert memory is not None
        assets = tuple(change(a) if a.asset_type == "Original" else a for a in memory.assets)
        storage.replace_memory(replace(memory, assets=assets))


def file_of(box: Box, pair: Pair) -> StoredObject:
    with box.blob_storage() as storage:
        found = storage.get(pathname(box, pair))
    assert found is not None
    return found


def held(box: Box, pairs: Sequence[Pair]) -> list[object]:
    """The files of some memories, and the assets that the canister has of them."""
    with box.blob_storage() as storage, box.canister_storage() as canister:
        copies = [canister.memory(memory_id) for memory_id, _ in pairs]
        files = [storage.get(pathname(box, pair)) for pair in pairs]
    return [*files, *(copy.assets if copy else () for copy in copies)]


def truncated(thing: StoredAsset) -> StoredAsset:
    body = parse(thing.body or "")
    return replace(thing, body=replace(body, length=body.length // 2).describe())


def flipped(thing: StoredAsset) -> StoredAsset:
    return replace(thing, body=replace(parse(thing.body or ""), flips=(13,)).describe())


def emptied(thing: StoredAsset) -> StoredAsset:
    return replace(thing, body=None)


def file_truncated(thing: StoredObject) -> StoredObject:
    body = parse(thing.body)
    size = body.length // 2
    return replace(thing, size=size, body=replace(body, length=size).describe())


def file_flipped(thing: StoredObject) -> StoredObject:
    return replace(thing, body=replace(parse(thing.body), flips=(13,)).describe())


def check_whole(box: Box, home: Path, pair: Pair, content: bytes) -> None:
    """The next audit, which reads every byte, finds nothing, and holds them to the right hash."""
    assert box.audit(home, verify="all").kinds == {}
    recorded = box.sql(
        "SELECT DISTINCT content_hash FROM storage_edges WHERE memory_id = %s AND artifact = "
        "'asset' AND present", pair[0],
    )  # fmt: skip
    assert recorded == [(hashlib.sha256(content).hexdigest(),)]
    assert not blobs_without_a_memory(box)


FILES = {"deleted": None, "truncated": file_truncated, "flipped": file_flipped}
COPIES = {"deleted": None, "emptied": emptied, "truncated": truncated, "flipped": flipped}


@pytest.mark.parametrize("how", FILES)
def test_a_damaged_file_is_put_back_from_the_canister(how: str, box: Box, home: Path) -> None:
    pair = on_icp(box)
    content, name = content_of(box, pair), pathname(box, pair)
    with box.blob_storage() as storage:
        before = storage.get(name)
    assert before is not None
    damage_file(box, pair, FILES[how])
    try:
        done = box.audit(home, verify="all", repair="content")
        assert {f.repair for f in done.record.findings} == {"applied"}, done.record.findings
        assert done.code == 0
        check_whole(box, home / "again", pair, content)
        with box.blob_storage() as storage:
            after = storage.get(name)
        assert after is not None
        assert (after.pathname, after.content_type, after.access, after.size) == (
            before.pathname, before.content_type, before.access, before.size,
        )  # fmt: skip
    finally:
        with box.blob_storage() as storage:
            storage.replace(before)


@pytest.mark.parametrize("how", COPIES)
def test_a_damaged_copy_is_put_back_from_the_file(how: str, box: Box, home: Path) -> None:
    pair = on_icp(box)
    content = content_of(box, pair)
    damage_copy(box, pair, COPIES[how])
    done = box.audit(home, verify="all", repair="content")
    assert {f.repair for f in done.record.findings} == {"applied"}, done.record.findings
    assert done.code == 0
    check_whole(box, home / "again", pair, content)


def test_a_copy_with_a_thumbnail_keeps_it(box: Box, home: Path) -> None:
    pair = on_icp(box, derived=True)
    content = content_of(box, pair)
    with box.canister_storage() as storage:
        before = storage.memory(pair[0])
    damage_copy(box, pair, flipped)
    assert box.audit(home, verify="all", repair="content").code == 0
    check_whole(box, home / "again", pair, content)
    with box.canister_storage() as storage:
        after = storage.memory(pair[0])
    assert before is not None
    assert after is not None
    assert after.title == before.title
    assert sorted((a.asset_type, a.sha256) for a in after.assets) == sorted(
        (a.asset_type, a.sha256) for a in before.assets
    )


def other_text(box: Box, change: Callable[[bytes], bytes]) -> Callable[[StoredAsset], StoredAsset]:
    """What changes a copied text, which the canister has as uploaded bytes."""
    bodies = Bodies(box.directory.icp / "blobs")
    return lambda a: replace(a, body=bodies.store([change(bodies.read(a.body or ""))]))


def test_damaged_copies_of_notes_are_put_back_from_their_rows(box: Box, home: Path) -> None:
    notes = all_on_icp(box, "inline", note=True)[:3]
    contents = [content_of(box, pair) for pair in notes]
    damage_copy(box, notes[0], None)
    damage_copy(box, notes[1], other_text(box, lambda text: text[: len(text) // 2]))
    damage_copy(box, notes[2], other_text(box, lambda text: bytes([text[0] ^ 1]) + text[1:]))
    done = box.audit(home, verify="all", repair="content")
    assert {f.memory_id for f in done.record.findings} == {memory_id for memory_id, _ in notes}
    assert {f.repair for f in done.record.findings} == {"applied"}, done.record.findings
    for pair, content in zip(notes, contents, strict=True):
        assert copies_of(box, pair) == [content]
    assert box.audit(home / "again", verify="all").kinds == {}
    assert not blobs_without_a_memory(box)


def test_what_no_verified_replica_is_left_of_is_not_overwritten(box: Box, home: Path) -> None:
    """Both replicas are rotten: nobody has the right bytes, and both stay as they are."""
    pair = on_icp(box)
    name = pathname(box, pair)
    with box.blob_storage() as storage:
        before = storage.get(name)
    assert before is not None
    damage_file(box, pair, file_flipped)
    damage_copy(box, pair, truncated)
    with box.blob_storage() as storage, box.canister_storage() as canister:
        rotten = storage.get(name), canister.memory(pair[0])
    try:
        done = box.audit(home, verify="all", repair="content")
        assert done.code == 1
        with box.blob_storage() as storage, box.canister_storage() as canister:
            assert (storage.get(name), canister.memory(pair[0])) == rotten
        for finding in done.of("hash_mismatch", "size_mismatch"):
            assert finding.repair == "refused"
            assert "not what the ledger has recorded" in finding.repair_detail
    finally:
        with box.blob_storage() as storage:
            storage.replace(before)


def share(monkeypatch: pytest.MonkeyPatch, pair: Pair) -> None:
    """Lets the canister say that a memory is shared, which its stand-in can't have."""
    whole = Updates.whole

    async def shared(self: Updates, memory_id: str) -> dict[str, Any]:
        memory = await whole(self, memory_id)
        return memory | {"access_entries": [{}]} if memory_id == pair[0] else memory

    monkeypatch.setattr(Updates, "whole", shared)


def test_damage_beyond_repair_overwrites_nothing_and_says_why(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, rotten, shared, *_ = all_on_icp(box)
    alone = not_on_icp(box, "image")[0]
    pairs = (gone, rotten, shared, alone)
    files = [file_of(box, pair) for pair in pairs]
    damage_file(box, gone, None)
    damage_copy(box, gone, flipped)  # one is gone, the other rotten
    damage_file(box, rotten, file_flipped)
    damage_copy(box, rotten, None)
    damage_copy(box, shared, truncated)  # can't be made anew as it was
    share(monkeypatch, shared)
    damage_file(box, alone, file_truncated)  # there never was a copy
    damaged = held(box, pairs)
    try:
        done = box.audit(home, verify="all", repair="content")
        assert held(box, pairs) == damaged
    finally:
        with box.blob_storage() as storage:
            for each in files:
                storage.replace(each)
    assert done.code == 1
    said = {
        "not what the ledger has recorded": {gone, rotten},
        "shared with somebody": {shared},
        "icp-canister does not have it": {alone},
    }
    for why, of in said.items():
        for pair in of:
            found = [f for f in done.record.findings if f.memory_id == pair[0]]
            assert not [f for f in found if f.repair == "applied" and f.kind != "missing"], found
            assert [f for f in found if why in (f.repair_detail or "")], (why, found)


def test_a_file_that_was_written_since_it_was_found_rotten_stays(box: Box, home: Path) -> None:
    pair = on_icp(box)
    name = pathname(box, pair)
    with box.blob_storage() as storage:
        before = storage.get(name)
    assert before is not None
    damage_file(box, pair, file_flipped)
    newer = replace(before, body=replace(parse(before.body), flips=(7,)).describe(), etag="ab" * 16)

    def written() -> None:
        with box.blob_storage() as storage:
            storage.replace(newer)

    try:
        done = box.audit(home, verify="all", repair="content", before={"mend": written})
        with box.blob_storage() as storage:
            assert storage.get(name) == newer
        (finding,) = done.of("hash_mismatch")
        assert finding.repair == "superseded"
        assert "written since" in finding.repair_detail
    finally:
        with box.blob_storage() as storage:
            storage.replace(before)


@pytest.mark.parametrize("moment", ["before the repair", "while it is prepared"])
def test_a_copy_that_was_written_since_it_was_found_rotten_stays(
    moment: str, box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = on_icp(box)
    damage_copy(box, pair, flipped)
    newer: list[object] = []

    def written() -> None:
        with box.canister_storage() as storage:
            memory = storage.memory(pair[0])
            assert memory is not None
            renamed = replace(memory, title="renamed", updated_at=memory.updated_at + 1_000)
            storage.replace_memory(renamed)
            newer.append(storage.memory(pair[0]))

    def kept(conn: Connection, what: Kept) -> None:
        keep(conn, what)
        written()

    if moment == "before the repair":
        done = box.audit(home, verify="all", repair="content", before={"mend": written})
    else:
        monkeypatch.setattr("tasks.replacing.keep", kept)
        done = box.audit(home, verify="all", repair="content")
    with box.canister_storage() as storage:
        assert [storage.memory(pair[0])] == newer
    (finding,) = done.of("hash_mismatch")
    assert finding.repair == "superseded"


def test_rot_that_the_ledger_has_no_hash_for_is_not_overwritten(box: Box, home: Path) -> None:
    pair = on_icp(box)
    box.sql("UPDATE storage_edges SET content_hash = NULL WHERE memory_id = %s", pair[0])
    damage_copy(box, pair, truncated)
    with box.canister_storage() as canister:
        before = canister.memory(pair[0])
    done = box.audit(home, verify="all", repair="content")
    with box.canister_storage() as canister:
        assert canister.memory(pair[0]) == before
    for finding in done.of("size_mismatch", "hash_mismatch"):
        assert finding.repair != "applied"
        assert finding.repair_detail


def test_a_ledger_repair_copies_nothing(box: Box, home: Path) -> None:
    pair = on_icp(box)
    damage_copy(box, pair, None)
    done = box.audit(home, verify="all", repair="ledger")
    assert {f.repair for f in done.of("missing", backend=ICP)} == {"applied"}
    with box.canister_storage() as canister:
        assert canister.memory(pair[0]) is None
    assert BLOB
