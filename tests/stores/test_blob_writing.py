"""Writes to the blob store: conditional, complete, and never over something newer."""

from collections.abc import AsyncIterator

import pytest
from blob_process import BlobProcess

from checks.errors import ObjectChangedError, StoreError, StoreUnreachableError
from tasks.stores.blob import BlobStore

pytestmark = pytest.mark.usefixtures("no_waiting")
TEXT = {"content_type": "text/plain", "access": "public"}


async def version(store: BlobStore, pathname: str) -> str:
    seen = await store.look_up(pathname)
    assert seen is not None
    return str(seen.version)


def body(blobs: BlobProcess, pathname: str) -> bytes:
    answer = blobs.http.get(f"/{pathname}")
    answer.raise_for_status()
    return answer.content


async def test_what_is_missing_is_put_back_under_its_name_and_type(
    blobs: BlobProcess, store: BlobStore
) -> None:
    put = await store.put("a/ü.txt", b"abc", size=3, cache_seconds=77, **TEXT)
    assert put == await store.look_up("a/ü.txt")
    assert (put.size, put.content_type) == (3, "text/plain")
    answer = blobs.http.get("/a/ü.txt")
    assert answer.content == b"abc"
    assert "max-age=77" in answer.headers["cache-control"]


async def test_what_is_there_is_not_put_over(blobs: BlobProcess, store: BlobStore) -> None:
    blobs.put("a", b"theirs")
    with pytest.raises(ObjectChangedError, match="nothing was written"):
        await store.put("a", b"ours", size=4, **TEXT)
    assert body(blobs, "a") == b"theirs"


async def test_exactly_the_version_observed_is_replaced(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"rotten")
    observed = await version(store, "a")
    await store.put("a", b"sound", size=5, replaces=observed, **TEXT)
    assert body(blobs, "a") == b"sound"
    with pytest.raises(ObjectChangedError):
        await store.put("a", b"again", size=5, replaces=observed, **TEXT)
    assert body(blobs, "a") == b"sound"


async def test_the_same_bytes_put_again_are_not_replaced(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"same")
    observed = await version(store, "a")
    blobs.put("a", b"same")
    with pytest.raises(ObjectChangedError):
        await store.put("a", b"ours", size=4, replaces=observed, **TEXT)
    with pytest.raises(ObjectChangedError):
        await store.delete_if_unchanged("a", observed)
    assert body(blobs, "a") == b"same"


async def test_a_write_between_the_look_and_the_put_is_kept(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"observed")
    observed = await version(store, "a")
    told = blobs.http.get("/api/blob", params={"url": "a"}).json()
    blobs.put("a", b"newer")
    blobs.fault("status", {"status": 200, "body": told}, path="url=a", times=2)
    with pytest.raises(ObjectChangedError):
        await store.put("a", b"ours", size=4, replaces=observed, **TEXT)
    with pytest.raises(ObjectChangedError):
        await store.delete_if_unchanged("a", observed)
    assert body(blobs, "a") == b"newer"


async def test_what_is_to_be_replaced_and_is_gone_is_not_brought_back(store: BlobStore) -> None:
    with pytest.raises(ObjectChangedError, match="gone"):
        await store.put("a", b"ours", size=4, replaces="etag", **TEXT)
    assert await store.look_up("a") is None


async def test_a_put_whose_answer_got_lost_is_recognised(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.fault("truncate", 5, method="PUT")
    put = await store.put("a", b"ours", size=4, **TEXT)
    assert put == await store.look_up("a")
    blobs.fault("truncate", 5, method="PUT")
    await store.put("a", b"more", size=4, replaces=str(put.version), **TEXT)
    assert body(blobs, "a") == b"more"


async def test_a_body_in_pieces_is_sent_anew_for_each_attempt(
    blobs: BlobProcess, store: BlobStore
) -> None:
    opened = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal opened
        opened += 1
        for _ in range(30):
            yield b"x" * 100_000

    blobs.fault("status", 503, method="PUT")
    put = await store.put("a", pieces, size=3_000_000, **TEXT)
    assert (put.size, opened) == (3_000_000, 2)


async def test_a_body_of_another_size_than_said_is_not_written(store: BlobStore) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"xyz"

    with pytest.raises(ValueError, match="3 bytes were given as 5"):
        await store.put("a", b"xyz", size=5, **TEXT)
    with pytest.raises(StoreError):
        await store.put("a", pieces, size=5, **TEXT)
    with pytest.raises(StoreError):
        await store.put("a", pieces, size=1, **TEXT)
    assert await store.look_up("a") is None


async def test_a_content_type_no_header_can_carry_is_refused(store: BlobStore) -> None:
    with pytest.raises(StoreError, match="content type"):
        await store.put("a", b"", size=0, access="public", content_type="text/plain\r\nx: y")


async def test_what_is_put_is_as_private_as_what_is_there(
    blobs: BlobProcess, store: BlobStore
) -> None:
    with pytest.raises(StoreError, match="access mode"):
        await store.put("a", b"1", size=1, content_type="text/plain")
    blobs.put("z", b"", x_vercel_blob_access="private")
    await store.put("a", b"1", size=1, content_type="text/plain")
    assert "private" in blobs.http.get("/a").headers["cache-control"]


async def test_a_copy_has_the_same_bytes_type_access_and_cache_time(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put(
        "a", b"abc", x_content_type="image/x-own", x_vercel_blob_access="private", x_cache_control_max_age="99"
    )  # fmt: skip
    copied = await store.copy("a", "b")
    answer = blobs.http.get("/b")
    assert (answer.content, copied.content_type) == (b"abc", "image/x-own")
    assert answer.headers["cache-control"] == "private, max-age=99"
    with pytest.raises(ObjectChangedError):
        await store.copy("a", "b")
    with pytest.raises(ObjectChangedError, match="nothing to copy"):
        await store.copy("none", "c")


async def test_only_the_version_observed_is_deleted(blobs: BlobProcess, store: BlobStore) -> None:
    blobs.put("a", b"1")
    observed = await version(store, "a")
    blobs.put("a", b"2")
    with pytest.raises(ObjectChangedError):
        await store.delete_if_unchanged("a", observed)
    assert await store.delete_if_unchanged("a", await version(store, "a"))
    assert not await store.delete_if_unchanged("a", observed)


async def test_a_delete_whose_answer_got_lost_is_settled_by_looking(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"1")
    blobs.fault("truncate", 0, method="POST", path="delete")
    await store.delete_if_unchanged("a", await version(store, "a"))
    assert await store.look_up("a") is None


async def test_a_write_that_can_not_be_made_is_an_error(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.fault("status", 503, method="PUT", times=None)
    with pytest.raises(StoreUnreachableError):
        await store.put("a", b"1", size=1, **TEXT)


async def test_an_unconfirmed_write_is_an_error(blobs: BlobProcess, store: BlobStore) -> None:
    for answer in (None, {}, {"pathname": "a-suffix", "etag": '"e"'}):
        blobs.fault("status", {"status": 200, "body": answer}, method="PUT")
        with pytest.raises(StoreError):
            await store.put("a", b"1", size=1, **TEXT)
