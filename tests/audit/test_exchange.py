"""What processes that share nothing but a URL exchange: whole sets, each file once, nothing stale."""

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from platform import node
from secrets import token_hex
from typing import Any, cast

import fsspec
import pytest
from damaged_sandbox import Box
from pydantic import SecretStr
from s3_storage import BUCKET, Storage
from structlog.testing import capture_logs

from checks.errors import (
    HomeStorageError,
    SettingsError,
    StoreError,
    StoreUnreachableError,
    UsageError,
)
from checks.model import Backend
from checks.run import RunRecord, new_run_id
from tasks import (
    audit,
    exchange_area,
    exchanged,
    fitness,
    publish,
    remote_home,
    run_checks,
    worker_cache,
    workers,
)
from tasks.audit import AuditOptions, AuditRun
from tasks.exchange import Handed, Mark, OwnSide, WorkerSide, exchanging, in_task, side_of
from tasks.exchange_area import Area
from tasks.log import close_log
from tasks.read_so_far import Portions
from tasks.resolve import Workspace
from tasks.run_directory import RunDirectory, create, private_directory, write_text
from tasks.settings import Settings
from tasks.stores.icp.identity import path_of, with_identity
from tasks.time_limit import within

RUN_ID = "20261123T031500Z-7f3a"
LISTING = f"inventory/{Backend.BLOB}"


@pytest.fixture
def home() -> str:
    """A URL that all processes of a test reach: they are all this one."""
    return f"memory://exchange-{token_hex(4)}"


class Machines:
    """The run's own machine and its workers', each with a directory of its own."""

    def __init__(self, home: str, top: Path) -> None:
        self.home, self._top = home, top
        self.directory = create(private_directory(top / "own"), RUN_ID)
        self.directory.mark_done("begun", at="now")

    def own(self, attempt: str = "first") -> OwnSide:
        return OwnSide(self.home, self.directory, attempt)

    def worker(self, name: str, attempt: str = "first") -> "Worker":
        directory = RunDirectory(self._top / name, RUN_ID)
        private_directory(directory.path)
        return Worker(WorkerSide(self.home, directory, attempt), directory)

    def write(self, name: str, text: str = "rows") -> None:
        write(self.directory, name, text)


class Worker:
    def __init__(self, side: WorkerSide, directory: RunDirectory) -> None:
        self.side, self.directory = side, directory

    def does(self, stage: str, **files: str) -> Handed:
        """Does a stage in which it makes some files of the listing, and what it always makes."""

        def work() -> dict[str, Any]:
            for name, text in files.items():
                write(self.directory, f"{LISTING}/{name}.parquet", text)
            for name in exchanged.made(stage):
                if "*" not in name and not (self.directory.path / name).exists():
                    write(self.directory, name, stage)
            return {"by": self.directory.home.name}

        with in_task() as marks:
            facts = self.side.done(stage, work)
            return Handed(facts["by"], dict(marks))

    @property
    def files(self) -> list[str]:
        top = self.directory.path
        return sorted(path.relative_to(top).as_posix() for path in top.rglob("*.*"))


def write(directory: RunDirectory, name: str, text: str) -> None:
    private_directory((directory.path / name).parent)
    write_text(directory.path / name, text)


@pytest.fixture
def machines(home: str, tmp_path: Path) -> Machines:
    return Machines(home, tmp_path)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that are fetched, one after the other."""
    found: list[str] = []
    get = Area.get

    def noted(self: Area, name: str, path: Path, size: int | None) -> None:
        found.append(name)
        get(self, name, path, size)

    monkeypatch.setattr(Area, "get", noted)
    return found


def test_a_worker_fetches_what_its_task_needs_and_nothing_twice(
    machines: Machines, fetched: list[str]
) -> None:
    needed = {
        "snapshot": ["ledger", "inventory/neon-db"],
        "resolve": ["seen/vercel-blob", "seen/icp-canister", "seen/left-over-by-size"],
        "verify": ["readings", "hashes"],
    }
    own = machines.own()
    own.begin()
    for stage, directories in needed.items():
        for name in (*directories, "references/neon", "expected/vercel-blob", "seen/left-over"):
            for part in (0, 1):
                machines.write(f"{name}/part-0000{part}.parquet")
        own.offer(stage)
    worker = machines.worker("a")
    worker.does("compare-1")
    assert [name for name in worker.files if name not in exchanged.made("compare-1")] == sorted(
        f"{name}/part-0000{part}.parquet"
        for directories in needed.values() for name in directories
        for part in ((0, 1) if name == "seen/left-over-by-size" else (1,))
    )  # fmt: skip
    worker.does("compare-1-again")
    worker.does("quality-checks-ledger")
    assert len(fetched) == len(set(fetched)) == 9


def test_of_two_workers_that_did_the_same_the_run_has_what_one_of_them_made(
    machines: Machines,
) -> None:
    own = machines.own()
    own.begin()
    late, other = machines.worker("late"), machines.worker("other")

    def and_meanwhile() -> dict[str, Any]:
        handed.append(other.does("list-vercel-blob", **{"part-00000": "b", "part-00001": "b"}))
        for name in ("part-00000", "part-00001", "part-00002"):
            write(late.directory, f"{LISTING}/{name}.parquet", "aa")
        return {"by": "late"}

    handed: list[Handed] = []
    with in_task() as marks:
        late.side.done("list-vercel-blob", and_meanwhile)
    assert own.received(handed) == ["other"]
    found = {path.name: path.read_text() for path in (machines.directory.path / LISTING).iterdir()}
    assert found == {"part-00000.parquet": "b", "part-00001.parquet": "b"}
    assert machines.directory.done_stage("list-vercel-blob") == {"by": "other"}
    own.received([Handed("late", marks)])
    assert machines.directory.done_stage("list-vercel-blob") == {"by": "other"}


def test_what_a_worker_did_before_it_was_lost_is_not_done_again(machines: Machines) -> None:
    own = machines.own()
    own.begin()
    machines.worker("lost").does("list-vercel-blob", **{"part-00000": "a"})
    handed = machines.worker("next").does("list-vercel-blob", **{"part-00000": "b"})
    assert own.received([handed]) == ["lost"]
    assert (machines.directory.path / LISTING / "part-00000.parquet").read_text() == "a"


def test_a_resumed_run_takes_over_what_workers_did_and_keeps_what_it_has(
    machines: Machines,
) -> None:
    machines.own().begin()
    worker = machines.worker("a")
    worker.does("list-vercel-blob", **{"part-00000": "a"})
    worker.does("list-icp-canister", **{"../icp-canister/part-00000": "a"})
    portion = "read/part-00000-verify-0a-1-ffff0000.parquet"
    write(worker.directory, portion, "read")
    worker.side.put_portion("verify-0a-1", worker.directory.path / portion)
    machines.directory.mark_done("list-icp-canister", by="own")
    own = machines.own("second")
    own.adopt()
    own.begin()
    done = machines.directory.done_stages()
    assert (done["list-vercel-blob"]["by"], done["list-icp-canister"]["by"]) == ("a", "own")
    assert (machines.directory.path / LISTING / "part-00000.parquet").read_text() == "a"
    assert (machines.directory.path / portion).read_text() == "read"
    again = machines.worker("b", "second")
    handed = again.does("list-vercel-blob", **{"part-00000": "b"})
    assert (handed.outcome, handed.marks) == ("a", {})
    again.does("quality-checks-vercel-blob")
    assert f"{LISTING}/part-00000.parquet" in again.files


def test_shards_come_to_the_run_and_go_to_nobody_until_they_are_one(machines: Machines) -> None:
    own, worker = machines.own(), machines.worker("a")
    own.begin()
    places = {share: f"shards/vercel-blob/{share}/part-00000" for share in ("0a", "0b")}
    shards = [
        worker.does(f"list-vercel-blob-{share}", **{f"../../{place}": share})
        for share, place in places.items()
    ]
    assert [list(next(iter(each.marks.values())).files) for each in shards] == [
        [f"{place}.parquet"] for place in places.values()
    ]
    own.received(shards)
    for share, place in places.items():
        assert (machines.directory.path / f"{place}.parquet").read_text() == share
    write(machines.directory, f"{LISTING}/part-00000.parquet", "0a0b")
    machines.directory.mark_done("list-vercel-blob")
    own.offer("list-vercel-blob")
    other = machines.worker("b")
    other.does("quality-checks-vercel-blob")
    assert other.files == [f"{LISTING}/part-00000.parquet"]


def test_what_is_compared_once_more_takes_the_place_of_what_was_concluded_first(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanged, "needed", lambda _stage: {})
    own = machines.own()
    own.begin()
    for name, stage in (("a", "compare-0"), ("b", "compare-0-again")):
        worker = machines.worker(name)
        own.received([worker.does(stage)])
        assert (machines.directory.path / "judged/part-00000.parquet").read_text() == stage


def test_a_share_goes_on_with_the_portions_of_who_was_lost(machines: Machines) -> None:
    for share in ("1", "11"):
        machines.write(f"shares/verify-0a-{share}.npy")
        machines.write(f"shares/verify-0a-{share}/part-00000.parquet")
    for attempt in ("first", "second"):
        own = machines.own(attempt)
        own.begin()
        own.offer("verify-0a")
    lost = machines.worker("lost")
    for share in ("1", "11"):
        portion = lost.directory.path / f"read/part-00000-verify-0a-{share}-ffff0000.parquet"
        write(lost.directory, f"read/{portion.name}", "read")
        lost.side.put_portion(f"verify-0a-{share}", portion)
    worker = machines.worker("next")
    handed = worker.does("verify-0a-1")
    portion = "read/part-00000-verify-0a-1-ffff0000.parquet"
    left = "shares/verify-0a-1-left.npy"
    needed = [portion, "shares/verify-0a-1.npy", "shares/verify-0a-1/part-00000.parquet"]
    assert worker.files == sorted([*needed, left])
    assert list(handed.marks["verify-0a-1"].files) == [portion, left]
    both = machines.worker("of both", "second")
    both.does("verify-0a-11")
    (files,) = [each.files for each in both.does("verify-0a-1").marks.values()]
    assert list(files) == [portion, left]


def test_the_portions_of_a_later_attempt_have_higher_numbers(tmp_path: Path) -> None:
    run, now = cast("AuditRun", None), datetime.now(UTC)
    portions = Portions(run, Workspace(tmp_path, 1), now, "verify-0b-1", first=7)
    assert portions._path().name.startswith("part-00007-verify-0b-1-")


def test_workers_get_the_identity_itself_and_not_its_path(sound: Box, tmp_path: Path) -> None:
    settings = sound.settings(tmp_path)
    assert settings.identity_pem is not None
    pem = path_of(settings.identity_pem.get_secret_value())
    assert pem is not None
    there = with_identity(settings)
    assert there.identity_pem == SecretStr(pem.read_text())
    assert with_identity(there) == there
    away = settings.model_copy(update={"identity_pem": SecretStr(str(tmp_path / "away.pem"))})
    assert with_identity(away) == away
    assert with_identity(settings.model_copy(update={"identity_pem": None})).identity_pem is None


def test_of_several_attempts_what_was_done_last_and_whole_is_taken_over(machines: Machines) -> None:
    """Shards of an attempt are worth nothing where another one has listed the whole store."""
    whole, judged = f"{LISTING}/part-00000.parquet", "judged/part-00000.parquet"
    shard = "shards/vercel-blob/0a/part-00000"
    for attempt in ("a", "z"):
        own = machines.own(attempt)
        own.begin()
        for stage in needed_of("compare-0"):
            machines.write(f"{stage}/part-00000.parquet")
        for stage in ("snapshot", "resolve", "verify"):
            own.offer(stage)
        worker = machines.worker(attempt, attempt)
        if attempt == "a":
            worker.does("list-vercel-blob-0a", **{f"../../{shard}": "a shard"})
            worker.does("compare-0-again")
        else:
            worker.does("list-vercel-blob", **{"part-00000": "whole"})
            worker.does("compare-0")
    machines.own("third").adopt()
    done = machines.directory.done_stages()
    assert {name for name in done if name != "begun"} == {
        "list-vercel-blob", "compare-0", "compare-0-again"
    }  # fmt: skip
    assert (machines.directory.path / whole).read_text() == "whole"
    assert (machines.directory.path / judged).read_text() == "compare-0-again"
    assert not (machines.directory.path / "shards").exists()


def test_shards_of_a_store_that_is_listed_here_are_not_taken_over(machines: Machines) -> None:
    machines.own().begin()
    machines.worker("a").does(
        "list-vercel-blob-0a", **{"../../shards/vercel-blob/0a/part-00000": ""}
    )
    machines.directory.mark_done("list-vercel-blob", by="own")
    machines.own("second").adopt()
    assert not (machines.directory.path / "shards").exists()


def needed_of(stage: str) -> list[str]:
    """The directories of the files that a stage needs."""
    patterns = [each for patterns in exchanged.needed(stage).values() for each in patterns]
    return [pattern.rpartition("/")[0] for pattern in patterns]


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("list-vercel-blob", "checkpoint.json"), ("list-vercel-blob", f"{LISTING}/x/part-0.parquet"),
        ("begun", "checkpoint.json"), ("repair", "journal.json"), ("quality-checks-x", "run.json"),
        ("quality-checks-ledger", "ledger/part-00000.parquet"),
    ],
)  # fmt: skip
def test_what_is_no_workers_is_not_taken_from_the_storage(
    machines: Machines, stage: str, name: str
) -> None:
    """Whoever writes to the bucket could else replace what the run's own process alone writes."""
    area, before = Area(machines.home, RUN_ID), machines.directory.checkpoint.read_text()
    area.write("files/foreign", {"begun": {}})
    files = {
        name: ["files/foreign", None],
        f"{LISTING}/part-00000.parquet": ["files/foreign", None],
    }
    area.write(f"attempts/first/stages/{stage}.json", {"facts": {}, "files": files})
    for foreign in (
        "logs/run.json",
        "logs/log-a.jsonl",
        "portions/begun/part-x",
        "portions/verify-0a-1/x",
    ):
        area.write(foreign, {})
    own = machines.own("second")
    own.adopt()
    found = {path.name for path in machines.directory.path.rglob("*") if path.is_file()}
    assert found == {"checkpoint.json", "log-a.jsonl"}
    assert machines.directory.checkpoint.read_text() == before
    with pytest.raises(HomeStorageError, match="that no task makes"):
        own.received([Handed(1, {stage: Mark({}, {name: ("files/foreign", None)})})])


BROKEN = (b"", b"{", b"[]", b'{"facts": {}}', b'{"facts": {}, "files": {"x": "y"}}', b"\xff",
          pytest.param(b"[" * 100_000, id="deep"))  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_half_a_mark_is_none_and_its_stage_is_done_again(machines: Machines, text: bytes) -> None:
    own = machines.own()
    own.begin()
    machines.worker("lost").does("list-vercel-blob", **{"part-00000": "a"})
    system, root = fsspec.core.url_to_fs(machines.home)
    (mark,) = [path for path in system.find(root) if "/stages/" in path]
    system.pipe_file(mark, text)
    machines.own("second").adopt()
    assert machines.directory.done_stage("list-vercel-blob") is None
    handed = machines.worker("next").does("list-vercel-blob", **{"part-00000": "b"})
    assert own.received([handed]) == ["next"]


def test_what_a_stage_says_of_itself_comes_as_it_is(machines: Machines) -> None:
    """Also what can't be written as UTF-8, and what is named like what it is noted with."""
    facts = {
        "stage": "list",
        "self": 1.5,
        "odd": "\udcff\x00",
        "large": 2**70,
        "none": [None, True],
    }
    machines.own().begin()
    lost = machines.worker("lost")
    write(lost.directory, f"{LISTING}/part-00000.parquet", "rows")
    with in_task():
        lost.side.done("list-vercel-blob", lambda: dict(facts))
    machines.own("second").adopt()
    assert machines.directory.done_stage("list-vercel-blob") == facts


@pytest.mark.parametrize("text", BROKEN)
def test_half_of_what_is_made_known_ends_the_task(machines: Machines, text: bytes) -> None:
    machines.own().begin()
    system, root = fsspec.core.url_to_fs(machines.home)
    (begun,) = [path for path in system.find(root) if path.endswith("/begun.json")]
    system.pipe_file(begun, text.replace(b"files", b"done"))
    with pytest.raises(HomeStorageError, match=r"begun\.json as it was put there.*Then resume"):
        machines.worker("a").side.begun()


def away(error: type[Exception]) -> Callable[..., None]:
    """What raises that whatever it is asked."""

    def asked(*_: Any) -> None:
        raise error("away")

    return asked


def test_a_file_that_could_not_be_put_leaves_no_mark(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.own().begin()

    monkeypatch.setattr(Area, "put", away(HomeStorageError))
    with pytest.raises(HomeStorageError, match="away"):
        machines.worker("a").does("list-vercel-blob", **{"part-00000": "a"})
    assert Area(machines.home, RUN_ID).names("attempts/first/stages") == []


def test_a_file_that_was_written_anew_is_fetched_anew(machines: Machines) -> None:
    machines.write("ledger/part-00000.parquet", "whole")
    files, worker = machines.own().put(["ledger/part-*.parquet"]), machines.worker("a")
    place = worker.directory.path / "ledger/part-00000.parquet"
    for _ in range(2):
        worker.side.fetch(files)
        assert place.read_text() == "whole"
        place.write_text("changed")


def test_a_file_that_was_written_anew_is_put_anew(machines: Machines) -> None:
    own = machines.own()
    machines.write("ledger/part-00000.parquet", "one")
    first = own.put(["ledger/part-*.parquet"])
    assert own.put(["ledger/part-*.parquet"]) == first
    machines.write("ledger/part-00000.parquet", "two")
    assert own.put(["ledger/part-*.parquet"]) != first


def test_every_task_of_a_worker_is_declared(machines: Machines) -> None:
    for table in run_checks.EARLY:
        assert exchanged.needed(f"quality-checks-{table}")
    for known in (exchanged.needed, exchanged.made):
        with pytest.raises(LookupError, match="a-new-stage is not declared"):
            known("a-new-stage")
    machines.own().begin()
    with pytest.raises(LookupError):
        machines.worker("a").does("a-new-stage")


def test_an_object_that_is_not_there_or_too_short_ends_the_task(machines: Machines) -> None:
    own, worker = machines.own(), machines.worker("a")
    with pytest.raises(HomeStorageError, match="has to show a new object to everybody"):
        worker.side.begun()
    own.begin()
    machines.write("ledger/part-00000.parquet", "whole")
    own.offer("snapshot")
    with pytest.raises(HomeStorageError, match="does not show inventory/neon-db/part-00000"):
        worker.does("compare-0")
    system, root = fsspec.core.url_to_fs(machines.home)
    (item,) = [path for path in system.find(root) if "/files/ledger/" in path]
    system.pipe_file(item, b"who")
    with pytest.raises(HomeStorageError, match="does not show"):
        worker.does("quality-checks-ledger")
    assert worker.files == []


def test_a_full_disk_is_told_as_one(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    own = machines.own()
    own.begin()
    machines.write("ledger/part-00000.parquet")
    own.offer("snapshot")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", full)
    with pytest.raises(HomeStorageError, match=f"disk .* is full.*then resume {RUN_ID}"):
        machines.worker("a").does("quality-checks-ledger")


def test_a_name_that_leads_elsewhere_is_not_fetched(machines: Machines, tmp_path: Path) -> None:
    own = machines.own()
    machines.write("ledger/part-00000.parquet")
    ((_, where),) = own.put(["ledger/part-*.parquet"]).items()
    for name in ("../../../elsewhere", f"{tmp_path}/elsewhere"):
        with pytest.raises(HomeStorageError, match="is no file of a run's directory"):
            own.fetch({name: where})
    assert not (tmp_path / "elsewhere").exists()


def test_what_runs_exchanged_that_are_over_for_good_is_removed(home: str) -> None:
    now = datetime.now(UTC)
    old, new = (new_run_id(now - timedelta(days=days)) for days in (8, 6))
    for run_id in (old, new):
        Area(home, run_id).write("attempts/a/offers/begun.json", {})
    exchange_area.sweep(home, now)
    assert Area(home, old).names("attempts") == []
    assert Area(home, new).names("attempts") == ["a"]
    exchange_area.clear(home, new)
    exchange_area.clear(home, new)
    assert Area(home, new).names("attempts") == []


# A worker's process


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> Iterator[Path]:
    """Where the directories of this process's runs lie, as a worker's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield worker_cache._top(home)
    close_log()
    worker_cache._remove_all()
    worker_cache._caches.clear()
    worker_cache._left.clear()


def under(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


def test_a_worker_keeps_one_runs_files_until_it_ends(cache: Path, home: str) -> None:
    with worker_cache.entered(home, RUN_ID, "first") as one:
        write(one, "ledger/part-00000.parquet", "stale")
    with worker_cache.entered(home, RUN_ID, "first") as again:
        assert again == one
        with worker_cache.entered(home, RUN_ID, "second") as other:
            assert list(other.path.iterdir()) == []
            assert len(under(cache)) == 2  # nothing goes that a task works in
    with worker_cache.entered(home, RUN_ID, "second"):
        assert len(under(cache)) == 1
    worker_cache.leave(home, RUN_ID, "second")
    assert list(cache.iterdir()) == []
    assert side_of(other) is None


def test_what_a_killed_worker_left_goes_when_the_next_one_begins(cache: Path, home: str) -> None:
    private_directory(cache / f"{RUN_ID}-first-1-ffff" / "runs")
    (cache / f"{RUN_ID}-first-1-ffff.lock").touch()
    private_directory(cache / f"{RUN_ID}-first-2-ffff" / "runs")
    with worker_cache.entered(home, RUN_ID, "first") as directory:
        assert under(cache) == [directory.home.name]
        worker_cache._sweep(cache)
        assert under(cache) == [directory.home.name]


def test_a_worker_that_is_at_work_is_left_alone(cache: Path, home: str) -> None:
    """``leave`` may come in another process of the same machine first."""
    with worker_cache.entered(home, RUN_ID, "first") as directory:
        name = f"{RUN_ID}-first"
        cached = worker_cache._caches.pop(name)  # as another process, which has none of its own
        worker_cache.leave(home, RUN_ID, "first")
        worker_cache._caches[name] = cached
        assert under(cache) == [directory.home.name]
        worker_cache.leave(home, RUN_ID, "first")
        assert under(cache) == [directory.home.name]
        with pytest.raises(HomeStorageError, match="has ended"):
            worker_cache.entered(home, RUN_ID, "first").__enter__()
    assert list(cache.iterdir()) == []


def test_a_lock_that_nobody_can_ask_for_is_somebodys(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private_directory(cache / f"{RUN_ID}-first-1-ffff" / "runs")
    lock = cache / f"{RUN_ID}-first-1-ffff.lock"
    lock.touch()
    modes = []

    def as_nfs_does(file: Any, _how: int) -> None:
        modes.append(file.mode)
        raise OSError(errno.ENOLCK, "no locks available")

    with monkeypatch.context() as patch:
        patch.setattr(worker_cache.fcntl, "flock", as_nfs_does)
        worker_cache._sweep(cache)
    assert (modes, under(cache)) == (["rb+"], [lock.stem])


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("stage", "gone"),
    [
        ("list-vercel-blob", "the run"), ("quality-checks-ledger", "the run"),
        ("list-vercel-blob", "the directory"), ("quality-checks-ledger", "the directory"),
        ("list-vercel-blob", "a file"),
    ],
)  # fmt: skip
def test_a_stage_leaves_no_mark_whose_files_went_while_it_was_done(
    machines: Machines, stage: str, gone: str
) -> None:
    """The run failed, and its tasks go on: what they make of nothing must not be believed."""
    own = machines.own()
    machines.write("ledger/part-00000.parquet")
    own.begin()
    own.offer("snapshot")
    with worker_cache.entered(machines.home, RUN_ID, "first") as directory, in_task() as marks:
        side = side_of(directory)
        assert isinstance(side, WorkerSide)

        def work() -> dict[str, Any]:
            write(directory, f"{LISTING}/part-00000.parquet", "a")
            if gone == "the run":
                worker_cache.leave(machines.home, RUN_ID, "first")
            elif gone == "the directory":
                worker_cache._removed(directory.home)
            else:
                (directory.path / LISTING / "part-00000.parquet").unlink()
            return {"objects": len(list((directory.path / LISTING).glob("*")))}

        with pytest.raises(HomeStorageError, match=r"has ended|is not there after it"):
            side.done(stage, work)
    assert marks == {}
    assert Area(machines.home, RUN_ID).names("attempts/first/stages") == []
    resumed = machines.own("second")
    resumed.adopt()
    assert machines.directory.done_stage(stage) is None


@pytest.mark.parametrize(
    ("stage", "lost"),
    [
        ("compare-0", "judged/part-00000.parquet"), ("compare-0", None),
        ("quality-checks-ledger", None), ("quality-checks-gallery-items", None),
        ("verify-0a-1", "shares/verify-0a-1-left.npy"),
        ("list-vercel-blob-0a", "shards/vercel-blob/0a/part-*.parquet"),
    ],
)  # fmt: skip
def test_what_a_stage_always_makes_is_known(stage: str, lost: str | None) -> None:
    made = {
        name.replace("*", "00000"): ("x", 1)
        for name in exchanged.made(stage) if name != lost and not name.startswith("moved/")
        and not (stage.startswith(("quality", "verify")) and "*" in name)
    }  # fmt: skip
    assert exchanged.unmade(stage, made) == lost


def run_at(settings: Settings, home: str, directory: RunDirectory) -> AuditRun:
    """A run as it comes to a worker."""
    settings = settings.model_copy(update={"home": home})
    return AuditRun(
        settings, AuditOptions(), directory, datetime.now(UTC), abreast=2, by_url=True,
        process="first", attempt="first",
    )  # fmt: skip


def test_what_a_worker_keeps_is_for_its_owner_alone_and_its_log_comes_back(
    machines: Machines, cache: Path, sound: Box, tmp_path: Path
) -> None:
    own = machines.own()
    machines.write("ledger/part-00000.parquet")
    machines.directory.mark_done("snapshot")
    own.begin()
    run = run_at(sound.settings(tmp_path), machines.home, machines.directory)
    before = os.umask(0o022)
    try:
        with workers.at_work(run) as here, in_task():
            assert here.directory.home.parent == cache
            here.stage("quality-checks-ledger", dict)
            workers.log_of(here).write_text("an event\n")
    finally:
        os.umask(before)
    for path in (cache, *cache.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    machines.own("second").begin()
    with workers.at_work(replace(run, attempt="second")) as there:
        assert workers.log_of(there).name != workers.log_of(here).name  # both come to one place
    machines.own("third").adopt()
    log = machines.directory.path / workers.log_of(here).name
    assert log.read_text() == "an event\n"


def test_a_worker_that_can_not_see_the_run_says_so(
    machines: Machines, cache: Path, sound: Box, tmp_path: Path
) -> None:
    run = run_at(sound.settings(tmp_path), machines.home, machines.directory)
    with pytest.raises(HomeStorageError, match=f"Then resume {RUN_ID}"), workers.at_work(run):
        pass
    elsewhere = run_at(sound.settings(tmp_path), "carrier-pigeon://x", machines.directory)
    run = replace(elsewhere, attempt="second")
    with pytest.raises(SettingsError, match="nothing here speaks"), workers.at_work(run):
        pass
    assert under(cache) == []


def test_the_runs_own_process_takes_what_its_tasks_give_as_it_is(machines: Machines) -> None:
    assert machines.own().received([1, "two"]) == [1, "two"]
    with exchanging(machines.directory, machines.own()):
        assert isinstance(side_of(machines.directory), OwnSide)
    assert side_of(machines.directory) is None


# The end of a run


@pytest.fixture
def ended(machines: Machines, sound: Box, tmp_path: Path) -> Iterator[Callable[[], RunRecord]]:
    """Ends a run whose files were exchanged."""
    run, own = run_at(sound.settings(tmp_path), machines.home, machines.directory), machines.own()
    own.begin()
    own.area.write("logs/log-a-1.jsonl", {})
    with exchanging(machines.directory, own):
        yield lambda: publish.close_inconclusive(run, StoreError("a store kept it from its end"))
    own.close()


def kept(machines: Machines) -> set[str]:
    system, root = fsspec.core.url_to_fs(machines.home)
    return {path.removeprefix(f"{root}/") for path in system.find(root)}


def test_what_can_not_be_removed_is_told_as_that_and_the_run_lies_at_the_url(
    machines: Machines, ended: Callable[[], RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "clear", away(StoreUnreachableError))
    with capture_logs() as events:
        ended()
    assert [each["event"] for each in events] == ["exchange_not_removed"]
    assert {f"runs/{RUN_ID}/{name}" for name in ("run.json", "log-a-1.jsonl")} <= kept(machines)


def test_logs_that_can_not_be_fetched_keep_no_run_from_being_kept(
    machines: Machines, ended: Callable[[], RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Area, "get", away(HomeStorageError))
    with capture_logs() as events:
        ended()
    assert events == []
    assert f"runs/{RUN_ID}/run.json" in kept(machines)
    assert not [name for name in kept(machines) if name.startswith("exchange/")]


def test_of_a_run_that_fails_there_is_what_its_workers_logged(
    machines: Machines, sound: Box, tmp_path: Path
) -> None:
    run = run_at(sound.settings(tmp_path), machines.home, machines.directory)
    Area(machines.home, RUN_ID).write("logs/log-a-1.jsonl", {})

    def fail() -> None:
        with audit._exchanging(run, resumed=False):
            raise StoreError("a worker met with something")

    with pytest.raises(StoreError, match="met with something"):
        fail()
    assert (machines.directory.path / "log-a-1.jsonl").exists()


def test_a_note_that_comes_after_the_report_is_in_the_copy_too(
    machines: Machines, ended: Callable[[], RunRecord], sound: Box, tmp_path: Path
) -> None:
    run = run_at(sound.settings(tmp_path), machines.home, machines.directory)
    publish.noted(run, ended(), "heartbeat", "not sent")
    copy = remote_home.Runs.of(machines.home).record(RUN_ID)
    assert copy is not None
    assert copy.limits["heartbeat"] == "not sent"


def test_a_run_is_resumed_where_it_was_begun(home: str, sound: Box, tmp_path: Path) -> None:
    settings = sound.settings(tmp_path).model_copy(update={"home": home})
    with (
        pytest.raises(UsageError, match="on the machine where it was begun"),
        audit.under_way(settings, AuditOptions(), RUN_ID),
    ):
        pass


def test_nobody_is_waited_for_longer_than_that() -> None:
    answered = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.05 seconds"):
        within(0.05, answered.wait)
    answered.set()
    assert within(5, answered.wait) is True
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


# Whether a worker is fit


def nothing_yet(_self: Any, path: str, **_: Any) -> list[str]:
    raise FileNotFoundError(path)


def lacks(probe: str) -> str:
    return str(fitness.lacks(probe, metadata.version("edgekeeper"), None, node()))


def test_a_worker_is_fit_that_sees_the_probe_in_the_same_storage(cache: Path, home: str) -> None:
    with remote_home.probed(home) as probe:
        assert lacks(probe) == "None"
        with pytest.MonkeyPatch.context() as patch:  # the probe is new, and a listing may lag
            patch.setattr(type(fsspec.filesystem("memory")), "ls", nothing_yet)
            assert lacks(probe) == "None"
    assert fsspec.filesystem("memory").ls(home, detail=False) == []
    assert "another memory:// storage from there" in lacks(probe)
    assert "install the fsspec package" in lacks("carrier-pigeon://x/.shared-1")
    shutil.rmtree(cache.parents[1])
    cache.parents[1].write_text("no directory")
    assert "can't be made or written to" in lacks(probe)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    here = Storage()
    for name, value in here.environment.items():
        monkeypatch.setenv(name, value)
    here.files.clear_instance_cache()
    here.files.mkdir(BUCKET)
    yield here
    here.files.clear_instance_cache()
    here.go_away()


def test_an_s3_storage_is_told_apart_from_one_that_refuses_or_is_away(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"s3://{BUCKET}/home"
    with remote_home.probed(url) as probe:
        assert lacks(probe) == "None"
        assert len(storage.files.ls(url)) == 2
        with monkeypatch.context() as patch:
            for name in storage.environment:
                patch.delenv(name)
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.setenv("HOME", str(tmp_path))
            storage.files.clear_instance_cache()
            assert "(NoCredentialsError)" in lacks(probe)
            storage.files.clear_instance_cache()
    assert storage.files.find(url) == []
    storage.go_away()
    assert "(EndpointConnectionError)" in lacks(probe)
    with pytest.raises(StoreUnreachableError, match=r"EndpointConnectionError"):
        remote_home.fetch_history(url, tmp_path)
    with pytest.raises(HomeStorageError, match=rf"EndpointConnectionError.*resume {RUN_ID}"):
        Area(url, RUN_ID).write("x.json", {})
    storage.come_back()


def test_a_large_file_is_copied_within_the_storage_when_the_run_is_kept(
    storage: Storage, tmp_path: Path, fetched: list[str]
) -> None:
    machines = Machines(f"s3://{BUCKET}/home", tmp_path)
    own = machines.own()
    for name, text in (("ledger/part-00000.parquet", "x" * 2**20), ("run.json", "{}")):
        machines.write(name, text)
    own.put(["ledger/part-*.parquet"])
    copied = {}

    def noted(path: Path, target: str) -> bool:
        copied[path.name] = own.copied(path, target)
        return copied[path.name]

    remote_home.keep(machines.home, machines.directory, noted)
    assert copied == {"part-00000.parquet": True, "run.json": False, "checkpoint.json": False}
    top = f"{BUCKET}/home/runs/{RUN_ID}"
    assert storage.files.size(f"{top}/ledger/part-00000.parquet") == 2**20
    assert storage.files.cat_file(f"{top}/run.json") == b"{}"
    assert fetched == []
