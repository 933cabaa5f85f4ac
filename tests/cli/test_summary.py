"""What a run's summary tells to do next."""

from datetime import UTC, datetime, timedelta

import pytest

from checks.kinds import Severity
from checks.model import Backend, RepairPolicy, RepairState, RunStatus
from checks.run import Finding, Open, RunRecord
from edgekeeper.cli.summary import next_step

NOW = datetime(2026, 11, 23, 3, 15, tzinfo=UTC)
WARNING, CRITICAL = Severity.WARNING, Severity.CRITICAL
LISTED = "edgekeeper findings --open --run 20261123T031500Z-7f3a"


def finding(
    kind: str,
    severity: Severity = WARNING,
    repair: RepairState = RepairState.NONE,
    *,
    memory: str = "a",
    backend: Backend = Backend.ICP,
    until: datetime | None = None,
) -> Finding:
    return Finding(
        fingerprint="0" * 16, kind=kind, severity=severity, memory_id=memory, memory_type="image",
        artifact="asset", backend=backend.value, evidence="lookup", explanation="", repair=repair,
        first_seen=NOW, acknowledged_until=until,
    )  # fmt: skip


def step(*findings: Finding, repair: RepairPolicy = RepairPolicy.NONE) -> str | None:
    counts: dict[str, int] = {}
    for each in findings:
        counts[each.kind] = counts.get(each.kind, 0) + 1
    run = RunRecord(
        run_id="20261123T031500Z-7f3a", flow="nightly-audit", status=RunStatus.DRIFT,
        started_at=NOW, repair=repair, findings=findings, counts=counts, open=Open(warning=1),
    )  # fmt: skip
    return next_step(run)


PROPOSED = RepairState.PROPOSED


@pytest.mark.parametrize("repair", [RepairPolicy.NONE, RepairPolicy.LEDGER])
def test_rot_with_a_verified_replica_is_to_be_copied_back(repair: RepairPolicy) -> None:
    assert step(finding("hash_mismatch"), finding("size_mismatch"), repair=repair) == (
        "edgekeeper audit --verify all --repair content   (copies from verified replicas: 2)"
    )


def test_one_command_copies_what_is_missing_and_mends_the_rest() -> None:
    missing = finding("missing", CRITICAL, PROPOSED, backend=Backend.BLOB)
    assert step(missing, finding("untracked", repair=PROPOSED), finding("sync_failed")) == (
        "edgekeeper audit --repair content   "
        "(copies from verified replicas: 2; mends what the ledger says: 1)"
    )


def test_where_an_edit_of_the_ledger_helps_nothing_more_is_told() -> None:
    assert step(finding("unmarked", repair=PROPOSED)) == (
        "edgekeeper audit --repair ledger   (mends what the ledger says: 1)"
    )


@pytest.mark.parametrize(
    "found",
    [
        [finding("hash_mismatch", CRITICAL)],
        [finding("missing", CRITICAL), finding("lost", CRITICAL)],
        [finding("sync_failed"), finding("lost", CRITICAL)],
        [finding("missing", backend=Backend.NEON)],
        [finding("hash_mismatch", until=NOW + timedelta(days=1))],
        [finding("missing", repair=RepairState.APPLIED)],
    ],
    ids=["no verified replica", "lost", "lost before", "a row", "acknowledged", "mended"],
)
def test_a_copy_that_would_help_nothing_is_not_told(found: list[Finding]) -> None:
    assert step(*found) == LISTED


def test_what_was_refused_is_not_told_again() -> None:
    refused = finding("hash_mismatch", repair=RepairState.REFUSED)
    assert step(refused, repair=RepairPolicy.CONTENT) == LISTED
