"""A person decides a finding: shown afresh, written as decided, taken back by a revert."""

import json
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import Audited, Box, command_line, reverted

from checks.errors import UsageError
from checks.model import Accept
from tasks.deciding import Decision, decide

pytestmark = pytest.mark.timeout(900)  # seconds on an idle machine
#: An asset in the blob store alone, of which the ledger has another hash.
OTHER_HASH = (
    "UPDATE storage_edges SET content_hash = repeat('ab', 32) WHERE id = (SELECT e.id FROM "
    "storage_edges AS e WHERE e.present AND e.artifact = 'asset' AND e.backend = 'vercel-blob' AND "
    "NOT EXISTS (SELECT FROM storage_edges AS o WHERE o.memory_id = e.memory_id AND o.artifact = "
    "'asset' AND o.backend <> 'vercel-blob') LIMIT 1)"
)


def decided(box: Box, home: Path, finding: Any, accept: Accept, **more: Any) -> Decision:
    return decide(box.settings(home), finding.fingerprint, accept, reason="I looked", **more)


def of(done: Audited, finding: Any) -> Any:
    return next(each for each in done.record.findings if each.fingerprint == finding.fingerprint)


def test_the_ledger_follows_what_was_observed_and_a_revert_takes_it_back(
    sound: Box, home: Path
) -> None:
    sound.sql(OTHER_HASH)
    before = sound.edges(physical=False)
    found = sound.audit(home, verify="all", repair="ledger")
    (finding,) = found.record.findings
    assert finding.repair == "none"

    dry = command_line(
        sound, home, "resolve", finding.fingerprint, "--accept", "observed", "--dry-run"
    )
    assert dry.returncode == 0, dry.stderr
    assert "abab" in dry.stdout
    assert finding.observed["content_hash"] in dry.stdout
    assert sound.edges(physical=False) == before

    shown: list[Decision] = []
    done = decided(sound, home, finding, Accept.OBSERVED, show=shown.append)
    assert shown[0].finding["observed"]["content_hash"] == finding.observed["content_hash"]
    assert (done.applied, done.left) == (1, [])
    assert sound.audit(home, verify="all").code == 0
    with pytest.raises(UsageError, match="was resolved on"):
        decided(sound, home, finding, Accept.OBSERVED)

    assert reverted(sound, done.run_id).reverted == 1
    assert sound.edges(physical=False) == before


def test_what_is_not_as_it_was_reported_is_not_decided(sound: Box, home: Path) -> None:
    sound.sql(OTHER_HASH)
    (finding,) = sound.audit(home, verify="all").record.findings
    sound.sql("UPDATE storage_edges SET content_hash = repeat('cd', 32) WHERE content_hash = "
              "repeat('ab', 32)")  # fmt: skip
    before = sound.edges()
    with pytest.raises(UsageError, match="not what was reported any more: content hash changed"):
        decided(sound, home, finding, Accept.OBSERVED)
    with pytest.raises(UsageError, match="No finding has the fingerprint"):
        decide(sound.settings(home), "0" * 16, Accept.OBSERVED, reason="I looked")
    assert sound.edges() == before


def test_a_decision_for_the_ledger_keeps_repairs_away_until_it_is_taken_back(
    box: Box, home: Path
) -> None:
    finding = box.audit(home).of("missing", backend="vercel-blob")[0]
    edge = (
        "SELECT present FROM storage_edges WHERE memory_id::text = %s AND artifact::text = %s "
        "AND backend::text = %s"
    )
    key = (finding.memory_id, finding.artifact, finding.backend)
    told = command_line(
        box, home, "resolve", finding.fingerprint, "--accept", "ledger", "--json", "-",
        "--reason", "it comes back from a backup",
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    run_id = json.loads(told.stdout)["run_id"]

    kept = box.audit(home, repair="ledger")
    assert of(kept, finding).repair == "refused"
    assert "it comes back from a backup" in of(kept, finding).repair_detail
    assert of(kept, finding).is_open(kept.record.finished_at)
    assert {each.repair for each in kept.of("missing")} == {"applied", "refused"}
    assert box.sql(edge, *key) == [(True,)]

    assert reverted(box, run_id).decisions == 1
    assert of(box.audit(home, repair="ledger"), finding).repair == "applied"
    assert box.sql(edge, *key) == [(False,)]


def test_what_can_not_be_meant_is_refused_before_anything_is_looked_at(
    box: Box, home: Path
) -> None:
    lost = box.audit(home).of("lost")[0]
    runs = len(list((home / "runs").iterdir()))
    with pytest.raises(UsageError, match="never closed by editing the ledger"):
        decided(box, home, lost, Accept.OBSERVED)
    assert len(list((home / "runs").iterdir())) == runs
