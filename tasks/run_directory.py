"""Where a run keeps what it saw and what it concluded: ``$EDGEKEEPER_HOME/runs/<run_id>/``.

Family data: directories are for their owner alone (0700), and so are files (0600). Whatever is
written here is written beside its place, flushed to the disk and then renamed into it, so that a
reader (or a resumed run) finds a whole file or none.
"""

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from checks.errors import SettingsError, UsageError
from checks.model import RunStatus
from checks.run import FINDINGS, RunRecord, rfc3339
from tasks.log import mask, mask_table, without_secrets
from tasks.partitions import whole
from tasks.settings import local_path
from tasks.spreadsheet import cell

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4,}")
_STAGE = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9.-]")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of one run; ``path`` exists, what lies in it may not."""

    home: Path
    run_id: str

    @property
    def path(self) -> Path:
        """The directory itself."""
        return self.home / "runs" / self.run_id

    @property
    def run_json(self) -> Path:
        """The record that programs read."""
        return self.path / "run.json"

    @property
    def report(self) -> Path:
        """The page that a person reads."""
        return self.path / "report.html"

    @property
    def findings_csv(self) -> Path:
        """Every finding, for a spreadsheet."""
        return self.path / "findings.csv"

    @property
    def findings_parquet(self) -> Path:
        """Every finding, for a program."""
        return self.path / "findings.parquet"

    @property
    def at_risk_csv(self) -> Path:
        """Whose promise is touched, for support."""
        return self.path / "at-risk.csv"

    @property
    def log(self) -> Path:
        """One JSON object per event."""
        return self.path / "log.jsonl"

    @property
    def data_docs(self) -> Path:
        """The data-quality checks as a site."""
        return self.path / "data-docs"

    @property
    def checkpoint(self) -> Path:
        """Which stages are done."""
        return self.path / "checkpoint.json"

    @property
    def stages(self) -> Path:
        """Which stages a cluster's workers have done: a file for each."""
        return self.path / "stages"

    def worker_log(self, worker: str) -> Path:
        """The events of one worker of a cluster, beside ``log``."""
        return self.path / f"log-{_FOREIGN.sub('-', worker)}.jsonl"

    def inventory(self, store: str) -> Path:
        """Where the Parquet files of what was observed in ``store`` lie; made where missing."""
        return private_directory(self.path / "inventory" / store)

    def shards(self, store: str) -> Path:
        """Where the parts of a listing lie that are made side by side, until it is made of them."""
        return self.path / "shards" / store

    def shard(self, store: str, shard: str) -> Path:
        """Where one of them lies; made where missing."""
        return private_directory(self.shards(store) / shard)

    @property
    def ledger(self) -> Path:
        """Where the Parquet files of what was expected lie; made where missing."""
        return private_directory(self.path / "ledger")

    @property
    def certificates(self) -> Path:
        """Where the canister's certificates lie; made where missing."""
        return private_directory(self.path / "certificates")

    def write_run(self, run: RunRecord) -> Path:
        """Writes ``run.json``, secrets masked: a store's message may echo what it was sent."""
        text = run.to_json()
        if mask(text) != text:
            text = RunRecord.from_json(json.dumps(without_secrets(json.loads(text)))).to_json()
        return write_text(self.run_json, text)

    def read_run(self, *, findings: bool = True) -> RunRecord:
        """Reads ``run.json``, with or without the findings, which are most of it.

        Raises UsageError where there is none or it is broken.
        """
        try:
            text = self.run_json.read_bytes()
            return RunRecord.from_json(text if findings else without_findings(text))
        except FileNotFoundError:
            raise UsageError(
                f"run {self.run_id} has no run.json under {self.path}: it did not get that far, "
                "or it was pruned; `edgekeeper report` lists the runs there are"
            ) from None
        except ValueError as error:
            raise UsageError(
                f"{self.run_json} is broken, or no record that this version can read"
            ) from error

    def write_findings(self, table: pa.Table) -> None:
        """Writes every finding as ``findings.parquet`` and ``findings.csv``, secrets masked."""
        table = mask_table(table)
        with atomic(self.findings_parquet) as file:
            pq.write_table(table, file, compression="zstd")
        write_csv(self.findings_csv, table)

    def read_findings(self) -> pa.Table:
        """Every finding of the run. Raises UsageError where they can't be read."""
        try:
            return pq.read_table(self.findings_parquet, schema=FINDINGS)
        except (OSError, pa.ArrowInvalid) as error:
            raise UsageError(
                f"{self.findings_parquet} can't be read: {_first_line(error)}"
            ) from error

    def mark_done(self, stage: str, /, **facts: Any) -> None:
        """Notes that ``stage`` is done, with what a resumed run needs to know of it (JSON).

        A stage name is lower-case letters, digits, dots, dashes and underscores. One process at a
        time may call this: the run's own.
        """
        done = self._checkpointed() | {_stage_name(stage): without_secrets(facts)}
        write_text(self.checkpoint, json.dumps(done, indent=2) + "\n")

    def mark_done_apart(self, stage: str, /, **facts: Any) -> None:
        """The same for any other process: no two of them write one file."""
        path = private_directory(self.stages) / f"{_stage_name(stage)}.json"
        write_text(path, json.dumps(without_secrets(facts), indent=2) + "\n")

    def done_stage(self, stage: str) -> dict[str, Any] | None:
        """The facts of one stage, None where it is not done."""
        own = self._checkpointed().get(stage)
        path = self.stages / f"{stage}.json"
        return _facts(path) if own is None and path.exists() else own

    def done_stages(self) -> dict[str, dict[str, Any]]:
        """The stages that are done, each with its facts, in the order in which they ended.

        Those that workers did come last.
        """
        own = self._checkpointed()
        apart = sorted(self.stages.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return own | {path.stem: _facts(path) for path in apart if path.stem not in own}

    def _checkpointed(self) -> dict[str, dict[str, Any]]:
        return _facts(self.checkpoint) if self.checkpoint.exists() else {}


def _stage_name(stage: str) -> str:
    if not _STAGE.fullmatch(stage):
        raise ValueError(f"{stage!r} is no name for a stage")
    return stage


def _facts(path: Path) -> dict[str, Any]:
    """What a file of a checkpoint says. Raises UsageError where it is damaged."""
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise UsageError(
            f"{path} is damaged, so this run can't be resumed; start a new one"
        ) from error


@dataclass(frozen=True, slots=True)
class History:
    """Former runs, newest first, and a sentence about each that could not be read."""

    runs: tuple[RunRecord, ...]
    notes: tuple[str, ...]


def local_home(home: str) -> Path:
    """``EDGEKEEPER_HOME`` as a local directory, made where missing.

    Of a URL of other storage (``tasks.remote_home``) it is a directory of its own in the cache.

    Raises SettingsError where it can't be made or entered.
    """
    path = local_path(home)
    try:
        return private_directory(path)
    except OSError as error:
        raise SettingsError(
            f"EDGEKEEPER_HOME: {path} can't be made or entered ({error.strerror}); "
            "give a directory you may write to"
        ) from error


def create(home: Path, run_id: str) -> RunDirectory:
    """Makes the directory of a new run. Raises UsageError where the run is already there."""
    directory = _named(home, run_id)
    private_directory(home / "runs")
    try:
        directory.path.mkdir(mode=_DIRECTORY_MODE)
    except FileExistsError:
        raise UsageError(f"run {run_id} is already there; pass --resume {run_id}") from None
    return directory


def existing(home: Path, run_id: str) -> RunDirectory:
    """The directory of a former run. Raises UsageError where there is none."""
    directory = _named(home, run_id)
    if not directory.path.is_dir():
        raise UsageError(f"there is no run {run_id} in {home}; `edgekeeper report` lists them")
    return directory


def is_run_id(name: str) -> bool:
    """Whether ``name`` has the form of a run's id, and so leads nowhere else as a path."""
    return _RUN_ID.fullmatch(name) is not None


def _named(home: Path, run_id: str) -> RunDirectory:
    """The directory of ``run_id``, which a person may have typed: it may not lead elsewhere."""
    if not is_run_id(run_id):
        raise UsageError(f"{run_id!r} is no run id; one looks like 20261123T031500Z-7f3a")
    return RunDirectory(home, run_id)


def former_runs(home: Path, *, limit: int | None = None) -> History:
    """The records of the runs in ``home``, newest first, their findings left out.

    A run whose record is missing or broken is left out too, and named in a note: one bad file
    must not end the list for good.
    """
    runs: list[RunRecord] = []
    notes: list[str] = []
    for run_id in run_ids(home):
        if limit is not None and len(runs) >= limit:
            break
        record = _record_or_note(home, run_id)
        if isinstance(record, str):
            notes.append(record)
        else:
            runs.append(record)
    return History(tuple(runs), tuple(notes))


def completed_runs(home: Path, flow: str, *, before: str | None = None) -> Iterator[RunRecord]:
    """The runs of ``flow`` that came to their end, newest first, without their findings.

    With ``before`` only those that are older than that run. Each record is read when it is asked
    for: who wants the last one alone reads no other.
    """
    for run_id in run_ids(home):
        if before is not None and run_id >= before:
            continue
        record = _record_or_note(home, run_id)
        if isinstance(record, str) or record.flow != flow or record.status is RunStatus.FAILED:
            continue
        yield record


def _record_or_note(home: Path, run_id: str) -> RunRecord | str:
    """A run's record without its findings, or why there is none."""
    try:
        return RunDirectory(home, run_id).read_run(findings=False)
    except UsageError as error:
        return str(error)
    except OSError as error:
        return f"run {run_id} can't be read: {error.strerror}"


def run_ids(home: Path) -> list[str]:
    """The ids of the runs in ``home``, newest first."""
    try:
        names = [entry.name for entry in os.scandir(home / "runs") if entry.is_dir()]
    except FileNotFoundError:
        return []
    return sorted(filter(_RUN_ID.fullmatch, names), reverse=True)


def without_findings(text: bytes) -> str:
    """A record's JSON with an empty list of findings: ten thousand objects need not be made."""
    body = json.loads(text)
    if isinstance(body, dict):
        body["findings"] = []
    return json.dumps(body)


def write_csv(path: Path, table: pa.Table) -> None:
    """Writes ``table`` for a spreadsheet, which must not take a cell for a formula."""
    with atomic(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)  # where ; and not , parts cells too
        writer.writerow(table.column_names)
        for batch in table.to_batches(max_chunksize=10_000):
            columns = [_cells(batch.column(name)) for name in table.column_names]
            writer.writerows(zip(*columns, strict=True))
        text.detach()


def _cells(column: pa.Array) -> list[str]:
    """A column as a spreadsheet may have it."""
    if pa.types.is_timestamp(column.type):
        return ["" if value is None else rfc3339(value) for value in column.to_pylist()]
    return [cell(value) for value in column.to_pylist()]


def write_text(path: Path, text: str) -> Path:
    """Writes ``text`` to ``path``, whole or not at all, readable by its owner only."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))
    return path


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place at ``path`` once it is whole and on the disk; 0600."""
    with whole(path) as draft:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(_FILE_MODE)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    """Makes a rename in ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def keep_private() -> None:
    """From here on whatever this process or a child of it makes is for its owner alone.

    Parquet files, Prefect's database, what Great Expectations writes: not each can be told a mode.
    """
    os.umask(0o077)


def private_directory(path: Path) -> Path:
    """``path`` as a directory; what has to be made of it is its owner's alone."""
    if path.is_dir():
        return path
    if not path.parent.is_dir():
        private_directory(path.parent)
    path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    return path


def _first_line(error: Exception) -> str:
    """The first line of what ``error`` says."""
    return (str(error).splitlines() or [type(error).__name__])[0]
