"""What the blob store's refusals mean, and which of them are tried again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import stamina
from blob_process import STORE_ID, TOKEN, BlobProcess

from checks.errors import (
    AccessRefusedError,
    MalformedAnswerError,
    ObjectChangedError,
    StoreError,
    StoreUnreachableError,
)
from tasks.rates import Operation
from tasks.stores.blob import BlobStore


def refuse(
    blobs: BlobProcess, status: int, code: str | None, *, times: int | None = None, **headers: str
) -> None:
    body = {"error": {"code": code, "message": "said so"}} if code else "<html>no</html>"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    blobs.fault("status", {"status": status, "body": body, "headers": named}, times=times)


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("status", "code", "error", "requests"),
    [
        (403, "forbidden", AccessRefusedError, 1),
        (401, "forbidden", AccessRefusedError, 1),
        (403, "store_suspended", AccessRefusedError, 1),
        (403, "store_not_found", AccessRefusedError, 1),
        (404, "store_not_found", AccessRefusedError, 1),
        (401, None, AccessRefusedError, 1),
        (403, None, AccessRefusedError, 1),
        (403, "not_found", StoreError, 1),
        (403, "something_new", AccessRefusedError, 1),
        (404, None, MalformedAnswerError, 1),
        (404, "something_new", MalformedAnswerError, 1),
        (400, "bad_request", MalformedAnswerError, 1),
        (418, None, MalformedAnswerError, 1),
        (412, "precondition_failed", ObjectChangedError, 1),
        (412, None, ObjectChangedError, 1),
        (429, "rate_limited", StoreUnreachableError, 3),
        (429, None, StoreUnreachableError, 3),
        (503, "service_unavailable", StoreUnreachableError, 3),
        (500, "internal_server_error", StoreUnreachableError, 3),
        (500, "unknown_error", StoreUnreachableError, 3),
        (502, None, StoreUnreachableError, 3),
        (200, None, MalformedAnswerError, 1),
    ],
)
async def test_every_refusal_has_its_error(
    blobs: BlobProcess, store: BlobStore, status: int, code: str | None, error: type[Exception], requests: int,
) -> None:  # fmt: skip
    refuse(blobs, status, code)
    with pytest.raises(error):
        await store.look_up("a")
    assert store.requests == requests
    assert store.operations == {Operation.SIMPLE: requests}


@pytest.mark.parametrize("body", [None, [], {"error": None}, {"error": {"code": 5, "message": []}}])
async def test_a_broken_envelope_is_judged_by_its_status(
    blobs: BlobProcess, store: BlobStore, body: Any
) -> None:
    blobs.fault("status", {"status": 403, "body": body})
    with pytest.raises(AccessRefusedError):
        await store.look_up("a")


@pytest.mark.usefixtures("no_waiting")
async def test_only_a_spoken_not_found_is_absence(blobs: BlobProcess, store: BlobStore) -> None:
    refuse(blobs, 404, "not_found")
    assert await store.look_up("a") is None


async def test_a_name_that_looks_encoded_is_absent_only_under_its_urls_too(
    blobs: BlobProcess, store: BlobStore
) -> None:
    blobs.put("a%20b", b"1")
    refuse(blobs, 404, "not_found", times=1)
    assert await store.look_up("a%20b") is not None
    assert await store.look_up("a%20c") is None


async def test_rate_limits_are_waited_for_in_seconds(blobs: BlobProcess, store: BlobStore) -> None:
    refuse(blobs, 429, "rate_limited", times=1, retry_after="1")
    started = datetime.now(UTC)
    assert await store.look_up("a") is None
    assert timedelta(seconds=1) <= datetime.now(UTC) - started < timedelta(seconds=5)


async def test_a_wait_that_is_too_long_is_not_waited_for(
    blobs: BlobProcess, store: BlobStore
) -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    refuse(blobs, 429, "rate_limited", retry_after=tomorrow)
    with pytest.raises(StoreUnreachableError, match="rate_limited"):
        await store.look_up("a")
    assert store.requests == 1


async def test_the_headers_are_the_official_client_s_and_the_id_outlives_retries(
    blobs: BlobProcess, store: BlobStore
) -> None:
    seen: list[dict[str, str]] = []

    async def note(request: Any) -> None:
        seen.append(dict(request.headers))

    store._connection._lanes._options["event_hooks"] = {"request": [note]}
    refuse(blobs, 503, "service_unavailable", times=2)
    with stamina.set_testing(True, attempts=5):
        await store.look_up("a")
        await store.look_up("b")
    first, second, third, other = seen
    assert first["authorization"] == f"Bearer {TOKEN}"
    assert first["x-api-version"] == "12"
    assert first["x-vercel-blob-store-id"] == STORE_ID
    assert first["accept-encoding"] == "identity"
    ids = {headers["x-api-blob-request-id"] for headers in (first, second, third)}
    assert len(ids) == 1
    assert other["x-api-blob-request-id"] not in ids
    numbers = [headers["x-api-blob-request-attempt"] for headers in seen]
    assert numbers == ["0", "1", "2", "0"]


async def test_the_identity_of_a_store_that_is_not_there_is_refused(blobs: BlobProcess) -> None:
    async with blobs.store("vercel_blob_rw_Another_x") as store:
        with pytest.raises(AccessRefusedError, match="BLOB_READ_WRITE_TOKEN"):
            await store.identity()
