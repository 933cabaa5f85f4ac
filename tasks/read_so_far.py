"""What a run has read of its stores' bytes so far: portions in its directory, and the database.

Every few seconds a portion is kept, so that a run or a worker that is killed goes on with what has
not been read. Any number of processes may write portions; each file has a name of its own.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks import verification
from tasks.audit import AuditRun
from tasks.partitions import partition_files, partition_number, partition_path, whole
from tasks.resolve import Workspace
from tasks.run_directory import private_directory
from tasks.verification_history import record

#: What names a replica.
REPLICA = ["key_hi", "key_lo", "memory_type", "backend"]
_FACTS = b"edgekeeper"


def next_number(workspace: Workspace) -> int:
    """The number of the next portion: those with higher ones come later in their order."""
    files = partition_files(workspace.read)
    return partition_number(files[-1]) + 1 if files else 0


def began_before(seconds: float) -> datetime:
    """When reading that has taken so many seconds began, interruptions left out; UTC."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class ReadSoFar:
    """What the run, or one share of its line, has read.

    Attributes:
        files: the portions, in their order.
        reading: all of it in numbers.
        number: replicas that were read, or answered that they can't be.
        seconds: how long that took.
    """

    files: Sequence[Path]
    reading: verification.Reading
    number: int
    seconds: float

    @classmethod
    def of(cls, workspace: Workspace, share: str = "") -> "ReadSoFar":
        """What lies in the run's directory; where named, of one share alone."""
        named = f"-{share}-" if share else ""  # share 1 is not share 11
        files = [path for path in partition_files(workspace.read) if named in path.name]
        reading, number, seconds = verification.Reading(), 0, 0.0
        for path in files:
            table = pq.read_table(path, columns=["outcome"])
            facts = json.loads(table.schema.metadata[_FACTS])
            seconds = max(seconds, facts.pop("seconds"))
            reading.add(verification.Reading(**facts))
            number += table.filter(_answered(table)).num_rows
        return cls(files, reading, number, seconds)

    def replicas(self) -> pd.MultiIndex:
        """The replicas that were read, or answered that they can't be, by ``REPLICA``."""
        found = [verification.HASHES.empty_table().select(REPLICA)]
        for path in self.files:
            table = pq.read_table(path, columns=[*REPLICA, "outcome"])
            found.append(
                table.filter(_answered(table)).select(REPLICA).replace_schema_metadata(None)
            )
        return pd.MultiIndex.from_frame(pa.concat_tables(found).to_pandas())


def _answered(table: pa.Table) -> pa.ChunkedArray:
    return pc.not_equal(table["outcome"], "silent")


class Portions:
    """Keeps what is read, in portions."""

    def __init__(
        self,
        run: AuditRun,
        workspace: Workspace,
        began: datetime,
        share: str | None = None,
        first: int = 0,
    ) -> None:
        """Writes nothing yet; what is there already has lower numbers.

        Args:
            run: of which it is read.
            workspace: of the run.
            began: see :func:`began_before`.
            share: what is read is one share of the line, of this name.
            first: no portion has a lower number; those of other processes need not be seen here.
        """
        self._run = run
        self._workspace = workspace
        self._began = began
        self._share = share
        self._writing = Lock()
        private_directory(workspace.read)
        self._next = max(first, next_number(workspace))

    async def keep(self, reading: verification.Reading, rows: list[dict[str, Any]]) -> None:
        """Keeps a portion in the database and beside the run."""
        if rows:
            await asyncio.to_thread(self._write, reading, rows)

    def _write(self, reading: verification.Reading, rows: list[dict[str, Any]]) -> None:
        now = datetime.now(UTC)
        facts = {
            "seconds": (now - self._began).total_seconds(), "read": reading.read,
            "bytes": reading.bytes,
        }  # fmt: skip
        table = pa.Table.from_pylist(rows, verification.HASHES)
        with self._run.connect() as conn:
            record(conn, table, self._run.run_id, now)
        with self._writing:
            portion = self._path()
            with whole(portion) as path:
                pq.write_table(table.replace_schema_metadata({_FACTS: json.dumps(facts)}), path)
            if self._share is not None:
                self._run.put_portion(self._share, portion)

    def _path(self) -> Path:
        """Where the next portion goes: no file is there."""
        while True:
            path = partition_path(self._workspace.read, self._next)
            self._next += 1
            if self._share is not None:
                return path.with_stem(f"{path.stem}-{self._share}-{token_hex(4)}")
            if not path.exists():  # whoever was thought dead and goes on replaces nothing
                return path
