"""Starts the sandbox's three servers, watches over them and ends with all of them.

``python -m sandbox.supervisor`` is the detached form; ``run`` is also called in the foreground.
A locked file says that a supervisor is at work, so that a process id left behind by a crash can't
be taken for one. A guard ends the servers when the supervisor is gone, however it went.
"""

import argparse
import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from sandbox import postgres
from sandbox.directory import HOST, SandboxDirectory, is_free
from sandbox.errors import SandboxError
from sandbox.guard import POLL_SECONDS, STOP_SECONDS, Guard

START_SECONDS = 60
WATCH_SECONDS = 0.5


@dataclass(slots=True)
class Server:
    """One of the servers, running."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(slots=True)
class Supervisor:
    """The servers of one sandbox, in the order they were started."""

    directory: SandboxDirectory
    servers: list[Server] = field(default_factory=list)
    guard: Guard | None = None

    def start(self) -> None:
        """Start all three and return when they answer.

        Raises SandboxError where a port is taken or a server does not start.
        """
        directory = self.directory
        self._check_ports()
        self.guard = Guard()
        choices = directory.choices
        self._start(
            "blob",
            [
                *_module("sandbox.blob", directory.blob, choices.blob_port),
                "--token-file",  # what is on a command line every account can read
                str(directory.write_blob_token()),
            ],
        )
        self._start("icp", _module("sandbox.icp", directory.icp, choices.icp_port))
        user = postgres.initialise(directory)
        database = self._start(
            "postgres",
            postgres.command(directory, user),
            signal.SIGINT,
            user.name,
            directory.postgres,
        )
        postgres.wait_until_ready(directory, database.process)
        postgres.prepare_database(directory)
        for server, origin in zip(
            self.servers[:2], (directory.blob_origin, directory.icp_origin), strict=True
        ):
            _wait_until_healthy(server, origin)
        directory.write_env_file()

    def watch(self, stopping: Callable[[], bool]) -> None:
        """Return when told to stop.

        Raises SandboxError where a server ends by itself.
        """
        while not stopping():
            for server in self.servers:
                if server.process.poll() is not None:
                    raise SandboxError(
                        f"{server.name} ended by itself ({server.process.returncode}); see "
                        f"{server.log}"
                    )
            time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """End all servers, those that do not obey with force."""
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError):
                server.process.send_signal(server.stop_signal)
        deadline = time.monotonic() + STOP_SECONDS
        for server in self.servers:
            try:
                server.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                server.process.kill()
                server.process.wait()
        if self.guard is not None:
            self.guard.dismiss()
            self.guard = None
        self.servers.clear()

    def _check_ports(self) -> None:
        choices = self.directory.choices
        ports = {
            "Postgres": choices.postgres_port,
            "the blob stand-in": choices.blob_port,
            "the Internet Computer stand-in": choices.icp_port,
        }
        for name, port in ports.items():
            if not is_free(port):
                raise SandboxError(
                    f"port {port} of {name} is taken by another program: stop that one, or make "
                    "a sandbox in another --dir (the data hold URLs with the port)"
                )

    def _start(
        self,
        name: str,
        command: list[str],
        stop_signal: signal.Signals = signal.SIGTERM,
        user: str | None = None,
        cwd: Path = Path("/"),
    ) -> Server:
        log = self.directory.logs / f"{name}.log"
        root = Path(__file__).resolve().parent.parent
        environment = postgres.server_environment()
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(root), environment.get("PYTHONPATH")])
        )
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=environment,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                process_group=0,  # Ctrl-C is for the supervisor alone
            )
        server = Server(name, process, log, stop_signal)
        self.servers.append(server)
        if self.guard is not None:
            self.guard.add(process.pid, stop_signal)
        return server


def run(
    directory: SandboxDirectory, variant: str | None, on_ready: Callable[[], None]
) -> signal.Signals:
    """Run a sandbox until SIGINT, SIGTERM or SIGHUP; says which.

    ``on_ready`` is called once when all servers answer.
    Raises SandboxError where it can't start, runs already, or a server ends.
    """
    directory.make(variant)
    with _locked(directory), _signals() as received:
        supervisor = Supervisor(directory)
        try:
            supervisor.start()
            on_ready()
            supervisor.watch(lambda: bool(received))
        except _StoppedError:
            pass
        finally:
            received.append(signal.SIGTERM)  # a second signal no longer interrupts
            supervisor.stop()
    return received[0]


def run_detached(directory: SandboxDirectory, variant: str | None) -> None:
    """Start a supervisor of its own and return when all servers answer.

    Raises SandboxError with what kept it from starting.
    """
    directory.make(variant)
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "sandbox.supervisor", "--dir", str(directory.path)]
    root = Path(__file__).resolve().parent.parent
    search = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    with (directory.logs / "supervisor.log").open("ab") as output:
        subprocess.Popen(
            [*command, "--ready-fd", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, "PYTHONPATH": search},
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as answers:
        answer = answers.readline().strip()
    if answer != "ready":
        reason = answer or f"see {directory.logs / 'supervisor.log'}"
        raise SandboxError(reason.removeprefix("error: "))


def stop(directory: SandboxDirectory) -> bool:
    """End the sandbox's supervisor and wait until all is down; False where none was running.

    Raises SandboxError where it does not end in time.
    """
    process_id = running(directory)
    if process_id is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGTERM)
    deadline = time.monotonic() + 2 * STOP_SECONDS
    while running(directory) is not None:
        if time.monotonic() > deadline:
            raise SandboxError(
                f"the sandbox in {directory.path} (process {process_id}) does not end; "
                f"`kill -9 {process_id}` ends it and its servers"
            )
        time.sleep(POLL_SECONDS)
    return True


def running(directory: SandboxDirectory) -> int | None:
    """The process id of the supervisor at work, None where there is none."""
    try:
        file = directory.lock_file.open("r+")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = file.read().strip()
            return int(text) if text.isdigit() else 0
    return None


@contextlib.contextmanager
def _locked(directory: SandboxDirectory) -> Iterator[None]:
    with directory.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SandboxError(
                f"the sandbox in {directory.path} is already running; stop it with "
                f"`edgekeeper sandbox down --dir {shlex.quote(str(directory.path))}`"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class _StoppedError(Exception):
    """A signal came while the servers were being started."""


@contextlib.contextmanager
def _signals() -> Iterator[list[signal.Signals]]:
    received: list[signal.Signals] = []

    def note(number: int, _frame: FrameType | None) -> None:
        first = not received
        received.append(signal.Signals(number))
        if first:
            raise _StoppedError

    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, note) for number in names}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _module(name: str, storage: Path, port: int) -> list[str]:
    return [sys.executable, "-m", name, "--dir", str(storage), "--port", str(port)]


def _wait_until_healthy(server: Server, origin: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_healthy(origin):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise SandboxError(f"{server.name} did not start; see {server.log}")
        time.sleep(POLL_SECONDS)


def is_healthy(origin: str) -> bool:
    """Whether the stand-in at this origin answers."""
    if not origin.startswith(f"http://{HOST}:"):
        raise ValueError(f"{origin} is no stand-in")
    try:
        with urllib.request.urlopen(f"{origin}/__health", timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def main() -> int:
    """Run detached: what ``run_detached`` starts."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.supervisor", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.set_inheritable(arguments.ready_fd, False)  # noqa: FBT003
    with os.fdopen(arguments.ready_fd, "w", encoding="utf-8") as answers:

        def answer(text: str) -> None:
            with contextlib.suppress(BrokenPipeError):
                answers.write(text.replace("\n", " ") + "\n")
                answers.flush()

        try:
            run(SandboxDirectory.of(arguments.dir), None, lambda: answer("ready"))
        except SandboxError as error:
            print(error, file=sys.stderr)  # noqa: T201
            answer(f"error: {error}")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
