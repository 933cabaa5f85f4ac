"""A sandbox whose database is cloned for each variant, which then differs from the document."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
from damaged_sandbox import Audited, Box, audited, backfilled, verified
from psycopg import sql

from checks.run import RunRecord
from sandbox.dataset import Recipe
from sandbox.seed import seed
from tasks.app_tables import find_app_tables
from tasks.database import connect
from tasks.settings import ALL_BYTES

CHANGES = Path(__file__).parent / "changes"
MEMORIES, GALLERIES = 24, 2
#: memory id, memory type, artifact, backend, present, location
Edge: TypeAlias = tuple[str, str, str, str, bool, str | None]
_EDGES = (
    "SELECT lower(memory_id::text), memory_type::text, artifact::text, backend::text, present, "
    "location FROM storage_edges"
)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class LegacySandbox:
    """A collection without a ledger in three stores.

    Attributes:
        box: the running sandbox; its database ``app`` is the template of all variants.
        truth: the edges that a back-fill must make of the undamaged collection.
    """

    box: Box
    truth: frozenset[Edge]

    @classmethod
    def started(cls, path: Path) -> "LegacySandbox":
        box = Box.started(path)
        recipe = Recipe(
            seed=2, memories=MEMORIES, galleries=GALLERIES, median_bytes=2_000, icp_share=0.6
        )
        seed(box.directory, recipe, with_edges=True)
        truth = frozenset(box.sql(_EDGES))
        box.sql("DROP TABLE storage_edges")
        for name in ("artifact_t", "backend_t", "memory_type_t", "sync_t"):
            box.sql(f"DROP TYPE {name}")
        return cls(box, truth)

    @contextmanager
    def database(self, changes: Sequence[str]) -> Iterator["Deployment"]:
        """A database of its own that has undergone these changes, gone at the end."""
        name = f"variant_{next(_numbers)}"
        top = self.box.directory.database_url.rpartition("/")[0]
        clone = sql.SQL("CREATE DATABASE {} TEMPLATE app STRATEGY file_copy")
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
        with psycopg.connect(f"{top}/postgres", autocommit=True) as server:
            server.execute(clone.format(sql.Identifier(name)))
            try:
                for change in changes:
                    with psycopg.connect(f"{top}/{name}", autocommit=True) as conn:
                        conn.execute((CHANGES / f"{change}.sql").read_bytes())
                yield Deployment(self.box, f"{top}/{name}")
            finally:
                server.execute(drop.format(sql.Identifier(name)))


@dataclass(frozen=True)
class Deployment:
    """One database beside the sandbox's stores, and edgekeeper on all three."""

    box: Box
    url: str

    def settings(self, home: Path) -> Any:
        """The settings of a run on it."""
        return self.box.settings(home, DATABASE_URL=self.url, DATABASE_URL_UNPOOLED=self.url)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def app_rows(self) -> dict[str, str]:
        """A digest of the rows of each of the app's tables, whatever their schema."""
        tables = self.sql(
            "SELECT schemaname, tablename FROM pg_tables WHERE tablename <> 'storage_edges' "
            "AND schemaname NOT IN ('pg_catalog', 'information_schema', 'audit')"
        )
        digest = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} AS t"
        with psycopg.connect(self.url) as conn:
            found = {}
            for table in tables:
                row = conn.execute(sql.SQL(digest).format(sql.Identifier(*table))).fetchone()
                found[".".join(table)] = row[0] if row else None
            return found

    def catalog(self) -> list[tuple[Any, ...]]:
        """Everything that the catalog says of what is not Postgres' own, down to the row version."""
        return self.sql((CHANGES.parent / "catalog.sql").read_text())

    def edge_ids(self) -> set[str]:
        """The rows of the ledger, if there is one."""
        if self.sql("SELECT to_regclass('storage_edges')") == [(None,)]:
            return set()
        return {row[0] for row in self.sql("SELECT id::text FROM storage_edges")}

    def edges(self) -> frozenset[Edge]:
        return frozenset(self.sql(_EDGES))

    def backfill(self, home: Path, budget: int = ALL_BYTES) -> RunRecord:
        return backfilled(self.settings(home), budget=budget)

    def audit(self, home: Path, repair: str = "none", verify: str = "0") -> Audited:
        return audited(self.settings(home), repair=repair, verify=verify)

    def damage(self) -> None:
        """Two edges say that a file is not there, and two others are gone."""
        self.sql(
            "UPDATE storage_edges SET present = false WHERE id IN (SELECT id FROM storage_edges "
            "WHERE artifact = 'asset' AND backend = 'vercel-blob' ORDER BY id LIMIT 2)"
        )
        self.sql(
            "DELETE FROM storage_edges WHERE id IN (SELECT id FROM storage_edges "
            "WHERE artifact = 'metadata' AND backend = 'icp-canister' ORDER BY id LIMIT 2)"
        )

    def _asked(self) -> tuple[str | None, str | None]:
        """A gallery of this database, or one memory where it has none."""
        with connect(self.url) as conn:
            galleries = find_app_tables(conn).galleries
        if galleries is None:
            memory = min(edge[0] for edge in self.edges() if edge[1] == "image")
            return None, f"image:{memory}"
        first = sql.SQL("SELECT min(id::text) FROM {}").format(galleries.identifier)
        with psycopg.connect(self.url) as conn:
            row = conn.execute(first).fetchone()
            return (row[0] if row else None), None

    def verify(self, home: Path) -> RunRecord:
        """The stages of a verification in their order, without Prefect."""
        return verified(self.settings(home), *self._asked())
