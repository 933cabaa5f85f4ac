"""Old runs go, here and on other storage; what proves, failed or can be taken back stays longer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from checks.errors import StoreUnreachableError, UsageError
from checks.run import RunRecord, new_run_id
from checks.run_measures import LOOK_BACK
from tasks import remote_home
from tasks.database import Connection, connector
from tasks.pruning import TABLES, Kept, Pruned, prune
from tasks.remote_home import fetch_history, keep
from tasks.run_directory import RunDirectory, create, run_ids
from tasks.settings import Settings, load_settings

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Rows = dict[str, int]


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Settings:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("EDGEKEEPER_HOME", str(tmp_path / "home"))
    return load_settings(None)


def ran(
    home: Path, days: float, *, status: str = "clean", flow: str = "nightly-audit"
) -> RunDirectory:
    """A run that began so many days ago."""
    began = ago(days)
    directory = create(home, new_run_id(began))
    record = RunRecord(run_id=directory.run_id, flow=flow, status=status, started_at=began)
    directory.write_run(record)
    (directory.inventory("neon-db") / "part-00000.parquet").write_bytes(b"x" * 1000)
    return directory


def home_of(settings: Settings) -> Path:
    home = settings.home_path()
    home.mkdir(parents=True, exist_ok=True)
    return home


def pruned(settings: Settings, *, keep_days: int = 90, dry_run: bool = False) -> Pruned:
    connect = connector(settings.batch_database_url)
    return prune(settings, connect, keep_days=keep_days, dry_run=dry_run, now=NOW)


def test_of_old_runs_those_go_that_nobody_needs(settings: Settings, conn: Connection) -> None:
    home = home_of(settings)
    young, newest = ran(home, 89), ran(home, 95, flow="backfill")
    old, drifted = ran(home, 91), ran(home, 200, status="drift")
    failed, failed_long_ago = ran(home, 92, status="failed"), ran(home, 401, status="failed")
    doubtful, broken = ran(home, 93, status="inconclusive"), ran(home, 94)
    broken.run_json.write_text("{")
    changed, changed_long_ago = ran(home, 96), ran(home, 402)
    for each, days in ((changed, 96), (changed_long_ago, 402)):
        conn.execute(
            "INSERT INTO audit.repair (run_id, kind, action, at) VALUES (%s, 'x', 'update', %s)",
            [each.run_id, ago(days)],
        )
    proof = ran(home, 500, flow="verify-gallery")
    ran(home, 1, flow="verify-gallery")
    (proof.certificates / "a.cbor").write_bytes(b"")
    dry = pruned(settings, dry_run=True)
    assert len(run_ids(home)) == 12
    done = pruned(settings)
    assert done == dry
    gone = {each.run_id for each in (old, drifted, failed_long_ago, changed_long_ago)}
    assert set(done.runs) == gone
    assert done.bytes > 4_000
    stay = {young, newest, failed, doubtful, broken, changed, proof}
    assert {each.run_id for each in stay} <= set(run_ids(home))
    assert not gone & set(run_ids(home))
    assert done.kept == {
        Kept.NEWEST: 1, Kept.FAILURE: 3, Kept.CHANGES: 1, Kept.PROOF: 1,
    }  # fmt: skip
    page = (home / "index.html").read_text()
    assert broken.run_id in page
    assert old.run_id not in page
    assert pruned(settings).runs == ()


def fill(conn: Connection) -> None:
    """Rows of all ages."""
    checks: list[tuple[Any, ...]] = [
        (f"20250101T0000{n:02d}Z-7f3a", "a.passed", True, ago(100 - n)) for n in range(60)
    ]
    for days, success in ((100, False), (100, None), (401, False)):
        name = f"f.{days}.{success}"
        checks += [(new_run_id(ago(days + 1)), name, success, ago(days))]
        checks += [(new_run_id(ago(n)), name, success, ago(n)) for n in range(LOOK_BACK)]
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO audit.check_result (run_id, check_name, success, at) "
            "VALUES (%s, %s, %s, %s)", checks,
        )  # fmt: skip
        finding = ("f", "missing", "warning", ago(500), ago(450), 1, 1, "r", "r", "{}", "{}")
        for number, resolved in enumerate((None, ago(100), ago(401))):
            cursor.execute(
                "INSERT INTO audit.finding (fingerprint, kind, severity, first_seen, last_seen, "
                "runs_seen, complete_runs_seen, first_run_id, last_run_id, first_doc, doc, "
                "resolved_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [f"f{number}", *finding[1:], resolved],
            )
        for run_id, began, holds in (("r1", 401, False), ("r2", 401, True), ("r3", 100, False)):
            cursor.execute(
                "INSERT INTO audit.run (run_id, flow, policy, status, started_at, holds_lease) "
                "VALUES (%s, 'x', 'none', 'running', %s, %s)", [run_id, ago(began), holds],
            )  # fmt: skip
            cursor.execute(
                "INSERT INTO audit.checkpoint (run_id, stage, state, at) "
                "VALUES (%s, 's', '{}', %s)", [run_id, ago(began)],
            )  # fmt: skip


def test_of_the_audit_schema_passes_go_early_and_failures_late(
    settings: Settings, conn: Connection
) -> None:
    fill(conn)
    before = counted(conn)
    dry = pruned(settings, dry_run=True)
    assert counted(conn) == before
    done = pruned(settings)
    assert done == dry
    # 100 to 91 days old, not among the last of their check; one that failed 401 days ago
    assert done.rows == {
        "check_result": 10 + 1,
        "checkpoint": 2,
        "repair": 0,
        "finding": 1,
        "run": 1,
    }
    assert {t: before[t] - n for t, n in done.rows.items()} == counted(conn)
    left = {row[0] for row in conn.execute("SELECT run_id FROM audit.run")}
    assert left == {"r2", "r3"}


def counted(conn: Connection) -> Rows:
    found: Rows = {}
    for table in TABLES:
        ((found[table],),) = conn.execute(f"SELECT count(*) FROM audit.{table}".encode()).fetchall()  # noqa: S608
    return found


@pytest.mark.usefixtures("settings")
def test_runs_on_other_storage_go_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"memory://pruned-{tmp_path.name}/of-a-test"
    elsewhere = tmp_path / "elsewhere"
    runs = [ran(elsewhere, days) for days in (1, 91, 92, 93)]
    proof = runs.pop()
    (proof.certificates / "a.cbor").write_bytes(b"a")
    for each in (*runs, proof):
        keep(url, each)
    monkeypatch.setenv("EDGEKEEPER_HOME", url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = load_settings(None)
    fetch_history(url, home_of(there))  # the records alone: the proofs are not in the cache
    done = pruned(there)
    assert set(done.runs) == {each.run_id for each in runs[1:]}
    assert done.kept == {Kept.PROOF: 1}
    system: Any = fsspec.filesystem("memory")
    left = system.ls(f"/pruned-{tmp_path.name}/of-a-test/runs", detail=False)
    stay = {runs[0].run_id, proof.run_id}
    assert {path.rpartition("/")[2] for path in left} == stay == set(run_ids(home_of(there)))


class Away(LocalFileSystem):
    """Storage that lists runs, and fails on what is looked up in one of them."""

    fails_on = ""

    def ls(self, path: str, detail: bool = False, **more: Any) -> Any:  # noqa: FBT001, FBT002
        if self.fails_on and path.endswith(self.fails_on):
            raise PermissionError(13, "no", path)
        return super().ls(path, detail=detail, **more)

    def cat_file(self, path: str, *more: Any, **named: Any) -> Any:
        if self.fails_on == "run.json":
            raise PermissionError(13, "no", path)
        return super().cat_file(path, *more, **named)


@pytest.mark.parametrize("where", ["runs", "run.json", "the run"])
def test_what_could_not_be_looked_at_is_not_deleted(
    where: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of(settings)
    ran(home, 1)
    old = ran(home, 91)
    monkeypatch.setattr(Away, "fails_on", old.run_id if where == "the run" else where)
    monkeypatch.setattr(remote_home, "opened", lambda path: (Away(), str(path)))
    with pytest.raises(StoreUnreachableError, match="EDGEKEEPER_HOME"):
        pruned(settings)
    assert old.run_json.exists()


def test_a_run_that_kept_something_aside_stays(settings: Settings, conn: Connection) -> None:
    home = home_of(settings)
    ran(home, 1)
    purged = ran(home, 91)
    conn.execute(
        "INSERT INTO audit.quarantine (run_id, backend, location, taken_at) "
        "VALUES (%s, 'vercel-blob', 'a.jpg', %s)", [purged.run_id, ago(91)],
    )  # fmt: skip
    assert pruned(settings).kept == {Kept.CHANGES: 1}


def test_less_than_a_month_or_without_the_database_nothing_goes(settings: Settings) -> None:
    home = home_of(settings)
    runs = [ran(home, 1), ran(home, 91)]
    with pytest.raises(UsageError, match="32 days at least"):
        pruned(settings, keep_days=31)
    nowhere = connector("postgresql://nobody@127.0.0.1:1/x")
    with pytest.raises(StoreUnreachableError):
        prune(settings, nowhere, keep_days=90, now=NOW)
    assert set(run_ids(home)) == {each.run_id for each in runs}
