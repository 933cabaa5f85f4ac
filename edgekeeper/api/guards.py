"""What stands before every request: bearer token, described parameters only, bounded body."""

import hmac
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 64 * 1024
_bearer = HTTPBearer(auto_error=False, description="EDGEKEEPER_API_TOKEN")


def require_token(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> None:
    """Refuses a request without the token, where one is set. Compares in constant time."""
    token: str | None = request.app.state.token
    if token is None:
        return
    presented = given.credentials if given else ""
    if not hmac.compare_digest(presented.encode(), token.encode()):
        raise HTTPException(
            401, "Give the token as 'Authorization: Bearer …'.", {"WWW-Authenticate": "Bearer"}
        )


def only_described(request: Request) -> None:
    """Refuses a query parameter that the description does not have, or that is given twice.

    A filter with a typing error in its name would otherwise be no filter at all.
    """
    described = {field.alias for field in request.scope["route"].dependant.query_params}
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in described or given.count(name) > 1:
            wrong = "given more than once" if name in described else "not known here"
            problem = {"type": "parameter", "loc": ["query", name], "msg": f"It is {wrong}."}
            raise HTTPException(422, [problem])


def true_or_false(text: str | None) -> bool | None:
    """A query parameter's boolean in the two words of the description, and in no other."""
    if text is None:
        return None
    if text not in ("true", "false"):
        raise ValueError("say true or false")
    return text == "true"


class BodyLimit:
    """Ends a request with 413 as soon as its body is longer than an edge can be."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with its whole body, or refuses it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                refusal = JSONResponse({"detail": f"The body is over {self._limit} bytes."}, 413)
                await refusal(scope, receive, send)
                return
        waiting: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, replay, send)
