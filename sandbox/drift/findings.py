"""What an audit must report, and the file it is written to.

The identity of a finding is computed here a second time, on purpose: a truth that used the
program's own function could not tell when that is wrong.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sandbox.errors import SandboxError

Needs = Literal["listing", "bytes"]


@dataclass(frozen=True, slots=True)
class Edge:
    """Which edge of the ledger; the grain of most findings."""

    memory_id: str
    memory_type: str
    artifact: str
    backend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; what its grain does not use is None."""

    kind: str
    memory_id: str | None = None
    memory_type: str | None = None
    artifact: str | None = None
    backend: str | None = None
    location: str | None = None
    gallery_id: str | None = None
    needs: Needs = "listing"

    @property
    def fingerprint(self) -> str:
        """The first 16 hex digits of the SHA-256 of the finding's identity."""
        identity = [
            self.kind,
            self.memory_id,
            self.memory_type,
            self.artifact,
            self.backend,
            self.location,
            self.gallery_id,
        ]
        text = json.dumps(identity, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def order(self) -> tuple[str, ...]:
        """What findings are sorted by."""
        parts = (self.kind, self.memory_type, self.memory_id, self.artifact, self.backend)
        return tuple(part or "" for part in (*parts, self.location, self.gallery_id))


def check_writable(path: Path) -> None:
    """Raise SandboxError where the file can't be written, before anything is damaged for it."""
    try:
        path.touch()
    except OSError as error:
        raise SandboxError(f"{path}: can't be written ({error.strerror})") from error


def write_truth(path: Path, findings: Iterable[Finding]) -> None:
    """Write the findings, sorted."""
    rows = []
    for finding in sorted(findings, key=lambda finding: finding.order):
        values = asdict(finding)
        needs = values.pop("needs")
        rows.append({**values, "fingerprint": finding.fingerprint, "needs": needs})
    text = json.dumps({"findings": rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
