"""An audit finds exactly the damage that was done, and a ledger repair mends what it can."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import BLOB, ICP, Audited, Box, identity

from checks.kinds import KINDS
from tasks.stores.icp.agent import ReplyTooLargeError
from tasks.stores.icp.canister import Canister

Identities = set[tuple[Any, ...]]
NewBox = Callable[[str], Box]

#: Why a kind may be left after a ledger repair.
LEFT = {
    "lost": "never closed by editing the ledger",
    "size_mismatch": "rot: mended by copying",
    "hash_mismatch": "rot: mended by copying",
    "sync_failed": "what is missing stays on record as a failed copy until it is copied again",
    "orphaned": "purged after weeks, never by the ledger; what a deleted memory leaves joins it",
    "unclassified": "not ours",
    "location_conflict": "which of the two is meant only a person can say; a moved file joins it",
    "invalid_id": "nothing can be matched with it",
    "invalid_location": "where the app's own row is wrong: its tables are never written",
    "invalid_row": "where the value can't be what was meant, only a person can say",
    "duplicate_content": "holding it once is for the app to do",
    "gallery_divergence": "copied again by Store Forever",
    "dangling_item": "the app's tables are never written",
    "stale_hash": "followed where the bytes were read and no other copy or edge has the old hash",
    "unverifiable": "no hash could be got",
    "outdated_replica": "copied again by Store Forever",
    "replica_divergence": "which copy is right only a person can say",
    "type_mismatch": "which of the two it is only a person can say",
    "hash_unknown": "where no bytes were read there is nothing to record, in new edges as in old",
}


def expected(box: Box, *needs: str) -> Identities:
    """The truth file's findings."""
    return {
        identity({**asdict(each), "fingerprint": each.fingerprint})
        for each in box.truth
        if each.needs in needs
    }


def edges_of(found: Identities, *kinds: str) -> Identities:
    return {each[1:5] for each in found if each[0] in kinds}


def check_found(box: Box, home: Path) -> None:
    """By listing alone, and with all bytes; neither writes to the ledger."""
    before = box.edges()
    assert box.audit(home).identities == expected(box, "listing")
    assert box.audit(home, verify="all").identities == expected(box, "listing", "bytes")
    assert box.edges() == before


def check_mended(box: Box, home: Path, *, verify: str) -> None:
    """A repair mends all that it proposes, and what the next audit still finds is accounted for."""
    mended = box.audit(home, verify=verify, repair="ledger")
    repairs = mended.record.repairs
    assert repairs.applied
    assert not repairs.failed + repairs.refused + repairs.superseded
    after = box.audit(home, verify=verify, repair="ledger")
    check_left(mended, after, read=verify == "all")
    assert box.audit(home, verify=verify).identities == after.identities


def check_left(mended: Audited, after: Audited, *, read: bool) -> None:
    assert {each.repair for each in after.record.findings} == {"none"}
    assert set(after.kinds) <= set(LEFT) - ({"hash_unknown"} if read else set())
    found, left = mended.identities, after.identities
    for kind in LEFT:
        before, still = ({each for each in group if each[0] == kind} for group in (found, left))
        if KINDS[kind].ledger_repair is None:
            assert before <= still
    failed = edges_of(left, "sync_failed") - edges_of(found, "sync_failed")
    assert failed <= edges_of(found, "missing", "stuck")
    assert edges_of(found, "missing") <= failed
    assert {each for each in left if each[0] == "invalid_location"} <= found
    unread = edges_of(left, "hash_unknown") - edges_of(found, "hash_unknown", "untracked")
    assert {each[0] for each in unread} <= {each[1] for each in found if each[0] == "icp_only"}
    applied = {each.fingerprint for each in mended.record.findings if each.repair == "applied"}
    assert not applied & {each.fingerprint for each in after.record.findings}
    gone = {each[1] for each in found if each[0] == "deleted_memory"}
    orphans = [each for each in left - found if each[0] == "orphaned"]
    assert {each[4] for each in orphans} <= {BLOB, ICP}
    assert {each[5].rpartition("/")[2] for each in orphans if each[4] == ICP} <= gone


@pytest.mark.parametrize("number", [1, 2])
def test_the_findings_are_exactly_the_damage(number: int, new_box: NewBox, home: Path) -> None:
    box = new_box(f"truth-{number}").fill(300, number)
    check_found(box, home)
    check_mended(box, home, verify="0" if number == 1 else "all")
    box.stop()


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(1, 11))
def test_the_findings_are_exactly_the_damage_for_ten_seeds(
    number: int, new_box: NewBox, home: Path
) -> None:
    box = new_box(f"soak-{number}").fill(2_000, number)
    check_found(box, home)
    check_mended(box, home, verify="all")
    box.stop()


def test_nothing_is_found_where_nothing_is_damaged(sound: Box, home: Path) -> None:
    done = sound.audit(home, repair="ledger")
    assert done.code == 0
    assert not done.kinds
    assert done.record.edges.total == done.record.edges.compared == done.record.edges.agree


def test_galleries_that_do_not_fit_into_one_list_are_compared_one_by_one(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = box.audit(home / "usual")

    async def too_many(_canister: Canister) -> list[dict[str, Any]]:
        raise ReplyTooLargeError("galleries_list was rejected: application payload size")

    monkeypatch.setattr(Canister, "galleries", too_many)
    box.set_back()
    done = box.audit(home / "many")
    assert done.of("gallery_divergence")
    kinds = ("gallery_divergence", "dangling_item")
    assert [each.fingerprint for each in done.of(*kinds)] == [
        each.fingerprint for each in usual.of(*kinds)
    ]
    assert not done.record.inconclusive
    assert "not looked at" in str(done.record.limits["galleries that the canister alone has"])
