"""An audit under way: what was asked, where it is kept, which of its stages are done.

Every stage leaves its outcome in the run's directory and marks itself done, so that a run that was
killed goes on where it was: a stage that is done gives what it gave, without doing anything again.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from checks.errors import UsageError, shortened
from checks.model import Backend, RepairPolicy, RunStatus
from checks.run import RunRecord, Usage, new_run_id
from tasks import log, run_directory
from tasks.app_tables import find_app_tables
from tasks.database import Connection, connect, connector
from tasks.exchange import OwnSide, WorkerSide, exchanging, side_of
from tasks.exchange_area import sweep
from tasks.lease import Fence, held
from tasks.memory import peak_rss_mb, release_unused
from tasks.remote_home import fetch_history, is_remote
from tasks.resolve import Workspace
from tasks.run_directory import RunDirectory
from tasks.schema import ensure_audit_schema
from tasks.schema_ledger import check_writable
from tasks.settings import Settings, byte_budget, masked
from tasks.snapshot import Reread, reread
from tasks.store_identity import answering, check_pinned, configured_identities
from tasks.time_limit import within
from tasks.usage import metered, so_far

RESUME_WITHIN = timedelta(hours=24)
#: How long a run that failed waits for the logs of its workers.
_LOGS_SECONDS = 10.0
NIGHTLY_AUDIT = "nightly-audit"
BACKFILL = "backfill"
VERIFY_GALLERY = "verify-gallery"
STORE_FOREVER = "store-forever"
_marking = threading.Lock()
_LOADED = uuid4().hex


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What a person asked of one audit.

    Attributes:
        repair: how far it may go.
        verify_budget: bytes to read.
        verify_minutes: how long that may take; None: as long as it takes.
        stores: backends to look at; the others stay unknown.
        breaker_percent: the breaker's limit, in percent.
        accept_new_store: pin stores that are not those of former runs.
        given: which of these were asked for in so many words, and not left to the settings.
    """

    repair: RepairPolicy = RepairPolicy.NONE
    verify_budget: int = 0
    stores: frozenset[Backend] = frozenset(Backend)
    breaker_percent: float = 1.0
    accept_new_store: bool = False
    verify_minutes: float | None = None
    given: frozenset[str] = frozenset()


#: How a person asks for each.
_ASKED_BY = {
    "repair": "--repair", "verify_budget": "--verify", "verify_minutes": "--verify-minutes",
    "stores": "--store", "breaker_percent": "--allow-percent",
}  # fmt: skip
_ASKED_BY_BACKFILL = {"verify_budget": "--hash-content"}


def options_of(
    settings: Settings,
    *,
    repair: RepairPolicy | None = None,
    verify: str | None = None,
    verify_minutes: float | None = None,
    stores: Iterable[str] | None = None,
    allow_percent: float | None = None,
    accept_new_store: bool = False,
) -> AuditOptions:
    """What a person asked for, and the settings for what was left out.

    ``verify`` is a budget as text, such as ``5GB``. Raises ValueError where it is none.
    """
    asked = {
        "repair": repair is not None, "verify_budget": verify is not None,
        "verify_minutes": verify_minutes is not None, "stores": bool(stores),
        "breaker_percent": allow_percent is not None,
    }  # fmt: skip
    return AuditOptions(
        given=frozenset(name for name, given in asked.items() if given),
        repair=repair or RepairPolicy.NONE,
        verify_budget=settings.verify_budget if verify is None else byte_budget(verify),
        stores=frozenset(map(Backend, stores)) if stores else frozenset(Backend),
        breaker_percent=settings.breaker_percent if allow_percent is None else allow_percent,
        accept_new_store=accept_new_store,
        verify_minutes=settings.verify_minutes if verify_minutes is None else verify_minutes,
    )


def this_process() -> str:
    """What tells this process from every other one, on other machines too."""
    return f"{_LOADED}-{os.getpid()}"


@dataclass(frozen=True, slots=True, repr=False)
class AuditRun:
    """One audit under way; everything else about it lies in its directory.

    It goes to the workers of a cluster as it is, with its settings: they are not read again there.

    Attributes:
        settings: as they were when it began.
        options: what was asked.
        directory: where it is kept.
        started_at: UTC.
        flow: which flow it is a run of.
        abreast: tasks of it that may be under way at the same time on a cluster; 1: there is none.
        by_url: whether the workers of the cluster share nothing with it but the home's URL.
        process: the one that it belongs to, where the lease is held and all repairs are made.
        attempt: what tells this attempt at the run from every other one, in the same process too.
    """

    settings: Settings
    options: AuditOptions
    directory: RunDirectory
    started_at: datetime
    flow: str = NIGHTLY_AUDIT
    abreast: int = 1
    by_url: bool = False
    process: str = field(default_factory=this_process)
    attempt: str = field(default_factory=lambda: uuid4().hex)

    def __repr__(self) -> str:
        """Its id alone: a scheduler writes down what a task that failed was given."""
        return f"AuditRun({self.run_id})"

    @property
    def away(self) -> bool:
        """Whether this process is a worker's, and not the run's own."""
        return self.process != this_process()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.directory.run_id

    def workspace(self, partitions: int) -> Workspace:
        """Where the run's spools lie."""
        return Workspace(self.directory.path, partitions)

    def connect(self) -> Connection:
        """A connection for batch work."""
        return connect(self.settings.batch_database_url, purpose=f"edgekeeper {self.run_id}")

    def reread(self, memories: Iterable[tuple[str, str]]) -> Reread:
        """The rows of some memories as they are now."""
        with self.connect() as conn:
            return reread(conn, memories)

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What ``work`` gives, or gave when the stage was done before the run was interrupted.

        Raises HomeStorageError where what other processes need of it can't be exchanged.
        """
        side = side_of(self.directory)
        if isinstance(side, WorkerSide):
            return side.done(name, lambda: self._done_here(name, work))
        facts = self._done_here(name, work)
        self.offer(name)
        return facts

    def offer(self, stage: str) -> None:
        """Makes known to the workers what they may need of a stage, if they see nothing of it."""
        side = side_of(self.directory)
        if isinstance(side, OwnSide):
            side.offer(stage)

    def received(self, outcomes: Sequence[Any]) -> list[Any]:
        """What tasks gave; the files that workers made in them are then in the run's directory."""
        side = side_of(self.directory)
        return side.received(outcomes) if isinstance(side, OwnSide) else [*outcomes]

    def put_portion(self, share: str, path: Path) -> None:
        """Has a portion of a share outlive this process, where it is a worker's."""
        side = side_of(self.directory)
        if isinstance(side, WorkerSide):
            side.put_portion(share, path)

    def _done_here(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        done = self.directory.done_stage(name)
        if done is not None:
            return done
        began = monotonic()
        with metered() as used:
            facts = work()
        facts |= {"stage_seconds": monotonic() - began, "peak_rss_mb": peak_rss_mb()}
        facts["usage"] = dict(used)
        release_unused()
        if self.away:
            self.directory.mark_done_apart(name, **facts)
            return facts
        with _marking:
            self.directory.mark_done(name, **facts)
        return facts


def usage_of(run: AuditRun) -> Usage:
    """What the run has asked of its stores: in its stages, before an interruption too, and since.

    What a stage had asked that was killed is not known.
    """
    total = Counter(so_far())
    for facts in run.directory.done_stages().values():
        total.update(facts.get("usage", {}))
    return Usage(**total)


@contextmanager
def under_way(
    settings: Settings,
    options: AuditOptions,
    resume: str | None = None,
    *,
    flow: str = NIGHTLY_AUDIT,
    abreast: int = 1,
    by_url: bool = False,
) -> Iterator[tuple[AuditRun, Fence | None]]:
    """A run from its first check to its end; with the fence of its lease where it may write.

    ``abreast`` and ``by_url``: see :class:`AuditRun`.

    Nothing is written before the settings, the database and the stores' identities are checked. A
    run that an error ends is recorded as failed, one that a person ends as interrupted; both can
    be resumed.

    Raises UsageError where the request can't be carried out, LeaseError where another run writes.
    """
    with metered():
        yield from _under_way(settings, options, resume, flow, abreast=abreast, by_url=by_url)


def _under_way(
    settings: Settings, options: AuditOptions, resume: str | None, flow: str, **spread: Any
) -> Iterator[tuple[AuditRun, Fence | None]]:
    log.protect(settings)
    run_directory.keep_private()
    home = run_directory.local_home(settings.home)
    if is_remote(settings.home):
        fetch_history(settings.home, home)
        sweep(settings.home, datetime.now(UTC))
    now = datetime.now(UTC)
    run_id = resume or new_run_id(now)
    if resume is not None:
        if is_remote(settings.home):
            _require_begun_here(home, resume)
        options, now = _resumed(home, resume, options, now)
    with connect(settings.batch_database_url) as conn:
        tables = find_app_tables(conn)
        tables.ledger()
        if options.repair is not RepairPolicy.NONE:
            check_writable(conn, tables)
        answered = answering(settings, options.stores)
        ensure_audit_schema(conn)
        identities = configured_identities(conn, settings)
        check_pinned(conn, identities, run_id, answered, accept=options.accept_new_store)
    connecting = connector(settings.batch_database_url, purpose=f"edgekeeper {run_id}")
    writes = options.repair is not RepairPolicy.NONE
    lease = (
        held(connecting, run_id, flow=flow, policy=options.repair.value, settings=masked(settings))
        if writes else nullcontext()
    )  # fmt: skip
    with lease as taken:
        at = run_directory.existing if resume else run_directory.create
        run = AuditRun(settings, options, at(home, run_id), now, flow, **spread)
        run.stage("begun", lambda: {"at": now.isoformat(), "flow": flow, **_remembered(options)})
        log.open_run_log(run.directory.log, run_id)
        with _recorded(run), _exchanging(run, resumed=resume is not None):
            yield run, taken.fence if taken else None
        log.close_log()
        if taken:
            with run.connect() as conn:
                taken.release(conn, "finished")


@contextmanager
def _exchanging(run: AuditRun, *, resumed: bool) -> Iterator[None]:
    """Has the run's files go over the home's URL, where the workers share nothing else.

    What workers have done in a former attempt is taken over whatever does the rest.
    """
    if not (run.by_url or (resumed and is_remote(run.settings.home))):
        yield
        return
    with ExitStack() as stack:
        side = OwnSide(run.settings.home, run.directory, run.attempt)
        stack.callback(side.close)
        if resumed:
            side.adopt()
        if run.by_url:
            side.begin()
            stack.enter_context(exchanging(run.directory, side))
        try:
            yield
        except Exception:
            with suppress(TimeoutError):  # why it failed may be in a worker's
                within(_LOGS_SECONDS, side.try_fetch_logs)
            raise


@contextmanager
def _recorded(run: AuditRun) -> Iterator[None]:
    """Records a run that an error or a person ends."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        record = RunRecord(
            run_id=run.run_id, flow=run.flow, started_at=run.started_at,
            finished_at=datetime.now(UTC), repair=run.options.repair, status=RunStatus.FAILED,
            interrupted=interrupted, settings=masked(run.settings), usage=usage_of(run),
            error=None if interrupted else shortened(f"{type(error).__name__}: {error}"),
        )  # fmt: skip
        run.directory.write_run(record)
        raise


def _require_begun_here(home: Path, run_id: str) -> None:
    """Raises UsageError where this machine's cache of a home that is a URL knows nothing of it."""
    if run_directory.is_run_id(run_id) and not RunDirectory(home, run_id).checkpoint.exists():
        raise UsageError(
            f"there is nothing of run {run_id} to go on with in {home}: with an EDGEKEEPER_HOME "
            "that is a URL a run is resumed on the machine where it was begun; or start a new audit"
        )


def _resumed(
    home: Path, run_id: str, options: AuditOptions, now: datetime
) -> tuple[AuditOptions, datetime]:
    """The options and the beginning of the run that is resumed.

    Raises UsageError where it is finished, too old or not there, or was asked for something else.
    """
    directory = run_directory.existing(home, run_id)
    begun = directory.done_stages().get("begun")
    if begun is None:
        raise UsageError(f"run {run_id} had not begun; start a new audit")
    if directory.run_json.exists() and directory.read_run().status is not RunStatus.FAILED:
        raise UsageError(f"run {run_id} is finished; there is nothing to resume")
    started = datetime.fromisoformat(begun["at"])
    if now - started > RESUME_WITHIN:
        raise UsageError(
            f"run {run_id} began {started:%Y-%m-%d %H:%M} UTC, more than a day ago: what it saw is "
            "out of date; start a new audit"
        )
    kept = AuditOptions(
        repair=RepairPolicy(begun["repair"]),
        verify_budget=begun["verify_budget"],
        stores=frozenset(Backend(name) for name in begun["stores"]),
        breaker_percent=begun["breaker_percent"],
        accept_new_store=options.accept_new_store,
        verify_minutes=begun.get("verify_minutes"),
    )
    if other := [name for name in options.given if getattr(options, name) != getattr(kept, name)]:
        asked_by = _ASKED_BY_BACKFILL if begun["flow"] == BACKFILL else _ASKED_BY
        asked = ", ".join(sorted(asked_by[name] for name in other))
        again = "use --restart" if begun["flow"] == BACKFILL else "start a new audit"
        raise UsageError(
            f"run {run_id} goes on with what it was begun with, which is not what {asked} asks for "
            f"now: leave that out, or {again}"
        )
    return kept, started


def unfinished(settings: Settings, flow: str) -> str | None:
    """The newest run of ``flow`` that was interrupted or failed and can still be resumed."""
    home = run_directory.local_home(settings.home)
    for run_id in run_directory.run_ids(home)[:20]:
        begun = run_directory.existing(home, run_id).done_stages().get("begun", {})
        if begun.get("flow") == flow:
            try:
                _resumed(home, run_id, AuditOptions(), datetime.now(UTC))
            except UsageError:
                return None
            return run_id
    return None


def _remembered(options: AuditOptions) -> dict[str, Any]:
    """The options that a resumed run goes on with."""
    kept = {name: value for name, value in asdict(options).items() if name != "given"}
    return kept | {"stores": sorted(options.stores)}
