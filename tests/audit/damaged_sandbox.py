"""A sandbox that tests may damage: its servers can be killed and started, its ledger set back.

And the nightly audit as its stages in their order, in this process and without Prefect, so that a
test can step in between two of them.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from checks.errors import StoreError
from checks.model import Backend, RepairPolicy
from checks.run import RunRecord, exit_code
from sandbox import postgres
from sandbox.blob.storage import BlobStorage
from sandbox.dataset import Recipe
from sandbox.directory import SandboxDirectory
from sandbox.drift import inject, parse_spec
from sandbox.drift.findings import Finding
from sandbox.icp.storage import CanisterStorage
from sandbox.seed import seed
from sandbox.supervisor import Server, Supervisor, is_healthy
from tasks import (
    audit,
    certifying,
    chosen,
    content_repair,
    filling,
    listings,
    looking_up,
    membership,
    mending,
    observe,
    publish,
    rolling,
    verdict,
)
from tasks.database import connector
from tasks.journal import RevertReport, revert_run
from tasks.lease import held
from tasks.settings import ALL_BYTES, Settings, variable

BLOB, ICP, NEON = Backend.BLOB.value, Backend.ICP.value, Backend.NEON.value
START_SECONDS = 30
Hook = Callable[[], object]
Rows = dict[str, tuple[Any, ...]]


@dataclass
class Box:
    """One sandbox under test; every server is a child of the test session."""

    directory: SandboxDirectory
    supervisor: Supervisor
    truth: list[Finding] = field(default_factory=list)

    @classmethod
    def started(cls, path: Path) -> "Box":
        directory = SandboxDirectory.of(path)
        directory.make(None)
        box = cls(directory, Supervisor(directory))
        box.supervisor.start()
        return box

    def fill(self, memories: int, number: int, spec: str | None = "all") -> "Box":
        """Seeds it and, unless told otherwise, damages it; ``truth`` is what must be found then."""
        recipe = Recipe(
            seed=number, memories=memories, galleries=memories // 40,
            median_bytes=4_000, icp_share=0.75,
        )  # fmt: skip
        seed(self.directory, recipe, with_edges=True)
        if spec is not None:
            self.damage(spec, number)
        return self

    def damage(self, spec: str, number: int = 1) -> list[Finding]:
        truth = self.directory.path / "truth.json"
        self.truth = inject(self.directory, wanted=parse_spec(spec), seed=number, truth=truth)
        return self.truth

    def stop(self) -> None:
        self.supervisor.stop()

    # The servers

    def server(self, name: str) -> Server:
        return next(each for each in self.supervisor.servers if each.name == name)

    def kill(self, name: str) -> None:
        process = self.server(name).process
        process.kill()
        process.wait()

    def revive(self) -> None:
        """Starts again what was killed, and ends all faults."""
        for server in list(self.supervisor.servers):
            if server.process.poll() is not None:
                self._restart(server)
        for origin in (self.directory.blob_origin, self.directory.icp_origin):
            httpx.delete(f"{origin}/__faults").raise_for_status()

    def _restart(self, server: Server) -> None:
        self.supervisor.servers.remove(server)
        assert isinstance(server.process.args, list)
        user = postgres.ServerUser.suitable().name if server.name == "postgres" else None
        where = self.directory.postgres if server.name == "postgres" else Path("/")
        new = self.supervisor._start(
            server.name, server.process.args, server.stop_signal, user, where
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(new):
            assert new.process.poll() is None, f"{new.name} did not start again"
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _answers(self, server: Server) -> bool:
        if server.name == "postgres":
            return postgres.accepts(self._maintenance)
        origins = {"blob": self.directory.blob_origin, "icp": self.directory.icp_origin}
        return is_healthy(origins[server.name])

    def fault(self, store: str, action: str, value: Any = None, **more: Any) -> None:
        """Adds one fault rule; ``times`` is the rule's, everything else what it matches."""
        origin = self.directory.blob_origin if store == BLOB else self.directory.icp_origin
        rule: dict[str, Any] = {"action": action}
        if value is not None:
            rule["value"] = value
        if "times" in more:
            rule["times"] = more.pop("times")
        rule["match"] = more
        httpx.post(f"{origin}/__faults", json={"rules": [rule]}).raise_for_status()

    # The data

    @property
    def _maintenance(self) -> str:
        return self.directory.database_url.rpartition("/")[0] + "/postgres"

    def keep(self) -> None:
        """Keeps the database as it is now, to come back to."""
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute("CREATE DATABASE kept TEMPLATE app")

    def set_back(self) -> None:
        """Brings the database back to what was kept, without any trace of a run."""
        with psycopg.connect(self._maintenance, autocommit=True) as conn:
            conn.execute("DROP DATABASE app WITH (FORCE)")
            conn.execute("CREATE DATABASE app TEMPLATE kept STRATEGY file_copy")

    def renewed(self) -> "Box":
        """Itself with its servers up, no faults, and the database as it was kept."""
        self.revive()
        self.set_back()
        return self

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.directory.database_url, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def edges(self, backend: str | None = None, *, physical: bool = True) -> Rows:
        """Every ledger row of a backend by id; ``physical``: with its row version and its times."""
        columns = (
            "memory_id::text, memory_type::text, artifact::text, backend::text, present, location, "
            "content_hash, size_bytes, sync_state::text, last_synced_at, sync_error, created_at"
        ) + (", updated_at, xmin::text" if physical else "")
        where = f" WHERE backend = '{backend}'" if backend else ""
        rows = self.sql(f"SELECT id::text, {columns} FROM storage_edges{where}")  # noqa: S608
        return {row[0]: row[1:] for row in rows}

    def blob_storage(self) -> closing[BlobStorage]:
        return closing(BlobStorage(self.directory.blob))

    def canister_storage(self) -> closing[CanisterStorage]:
        return closing(CanisterStorage(self.directory.icp))

    # The audit

    def settings(self, home: Path, **changes: str) -> Settings:
        """The sandbox's settings; ``changes`` by variable, an empty one takes it away."""
        values = self.directory.settings() | {"EDGEKEEPER_HOME": str(home)} | changes
        given = {name: value for name, value in values.items() if value}
        return Settings(_env_file=None, **given)

    def audit(self, home: Path, **more: Any) -> "Audited":
        changes = {name: more.pop(name) for name in list(more) if name.isupper()}
        return audited(self.settings(home, **changes), **more)


@dataclass(frozen=True)
class Audited:
    """An audit that came to its end."""

    record: RunRecord

    @property
    def code(self) -> int:
        return exit_code(self.record)

    @property
    def kinds(self) -> dict[str, int]:
        return dict(self.record.counts)

    @property
    def identities(self) -> set[tuple[Any, ...]]:
        return {identity(each.model_dump()) for each in self.record.findings}

    def of(self, *kinds: str, backend: str | None = None) -> list[Any]:
        return [
            each for each in self.record.findings
            if (not kinds or each.kind in kinds) and backend in (None, each.backend)
        ]  # fmt: skip


def identity(finding: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a finding is, readable where a test fails; its fingerprint last."""
    names = ("kind", "memory_id", "memory_type", "artifact", "backend", "location", "fingerprint")
    return tuple(finding[name] for name in names)


def audited(
    settings: Settings,
    *,
    repair: str = "none",
    verify: str = "0",
    stores: frozenset[Backend] = frozenset(Backend),
    percent: float = 100.0,
    accept_new_store: bool = False,
    resume: str | None = None,
    before: Mapping[str, Hook] | None = None,
    minutes: float | None = None,
) -> Audited:
    """The nightly audit's stages in their order; ``before`` steps in before a stage, by its name.

    ``minutes`` bounds the reading; ``percent`` is the breaker's limit: damage on purpose would trip it.
    """
    options = audit.AuditOptions(
        RepairPolicy(repair), ALL_BYTES if verify == "all" else int(verify), stores, percent,
        accept_new_store, minutes,
    )  # fmt: skip
    with audit.under_way(settings, options, resume) as (run, fence):
        hooks = before or {}
        try:
            found = _stages(run, hooks)
        except StoreError as error:
            return Audited(publish.close_inconclusive(run, error))
        return Audited(_end(run, fence, hooks, *found))


def _at(before: Mapping[str, Hook], stage: str) -> None:
    before.get(stage, lambda: None)()


def _stages(run: audit.AuditRun, before: Mapping[str, Hook]) -> tuple[Any, ...]:
    def at(stage: str) -> None:
        _at(before, stage)

    at("snapshot")
    facts = observe.snapshot(run)
    at("list")
    reports = {Backend.NEON: observe.neon_report(facts)}
    for backend in (Backend.BLOB, Backend.ICP):
        reports[backend] = listings.list_store(run, backend, facts)
    at("resolve")
    left_over = observe.resolve(run, facts)
    at("verify")
    reading = rolling.verify(run, facts, reports)
    seen = observe.Seen(facts, observe.after_reading(reports, reading))
    at("conclude")
    conclusions = _compared(run, left_over, seen)
    if doubted := observe.without_doubtful_listings(seen, conclusions):
        seen, conclusions = doubted, _compared(run, left_over, doubted)
    at("propose")
    return seen, conclusions, reading, mending.propose(run, facts)


def _compared(run: audit.AuditRun, left_over: Any, seen: observe.Seen) -> list[Any]:
    partitions = range(seen.facts["partitions"])
    conclusions = [observe.conclude(run, number, seen) for number in partitions]
    conclusions.append(observe.conclude_left_over(run, left_over, seen))
    return [*conclusions, observe.conclude_collection(run, seen)]


def _end(
    run: audit.AuditRun, fence: Any, before: Mapping[str, Hook], seen: observe.Seen,
    conclusions: Any, reading: Any, proposal: mending.Proposal,
) -> RunRecord:  # fmt: skip
    _at(before, "mend")
    made = content_repair.mend(run, seen, fence, proposal) if fence else None
    _at(before, "close")
    outcome = publish.Outcome(conclusions, reading, proposal, made, ())
    return publish.close(run, seen, outcome)


def backfilled(
    settings: Settings, *, batch: int = 5_000, resume: str | None = None, budget: int = 0
) -> RunRecord:
    """The back-fill's stages in their order; reading ``budget`` bytes."""
    options = audit.AuditOptions(repair=RepairPolicy.LEDGER, verify_budget=budget)
    with audit.under_way(settings, options, resume, flow=audit.BACKFILL) as (run, fence):
        assert fence is not None
        facts = observe.snapshot(run)
        reports = {Backend.NEON: observe.neon_report(facts)}
        for backend in (Backend.BLOB, Backend.ICP):
            reports[backend] = listings.list_store(run, backend, facts)
        observe.resolve(run, facts)
        reading = rolling.verify(run, facts, reports)
        seen = observe.Seen(facts, observe.after_reading(reports, reading))
        return filling.close(run, seen, filling.fill(run, seen, fence, batch), reading)


def verified(
    settings: Settings, gallery: str | None = None, memory: str | None = None
) -> RunRecord:
    """The stages of a verification, without certificates, in their order."""
    options = audit.AuditOptions(repair=RepairPolicy.NONE, verify_budget=ALL_BYTES)
    with audit.under_way(settings, options, flow=audit.VERIFY_GALLERY) as (run, _):
        asked = chosen.choose(run, gallery, memory)
        facts = looking_up.snapshot(run, asked)
        reports = {Backend.NEON: observe.neon_report(facts)} | {
            each: looking_up.look_up(run, each, facts, asked)
            for each in (Backend.BLOB, Backend.ICP)
        }
        observe.resolve(run, facts)
        ids = [memory_id for memory_id, _ in asked.pairs()]
        reading = rolling.verify(run, facts, reports, ids)
        seen = observe.Seen(facts, observe.after_reading(reports, reading))
        conclusions = [observe.conclude(run, n, seen) for n in range(facts["partitions"])]
        items = membership.compare_items(run, seen, asked)
        conclusions.append(items.concluded)
        evidence = certifying.no_certificates()
        proposal = mending.propose(run, facts)
        outcome = publish.Outcome(conclusions, reading, proposal, None, ())
        return verdict.close(run, seen, asked, outcome, evidence, items)


def reverted(box: Box, run_id: str) -> RevertReport:
    """Puts back what a run changed, under a lease as the command does."""
    connecting = connector(box.directory.database_url)
    with (
        held(connecting, "20260101T000000Z-bbbb", flow="revert", policy="ledger") as lease,
        connecting() as conn,
    ):
        report = revert_run(conn, run_id, fence=lease.fence)
        lease.release(conn, "completed")
    return report


def settings_variables() -> list[str]:
    return [variable(name) for name in Settings.model_fields]


def command_line(
    box: Box, home: Path, *arguments: str, seconds: float = 280, **changes: str
) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    process = start_command(box, home, *arguments, **changes)
    out, err = process.communicate(timeout=seconds)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def start_command(box: Box, home: Path, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
    root = Path(__file__).resolve().parents[2]
    keep = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    settings = box.directory.settings() | {"EDGEKEEPER_HOME": str(home)} | changes
    home.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "edgekeeper", *arguments],
        cwd=home,
        env={**environment, "PYTHONPATH": str(root), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
