"""A process that has imported everything, and forks an audit for each line that it is given.

An audit is killed by SIGKILL: after a time, from outside; or at one of its own instants, which are
its exchanges with Postgres and its update calls to the canister (before and after each) and what it
does to files. Nothing outside the process changes between two of these, files in the blob store
aside, so that they stand for every moment that there is.

A line is a JSON object: ``settings``, ``options`` of ``damaged_sandbox.audited``; ``seconds`` or
``stage`` and ``instant`` (counted from that stage on); ``ticks``, a file for the number of instants
of each stage. The answer is one line: the child's exit code, or minus the signal that ended it.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from damaged_sandbox import audited

from checks.errors import UsageError
from tasks.settings import Settings
from tasks.stores.icp.agent import Agent

STAGES = ("snapshot", "list", "resolve", "verify", "conclude", "propose", "mend", "close")
_FILES = ("open", "os.rename", "os.mkdir", "os.remove")
_USAGE, _ERROR = 2, 5
_STEP = 0.005


class Instants:
    """Counts a process's instants stage by stage, and ends it at the one that was chosen."""

    def __init__(self, stage: str | None, instant: int) -> None:
        self.counted: Counter[str] = Counter()
        self._stage = "before"
        self._wanted = stage
        self._left = instant
        self._counting = stage is None and instant > 0

    def begin(self, stage: str) -> None:
        self._stage = stage
        self._counting |= stage == self._wanted
        self.tick()

    def tick(self) -> None:
        self.counted[self._stage] += 1
        if self._counting:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Counts from here on."""
        exchange = psycopg.Connection.wait

        def counted(*given: Any, **more: Any) -> Any:
            self.tick()
            answer = exchange(*given, **more)
            self.tick()
            return answer

        update = Agent.call

        async def counted_call(*given: Any, **more: Any) -> Any:
            self.tick()
            answer = await update(*given, **more)
            self.tick()
            return answer

        psycopg.Connection.wait = counted  # type: ignore[method-assign]
        Agent.call = counted_call  # type: ignore[method-assign]
        sys.addaudithook(lambda event, _: self.tick() if event in _FILES else None)


Work = Callable[[Settings, Instants, dict[str, Any]], object]


def audit(settings: Settings, instants: Instants, order: dict[str, Any]) -> None:
    """One audit, as the order's options say."""
    hooks: dict[str, Callable[[], object]] = {
        stage: lambda stage=stage: instants.begin(stage)  # type: ignore[misc]
        for stage in STAGES
    }
    audited(settings, before=hooks, **order["options"])


def _worked(work: Work, order: dict[str, Any]) -> int:
    instants = Instants(order.get("stage"), order.get("instant", 0))
    settings = Settings(_env_file=None, **order["settings"])
    instants.watch()
    try:
        work(settings, instants, order)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE
    if "ticks" in order:
        Path(order["ticks"]).write_text(json.dumps(instants.counted), "utf-8")
    return 0


def _forked(work: Work, order: dict[str, Any]) -> int:
    """Does what is ordered in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # stdout is the answers' alone
        code = _ERROR
        try:
            code = _worked(work, order)
        except BaseException:  # noqa: BLE001 - told, and then the child is gone
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if "seconds" in order:
        end = time.monotonic() + order["seconds"]
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(_STEP)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve(work: Work) -> None:
    """Does ``work`` in a child for each line of standard input."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(f"{_forked(work, json.loads(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(audit)
