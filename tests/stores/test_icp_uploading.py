"""Uploading to the canister: in order, gone on with after an interruption, never twice."""

import asyncio
import hashlib
import io
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from ic.candid import Types, encode
from icp_process import IcpProcess

from checks.errors import StoreError
from checks.normal import icp_location
from tasks.stores.icp import IcpStore
from tasks.stores.icp.candid import BLOB, NAT32, NAT64
from tasks.stores.icp.candid_encode import encoded
from tasks.stores.icp.updates import Updates
from tasks.stores.icp.uploading import Session, Upload, upload
from tasks.stores.icp.written import Described

CHUNK = 1_500_000
SIZES = [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17]


@pytest.fixture
def icp(running_icp: IcpProcess) -> IcpProcess:
    running_icp.clear()
    with running_icp.storage.transaction():
        running_icp.storage.database.execute("DELETE FROM upload")
    return running_icp


@pytest_asyncio.fixture
async def store(icp: IcpProcess) -> AsyncIterator[IcpStore]:
    store = icp.store()
    yield store
    await store.aclose()


class Remembered:
    """A memo that a test can look into."""

    def __init__(self) -> None:
        self.session: Session | None = None

    async def kept(self) -> Session | None:
        return self.session

    async def keep(self, session: Session) -> None:
        self.session = session

    async def forget(self) -> None:
        self.session = None


def wanted(capsule: str, size: int) -> tuple[Upload, bytes]:
    body = (uuid.uuid4().bytes * (size // 16 + 1))[:size]
    digest = hashlib.sha256(body).hexdigest()
    return Upload(capsule, io.BytesIO(body), size, digest, f"idem-{uuid.uuid4()}"), body


def blobs(icp: IcpProcess) -> int:
    count: int = icp.storage.database.execute("SELECT count(*) FROM blob").fetchone()[0]
    return count


def described(**changes: Any) -> Described:
    fields: dict[str, Any] = {
        "memory_type": "image", "title": "A day", "description": None, "name": "lake.jpg",
        "content_type": "image/jpeg", "created_at": 1, "updated_at": 2,
    }  # fmt: skip
    return Described(**fields | changes)


def test_bytes_are_encoded_as_the_agents_library_would() -> None:
    ours = encoded((NAT64, NAT32, BLOB), (7, 3, b"\x00\xffabc"))
    pairs = ((Types.Nat64, 7), (Types.Nat32, 3), (Types.Vec(Types.Nat8), list(b"\x00\xffabc")))
    assert ours == encode([{"type": kind, "value": value} for kind, value in pairs])


@pytest.mark.parametrize("size", SIZES)
async def test_what_was_uploaded_is_what_is_read_back(
    size: int, icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    what, body = wanted(capsule, size)
    told: list[int] = []
    blob = await upload(Updates(store.canister), what, CHUNK, Remembered(), told.append)
    memory_id = str(uuid.uuid4())
    image = described()
    made = await Updates(store.canister).create(
        capsule, image.memory(size, 1), [image.original(blob, size, what.sha256)], memory_id
    )
    assert made == memory_id
    copy = io.BytesIO()
    read = await store.read(icp_location(capsule, memory_id), copy)
    assert read is not None
    assert (read.size, read.sha256, copy.getvalue()) == (size, what.sha256, body)
    assert sum(told) == size
    assert blobs(icp) == 1


@pytest.mark.parametrize("kind", ["note", "image", "video", "document", "audio"])
async def test_a_memory_is_as_it_was_described(kind: str, icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    what, _ = wanted(capsule, 10)
    blob = await upload(Updates(store.canister), what, CHUNK, Remembered())
    memory = described(memory_type=kind, description="by the lake", tags=("été",), is_public=True)
    memory_id = str(uuid.uuid4())
    updates = Updates(store.canister)
    await updates.create(capsule, memory.memory(0, 0), [], memory_id)
    assert await store.look_up_asset(memory_id) is None
    asset = memory.original(blob, 10, what.sha256)
    first = await updates.add_asset(memory_id, asset, "once")
    assert await updates.add_asset(memory_id, asset, "once") == first
    stored = icp.storage.memory(memory_id)
    assert stored is not None
    assert (stored.memory_type, stored.title, stored.description) == (
        kind.capitalize(), "A day", "by the lake",
    )  # fmt: skip
    assert [(each.name, each.sha256, each.asset_type) for each in stored.assets] == [
        ("lake.jpg", what.sha256, "Original")
    ]
    await updates.delete(memory_id, delete_assets=True)
    assert icp.storage.memory(memory_id) is None
    assert blobs(icp) == 0


@pytest.mark.parametrize("method", ["uploads_begin", "uploads_put_chunk", "uploads_finish"])
@pytest.mark.usefixtures("no_waiting")
async def test_an_upload_that_breaks_off_is_gone_on_with(
    method: str, icp: IcpProcess, store: IcpStore
) -> None:
    """The call is carried out, and its answer lost for good: as if killed while it was sent."""
    capsule, memo = icp.capsule(), Remembered()
    what, _ = wanted(capsule, 2 * CHUNK + 5)
    for action, value in (("reset", None), ("reset", 10)):
        icp.fault(action, value, times=None, canister_method=method)
        with pytest.raises(StoreError):
            await upload(Updates(store.canister), what, CHUNK, memo)
        icp.no_faults()
    assert await upload(Updates(store.canister), what, CHUNK, memo)
    assert blobs(icp) == 1


async def test_a_session_all_of_whose_chunks_arrived_is_only_finished(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, memo = icp.capsule(), Remembered()
    what, _ = wanted(capsule, CHUNK + 5)
    first = await upload(Updates(store.canister), what, CHUNK, memo)
    assert memo.session is not None
    memo.session = Session(memo.session.number, CHUNK, 1)
    assert await upload(Updates(store.canister), what, CHUNK, memo) == first
    assert blobs(icp) == 1


async def test_a_blob_whose_session_is_forgotten_is_not_uploaded_again(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, memo = icp.capsule(), Remembered()
    what, _ = wanted(capsule, 100)
    first = await upload(Updates(store.canister), what, CHUNK, memo)
    with icp.storage.transaction():
        icp.storage.database.execute("DELETE FROM upload")
    assert await upload(Updates(store.canister), what, CHUNK, memo) == first
    assert blobs(icp) == 1


async def test_a_session_in_which_a_chunk_arrived_twice_is_begun_once_more(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule, memo = icp.capsule(), Remembered()
    what, _ = wanted(capsule, 3 * CHUNK)
    updates = Updates(store.canister)
    number = await updates.begin(capsule, 3, what.idem)
    for _ in range(2):
        await updates.put_chunk(number, 0, what.chunk(0, CHUNK))
    memo.session = Session(number, CHUNK, 1)
    assert await upload(updates, what, CHUNK, memo)
    assert blobs(icp) == 1
    active = icp.storage.database.execute("SELECT count(*) FROM upload WHERE result IS NULL")
    assert active.fetchone() == (0,)


async def test_a_session_of_other_bytes_that_nobody_remembers_is_begun_once_more(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    what, _ = wanted(capsule, 100)
    updates = Updates(store.canister)
    number = await updates.begin(capsule, 1, what.idem)
    await updates.put_chunk(number, 0, b"other bytes")
    assert await upload(updates, what, CHUNK, Remembered())
    assert blobs(icp) == 1


async def test_bytes_that_are_not_what_was_said_make_no_blob(
    icp: IcpProcess, store: IcpStore
) -> None:
    capsule = icp.capsule()
    what, _ = wanted(capsule, 100)
    lying = Upload(capsule, io.BytesIO(b"x" * 100), 100, what.sha256, what.idem)
    with pytest.raises(StoreError, match="checksum_mismatch"):
        await upload(Updates(store.canister), lying, CHUNK, Remembered())
    assert blobs(icp) == 0
    active = icp.storage.database.execute("SELECT count(*) FROM upload WHERE result IS NULL")
    assert active.fetchone() == (0,)


async def test_sessions_that_are_used_up_are_waited_for(icp: IcpProcess, store: IcpStore) -> None:
    capsule = icp.capsule()
    updates = Updates(store.canister)
    others = [await updates.begin(capsule, 1, f"other {n}") for n in range(100)]
    what, _ = wanted(capsule, 100)

    async def make_way() -> None:
        await asyncio.sleep(0.3)
        await updates.abort(others[0])

    _, blob = await asyncio.gather(make_way(), upload(updates, what, CHUNK, Remembered()))
    assert blob
