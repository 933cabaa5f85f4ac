"""The ASGI application: which request goes where, and who may make it."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.blob.delivery import deliver
from sandbox.blob.exchange import ApiError, ClientGoneError, Request, send_error, send_json
from sandbox.blob.listing import head_object, list_objects
from sandbox.blob.multipart import multipart
from sandbox.blob.storage import BlobStorage
from sandbox.blob.writing import delete_objects, put_or_copy, rename_object
from sandbox.faults import ASGIApp, FaultMiddleware, Faults, Receive, Scope, Send, path_with_query

API_BASE = "/api/blob"
TOKEN_PREFIX = "vercel_blob_rw_"  # noqa: S105

_WRITING: dict[str, Callable[[Request, BlobStorage], Awaitable[Any]]] = {
    "PUT /": put_or_copy,
    "POST /delete": delete_objects,
    "POST /mpu": multipart,
    "POST /rename": rename_object,
}


def create_app(storage: BlobStorage, token: str) -> ASGIApp:
    """The whole server: the store, and in front of it the faults.

    Raises ValueError where the token is not ``vercel_blob_rw_<storeId>_<secret>``.
    """
    faults = Faults()
    return FaultMiddleware(BlobServer(storage, token, faults), faults)


class BlobServer:
    """The API under :data:`API_BASE` (and, for its operations, at the root), objects elsewhere."""

    def __init__(self, storage: BlobStorage, token: str, faults: Faults) -> None:
        self._storage = storage
        self._token = token
        self._store_id = store_id_of(token)
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        request = Request(scope, receive, self._store_id)
        try:
            await self._answer(request, scope, send)
        except ApiError as error:
            await send_error(send, error)
        except ClientGoneError:
            return

    async def _answer(self, request: Request, scope: Scope, send: Send) -> None:
        operation = _operation(request)
        if request.path == "/__health":
            await send_json(send, {"ok": True})
        elif operation is not None:
            self._authorize(request)
            await send_json(send, await self._operate(operation, request, path_with_query(scope)))
        elif request.method in {"GET", "HEAD"}:
            await deliver(request, self._storage, send, lambda: self._authorize(request))
        else:
            raise ApiError(405, "not_allowed", f"{request.method} is not for object URLs.")

    async def _operate(self, operation: str, request: Request, target: str) -> Any:
        """Carry out an operation of the API."""
        step = f"{request.method} /{operation}"
        if step == "GET /" and "url" not in request.query():
            return list_objects(request, self._storage, self._faults, target)
        if step == "GET /":
            return head_object(request, self._storage)
        writing = _WRITING.get(step)
        if writing is None:
            raise ApiError(400, "bad_request", f"The sandbox has no operation {step}.")
        return await writing(request, self._storage)

    def _authorize(self, request: Request) -> None:
        """Raise ApiError for a request without this store's token."""
        scheme, _, token = (request.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(401, "forbidden", "Access denied: no bearer token was sent.")
        if hmac.compare_digest(token.strip().encode(), self._token.encode()):
            return
        try:
            store_id = store_id_of(token.strip())
        except ValueError:
            raise ApiError(403, "forbidden", "Access denied: not a read-write token.") from None
        if store_id != self._store_id:
            raise ApiError(403, "store_not_found", f"No store has the id {store_id!r}.")
        raise ApiError(403, "forbidden", "Access denied: the token is not valid for this store.")


def store_id_of(token: str) -> str:
    """The store's id in a read-write token.

    Raises ValueError where the token has another form.
    """
    store_id, separator, secret = token.removeprefix(TOKEN_PREFIX).partition("_")
    if not (token.startswith(TOKEN_PREFIX) and store_id and separator and secret):
        raise ValueError("a token is vercel_blob_rw_<storeId>_<secret>")
    return store_id


def _operation(request: Request) -> str | None:
    """The last part of an API address: "" for the base itself; None for an object's URL.

    A client whose base is the server's root is served too, as far as no object could be meant.
    """
    path = request.path
    if path == API_BASE or path.startswith(API_BASE + "/"):
        return path[len(API_BASE) :].strip("/")
    if path == "/" or request.method == "POST":
        return path.strip("/")
    return None
