"""Whatever keeps us from seeing a store whole: unknown is not absent, and nothing of it is written.

One row of a table for each way in which a store fails; after each, what was concluded about the
other stores must be right all the same.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import BLOB, ICP, NEON, Audited, Box

from checks.errors import EdgekeeperError
from checks.model import Backend
from sandbox.identity import write_identity
from tasks import verification

UNSEEN = ("incomplete", "unreachable")
#: Kinds that say that something is nowhere, or that nothing refers to it.
RESTS_ON_ABSENCE = (
    "missing", "lost", "orphaned", "unclassified", "dangling_edge", "sync_failed",
)  # fmt: skip
#: Kinds about one edge that depend on no other store.
OWN = {
    "missing", "untracked", "unmarked", "stuck", "stale_failure", "sync_failed", "hash_unknown",
    "external_only",
}  # fmt: skip
BUSY = {"status": 429, "headers": {"retry-after": "0"}}
FORBIDDEN = {"status": 403, "body": '{"error":{"code":"forbidden","message":"no"}}'}
LIST = {"method": "GET", "path_regex": r"^/api/blob/?\?limit"}
PAGES = {"canister_method": "memories_list"}
CAPSULES = {"canister_method": "capsules_list"}


@dataclass(frozen=True)
class Fault:
    """A fault rule of one stand-in."""

    store: str
    action: str
    value: Any = None
    match: dict[str, Any] = field(default_factory=dict)

    def make(self, box: Box) -> None:
        box.fault(self.store, self.action, self.value, **self.match)

    def __str__(self) -> str:
        where = "-".join(str(each) for each in self.match.values() if not str(each).startswith("^"))
        return f"{self.store}-{self.action}-{self.value or ''}-{where}"[:60]


BLOB_FAULTS = [
    Fault(BLOB, "status", 500, LIST),
    Fault(BLOB, "status", BUSY, LIST),
    Fault(BLOB, "status", FORBIDDEN, LIST),
    Fault(BLOB, "status", 401),
    Fault(BLOB, "status", 404, LIST),
    Fault(BLOB, "reset", None),
    Fault(BLOB, "truncate", 5_000, LIST),
    Fault(BLOB, "status", {"status": 200, "body": "<html>sign in</html>"}, LIST),
    Fault(BLOB, "status", {"status": 200, "body": '{"blobs":[{"url":7}],"hasMore":false}'}, LIST),
    Fault(BLOB, "status", {"status": 302, "headers": {"location": "https://x.test/"}}, LIST),
]
ICP_FAULTS = [
    Fault(ICP, "status", 503),
    Fault(ICP, "status", BUSY, PAGES),
    Fault(ICP, "status", 403, CAPSULES),
    Fault(ICP, "status", 401, PAGES),
    Fault(ICP, "status", {"status": 400, "body": "canister rejected"}, PAGES),
    Fault(ICP, "truncate", 60, PAGES),
    Fault(ICP, "flip_bit", 800, CAPSULES),
    Fault(ICP, "status", {"status": 200, "body": "no CBOR"}, PAGES),
]
ICP_IN_PART = [
    Fault(ICP, "repeat_cursor", None, PAGES),
    Fault(ICP, "drop_item", 3, PAGES),
]


def others_of(store: str) -> list[str]:
    return [name for name in (BLOB, ICP, NEON) if name != store]


def check_nothing_concluded(box: Box, done: Audited, store: str, before: Any) -> None:
    """Exit 3, no finding that rests on the store's holding something not, none of its edges written."""
    assert done.code == 3
    assert not done.of(*RESTS_ON_ABSENCE, backend=store)
    assert not done.of("lost")
    assert box.edges(store) == before


def check_others(box: Box, done: Audited, store: str, *, repaired: bool = True) -> None:
    """What is said of the other stores' edges is exactly the truth, and mended."""
    for other in others_of(store):
        found = {each.fingerprint for each in done.of(*OWN, backend=other)}
        wanted = {
            each.fingerprint
            for each in box.truth
            if each.backend == other and each.kind in OWN and each.needs == "listing"
        }
        # whether an edge without any row is dangling depends on what the unseen store holds
        assert found == wanted
    states = {each.repair for each in done.of("missing", "untracked", "unmarked", "stale_failure")}
    assert states == ({"applied"} if repaired else {"proposed"})
    assert not done.record.repairs.failed


@pytest.mark.parametrize("fault", BLOB_FAULTS + ICP_FAULTS, ids=str)
def test_a_store_that_is_not_listed_whole_is_unknown(fault: Fault, box: Box, home: Path) -> None:
    before = box.edges(fault.store)
    fault.make(box)
    done = box.audit(home, repair="ledger")
    assert done.record.stores[fault.store].state in UNSEEN
    assert done.record.stores[fault.store].detail
    check_nothing_concluded(box, done, fault.store, before)
    check_others(box, done, fault.store)
    if fault.store == ICP:  # its links may be what refers to a blob
        assert not done.of("orphaned", "unclassified")


@pytest.mark.parametrize("fault", ICP_IN_PART, ids=str)
def test_of_a_store_seen_in_part_only_what_was_seen_is_concluded(
    fault: Fault, box: Box, home: Path
) -> None:
    before = box.edges(ICP)
    fault.make(box)
    done = box.audit(home, repair="ledger")
    assert done.code == 3
    assert done.record.stores[ICP].state == "incomplete"
    assert done.record.stores[ICP].unknown_parts
    assert not done.of(*RESTS_ON_ABSENCE, backend=ICP)
    assert not done.of("lost", "orphaned", "unclassified")
    taken_away = [each for each, row in box.edges(ICP).items() if each in before and not row[4]
                  and before[each][4]]  # fmt: skip
    links = {each.memory_id for each in done.of("external_only")}
    assert {before[each][0] for each in taken_away} <= links
    check_others(box, done, ICP)


@pytest.mark.parametrize("stage", ["list", "verify", "conclude", "mend"])
@pytest.mark.parametrize("name", ["blob", "icp"])
def test_a_store_that_is_killed_in_between_is_unknown(
    name: str, stage: str, box: Box, home: Path
) -> None:
    store = {"blob": BLOB, "icp": ICP}[name]
    before = box.edges(store)
    verify = "50000" if stage == "verify" else "0"
    killed = {stage: lambda: box.kill(name)}
    done = box.audit(home, repair="ledger", verify=verify, before=killed)
    assert done.code == 3
    assert box.edges(store) == before
    if stage in ("list", "verify", "conclude"):
        check_nothing_concluded(box, done, store, before)
        check_others(box, done, store)
    else:
        assert not [each for each in done.of(backend=store) if each.repair == "applied"]


@pytest.mark.parametrize("stage", ["snapshot", "list", "conclude", "mend", "close"])
def test_a_database_that_goes_away_ends_the_run_with_3_and_it_can_be_resumed(
    stage: str, box: Box, home: Path
) -> None:
    kill: dict[str, Callable[[], object]] = {stage: lambda: box.kill("postgres")}
    before = box.edges()
    try:
        code = box.audit(home, repair="ledger", before=kill).code
    except EdgekeeperError as error:  # where not even the lease can be given back
        code = error.exit_code
    assert code == 3
    box.revive()
    if stage != "close":
        assert box.edges() == before


def test_an_identity_that_no_capsule_knows_sees_nothing(box: Box, home: Path) -> None:
    stranger = home.parent / "stranger.pem"
    write_identity(stranger)
    before = box.edges(ICP)
    done = box.audit(home, repair="ledger", IC_IDENTITY_PEM=str(stranger))
    assert done.record.stores[ICP].state == "incomplete"
    check_nothing_concluded(box, done, ICP, before)
    check_others(box, done, ICP)


def test_an_anonymous_caller_sees_nothing(box: Box, home: Path) -> None:
    before = box.edges(ICP)
    done = box.audit(home, repair="ledger", IC_IDENTITY_PEM="")
    check_nothing_concluded(box, done, ICP, before)
    check_others(box, done, ICP)


def test_a_store_left_out_is_unknown_and_no_reason_for_3(box: Box, home: Path) -> None:
    before = box.edges(ICP)
    chosen = frozenset({Backend.NEON, Backend.BLOB})
    done = box.audit(home, repair="ledger", stores=chosen)
    assert done.code == 1
    assert not done.of(backend=ICP)
    assert not done.of("lost")
    assert box.edges(ICP) == before
    check_others(box, done, ICP)


@pytest.mark.parametrize(("action", "value"), [("truncate", 100), ("status", 404)])
def test_an_object_whose_bytes_can_not_be_had_is_unverifiable_and_its_store_is_not_in_doubt(
    action: str, value: int, sound: Box, home: Path
) -> None:
    with sound.blob_storage() as storage:
        names = [each.pathname for each in storage.page(limit=9, prefix="image").objects]
    sound.fault(BLOB, action, value, method="GET", path_regex=rf"^/{re.escape(names[3])}\?")
    done = sound.audit(home, repair="ledger", verify="all")
    assert [(each.kind, each.backend) for each in done.record.findings] == [("unverifiable", BLOB)]
    assert done.record.stores[BLOB].state == "complete"
    assert done.code == 1
    assert done.record.coverage.unverifiable == 1


def test_a_store_none_of_whose_objects_can_be_read_is_given_up(
    sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "_SILENT_IN_A_ROW", 5)
    sound.fault(BLOB, "truncate", 0, method="GET", path_regex=r"^/(?!api/)")
    done = sound.audit(home, verify="all")
    assert done.code == 3
    assert "stopped answering" in (done.record.stores[BLOB].detail or "")
    assert not done.record.coverage.unverifiable
