"""One bit turned over anywhere in what is stored: the copy it is in is named, and no other.

Certificates and statements have theirs in ``test_evidence.py``.
"""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from damaged_sandbox import BLOB, ICP, NEON, Box
from gallery_run import Verify

from checks.run import exit_code
from sandbox.blob.storage import BlobStorage
from sandbox.content import parse
from sandbox.icp.bodies import Bodies
from sandbox.icp.storage import CanisterStorage

Copy = tuple[str, str]
Restore = Callable[[], object]

COPIES = (
    "SELECT memory_id::text, memory_type::text, backend::text, location FROM storage_edges "
    "WHERE artifact = 'asset' AND present AND content_hash IS NOT NULL ORDER BY 1, 3"
)


@pytest.fixture
def everything(box: Box) -> str:
    """A gallery of every memory there is."""
    gallery_id = str(uuid.UUID(int=1))
    (owner,) = box.sql("SELECT min(owner_id::text) FROM galleries")[0]
    box.sql("INSERT INTO galleries (id, owner_id, title) VALUES (%s, %s, 'all')", gallery_id, owner)
    box.sql(
        "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) "
        "SELECT gen_random_uuid(), %s, memory_id, memory_type, row_number() OVER (ORDER BY memory_id) "
        "FROM storage_edges WHERE artifact = 'metadata' AND backend = 'neon-db'",
        gallery_id,
    )
    return gallery_id


@pytest.mark.parametrize("seed", range(3))
def test_a_bit_flipped_anywhere_in_what_is_stored_is_found_where_it_is(
    seed: int, box: Box, everything: str, verify: Verify
) -> None:
    rng = random.Random(seed)
    copies: dict[str, list[tuple[str, str, str]]] = {}
    for memory_id, *copy in box.sql(COPIES):
        copies.setdefault(memory_id, []).append(tuple(copy))
    with ExitStack() as damage:
        blobs = damage.enter_context(box.blob_storage())
        canister = damage.enter_context(box.canister_storage())
        flipped = {
            (memory_id, backend)
            for memory_id, each in copies.items()
            for memory_type, backend, location in [rng.choice(each)]
            if damage.enter_context(
                _in_text(box, rng, memory_type, memory_id) if backend == NEON
                else _in_file(blobs, rng, location) if backend == BLOB
                else _in_canister(canister, rng, memory_id)
            )
        }  # fmt: skip
        run = verify(everything, certified=False)
    assert len(flipped) > 80
    assert {backend for _, backend in flipped} == {NEON, BLOB, ICP}
    assert {(each.memory_id, each.backend) for each in run.findings} == flipped
    assert {each.kind for each in run.findings} == {"hash_mismatch"}
    assert exit_code(run) == 1


@contextmanager
def _in_file(blobs: BlobStorage, rng: random.Random, location: str) -> Iterator[bool]:
    kept = blobs.get(location)
    assert kept is not None
    body = parse(kept.body)
    if not body.length:
        yield False
        return
    flips = (rng.randrange(body.length * 8),)
    blobs.replace(replace(kept, body=replace(body, flips=flips).describe()))
    yield True
    blobs.replace(kept)


@contextmanager
def _in_canister(canister: CanisterStorage, rng: random.Random, location: str) -> Iterator[bool]:
    kept = canister.memory(location)
    assert kept is not None
    bodies = Bodies(canister.directory / "blobs")
    assets = tuple(
        replace(each, body=_flipped(bodies, rng, each.body))
        if each.asset_type == "Original" and each.body else each
        for each in kept.assets
    )  # fmt: skip
    canister.replace_memory(replace(kept, assets=assets))
    yield assets != kept.assets
    canister.replace_memory(kept)


def _flipped(bodies: Bodies, rng: random.Random, body: str) -> str:
    data = bytearray(bodies.read(body))
    bit = rng.randrange(len(data) * 8)
    data[bit // 8] ^= 1 << (bit % 8)
    return bodies.store([bytes(data)])


@contextmanager
def _in_text(box: Box, rng: random.Random, memory_type: str, memory_id: str) -> Iterator[bool]:
    """The lowest bits of a letter: what comes out is text still, and Postgres takes it."""
    assert memory_type == "note"
    ((text,),) = box.sql("SELECT content FROM notes WHERE id = %s", memory_id)
    letters = [number for number, letter in enumerate(text) if "a" <= letter <= "z"]
    place = rng.choice(letters)
    other = chr(ord(text[place]) ^ 1 << rng.randrange(5))
    write = "UPDATE notes SET content = %s WHERE id = %s"
    box.sql(write, text[:place] + other + text[place + 1 :], memory_id)
    yield True
    box.sql(write, text, memory_id)
