"""Reading blobs: whole and of the right version, or an error, never a wrong hash."""

import asyncio
import hashlib
import time
import tracemalloc
from typing import Any

import pytest
from blob_process import STORE_ID, TOKEN, BlobProcess
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.errors import (
    MAX_TEXT,
    AccessRefusedError,
    MalformedAnswerError,
    NotTheStoresUrlError,
    ObjectChangedError,
    StoreUnreachableError,
)
from checks.model import StoreState
from tasks.stores.blob import BlobStore, connection, reading
from tasks.stores.blob.answers import MAX_SIZE
from tasks.stores.protocol import ListingReport

pytestmark = pytest.mark.usefixtures("no_waiting")
BODY = bytes(range(256)) * 20_000  # over 5 MB: hashed in threads
API, OBJECT = "url=", r"^/a\?cache=0"


def described(blobs: BlobProcess, **changes: Any) -> dict[str, Any]:
    """What the API says of the object ``a``, falsified."""
    told: dict[str, Any] = blobs.http.get("/api/blob", params={"url": "a"}).json()
    return told | changes


def lie(blobs: BlobProcess, times: int | None = None, **changes: Any) -> None:
    body = described(blobs, **changes)
    blobs.fault("status", {"status": 200, "body": body}, path=API, times=times)


async def test_a_large_object_is_hashed_from_first_to_last_byte(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", BODY)
    read = await store.read("a")
    assert read is not None
    assert (read.size, read.sha256) == (len(BODY), hashlib.sha256(BODY).hexdigest())


async def test_sixteen_reads_at_once_do_not_mix(blobs: BlobProcess, store: BlobStore) -> None:
    bodies = {f"n{number}": bytes([number]) * (number * 70_000) for number in range(48)}
    for name, body in bodies.items():
        blobs.put(name, body)
    gate = asyncio.Semaphore(16)

    async def one(name: str) -> str | None:
        async with gate:
            read = await store.read(name)
            return read and read.sha256

    hashes = await asyncio.gather(*map(one, bodies))
    assert hashes == [hashlib.sha256(body).hexdigest() for body in bodies.values()]


async def test_a_private_object_is_read_with_the_token(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"secret", x_vercel_blob_access="private")
    read = await store.read("a")
    assert read is not None
    assert read.sha256 == hashlib.sha256(b"secret").hexdigest()


@pytest.mark.parametrize(("action", "value"), [("truncate", 3_000_000), ("reset", 3_000_000)])
async def test_a_connection_that_breaks_is_an_error_and_no_hash(
    blobs: BlobProcess, store: BlobStore, action: str, value: int
) -> None:
    blobs.put("a", BODY)
    blobs.fault(action, value, path=OBJECT, times=1)
    read = await store.read("a")
    assert read is not None
    assert read.size == len(BODY)
    blobs.fault(action, value, path=OBJECT, times=None)
    with pytest.raises(StoreUnreachableError):
        await store.read("a")


@pytest.mark.parametrize("size", [10, 99, 101, 10**12])
async def test_a_size_that_is_not_what_comes_is_an_error_and_no_hash(
    blobs: BlobProcess, store: BlobStore, size: int
) -> None:
    blobs.put("a", b"x" * 100)
    lie(blobs, size=size)
    with pytest.raises(StoreUnreachableError, match="bytes"):
        await store.read("a")


async def test_bits_that_were_flipped_are_hashed_as_they_come(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"\x00" * 100)
    blobs.fault("flip_bit", 7, path=OBJECT)
    read = await store.read("a")
    assert read is not None
    assert read.sha256 == hashlib.sha256(b"\x80" + b"\x00" * 99).hexdigest()
    assert read.version is not None
    assert not read.version.startswith(read.md5)


async def test_an_old_copy_from_the_cdn_is_not_believed(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"new")
    old = {"status": 200, "body": "old", "headers": {"etag": 'W/"0"'}}
    blobs.fault("status", old, path=OBJECT, times=1)
    read = await store.read("a")
    assert read is not None
    assert read.sha256 == hashlib.sha256(b"new").hexdigest()
    blobs.fault("status", old, path=OBJECT, times=None)
    with pytest.raises(ObjectChangedError, match="CDN"):
        await store.read("a")


async def test_a_weak_etag_is_the_same_etag(blobs: BlobProcess, store: BlobStore) -> None:
    blobs.put("a", b"new")
    etag = "W/" + described(blobs)["etag"]
    blobs.fault("status", {"status": 200, "body": "new", "headers": {"etag": etag}}, path=OBJECT)
    assert await store.read("a") is not None


async def test_compressed_bytes_are_refused(blobs: BlobProcess, store: BlobStore) -> None:
    blobs.put("a", b"new")
    headers = {"etag": described(blobs)["etag"], "content-encoding": "gzip"}
    blobs.fault("status", {"status": 200, "body": "new", "headers": headers}, path=OBJECT)
    with pytest.raises(MalformedAnswerError, match="gzip"):
        await store.read("a")


async def test_an_object_deleted_while_it_is_read_is_gone(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"new")
    lie(blobs, times=1)
    blobs.delete("a")
    assert await store.read("a") is None


async def test_a_404_from_the_object_s_url_alone_is_no_absence(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"new")
    blobs.fault("status", 404, path=OBJECT, times=None)
    with pytest.raises(ObjectChangedError, match="does not find it"):
        await store.read("a")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, AccessRefusedError),
        (206, MalformedAnswerError),
        (204, MalformedAnswerError),
        (503, StoreUnreachableError),
        (416, MalformedAnswerError),
    ],
)
async def test_other_answers_are_errors(
    blobs: BlobProcess, store: BlobStore, status: int, error: type[Exception]
) -> None:
    blobs.put("a", b"new")
    blobs.fault("status", status, path=OBJECT, times=None)
    with pytest.raises(error):
        await store.read("a")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(
    blobs: BlobProcess, store: BlobStore, status: int
) -> None:
    blobs.put("a", b"new")
    blobs.put("b", b"other")
    answer = {"status": status, "headers": {"location": f"{blobs.url}/b?token=1"}}
    blobs.fault("status", answer, path=OBJECT, times=None)
    with pytest.raises(NotTheStoresUrlError, match="not followed") as caught:
        await store.read("a")
    assert "token" not in str(caught.value)
    blobs.fault("status", answer, path=API, times=None)
    with pytest.raises(NotTheStoresUrlError):
        await store.look_up("a")


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/a",
        "http://127.0.0.1:1/a",
        f"https://{STORE_ID}.public.blob.vercel-storage.com@evil.example/a",
        f"https://{STORE_ID}.public.blob.vercel-storage.com.evil.example/a",
        f"https://other.{STORE_ID}.public.blob.vercel-storage.com/a",
        f"http://{STORE_ID}.public.blob.vercel-storage.com/a",
        f"https://{STORE_ID}.public.blob.vercel-storage.com\\.evil.example/a",
        "file:///etc/passwd",
        "/a",
    ],
)
async def test_urls_that_are_not_the_store_s_are_not_fetched(
    blobs: BlobProcess, store: BlobStore, url: str
) -> None:
    blobs.put("a", b"new")
    lie(blobs, url=url)
    with pytest.raises(NotTheStoresUrlError, match="not fetched"):
        await store.read("a")


@pytest.mark.parametrize(("fault", "value"), [("delay", 60_000), ("trickle", 20)])
async def test_an_object_that_trickles_is_given_up_whatever_its_size_is_said_to_be(
    blobs: BlobProcess, store: BlobStore, monkeypatch: pytest.MonkeyPatch, fault: str, value: int
) -> None:
    blobs.put("a", b"x" * 100_000)
    lie(blobs, size=MAX_SIZE)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    if fault == "trickle":  # with a length that fits the lie, so that it is not noticed by that
        monkeypatch.setattr(reading, "_check_headers", lambda *_parts: None)
    blobs.fault(fault, value, path=OBJECT, times=None)
    started = time.monotonic()
    with pytest.raises(StoreUnreachableError, match="a second; it was given up"):
        await store.read("a")
    assert time.monotonic() - started < 5


async def test_a_download_that_keeps_up_has_all_the_time_it_needs(
    blobs: BlobProcess, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs.put("a", b"x" * 40)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(connection, "LOWEST_SPEED", 20)
    blobs.fault("trickle", 20, path=OBJECT, times=None)  # 0.8 s, and some 50 bytes a second
    read = await store.read("a")
    assert read is not None
    assert read.size == 40


async def test_a_blob_that_says_10_bytes_and_sends_on_for_ever_is_cut_off(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"0123456789")
    blobs.fault("endless_body", path=OBJECT, times=None)
    tracemalloc.start()
    with pytest.raises(StoreUnreachableError, match="more bytes came than the 10"):
        await store.read("a")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "change",
    [
        {"size": 2**63}, {"size": 10**30}, {"size": -1}, {"size": MAX_SIZE + 1},
        {"uploadedAt": "0001-01-01T00:00:00+14:00"}, {"uploadedAt": "9999-12-31T23:59:59-14:00"},
        {"uploadedAt": "0001-01-01T00:00:00Z"}, {"uploadedAt": "x" * 100_000},
    ],
    ids=lambda change: str(change)[:50],
)  # fmt: skip
async def test_what_no_object_can_be_is_a_malformed_answer_of_few_words(
    blobs: BlobProcess, store: BlobStore, change: dict[str, Any]
) -> None:
    blobs.put("a", b"new")
    lie(blobs, **change)
    with pytest.raises(MalformedAnswerError) as caught:
        await store.look_up("a")
    assert len(str(caught.value)) <= MAX_TEXT
    report = ListingReport(StoreState.COMPLETE)
    page = {"blobs": [described(blobs) | change], "hasMore": False}
    blobs.http.delete("/__faults")
    blobs.fault("status", {"status": 200, "body": page}, path="limit=1000")
    assert [row async for batch in store.list_batches(report) for row in batch] == []
    assert report.state is StoreState.INCOMPLETE
    assert report.detail
    assert len(report.detail) <= MAX_TEXT


async def test_another_object_than_the_one_asked_for_is_refused(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a", b"new")
    lie(blobs, pathname="b")
    with pytest.raises(MalformedAnswerError, match="instead"):
        await store.look_up("a")


SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"),
    min_size=1,
    max_size=20,
).filter(lambda segment: segment not in (".", ".."))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(SEGMENT, min_size=1, max_size=3).map("/".join))
def test_any_name_is_put_looked_up_read_and_deleted(blobs: BlobProcess, pathname: str) -> None:
    async def round_trip() -> None:
        async with blobs.store() as store:
            put = await store.put(
                pathname, b"1", size=1, content_type="text/plain", access="public"
            )
            assert await store.look_up(pathname) == put
            read = await store.read(pathname)
            assert read is not None
            assert read.version == put.version
            assert await store.delete_if_unchanged(pathname, str(put.version))
            assert await store.look_up(pathname) is None

    asyncio.run(round_trip())


def test_neither_token_nor_body_is_told_by_errors(blobs: BlobProcess) -> None:
    async def failures() -> list[str]:
        texts = []
        for fault in (("status", 503), ("status", 403), ("status", 418), ("reset", None)):
            blobs.fault(*fault, times=None)
            async with blobs.store() as store:
                with pytest.raises(Exception) as caught:  # noqa: PT011 - any of them
                    await store.look_up("a")
            texts.append(repr(caught.value) + repr(caught.value.__cause__))
            blobs.reset()
        return texts

    for text in asyncio.run(failures()):
        assert TOKEN.rpartition("_")[2] not in text
