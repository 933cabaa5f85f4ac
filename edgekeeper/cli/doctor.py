"""``edgekeeper doctor``: are the settings right, and does each store answer?"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from edgekeeper.cli.command import command
from edgekeeper.cli.output import Output

if TYPE_CHECKING:
    from tasks.examination import Answer, Check
    from tasks.settings import Settings

_LONGEST_SHOWN = 60
#: A store that has not answered by then does not answer; all are asked at the same time.
_PATIENCE_SECONDS = 10.0
NOT_CONFIGURED, UNUSABLE, UNREACHABLE = "not configured", "not usable", "unreachable"
_EXIT_OK, _EXIT_SETTINGS, _EXIT_UNREACHABLE = 0, 2, 3
_UNREACHABLE_REMEDY = "check the URL, the network and the service's status page"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What one store answered, how long it took, what was looked at, and what to do about it."""

    store: str
    state: str
    seconds: float | None = None
    detail: str | None = None
    remedy: str | None = None
    checks: tuple["Check", ...] = ()


@command
def doctor(out: Output) -> int:
    """Show the effective settings, secrets masked, and ask each store whether it is there.

    Looks at versions, clocks, privileges, the schema, the pooler, the canister's interface, code
    and controllers, disk space, and the workers of a cluster. Takes ten seconds at most, half a
    minute with a cluster, and writes nothing but, in EDGEKEEPER_HOME, what the canister was, to
    notice that it was replaced. Each problem comes with what to do about it. Warns of secrets that
    others on this machine can read, and of a database that is not checked.

    Example: edgekeeper doctor

    Example: edgekeeper doctor --json -

    Exit codes: 0 every configured store answers; 2 a setting is not usable, there is no database,
    or the cluster can't be used; 3 a configured store does not answer, or refuses; 5 internal
    error.
    """
    from tasks import log  # noqa: PLC0415 - --help does without
    from tasks.examination import FAILURE, OK, examine_machine  # noqa: PLC0415
    from tasks.precautions import precautions  # noqa: PLC0415
    from tasks.settings import load_settings, masked  # noqa: PLC0415

    settings = load_settings()
    log.protect(settings)
    shown = masked(settings)
    out.table(("setting", "value"), [(name, _short(value)) for name, value in shown.items()])
    out.say("")
    _check_home(settings)
    found = _diagnoses(settings)
    out.table(
        ("store", "state", "seconds", "detail"),
        [
            (each.store, each.state,
             None if each.seconds is None else f"{each.seconds:.2f}",
             each.detail)
            for each in found
        ],
    )  # fmt: skip
    looked_at = [
        *((each.store, check) for each in found for check in each.checks),
        *(("this machine", check) for check in examine_machine(settings)),
        *(("cluster", check) for check in _cluster(settings)),
    ]
    out.say("")
    out.table(
        ("looked at", "state", "detail"),
        [(f"{where}: {check.what}", check.state, check.detail) for where, check in looked_at],
    )
    out.say("")
    for each in found:
        if each.remedy and not each.checks:
            out.say(f"{each.store}: {each.remedy}", "warning")
    for where, check in looked_at:
        if check.state != OK:
            style = "warning" if check.state == "warning" else "critical"
            out.say(f"{where}, {check.what}: {check.remedy}", style)
    warnings = precautions(settings)
    for warning in warnings:
        out.warn(warning)
    out.json(
        {"settings": shown, "stores": [asdict(each) for each in found], "warnings": warnings,
         "checks": [{"where": where, **asdict(check)} for where, check in looked_at]}
    )  # fmt: skip
    well = all(check.state == OK for _, check in looked_at)
    code = _verdict(out, found, careful=well and not warnings)
    unfit = any(where == "cluster" and check.state == FAILURE for where, check in looked_at)
    return code or (_EXIT_SETTINGS if unfit else _EXIT_OK)


def _verdict(out: Output, found: list[Diagnosis], *, careful: bool) -> int:
    """Says what comes next; gives the exit code. ``careful``: there was nothing to warn of."""
    states = {each.store: each.state for each in found}
    if out.quiet or out.only_json:  # then nothing was said of it yet
        for each in found:
            if each.state in (UNUSABLE, UNREACHABLE):
                out.error(f"{each.store}: {each.detail}")
    if UNUSABLE in states.values():
        return _EXIT_SETTINGS
    if states["Neon"] == NOT_CONFIGURED:
        out.error("The ledger is in the database: without DATABASE_URL nothing can be done.")
        return _EXIT_SETTINGS
    if UNREACHABLE in states.values():
        return _EXIT_UNREACHABLE
    if careful and not any(each.remedy for each in found):
        out.say("All is well. Next: edgekeeper audit", "good")
    return _EXIT_OK


def _diagnoses(settings: "Settings") -> list[Diagnosis]:
    """Asks all stores at once."""
    import asyncio  # noqa: PLC0415 - --help does without

    from checks.model import Backend  # noqa: PLC0415
    from tasks.examination import ask_database, ask_store  # noqa: PLC0415
    from tasks.settings import missing  # noqa: PLC0415

    neon = settings.database_url or settings.database_url_unpooled
    questions = (
        _Question("Neon", neon, missing("database_url"), lambda: ask_database(settings)),
        _Question(
            "Vercel Blob", settings.blob_token, missing("blob_token"),
            lambda: asyncio.run(ask_store(Backend.BLOB, settings)),
        ),
        _Question(
            "ICP canister", settings.canister_id, missing("canister_id"),
            lambda: asyncio.run(ask_store(Backend.ICP, settings)),
        ),
    )  # fmt: skip
    with _asked_once():
        for question in questions:
            question.start()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        return [question.answer(deadline) for question in questions]


@contextmanager
def _asked_once() -> Iterator[None]:
    """Nothing is tried again: what does not answer at once is what the doctor is to tell."""
    import stamina  # noqa: PLC0415

    stamina.set_active(False)
    try:
        yield
    finally:
        stamina.set_active(True)


class _Question:
    """One store that is asked, in a thread that nobody has to wait for."""

    def __init__(
        self, store: str, setting: object, lacking: str, ask: Callable[[], "Answer"]
    ) -> None:
        self._store, self._setting, self._lacking, self._ask = store, setting, lacking, ask
        self._outcome: Answer | Exception | None = None
        self._began = self._ended = 0.0
        self._thread = threading.Thread(target=self._run, name=f"ask {store}", daemon=True)

    def start(self) -> None:
        """Asks, if there is a setting that names the store."""
        self._began = time.monotonic()
        if self._setting is not None:
            self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._ask()
        except Exception as error:  # noqa: BLE001 - raised again by who waits for the answer
            self._outcome = error
        self._ended = time.monotonic()

    def answer(self, deadline: float) -> Diagnosis:
        """What it answered until ``deadline``. Raises what none of the stores' errors is."""
        from checks.errors import EdgekeeperError, SettingsError  # noqa: PLC0415

        if self._setting is None:
            return Diagnosis(self._store, NOT_CONFIGURED, remedy=self._lacking)
        self._thread.join(max(deadline - time.monotonic(), 0))
        seconds = self._ended - self._began
        match self._outcome:
            case None:
                silence = f"no answer within {_PATIENCE_SECONDS:.0f} s"
                return Diagnosis(
                    self._store, UNREACHABLE, _PATIENCE_SECONDS, silence, _UNREACHABLE_REMEDY
                )
            case SettingsError() as error:
                remedy = "correct the setting that is named above"
                return Diagnosis(self._store, UNUSABLE, seconds, str(error), remedy)
            case EdgekeeperError() as error:
                remedy = _remedy(self._store, error)
                return Diagnosis(self._store, UNREACHABLE, seconds, str(error), remedy)
            case Exception() as error:
                raise error
            case given:
                return Diagnosis(
                    self._store, "answers", seconds, given.detail, given.remedy, given.checks
                )


def _remedy(store: str, error: Exception) -> str:
    """What to do about an error."""
    from checks.errors import (  # noqa: PLC0415
        AccessRefusedError,
        StoreUnreachableError,
        UntrustedAnswerError,
    )

    match error:
        case AccessRefusedError():
            return "the credentials were refused: check that they are current and for this store"
        case StoreUnreachableError():
            return _UNREACHABLE_REMEDY
        case UntrustedAnswerError():
            return "check IC_ROOT_KEY and IC_URL: the answer is not signed by that network"
    return f"look into it before the next audit: until then {store} is unknown"


def _cluster(settings: "Settings") -> list["Check"]:
    """What is to be said of the cluster that the settings name; of threads nothing."""
    if settings.task_runner == "threads":
        return []
    from flows import server  # noqa: PLC0415 - Prefect is heavy, and most need none of it here

    os.environ.update(server.QUIET)
    from flows.clusters import examine  # noqa: PLC0415

    return examine(settings)


def _check_home(settings: "Settings") -> None:
    """Raises SettingsError where no run could be kept in the home."""
    from checks.errors import SettingsError  # noqa: PLC0415

    home = settings.home_path()
    there = next(path for path in (home, *home.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise SettingsError(
            f"EDGEKEEPER_HOME is not usable: {there} is no directory that you may write to. "
            "Example: /var/lib/edgekeeper"
        )


def _short(value: str) -> str:
    """A value that fits into a line."""
    return value if len(value) <= _LONGEST_SHOWN else f"{value[: _LONGEST_SHOWN - 1]}…"
