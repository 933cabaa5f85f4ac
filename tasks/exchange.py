"""How the processes of a run exchange its files where they share nothing but a URL.

All code works on files of the run's directory, and every process has one of its own on its disk.
What a stage needs is fetched before it begins, what it made is put when it is done, as
``tasks.exchanged`` declares it. The run's own process makes known, stage by stage, which objects
hold its files; a worker leaves a mark of a stage with the objects that hold what it made there, and
gives the same with its task's result, so that nothing has to be looked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

from pydantic import TypeAdapter

from checks.errors import HomeStorageError
from tasks import exchanged
from tasks.exchange_area import Area
from tasks.exchanged import Files
from tasks.log import without_secrets
from tasks.run_directory import RunDirectory, private_directory

#: Files that are fetched at the same time, and that are put: of these a client of S3 has each whole
#: in memory, up to some 100 MB.
_FETCHED_AT_ONCE, _PUT_AT_ONCE = 8, 2
#: A smaller file is put in less time than the storage takes to copy it.
_WORTH_COPYING = 2**20
_BEGUN = "begun"
_LOGS = "log-*.jsonl"


@dataclass(frozen=True, slots=True)
class Mark:
    """A stage that a worker has done: its facts, and the objects that hold what it made."""

    facts: Mapping[str, Any]
    files: Files


@dataclass(frozen=True, slots=True)
class Handed:
    """What a task gave that a worker has done, with the marks of its stages."""

    outcome: Any
    marks: Mapping[str, Mark]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the run's own process makes known: the facts of stages, and objects that hold files."""

    done: Mapping[str, Mapping[str, Any]]
    files: Files


_MARK, _OFFER = TypeAdapter(Mark), TypeAdapter(Offer)


class Transfers:
    """The files of one process's directory of a run, put and fetched; any thread may call it."""

    def __init__(self, home: str, directory: RunDirectory, attempt: str) -> None:
        """Asks nothing yet.

        Args:
            home: the URL.
            directory: of the run, on this process's disk.
            attempt: what tells this attempt at the run from every other one.
        """
        self.area = Area(home, directory.run_id)
        self._directory = directory
        self._attempt = f"attempts/{attempt}"
        self._held: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._coming: dict[tuple[str, str], Future[None]] = {}
        self._lock = Lock()
        self._fetching = ThreadPoolExecutor(_FETCHED_AT_ONCE, thread_name_prefix="fetching")
        self._putting = ThreadPoolExecutor(_PUT_AT_ONCE, thread_name_prefix="putting")
        self._closed = False

    def close(self) -> None:
        """Nothing more is put or fetched: who asks for it gets HomeStorageError."""
        self._closed = True
        for pool in (self._fetching, self._putting):
            pool.shutdown(wait=False, cancel_futures=True)

    def put(self, patterns: Iterable[str]) -> Files:
        """Puts the files that match a pattern and are not held by an object yet; gives all."""
        top = self._directory.path
        paths = {path for pattern in patterns for path in top.glob(pattern)}
        with self._open():
            return dict(self._putting.map(self._put, sorted(paths)))

    def fetch(self, files: Files) -> None:
        """Fetches the files that are not here yet as these objects hold them."""
        with self._open():
            with self._lock:
                coming = [self._getting(name, *where) for name, where in files.items()]
            for each in coming:
                if each is not None:
                    each.result()

    def remove_others(self, patterns: Iterable[str], files: Files) -> None:
        """Deletes what matches a pattern and is none of ``files``: others' that was given up."""
        top = self._directory.path
        for path in {path for pattern in patterns for path in top.glob(pattern)}:
            if self._name(path) not in files:
                path.unlink(missing_ok=True)

    def object_of(self, path: Path) -> str | None:
        """The object that holds a file as it is now, None where none does."""
        with self._lock:
            item, signature = self._held.get(self._name(path), (None, ()))
        return item if item is not None and signature == _signature(path) else None

    def hold(self, path: Path, item: str) -> None:
        """Notes that an object holds a file."""
        with self._lock:
            self._held[self._name(path)] = item, _signature(path)

    @contextmanager
    def _open(self) -> Iterator[None]:
        """Raises HomeStorageError where the exchange was closed, also meanwhile."""
        try:
            yield
        except (CancelledError, RuntimeError) as error:
            if self._closed:
                raise self.area.over() from error
            raise

    def _put(self, path: Path) -> tuple[str, tuple[str, int | None]]:
        name, item = self._name(path), self.object_of(path)
        if item is None:
            item = f"files/{name}.{token_hex(8)}"
            self.area.put(path, item)
            self.hold(path, item)
        return name, (item, path.stat().st_size)

    def _getting(self, name: str, item: str, size: int | None) -> "Future[None] | None":
        path = self._directory.path / name
        held, signature = self._held.get(name, (None, ()))
        if held == item and path.exists() and signature == _signature(path):
            return None
        if (name, item) not in self._coming:
            self._coming[name, item] = self._fetching.submit(self._get, name, item, size)
        return self._coming[name, item]

    def _get(self, name: str, item: str, size: int | None) -> None:
        try:
            if not exchanged.is_inside(name):
                raise HomeStorageError(f"{name} is no file of a run's directory")
            path = self._directory.path / name
            private_directory(path.parent)
            self.area.get(item, path, size)
            self.hold(path, item)
        finally:
            with self._lock:
                self._coming.pop((name, item), None)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._directory.path).as_posix()

    def _portions(self, share: str) -> Files:
        """What was put of a share while it was read."""
        names = self.area.names(f"portions/{share}")
        return {
            f"read/{name}": (f"portions/{share}/{name}", None)
            for name in names if exchanged.fits(f"read/{name}", exchanged.portions(share))
        }  # fmt: skip


def _signature(path: Path) -> tuple[int, ...]:
    """Another one for a file that was written anew."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


class OwnSide(Transfers):
    """The exchange as the run's own process has it."""

    def __init__(self, home: str, directory: RunDirectory, attempt: str) -> None:
        super().__init__(home, directory, attempt)
        self._offered: set[str] = set()

    def begin(self) -> None:
        """Makes known what is done already, before any task is given away."""
        done = self._directory.done_stages()
        self._make_known(_BEGUN, Offer(done, files={}))
        for stage in done:
            self.offer(stage)

    def offer(self, stage: str) -> None:
        """Makes known what workers may need of a stage that is done; once is enough."""
        patterns = exchanged.offered(stage)
        if patterns and stage not in self._offered:
            self._make_known(stage, Offer({}, self.put(patterns)))
            self._offered.add(stage)

    def received(self, outcomes: Sequence[Any]) -> list[Any]:
        """What tasks gave, once the files that workers made in them are here."""
        handed = [each for each in outcomes if isinstance(each, Handed)]
        marks = {stage: mark for each in handed for stage, mark in each.marks.items()}
        for stage, mark in marks.items():
            if not exchanged.makes(stage, mark.files):
                raise HomeStorageError(f"a task gave files of {stage} that no task makes in it")
        self._take(marks)
        return [each.outcome if isinstance(each, Handed) else each for each in outcomes]

    def adopt(self) -> None:
        """Takes over what workers have done in former attempts without this process's knowing.

        What a listing does not show yet is done again, and so is what can't be of a worker: its
        names come from the storage, which others may write to.
        """
        marks: dict[str, Mark] = {}
        for attempt in self.area.names("attempts"):
            marks |= self._marks_of(f"attempts/{attempt}/stages")
        self._take({
            stage: marks[stage] for stage in sorted(marks)  # what was done again comes later
            if not self._is_listed(exchanged.whole_listing(stage), marks)
        })  # fmt: skip
        for share in filter(exchanged.is_share, self.area.names("portions")):
            self.fetch(self._portions(share))
        self.try_fetch_logs()

    def try_fetch_logs(self) -> None:
        """Fetches what the workers have logged, in other attempts too; that is worth no error."""
        with suppress(HomeStorageError):
            for name in self.area.names("logs"):
                if exchanged.fits(name, _LOGS):
                    self.area.get(f"logs/{name}", self._directory.path / name, None)

    def copied(self, path: Path, target: str) -> bool:
        """Copies a file to another place of the storage, if an object holds it as it is now."""
        if path.stat().st_size < _WORTH_COPYING:
            return False
        item = self.object_of(path)
        return item is not None and self.area.copied(item, target)

    def _make_known(self, name: str, offer: Offer) -> None:
        self.area.write(f"{self._attempt}/offers/{name}.json", asdict(offer))

    def _marks_of(self, stages: str) -> dict[str, Mark]:
        """By stage, the marks in a directory of the storage, as far as they are a worker's."""
        suffix = ".json"
        names = [name for name in self.area.names(stages) if name.endswith(suffix)]
        marks = {
            name.removesuffix(suffix): self.area.read(f"{stages}/{name}", _MARK) for name in names
        }
        return {
            stage: mark for stage, mark in marks.items()
            if mark is not None and exchanged.makes(stage, mark.files)
        }  # fmt: skip

    def _is_listed(self, stage: str | None, marks: Mapping[str, Mark]) -> bool:
        """Whether a store's whole listing is done; ``stage``: its, None where it is no shard's."""
        return stage is not None and (
            stage in marks or self._directory.done_stage(stage) is not None
        )

    def _take(self, marks: Mapping[str, Mark]) -> None:
        new = {
            stage: mark for stage, mark in marks.items()
            if self._directory.done_stage(stage) is None
        }  # fmt: skip
        self.fetch({name: where for mark in new.values() for name, where in mark.files.items()})
        for stage, mark in new.items():
            if exchanged.lists_all(stage):
                self.remove_others(exchanged.made(stage), mark.files)
            self._directory.mark_done_apart(stage, **mark.facts)
            self.offer(stage)


class WorkerSide(Transfers):
    """The exchange as a worker of a cluster has it."""

    def __init__(
        self,
        home: str,
        directory: RunDirectory,
        attempt: str,
        kept: Callable[[], bool] = lambda: True,
    ) -> None:
        """``kept``: whether what was written to ``directory`` is still there."""
        super().__init__(home, directory, attempt)
        self._kept = kept
        self._offers: dict[str, Offer] = {}
        self._marks: dict[str, Mark] = {}
        self._reading = Lock()
        self._logged = 0

    def begun(self) -> Mapping[str, Mapping[str, Any]]:
        """The facts of the stages that were done before this attempt began."""
        return self._offer(_BEGUN).done

    def done(self, stage: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The facts of a stage, which ``do`` does unless it is done: also by another worker.

        Raises HomeStorageError, and leaves no mark, where the run ended meanwhile or files are not
        there that ``do`` made: no thread can be stopped, so that a directory may go under its task.
        """
        before = self.begun().get(stage)
        if before is not None:
            return dict(before)
        mark = self._marks.get(stage) or self.area.read(self._mark_of(stage), _MARK)
        if mark is None:
            self._fetch_needed(stage)
            mark = Mark(without_secrets(do()), self.put(exchanged.made(stage)))
            lost = exchanged.unmade(stage, mark.files)
            if self._closed or not self._kept():
                raise self.area.over()
            if lost is not None:
                raise HomeStorageError(f"{lost}, which {stage} makes, is not there after it")
            self.area.write(self._mark_of(stage), asdict(mark))
        self._marks[stage] = mark
        _in_task.get()[stage] = mark
        return dict(mark.facts)

    def put_portion(self, share: str, path: Path) -> None:
        """Puts what was read of a share so far, for who goes on with it."""
        item = f"portions/{share}/{path.name}"
        self.area.put(path, item)
        self.hold(path, item)

    def put_log(self, path: Path) -> None:
        """Puts the worker's log, where it has grown."""
        size = path.stat().st_size if path.exists() else 0
        if size > self._logged:
            self.area.put(path, f"logs/{path.name}")
            self._logged = size

    def _fetch_needed(self, stage: str) -> None:
        for made_known, patterns in exchanged.needed(stage).items():
            files = exchanged.chosen(self._offer(made_known).files, patterns, self.area.lacking)
            self.fetch(files)
            self.remove_others(patterns, files)
        if exchanged.is_share(stage):
            self.fetch(self._portions(stage))

    def _offer(self, name: str) -> Offer:
        """What the run's own process has made known under a name; it stays as it is."""
        with self._reading:
            if name not in self._offers:
                path = f"{self._attempt}/offers/{name}.json"
                found = self.area.read(path, _OFFER)
                if found is None:
                    raise self.area.lacking(path)
                self._offers[name] = found
            return self._offers[name]

    def _mark_of(self, stage: str) -> str:
        """Where the mark of a stage is, whoever did it in this attempt."""
        return f"{self._attempt}/stages/{stage}.json"


_sides: dict[Path, Transfers] = {}
_in_task: ContextVar[dict[str, Mark]] = ContextVar("stages that a worker does in a task")


def side_of(directory: RunDirectory) -> Transfers | None:
    """The exchange of the run whose directory this is in this process, None where it has none."""
    return _sides.get(directory.path)


@contextmanager
def exchanging(directory: RunDirectory, side: Transfers) -> Iterator[None]:
    """Has :func:`side_of` give ``side`` for as long as this is entered."""
    _sides[directory.path] = side
    try:
        yield
    finally:
        del _sides[directory.path]


@contextmanager
def in_task() -> Iterator[dict[str, Mark]]:
    """The marks of the stages that a worker does while this is entered."""
    marks: dict[str, Mark] = {}
    token = _in_task.set(marks)
    try:
        yield marks
    finally:
        _in_task.reset(token)
