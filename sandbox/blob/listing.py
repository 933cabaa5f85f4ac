"""List and head: what the API says about objects."""

import base64
import binascii
import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.blob.exchange import ApiError, Request
from sandbox.blob.naming import Origin, default_disposition
from sandbox.blob.storage import BlobStorage, StoredObject, now_ms
from sandbox.faults import CONTENT_ACTIONS, Faults, Rule

MAX_LIMIT = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def list_objects(request: Request, storage: BlobStorage, faults: Faults, target: str) -> Any:
    """One page of a listing, with the fault that a rule for ``target`` says."""
    query = request.query()
    cursor = query.get("cursor") or None
    begin = _decode_cursor(cursor) if cursor else ""
    actions = CONTENT_ACTIONS if cursor else CONTENT_ACTIONS - {"repeat_cursor"}
    rule = faults.take(actions, method=request.method, path=target)
    stale = rule is not None and rule.action == "stale_list"
    page = storage.page(
        limit=_limit(query.get("limit")),
        prefix=query.get("prefix", ""),
        start=begin,
        folded=_folded(query.get("mode")),
        as_of=now_ms() - round(rule.value * 1000) if rule and stale else None,
    )
    answer: dict[str, Any] = {
        "blobs": [_list_entry(obj, request.origin) for obj in page.objects],
        "hasMore": page.following is not None,
    }
    if page.following is not None:
        answer["cursor"] = _encode_cursor(page.following)
    if query.get("mode") == "folded":
        answer["folders"] = page.folders
    if rule is not None:
        _damage(answer, rule, cursor, begin)
    return answer


def head_object(request: Request, storage: BlobStorage) -> Any:
    """All that is known of one object, named by its URL or its pathname."""
    obj = find(storage, request.origin, request.query()["url"])
    return _list_entry(obj, request.origin) | {
        "contentType": obj.content_type,
        "contentDisposition": disposition(obj),
        "cacheControl": cache_control(obj),
    }


def find(storage: BlobStorage, origin: Origin, url_or_pathname: str) -> StoredObject:
    """The object that a URL or a pathname names.

    Raises ApiError ``not_found``.
    """
    pathname = origin.pathname(url_or_pathname)
    obj = storage.get(pathname) if pathname else None
    if obj is None:
        raise ApiError(404, "not_found", "The requested blob does not exist.")
    return obj


def put_result(obj: StoredObject, origin: Origin) -> Any:
    """What put, copy and a completed multipart upload answer."""
    url = origin.url(obj.pathname)
    return {
        "url": url,
        "downloadUrl": f"{url}?download=1",
        "pathname": obj.pathname,
        "contentType": obj.content_type,
        "contentDisposition": disposition(obj),
        "etag": f'"{obj.etag}"',
    }


def disposition(obj: StoredObject) -> str:
    """The object's Content-Disposition."""
    return obj.content_disposition or default_disposition(obj.pathname)


def cache_control(obj: StoredObject) -> str:
    """The object's Cache-Control."""
    return f"{obj.access}, max-age={obj.cache_control_max_age}"


def _list_entry(obj: StoredObject, origin: Origin) -> dict[str, Any]:
    url = origin.url(obj.pathname)
    return {
        "url": url,
        "downloadUrl": f"{url}?download=1",
        "pathname": obj.pathname,
        "size": obj.size,
        "uploadedAt": _rfc3339(obj.uploaded_at),
        "etag": f'"{obj.etag}"',
    }


def _rfc3339(ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _limit(text: str | None) -> int:
    if not text:
        return MAX_LIMIT
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ApiError(400, "bad_request", f"limit is {text!r}; it is a number from 1 to 1000.")
    return min(int(text), MAX_LIMIT)


def _folded(mode: str | None) -> bool:
    if mode not in {None, "", "expanded", "folded"}:
        raise ApiError(400, "bad_request", f"mode is {mode!r}; it is expanded or folded.")
    return mode == "folded"


def _encode_cursor(following: str, nonce: str = "") -> str:
    """Where the next page begins; a nonce makes cursors differ that lead to the same page."""
    return base64.urlsafe_b64encode(json.dumps([following, nonce]).encode()).decode()


def _decode_cursor(cursor: str) -> str:
    try:
        following, _ = json.loads(base64.b64decode(cursor, altchars=b"-_", validate=True))
        following.encode()
    except (binascii.Error, ValueError, TypeError, AttributeError):
        raise ApiError(400, "bad_request", "The cursor is none that a listing gave.") from None
    return str(following)


def _damage(answer: dict[str, Any], rule: Rule, cursor: str | None, begin: str) -> None:
    """Make the fault of a rule in a page that began at ``begin``.

    An index beyond the page means its last item, so that a rule never passes without a trace.
    """
    blobs: list[Any] = answer["blobs"]
    if rule.action == "drop_item" and blobs:
        del blobs[min(rule.value, len(blobs) - 1)]
    elif rule.action == "duplicate_page" and rule.value is None:
        answer["hasMore"] = True
        answer["cursor"] = _encode_cursor(begin, secrets.token_hex(8))
    elif rule.action == "duplicate_page" and blobs:
        index = min(rule.value, len(blobs) - 1)
        blobs.insert(index, blobs[index])
    elif rule.action == "repeat_cursor":
        answer["hasMore"] = True
        answer["cursor"] = cursor
    elif rule.action == "fresh_cursor":
        blobs += [_invented(each) for each in blobs[:1] * (rule.value or 0)]
        answer["hasMore"] = True
        answer["cursor"] = _encode_cursor(begin, secrets.token_hex(8))


def _invented(entry: dict[str, Any]) -> dict[str, Any]:
    """An object that there is not."""
    name = f"{entry['pathname']}.{secrets.token_hex(8)}"
    return entry | {"pathname": name, "url": f"{entry['url']}.{name.rpartition('.')[2]}"}
