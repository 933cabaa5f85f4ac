"""As much of Neon's API as its command line asks for branches: a branch is a copy of a database.

Paths and fields are those of Neon's API, version 2; the command line itself is Neon's own.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

KEY: Final = "napi_of_the_tests"
PROJECT: Final = {"id": "quiet-hill-12345678", "name": "app"}
ORGANIZATION: Final = {"id": "org-quiet-hill-12345678", "name": "app"}
Answer = dict[str, Any]


class Project:
    """One project, whose branches are databases of one Postgres."""

    def __init__(self, url: str) -> None:
        """``url``: of the database of the default branch."""
        parts = urlsplit(url)
        self._maintenance = parts._replace(path="/postgres").geturl()
        self._host = f"{parts.hostname}:{parts.port}"
        self._role, self._password = parts.username, parts.password
        self.branches = {"br-main-12345678": parts.path.removeprefix("/")}

    def _do(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))  # type: ignore[arg-type]

    def _branch(self, branch_id: str) -> Answer:
        name = self.branches[branch_id]
        return {"id": branch_id, "name": name, "default": "main" in branch_id,
                "project_id": PROJECT["id"], "current_state": "ready",
                "created_at": "2026-11-28T00:00:00Z"}  # fmt: skip

    def _endpoints(self, branch_id: str) -> list[Answer]:
        return [{"id": f"ep-{branch_id}", "host": self._host, "type": "read_write",
                 "branch_id": branch_id, "created_at": "2026-11-28T00:00:00Z"}]  # fmt: skip

    def listed(self) -> Answer:
        return {"branches": [self._branch(each) for each in self.branches], "annotations": {}}

    def created(self, body: Answer) -> Answer:
        name, parent = body["branch"]["name"], self.branches[body["branch"]["parent_id"]]
        self._do("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, parent)
        branch_id = f"br-{name}-12345678"
        self.branches[branch_id] = name
        return {"branch": self._branch(branch_id), "endpoints": self._endpoints(branch_id)}

    def deleted(self, branch_id: str) -> Answer:
        answer = {"branch": self._branch(branch_id)}
        self._do("DROP DATABASE {} WITH (FORCE)", self.branches.pop(branch_id))
        return answer

    def endpoints(self, branch_id: str) -> Answer:
        return {"endpoints": self._endpoints(branch_id)}

    def roles(self, branch_id: str) -> Answer:
        return {"roles": [{"name": self._role, "branch_id": branch_id}]}

    def databases(self, branch_id: str) -> Answer:
        name = self.branches[branch_id]
        return {"databases": [{"name": name, "owner_name": self._role, "branch_id": branch_id}]}

    def password(self, _branch_id: str, _role: str) -> Answer:
        return {"password": self._password}

    def answer(self, method: str, path: str, body: Answer) -> Answer | None:
        """What the API answers, None where there is no such path."""
        branches = f"/projects/{PROJECT['id']}/branches"
        one = rf"{branches}/([^/]+)"
        routes: dict[tuple[str, str], Callable[..., Answer]] = {
            ("GET", "/users/me/organizations"): lambda: {"organizations": [ORGANIZATION]},
            ("GET", "/projects"): lambda: {"projects": [PROJECT]},
            ("GET", branches): self.listed,
            ("POST", branches): lambda: self.created(body),
            ("DELETE", one): self.deleted,
            ("GET", f"{one}/endpoints"): self.endpoints,
            ("GET", f"{one}/roles"): self.roles,
            ("GET", f"{one}/databases"): self.databases,
            ("GET", f"{one}/roles/([^/]+)/reveal_password"): self.password,
        }
        for (known, pattern), given in routes.items():
            if method == known and (match := re.fullmatch(pattern, path)):
                return given(*match.groups())
        return None


class Handler(BaseHTTPRequestHandler):
    """Answers for the project of its class to who has the key."""

    project: Project

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        if self.headers["authorization"] != f"Bearer {KEY}":
            self._say(401, {"message": "unauthorized"})
            return
        answer = self.project.answer(self.command, urlsplit(self.path).path, body)
        self._say(*(404, {"message": self.path}) if answer is None else (200, answer))

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def _say(self, status: int, answer: Answer) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def served(project: Project) -> Iterator[str]:
    """The API of one project, on this machine; gives its address."""
    handler = type("OfProject", (Handler,), {"project": project})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
