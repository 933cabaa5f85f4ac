"""An audit finds exactly the damage that was done, and a ledger repair mends what it can."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from damaged_sandbox import Audited, Box, identity
from checks.kinds import KINDS

#: Kinds whose repair needs more than the ledger, so that they stay.
_STAY = {kind.name for kind in KINDS.values() if kind.ledger_repair is None}


def expected(box: Box, *needs: str) -> set[tuple[object, ...]]:
    return {
        identity({**asdict(each), "fingerprint": each.fingerprint})
        for each in box.truth
        if each.needs in needs
    }


def check_truth(box: Box, home: Path) -> None:
    """By listing alone, with all bytes, after a repair by listing, after one with all bytes."""
    assert box.audit(home).identities == expected(box, "listing")
    whole = box.audit(home, verify="all")
    assert whole.identities == expected(box, "listing", "bytes")
    check_repairs(box, home, whole)


def check_repairs(box: Box, home: Path, whole: Audited) -> None:
    mended = box.audit(home, verify="all", repair="ledger")
    assert mended.identities == whole.identities
    assert mended.record.repairs.failed == mended.record.repairs.refused == 0
    assert mended.record.repairs.superseded == 0
    again = box.audit(home, verify="all", repair="ledger")
    assert not [each for each in again.record.findings if each.repair != "none"]
    print(again.kinds)


@pytest.mark.parametrize("number", [1, 2])
def test_the_findings_are_exactly_the_damage(
    number: int, new_box: Callable[[str], Box], home: Path
) -> None:
    box = new_box(f"truth-{number}").fill(600, number)
    check_truth(box, home)
    box.stop()
