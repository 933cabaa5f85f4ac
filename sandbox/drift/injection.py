"""Damages a sandbox and writes down what an audit must find of it."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from importlib.resources import files
from itertools import islice
from pathlib import Path
from random import Random

import psycopg
import psycopg.sql

from sandbox import postgres
from sandbox.batch import object_url
from sandbox.blob.storage import BlobStorage
from sandbox.copy_text import copy_row
from sandbox.directory import SandboxDirectory
from sandbox.drift.bench import Bench
from sandbox.drift.findings import Edge, Finding, check_writable, write_truth
from sandbox.drift.registry import DEFAULT_COUNT, Variant, variants
from sandbox.errors import SandboxError
from sandbox.icp.storage import CanisterStorage, StoredMemory
from sandbox.seed import has_ledger

PAGE = 1_000


def inject(
    directory: SandboxDirectory,
    *,
    wanted: Mapping[str, int | None],
    seed: int,
    truth: Path,
) -> list[Finding]:
    """Damage what ``wanted`` says (kind → how many, None for the default) and write the truth.

    Gives every finding that the next full audit must make. The same seed on the same data damages
    the same memories.
    Raises SandboxError where the sandbox does not run, has no ledger or too few memories, or the
    file can't be written: then nothing was damaged.
    """
    check_writable(truth)
    with (
        postgres.connect(directory) as database,
        closing(BlobStorage(directory.blob)) as blob,
        closing(CanisterStorage(directory.icp)) as canister,
    ):
        _require_ledger(database, directory)
        # The app's triggers must not touch updated_at while rows are damaged behind its back.
        database.execute("SET LOCAL session_replication_role = replica")
        bench = Bench(database, blob, canister, Random(f"drift/{seed}"), directory)
        _take_stock(bench, seed)
        before = _findings_before(bench)
        for kind, count in wanted.items():
            _damage(bench, kind, variants()[kind], count)
        for action in bench.later:
            action()
        findings = [finding for finding in before if not _is_settled(bench, finding)]
        findings += bench.findings
        write_truth(truth, findings)
    return findings


def _require_ledger(database: psycopg.Connection, directory: SandboxDirectory) -> None:
    filled = "SELECT EXISTS (SELECT FROM storage_edges)"
    if not has_ledger(database) or database.execute(filled).fetchone() != (True,):
        raise SandboxError(
            f"the sandbox in {directory.path} has no ledger to damage: seed it with --with-edges, "
            "or run `edgekeeper backfill` first"
        )


def _take_stock(bench: Bench, seed: int) -> None:
    """Bring what the stores hold beside the ledger, and work out who may be damaged."""
    tables, candidates = _statements("drift_candidates").split("-- split\n")
    bench.database.execute(tables.encode())
    _copy(bench.database, "blob_object", _blob_rows(bench))
    _copy(bench.database, "canister_memory", _canister_rows(bench))
    names = {
        f"{kind}_table": psycopg.sql.Identifier(table).as_string(bench.database)
        for kind, table in bench.directory.tables.memories.items()
    }
    bench.database.execute(candidates.format(seed=int(seed), **names).encode())


def _blob_rows(bench: Bench) -> Iterable[str]:
    start: str | None = ""
    while start is not None:
        page = bench.blob.page(limit=PAGE, start=start)
        for obj in page.objects:
            yield copy_row((obj.pathname, object_url(bench.directory.blob_origin, obj.pathname)))
        start = page.following


def _canister_rows(bench: Bench) -> Iterable[str]:
    in_galleries = {item[0] for gallery in bench.canister.galleries() for item in gallery.items}
    for capsule in bench.canister.capsules():
        start, more = 0, True
        while more:
            memories, more = bench.canister.page(capsule.id, start, PAGE)
            start += len(memories)
            for memory in memories:
                kind, size = _original(memory)
                yield copy_row((memory.id, capsule.id, kind, size, memory.id in in_galleries))


def _original(memory: StoredMemory) -> tuple[str | None, int | None]:
    found = (asset for asset in memory.assets if asset.asset_type == "Original")
    original = next(found, None)
    return (original.kind, original.bytes) if original else (None, None)


def _findings_before(bench: Bench) -> list[Finding]:
    """What an audit would find already: the ledger need not be perfect."""
    rows = bench.database.execute(_statements("drift_baseline").encode())
    return [Finding(*row) for row in rows]


def _is_settled(bench: Bench, finding: Finding) -> bool:
    edge = Edge(
        finding.memory_id or "",
        finding.memory_type or "",
        finding.artifact or "",
        finding.backend or "",
    )
    return edge in bench.settled_edges or finding.memory_id in bench.settled_memories


def _damage(bench: Bench, kind: str, variants: list[Variant], count: int | None) -> None:
    """Let the variants take turns until enough was damaged; a variant that found none is out.

    Without a count, as many are damaged as the data set has cases for.
    """
    wanted = max(DEFAULT_COUNT, len(variants)) if count is None else count
    done, able = 0, list(variants)
    while able and done < wanted:
        for variant in islice(able[:], wanted - done):
            if variant(bench):
                done += 1
            else:
                able.remove(variant)
    if done < wanted and count is not None:
        raise SandboxError(
            f"too few memories for --drift {kind}={wanted}: there are only {done} that are not "
            "damaged otherwise; seed more memories, or ask for less"
        )


def _copy(database: psycopg.Connection, table: str, rows: Iterable[str]) -> None:
    statement = psycopg.sql.SQL("COPY {} FROM STDIN").format(psycopg.sql.Identifier(table))
    with database.cursor().copy(statement) as copy:
        for row in rows:
            copy.write(row)


def _statements(name: str) -> str:
    return files("sandbox").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
