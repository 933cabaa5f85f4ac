"""Runs a target over many inputs, and measures each: its outcome, its time, its memory.

Half of the inputs are damaged recordings, half are made by hypothesis. An input that ends otherwise
than any before (another line that raised, or another kind of success) joins the recordings: that
leads deeper without the cost of measuring coverage.
"""

import gc
import json
import random
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from byte_mutation import mutated
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from checks.errors import EdgekeeperError

ROOT = str(Path(__file__).resolve().parents[2])
#: An input may take this much processor time, and so much more for each of its megabytes.
SECONDS, SECONDS_PER_MEGABYTE = 1.0, 2.0
#: And make the process grow by this much, and by so many times its own size.
GROWTH_BYTES, GROWTH_FACTOR = 48 * 1024 * 1024, 96
_BATCH = 32
_PROC = Path("/proc/self")
_POOL = 600
_FAILURES_KEPT = 20
_MEGABYTE = 1024 * 1024


class TooLongError(BaseException):
    """An input used up its time; no handler of exceptions may take it for its own."""


@dataclass(frozen=True)
class Target:
    """Something that reads what strangers wrote.

    Attributes:
        name: of the target, and of the file with its figures.
        recorded: inputs as they came from a real server.
        made: inputs put together by hypothesis.
        examine: reads one; an error of the tree is a good answer, another exception is not.
        expected: the exceptions that are a good answer.
    """

    name: str
    recorded: Sequence[bytes]
    made: st.SearchStrategy[bytes]
    examine: Callable[[bytes], object]
    expected: tuple[type[Exception], ...] = (EdgekeeperError,)


@dataclass
class Figures:
    """What a campaign found out about a target."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    inputs_per_second: float = 0.0
    outcomes: int = 0
    failures: int = 0
    slowest_seconds: float = 0.0
    slowest_bytes: int = 0
    largest_bytes: int = 0
    peak_growth_mb: float = 0.0
    process_peak_mb: float = 0.0
    examples: list[dict[str, str]] = field(default_factory=list)

    def write(self, directory: Path) -> Path:
        """Writes them down as JSON, one file for a target."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.target}.json"
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
        return path


class Campaign:
    """One target's inputs and their measurements."""

    def __init__(self, target: Target, number: int) -> None:
        self.target = target
        self.figures = Figures(target.name)
        self._chance = random.Random(number)
        self._pool = list(target.recorded)
        self._outcomes: set[str] = set()
        self._failed: set[str] = set()
        self._batch: list[bytes] = []
        self._before = 0

    def run(self, *, inputs: int | None = None, seconds: float = float("inf")) -> Figures:
        """Goes on for so many inputs, or so long; gives the figures."""
        started, used = time.monotonic(), time.process_time()
        with _alarm():
            for data in self.target.recorded:
                self._examined(data)  # what is made once, at the first use, is no input's cost
            for data in self.target.recorded:
                self.input(data)
            while self.figures.inputs < (inputs or float("inf")):
                if time.monotonic() - started > seconds:
                    break
                self._some_damaged(started + seconds)
                self._some_made()
        self._end_batch()
        figures = self.figures
        figures.seconds = round(time.monotonic() - started, 1)
        figures.processor_seconds = round(time.process_time() - used, 1)
        figures.inputs_per_second = round(figures.inputs / max(figures.seconds, 0.1), 1)
        figures.outcomes = len(self._outcomes)
        figures.process_peak_mb = round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1
        )
        return figures

    def _some_damaged(self, deadline: float, inputs: int = 400) -> None:
        for _ in range(inputs):
            if time.monotonic() > deadline:
                return
            first = self._chance.choice(self._pool)
            self.input(mutated(first, self._pool, self._chance))

    def _some_made(self, inputs: int = 100) -> None:
        @seed(self._chance.randrange(1 << 30))
        @settings(
            max_examples=inputs, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(self.target.made)
        def one(data: bytes) -> None:
            self.input(data)

        one()

    def input(self, data: bytes) -> None:
        """Has the target examine one input."""
        if not self._batch:
            self._before = _reset_peak()
        self._batch.append(data)
        outcome, seconds = self._examined(data)
        figures = self.figures
        figures.inputs += 1
        figures.largest_bytes = max(figures.largest_bytes, len(data))
        if seconds > figures.slowest_seconds:
            figures.slowest_seconds, figures.slowest_bytes = round(seconds, 4), len(data)
        if seconds > SECONDS + SECONDS_PER_MEGABYTE * len(data) / _MEGABYTE:
            self._failure("too long", f"{seconds:.1f} s for {len(data)} bytes: {outcome}", data)
        if outcome not in self._outcomes:
            self._outcomes.add(outcome)
            if len(data) <= 8192:
                self._keep(data)
        if len(self._batch) >= _BATCH:
            self._end_batch()

    def _keep(self, data: bytes) -> None:
        kept = len(self.target.recorded)
        if len(self._pool) < kept + _POOL:
            self._pool.append(data)
        else:
            self._pool[self._chance.randrange(kept, kept + _POOL)] = data

    def _examined(self, data: bytes) -> tuple[str, float]:
        limit = 4 * (SECONDS + SECONDS_PER_MEGABYTE * len(data) / _MEGABYTE)
        started = time.thread_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, limit)
        try:
            given_back = self.target.examine(data)
            outcome = f"fine: {given_back if isinstance(given_back, str) else ''}"
        except self.target.expected as error:
            outcome = _where(error)
        except TooLongError as error:
            outcome = f"broken off at {_where(error)}"
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            outcome = _where(error)
            self._failure(outcome, "".join(traceback.format_exception(error)[-3:]), data)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return outcome, time.thread_time() - started

    def _end_batch(self) -> None:
        """How much the process grew over a batch; where it is too much, over which input."""
        batch, self._batch = self._batch, []
        growth = _peak() - self._before
        self.figures.peak_growth_mb = max(self.figures.peak_growth_mb, round(growth / _MEGABYTE, 1))
        if batch and growth > GROWTH_BYTES:
            for data in batch:
                if len(data) * GROWTH_FACTOR + GROWTH_BYTES < growth:
                    self._weigh(data)

    def _weigh(self, data: bytes) -> None:
        gc.collect()
        before = _reset_peak()
        self._examined(data)
        growth = _peak() - before
        if growth > GROWTH_BYTES + GROWTH_FACTOR * len(data):
            self._failure("too large", f"{growth / _MEGABYTE:.0f} MB for {len(data)} bytes", data)

    def _failure(self, kind: str, said: str, data: bytes) -> None:
        self.figures.failures += 1
        if kind not in self._failed and len(self.figures.examples) < _FAILURES_KEPT:
            self._failed.add(kind)
            self.figures.examples.append(
                {
                    "kind": kind,
                    "said": said[-1500:],
                    "bytes": str(len(data)),
                    "hex": data[:6000].hex(),
                }
            )


def _where(error: BaseException) -> str:
    """What was raised and by which line of ours, with the message but without what varies in it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        each for each in frames if each.filename.startswith(ROOT) and "/.venv/" not in each.filename
    ]
    at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    words = re.sub(r"[^a-zA-Z ]+|'[^']*'", "", str(error))[:40]
    return f"{type(error).__name__} at {at}: {words}"


@contextmanager
def _alarm() -> Iterator[None]:
    """Breaks off an input that used its processor time; other programs' load does not count."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError

    before = signal.signal(signal.SIGVTALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _reset_peak() -> int:
    """Bytes that the process has now; from here on its peak is counted anew."""
    if _PROC.is_dir():  # only Linux tells; elsewhere memory is not measured
        (_PROC / "clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    said = (_PROC / "status").read_text() if _PROC.is_dir() else ""
    for line in said.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
