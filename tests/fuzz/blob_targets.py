"""Answers of the blob store: pages of a listing, look-ups, refusals with their headers."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
from campaign import Target
from hypothesis import strategies as st
from recordings import chosen, for_each, recorded

from checks.columns import BLOB_INVENTORY
from checks.errors import StoreError
from checks.normal import BlobAddress, is_ignored, url_path
from tasks.inventory import _table
from tasks.stores.blob import failures, reading
from tasks.stores.blob.answers import Blob, BlobVersion, decoded, parse_blob, parse_page
from tasks.stores.blob.listing import _row, _sound, _Unseen
from tasks.stores.blob.writing import access_of
from tasks.stores.icp.transport import Transport

ADDRESS = BlobAddress("AbCdEf123", "127.0.0.1:8080")
_KINDS = ("page", "head", "refusal", "object")
_STATUSES = (200, 301, 400, 401, 403, 404, 408, 412, 418, 429, 500, 503, 599)


def examine_answer(data: bytes) -> str:
    number, body = chosen(data, len(_KINDS))
    match _KINDS[number]:
        case "page":
            return _page(body)
        case "head":
            return _used(parse_blob(decoded(body)))
        case "refusal":
            return _refusal(body)
        case _:
            response = _response(body)
            blob = Blob("a", "https://a", 3, "etag", datetime.now(UTC))
            reading._check_headers("reading", response, blob)
            return "read"


def _page(body: bytes) -> str:
    page = parse_page(decoded(body))
    folders = _sound(page.folders, "images/")
    assert all(each.startswith("images/") and each.endswith("/") for each in folders)
    unseen = _Unseen()
    fresh = unseen.of(page.blobs)
    unseen.guard_progress(fresh, page)
    _table([_row(blob) for blob in fresh], BLOB_INVENTORY)
    for blob in fresh[:5]:
        _used(blob)
    return f"{min(len(fresh), 3)} {page.cursor is None} {unseen.repeated == 0} {bool(folders)}"


def _used(blob: Blob) -> str:
    """What becomes of an object further on."""
    assert BlobVersion.parse(str(blob.version)).is_kept_by(blob.version)
    is_ignored(blob.pathname, ("avatars",))
    url_path(blob.pathname)
    if ADDRESS.owns(blob.url):
        _client.build_request("GET", blob.url)
        httpx.URL(blob.url).copy_merge_params({"cache": "0"})
    return f"{access_of(blob)} {ADDRESS.owns(blob.url)}"


def _response(body: bytes) -> httpx.Response:
    """Status, headers and body out of one input: a byte, lines up to an empty one, the rest."""
    number, rest = chosen(body, len(_STATUSES))
    head, _, content = rest.partition(b"\n\n")
    lines = [line.partition(b":") for line in head.split(b"\n") if line]
    headers = [(name.strip() or b"x", value.strip()) for name, _, value in lines[:20]]
    try:
        return httpx.Response(_STATUSES[number], headers=headers, content=content)
    except (ValueError, LookupError):  # httpx itself refuses these, on the wire too
        return httpx.Response(_STATUSES[number], content=content)


def _refusal(body: bytes) -> str:
    response = _response(body)
    blob_error = failures.refusal("looking up 'a'", response, response.content)
    failures.worth_retrying(blob_error)
    canister_error = Transport._error(_transport, response, response.content)
    assert isinstance(blob_error, StoreError)
    assert isinstance(canister_error, StoreError)
    for error in (blob_error, canister_error):
        assert len(str(error)) < 2000, "an error repeats what was sent at any length"
    return f"{type(blob_error).__name__} {type(canister_error).__name__}"


_client = httpx.Client(trust_env=False)
_transport = Transport.__new__(Transport)
_transport.url = "https://icp-api.io"

_times = st.sampled_from(
    ["2023-05-04T15:12:07.818Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2023-05-04",
     "2023-W18-4T15:12:07Z", "20230504T151207Z", "2023-05-04T15:12:07-23:59:59.999999", ""]
) | st.datetimes().map(lambda moment: f"{moment.isoformat()}Z")  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_urls = st.sampled_from(
    ["https://abcdef123.public.blob.vercel-storage.com/a", "http://127.0.0.1:8080/a b",
     "https://abcdef123.public.blob.vercel-storage.com/long", "file:///etc/passwd",
     "https://abcdef123.public.blob.vercel-storage.com:443/%ff", "http://127.0.0.1:8080"]
).map(lambda url: url.replace("/long", "/" + "a" * 70_000))  # fmt: skip
_blob = st.fixed_dictionaries(
    {
        "pathname": st.text(min_size=1, max_size=9) | _json, "url": _urls | _json,
        "size": st.integers(-1, 2**64) | _json, "uploadedAt": _times | _json,
        "etag": st.text(max_size=6) | st.just('"W/"x@y@2020-01-01"') | _json,
    },
    optional={"contentType": st.text(max_size=9) | _json, "cacheControl": _json},
)  # fmt: skip
_made_page = st.fixed_dictionaries(
    {"blobs": st.lists(_blob, max_size=3) | _json, "hasMore": st.booleans() | _json},
    optional={"cursor": st.text(max_size=9) | _json},
)
_dates = st.sampled_from(
    [b"Mon, 16 Nov 2009 13:32:02 -0000", b"Mon, 16 Nov 2009 13:32:02 +9999", b"1e400", b"nan", b"-5",
     b"Mon, 16 Nov 99999999999999999999 13:32:02 GMT", b"9" * 30, b"0.000001", b"\xb2", b"1_000",
     b"Fri, 31 Dec 9999 23:59:59 -2300", b"Sat, 01 Jan 0001 00:00:00 +2300", b"1 Jan 1 1:1:1 GMT"]
) | st.binary(max_size=30)  # fmt: skip
_header = st.tuples(
    st.sampled_from([b"retry-after", b"date", b"location", b"x-ic-error-cause", b"etag",
                     b"content-encoding", b"content-length"]),
    _dates,
).map(b": ".join)  # fmt: skip
_envelope = st.fixed_dictionaries(
    {"error": st.fixed_dictionaries(
        {"code": st.sampled_from(["not_found", "forbidden", "rate_limited", "long"]) | _json,
         "message": st.sampled_from(["already exists", "request expiry", "long"]) | _json}
    ) | _json}
)  # fmt: skip


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode().replace(b'"long"', b'"' + b"y" * 9000 + b'"')


_refused = st.builds(
    lambda status, headers, body: bytes([status]) + b"\n".join(headers) + b"\n\n" + body,
    st.integers(0, len(_STATUSES) - 1), st.lists(_header, max_size=4),
    _envelope.map(_dumped) | st.binary(max_size=30)
    | st.just(b"Specified ingress_expiry: Invalid request expiry"),
)  # fmt: skip
_PAGE_HASH = hashlib.sha256(b"page").hexdigest()

BLOBS = Target(
    "blob-answers",
    [
        *(for_each(0, each) for each in recorded("blob-page*.json")),
        *(for_each(1, each) for each in recorded("blob-head*.json") + recorded("blob-put*.json")),
        *(for_each(2, b"\x05\n\n" + each) for each in recorded("blob-error*.json")),
        for_each(2, b"\x09retry-after: Mon, 16 Nov 2026 13:32:02 GMT\ndate: x\n\n{}"),
        for_each(2, b"\x02date: Mon, 16 Nov 2026 13:32:02 GMT\n\nInvalid request expiry"),
        for_each(3, f'\x00etag: "{_PAGE_HASH}"\ncontent-length: 3\n\nabc'.encode()),
    ],
    st.one_of(
        st.builds(for_each, st.just(0), (_made_page | _json).map(_dumped)),
        st.builds(for_each, st.just(1), (_blob | _json).map(_dumped)),
        st.builds(for_each, st.sampled_from([2, 3]), _refused),
    ),
    examine_answer,
)
