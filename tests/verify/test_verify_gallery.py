"""A gallery is verified down to its bytes; each kind of gallery and of damage has its answer."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import BLOB, ICP, NEON, Box
from gallery_run import Verify

from checks.errors import UsageError
from checks.run import exit_code
from sandbox.content import Generated, parse
from sandbox.icp.canister import CHUNK_BYTES
from tasks import progress


def galleries(box: Box) -> list[str]:
    return [row[0] for row in box.sql("SELECT id::text FROM galleries ORDER BY id")]


def copied(box: Box, memory_type: str = "image") -> str:
    """A memory whose file is in the blob store and, as a blob of its own, on the canister."""
    with box.canister_storage() as canister:
        for (memory_id,) in box.sql(
            "SELECT memory_id::text FROM storage_edges WHERE backend = 'icp-canister' "
            "AND artifact = 'asset' AND present AND memory_type = %s::memory_type_t ORDER BY 1",
            memory_type,
        ):
            memory = canister.memory(memory_id)
            if memory is not None and any(each.kind == "internal" for each in memory.assets):
                return str(memory_id)
    raise LookupError(memory_type)


def pathname(box: Box, memory_id: str, memory_type: str = "image") -> str:
    (url,) = box.sql(f"SELECT url FROM {memory_type}s WHERE id = %s", memory_id)[0]  # noqa: S608
    address = box.settings(Path()).blob_address
    assert address is not None
    return str(address.pathname(url, bare=False))


@contextmanager
def damaged(box: Box, memory_id: str, edit: Callable[[Any], Any] | None) -> Iterator[None]:
    """The memory's file in the blob store changed, or gone for None; put back afterwards."""
    with box.blob_storage() as storage:
        kept = storage.get(pathname(box, memory_id))
        assert kept is not None
        try:
            if edit is None:
                storage.delete([kept.pathname])
            else:
                storage.replace(edit(kept))
            yield
        finally:
            storage.replace(kept)


@contextmanager
def enlarged(
    box: Box, memory_id: str, length: int, *, memory_type: str = "image"
) -> Iterator[None]:
    """The memory's file made so large in both stores and in the ledger; stores put back after."""
    body = Generated(f"large/{memory_id}", length)
    box.sql(
        "UPDATE storage_edges SET content_hash = %s, size_bytes = %s "
        "WHERE memory_id = %s AND artifact = 'asset'",
        body.sha256(), length, memory_id,
    )  # fmt: skip
    with box.blob_storage() as storage, box.canister_storage() as canister:
        file = storage.get(pathname(box, memory_id, memory_type))
        memory = canister.memory(memory_id)
        assert file is not None
        assert memory is not None
        large = {"body": body.describe(), "bytes": length, "sha256": body.sha256()}
        assets = (
            replace(each, **large) if each.asset_type == "Original" else each
            for each in memory.assets
        )  # fmt: skip
        storage.replace(replace(file, size=length, etag=body.md5(), body=body.describe()))
        canister.replace_memory(replace(memory, assets=tuple(assets)))
        try:
            yield
        finally:
            storage.replace(file)
            canister.replace_memory(memory)


def flipped(kept: Any) -> Any:
    return replace(kept, body=replace(parse(kept.body), flips=(5,)).describe())


def test_of_a_title_of_ten_megabytes_its_beginning_is_told(
    box: Box, verify: Verify, home: Path
) -> None:
    name = galleries(box)[0]
    table = box.directory.tables.galleries
    box.sql(f'UPDATE "{table}" SET title = %s WHERE id = %s', "x" * 10_000_000, name)  # noqa: S608
    record = verify(name)
    assert record.gallery is not None
    assert record.gallery.title == "x" * 200
    for path in (home / "runs" / record.run_id).glob("*.*"):
        assert path.stat().st_size < 2_000_000, path


def test_an_undamaged_gallery_is_whole_and_its_bytes_were_read(box: Box, verify: Verify) -> None:
    for gallery_id in galleries(box):
        run = verify(gallery_id)
        assert run.gallery is not None
        assert exit_code(run) == 0
        assert run.gallery.verdict in ("stored_forever", "partially_on_icp", "standard_storage")
        order = box.sql(
            "SELECT memory_id::text FROM gallery_items WHERE gallery_id = %s ORDER BY position",
            gallery_id,
        )
        assert [each.memory_id for each in run.gallery.memories] == [row[0] for row in order]
        for memory in run.gallery.memories:
            assets = [each for each in memory.replicas if each.artifact == "asset" and each.present]
            assert assets
            assert all(each.sha256 and each.evidence == "sha256" for each in assets)
            assert len({each.sha256 for each in assets}) == 1


def test_one_memory_with_a_flipped_bit_is_still_on_icp_and_the_rot_is_told(
    box: Box, verify: Verify
) -> None:
    memory_id = copied(box)
    with damaged(box, memory_id, flipped):
        run = verify(memory=f"image:{memory_id}")
    assert run.gallery is not None
    assert run.gallery.memories[0].verdict == "stored_forever"
    assert [each.kind for each in run.findings] == ["hash_mismatch"]
    assert run.findings[0].backend == BLOB
    assert exit_code(run) == 1


def test_a_file_that_is_gone_is_missing_and_nothing_else_is_said(box: Box, verify: Verify) -> None:
    memory_id = copied(box)
    with damaged(box, memory_id, None):
        run = verify(memory=f"image:{memory_id}")
    assert [each.kind for each in run.findings] == ["missing"]
    assert run.gallery is not None
    assert run.gallery.memories[0].verdict == "stored_forever"


def test_a_memory_that_only_the_web_holds_is_lost_with_its_file(box: Box, verify: Verify) -> None:
    ((memory_id,),) = box.sql(
        "SELECT i.id::text FROM images AS i WHERE NOT EXISTS (SELECT FROM storage_edges AS e "
        "WHERE e.memory_id = i.id AND e.backend = 'icp-canister') ORDER BY 1 LIMIT 1"
    )
    assert verify(memory=f"image:{memory_id}").gallery.verdict == "standard_storage"  # type: ignore[union-attr]
    with damaged(box, memory_id, flipped):
        run = verify(memory=f"image:{memory_id}")
    assert run.gallery is not None
    assert run.gallery.memories[0].verdict == "incomplete"
    with damaged(box, memory_id, None):
        run = verify(memory=f"image:{memory_id}")
    assert run.gallery is not None
    assert run.gallery.memories[0].verdict == "lost"
    assert run.gallery.verdict == "incomplete"
    assert {each.kind for each in run.findings} == {"missing", "lost"}


def test_a_gallery_is_as_bad_as_its_worst_memory(box: Box, verify: Verify) -> None:
    memory_id = copied(box)
    gallery_id = galleries(box)[0]
    box.sql(
        "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) "
        "VALUES (gen_random_uuid(), %s, %s, 'image', 9999)",
        gallery_id, memory_id,
    )  # fmt: skip
    with box.canister_storage() as canister:
        kept = canister.memory(memory_id)
        assert kept is not None
        try:
            canister.delete_memories([memory_id], blobs=False)
            with damaged(box, memory_id, None):
                run = verify(gallery_id, certified=False)
        finally:
            canister.add_memory(kept)
    assert run.gallery is not None
    assert run.gallery.memories[-1].memory_id == memory_id
    assert run.gallery.memories[-1].verdict == "lost"
    assert run.gallery.verdict == "incomplete"


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ("not a gallery", "not_found"),
        ("00000000-0000-4000-8000-000000000000", "not_found"),
        ("11111111-1111-4111-8111-111111111111", "empty"),
    ],
)
def test_what_is_not_there_or_empty_is_told_as_such(
    asked: str, verdict: str, box: Box, verify: Verify
) -> None:
    box.sql(
        "INSERT INTO galleries (id, owner_id, title) SELECT "
        "'11111111-1111-4111-8111-111111111111', owner_id, 'nothing yet' FROM galleries LIMIT 1"
    )
    run = verify(asked)
    assert run.gallery is not None
    assert run.gallery.verdict == verdict
    assert exit_code(run) == 1


def test_a_memory_that_nothing_knows_of_is_not_found(verify: Verify) -> None:
    run = verify(memory="video:00000000-0000-4000-8000-000000000000")
    assert run.gallery is not None
    assert run.gallery.verdict == "not_found"
    assert exit_code(run) == 1


def test_an_item_whose_memory_is_gone_makes_the_gallery_incomplete(
    box: Box, verify: Verify
) -> None:
    gallery_id = galleries(box)[0]
    box.sql(
        "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) VALUES "
        "(gen_random_uuid(), %s, '22222222-2222-4222-8222-222222222222', 'image', 500)",
        gallery_id,
    )
    run = verify(gallery_id, certified=False)
    assert run.gallery is not None
    assert run.gallery.verdict == "incomplete"
    assert [(each.kind, each.gallery_id) for each in run.findings] == [
        ("dangling_item", gallery_id)
    ]


def test_a_memory_in_two_galleries_is_verified_in_both(box: Box, verify: Verify) -> None:
    memory_id = copied(box)
    first, second = galleries(box)[:2]
    for gallery_id in (first, second):
        box.sql("DELETE FROM gallery_items WHERE gallery_id = %s", gallery_id)
        box.sql(
            "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) "
            "VALUES (gen_random_uuid(), %s, %s, 'image', 1)",
            gallery_id, memory_id,
        )  # fmt: skip
    with damaged(box, memory_id, flipped):
        for gallery_id in (first, second):
            run = verify(gallery_id, certified=False)
            assert run.gallery is not None
            assert [each.memory_id for each in run.gallery.memories] == [memory_id]
            assert "hash_mismatch" in {each.kind for each in run.findings}


@pytest.mark.parametrize("store", [BLOB, ICP])
def test_what_a_store_does_not_answer_is_unknown_and_not_absent(
    store: str, box: Box, verify: Verify
) -> None:
    memory_id = copied(box)
    box.fault(store, "status", 503)
    box.fault(store, "reset", 0)
    run = verify(memory=f"image:{memory_id}")
    assert run.gallery is not None
    assert exit_code(run) == 3
    assert not {"missing", "lost", "unmarked"} & {each.kind for each in run.findings}
    own = [each for each in run.gallery.memories[0].replicas if each.backend == store]
    assert own
    assert all(each.present is None for each in own)


def test_a_repair_mends_what_the_ledger_says_of_these_memories_only(
    box: Box, verify: Verify
) -> None:
    box.sql(
        "UPDATE storage_edges SET present = false WHERE artifact = 'asset' AND backend = %s::backend_t",
        BLOB,
    )
    memory_id = copied(box)
    run = verify(memory=f"image:{memory_id}", repair="ledger", certified=False)
    assert {(each.kind, each.repair.value) for each in run.findings} == {("unmarked", "applied")}
    assert exit_code(run) == 0
    ((marked,),) = box.sql(
        "SELECT count(*) FROM storage_edges WHERE artifact = 'asset' AND present "
        "AND backend = 'vercel-blob'"
    )
    assert marked == 1


def test_a_verification_closes_no_finding_of_memories_that_it_did_not_look_at(
    box: Box, verify: Verify, home: Path
) -> None:
    memory_id = copied(box)
    with damaged(box, memory_id, None):
        box.audit(home)
        verify(galleries(box)[0], certified=False)
    ((still_open,),) = box.sql(
        "SELECT count(*) FROM audit.finding WHERE resolved_at IS NULL AND kind = 'missing'"
    )
    assert still_open == 1


@pytest.mark.parametrize("text", ["image", "picture:1", "image:", ""])
def test_a_memory_has_to_be_named_with_its_type(text: str, verify: Verify) -> None:
    with pytest.raises(UsageError, match="TYPE:ID"):
        verify(memory=text)


def test_a_note_is_compared_with_its_copy_letter_by_letter(box: Box, verify: Verify) -> None:
    ((memory_id,),) = box.sql(
        "SELECT memory_id::text FROM storage_edges WHERE memory_type = 'note' AND present "
        "AND artifact = 'asset' AND backend = 'icp-canister' ORDER BY 1 LIMIT 1"
    )
    run = verify(memory=f"note:{memory_id}")
    assert run.gallery is not None
    (memory,) = run.gallery.memories
    texts = {each.backend: each for each in memory.replicas if each.artifact == "asset"}
    ((length,),) = box.sql("SELECT octet_length(content) FROM notes WHERE id = %s", memory_id)
    assert set(texts) == {NEON, ICP}
    assert {each.size_bytes for each in texts.values()} == {length}
    assert len({each.sha256 for each in texts.values()}) == 1
    assert (memory.verdict, exit_code(run)) == ("stored_forever", 0)


def test_who_watches_is_told_of_the_bytes_as_they_come_and_of_each_copy(
    box: Box, verify: Verify
) -> None:
    memory_id = copied(box)
    pieces: list[int] = []
    lines: list[str] = []

    def heard(work: str, by: int, _total: int | None) -> None:
        if work == "reading bytes":
            pieces.append(by)

    progress.listen(heard, lines.append)
    with enlarged(box, memory_id, 3 * 2**20), damaged(box, memory_id, flipped):
        verify(memory=f"image:{memory_id}")
    progress.listen(None)
    assert sum(pieces) >= 3 * 2**20
    assert max(pieces) <= CHUNK_BYTES, "a large object is told of while it comes"
    assert sorted(line.split()[2] for line in lines) == [ICP, BLOB]
    assert any("NOT the bytes that the ledger names" in line for line in lines)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_video_of_a_gigabyte_is_read_in_bounded_memory(box: Box, verify: Verify) -> None:
    memory_id = copied(box, "video")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with enlarged(box, memory_id, 2**30, memory_type="video"):
        run = verify(memory=f"video:{memory_id}", certified=False)
    assert run.gallery is not None
    (memory,) = run.gallery.memories
    sizes = [each.size_bytes for each in memory.replicas if each.artifact == "asset"]
    assert sizes == [2**30, 2**30]
    assert (memory.verdict, exit_code(run)) == ("stored_forever", 0)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 128 * 1024, f"{grown} kB more than before"
