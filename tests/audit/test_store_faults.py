"""Whatever keeps us from seeing a store whole: unknown is not absent, and nothing of it is written.

The table of :mod:`fault_table`, field by field; and what is not a fault of one request: stores and
databases that go away, identities that see nothing, tables that may not be read. After each, what
was concluded about the other stores must be right all the same.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from damaged_sandbox import BLOB, ICP, NEON, Audited, Box
from fault_table import FAULTS, Cell, cells

from checks.errors import EdgekeeperError
from checks.model import Backend
from sandbox.identity import write_identity
from tasks import verification
from tasks.stores.blob import asking, connection, listing
from tasks.stores.icp import canister, transport
from tasks.stores.icp import listing as capsules

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
#: Those of them that an edit of the ledger mends.
MENDED = ("missing", "untracked", "unmarked", "stale_failure")
#: What the table's sandbox is damaged with: nothing that only bytes show.
FEW = (
    "missing=5,untracked=3,unmarked=3,orphaned=2,stuck=2,sync_failed=1,stale_failure=2,"
    "dangling_edge=1,external_only=2"
)
SECONDS = 2.0
FORBIDDEN = FAULTS["status 403"][1]
LIST = {"method": "GET", "path_regex": r"^/api/blob/?\?limit"}


def others_of(store: str) -> list[str]:
    return [name for name in (BLOB, ICP, NEON) if name != store]


def check_nothing_concluded(box: Box, done: Audited, store: str, before: Any) -> None:
    """Exit 3, no finding that rests on the store's holding something not, none of its edges written."""
    assert done.code == 3
    found = done.of(*RESTS_ON_ABSENCE, backend=store)
    if store == BLOB and done.record.stores[BLOB].objects:  # it was seen, and nothing refers to it
        found = [each for each in found if each.kind not in ("orphaned", "unclassified")]
    assert not found
    assert not done.of("lost")
    assert box.edges(store) == before


def check_others(
    box: Box, done: Audited, store: str, *, repaired: bool = True, read: bool = False
) -> None:
    """What is said of the other stores' edges is exactly the truth, and mended.

    ``read``: their bytes were read, so that what only these show is said too.
    """
    # Whether an edge without any row is dangling depends on what the unseen store holds.
    rowless = {each.memory_id for each in box.truth if each.kind == "dangling_edge"}
    for other in others_of(store):
        own = (each for each in done.of(*OWN, backend=other) if each.memory_id not in rowless)
        found = {(each.kind, each.fingerprint) for each in own}
        wanted = {
            (each.kind, each.fingerprint)
            for each in box.truth
            if each.backend == other and each.kind in OWN and (read or each.needs == "listing")
        }
        assert found == wanted, (found - wanted, wanted - found)
        states = {each.repair for each in done.of(*MENDED, backend=other)}
        assert states <= ({"applied"} if repaired else {"proposed"})
    assert not done.record.repairs.failed


# The table ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def _small(new_box: Callable[[str], Box]) -> Box:
    box = new_box("small").fill(48, 13, FEW)
    box.keep()
    return box


@pytest.fixture
def small(_small: Box) -> Box:
    """A damaged sandbox with a few memories, as if no run had ever been."""
    return _small.renewed()


@pytest.fixture(scope="module")
def _calm() -> list[Audited]:
    return []


@pytest.fixture
def calm(_calm: list[Audited], small: Box, tmp_path: Path) -> Audited:
    """What an audit of the small sandbox gives where nothing goes wrong."""
    if not _calm:
        _calm.append(small.audit(tmp_path / "calm", repair="ledger", verify="all"))
        small.set_back()
    return _calm[0]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings of several pages out of a few objects, and little patience."""
    monkeypatch.setitem(asking.list_page.__kwdefaults__, "limit", 17)
    monkeypatch.setattr(canister.Canister.memories_page, "__defaults__", (None, 4))
    monkeypatch.setattr(listing, "BARREN_PAGES", 5)
    monkeypatch.setattr(listing, "SPARE_PAGES", 20)
    monkeypatch.setattr(capsules, "_SPARE_PAGES", 20)
    monkeypatch.setattr(verification, "_SILENT_IN_A_ROW", 1_000)


def be_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs that a test can wait for."""
    short = httpx.Timeout(SECONDS)
    monkeypatch.setattr(connection, "_TIMEOUTS", short)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", SECONDS)
    monkeypatch.setitem(connection.BlobConnection.call.__kwdefaults__, "seconds", SECONDS)
    monkeypatch.setattr(transport, "_TIMEOUT", short)
    monkeypatch.setattr(transport, "ATTEMPT_SECONDS", SECONDS)


def audited_with(cell: Cell, box: Box, home: Path) -> Audited:
    """An audit with repairs in which the cell's fault is there for its stage and no longer."""

    def begin() -> None:
        for action, value, match in cell.rules:
            box.fault(cell.store, action, value, **match)

    if cell.begins == "begin":
        begin()
    before = {cell.ends: box.revive} | ({} if cell.begins == "begin" else {cell.begins: begin})
    return box.audit(home, repair="ledger", verify="all", before=before)


def as_ever(done: Audited, calm: Audited) -> None:
    assert done.identities == calm.identities
    assert done.record.repairs == calm.record.repairs
    assert done.code == calm.code == 1


def check_parts(box: Box, done: Audited, before: Any) -> None:
    """Parts of the canister are unknown: what is taken away are links that were seen."""
    assert done.code == 3
    assert done.record.stores[ICP].unknown_parts
    read = {each.fingerprint for each in box.truth if each.needs == "bytes"}
    absent = done.of(*RESTS_ON_ABSENCE, backend=ICP)
    assert {each.fingerprint for each in absent} <= read  # listed, and its bytes were asked for
    assert not done.of("lost", "orphaned", "unclassified")
    after = box.edges(ICP)
    taken_away = [name for name, row in before.items() if row[4] and not after[name][4]]
    links = {each.memory_id for each in done.of("external_only")}
    assert {before[name][0] for name in taken_away} <= links | {each.memory_id for each in absent}


def check_doubt(box: Box, done: Audited, cell: Cell, before: Any) -> None:
    """It was listed, and not all that was asked afterwards was answered."""
    assert done.code == 3
    assert done.record.stores[cell.store].state == "complete"
    assert any(cell.store in doubt for doubt in done.record.inconclusive)
    assert box.edges(cell.store) == before
    if cell.stage == "look-up":
        assert not done.of(*RESTS_ON_ABSENCE, backend=cell.store)
    else:
        assert {each.repair for each in done.of(*MENDED, backend=cell.store)} == {"proposed"}


def check_bytes(box: Box, done: Audited, calm: Audited, cell: Cell, kind: str) -> None:
    """Findings about bytes came on top of what there is ever, and nothing of them is mended."""
    assert done.code == 1
    assert done.record.stores[cell.store].state == "complete"
    more = [each for each in done.record.findings if each.kind == kind]
    assert more
    assert {(each.backend, each.repair) for each in more} == {(cell.store, "none")}
    known = {each.fingerprint for each in calm.record.findings}
    others = {each.fingerprint for each in done.record.findings if each.kind != kind}
    assert others <= known
    by_reading = {each.fingerprint for each in box.truth if each.needs == "bytes"}
    kept = {each.fingerprint for each in calm.record.findings} - by_reading
    told = {each.memory_id for each in more}
    gone = {each.memory_id for each in calm.record.findings if each.fingerprint in kept - others}
    assert gone <= told  # the graver one of two that are about one edge


def play(cell: Cell, box: Box, home: Path, calm: Audited) -> None:
    before = box.edges(cell.store)
    done = audited_with(cell, box, home)
    match cell.outcome:
        case ".":
            as_ever(done, calm)
        case "u":
            assert done.record.stores[cell.store].state in UNSEEN
            assert done.record.stores[cell.store].detail
            check_nothing_concluded(box, done, cell.store, before)
            check_others(box, done, cell.store, read=True)
            if cell.store == ICP:  # its links may be what refers to a blob
                assert not done.of("orphaned", "unclassified")
        case "p":
            check_parts(box, done, before)
            check_others(box, done, ICP, read=True)
        case "d":
            check_doubt(box, done, cell, before)
            check_others(box, done, cell.store, read=True)
        case "v":
            check_bytes(box, done, calm, cell, "unverifiable")
        case "h":
            check_bytes(box, done, calm, cell, "hash_mismatch")
        case _:
            raise AssertionError(f"{cell.outcome} is no letter of the table")


ALWAYS, ELSE = ([each for each in cells() if each.always is always] for always in (True, False))


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("cell", ALWAYS, ids=str)
def test_a_fault_leads_to_what_the_table_says(
    cell: Cell, small: Box, home: Path, calm: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cell.is_slow:
        be_impatient(monkeypatch)
    play(cell, small, home, calm)


@pytest.mark.soak
@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("cell", ELSE, ids=str)
def test_every_other_fault_leads_to_what_the_table_says(
    cell: Cell, small: Box, home: Path, calm: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cell.is_slow:
        be_impatient(monkeypatch)
    play(cell, small, home, calm)


# Bytes of single objects -------------------------------------------------------------------------


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


# Whole stores and identities ----------------------------------------------------------------------


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


@contextmanager
def locked(box: Box) -> Iterator[Callable[[], None]]:
    """Gives what locks the ledger against everybody, until the end."""
    with psycopg.connect(box.directory.database_url) as conn:
        yield lambda: conn.execute("LOCK TABLE storage_edges IN ACCESS EXCLUSIVE MODE") and None


@pytest.mark.soak
@pytest.mark.parametrize("stage", ["snapshot", "conclude", "mend"])
def test_a_statement_that_is_given_up_ends_the_run_with_3_and_writes_nothing(
    stage: str, small: Box, home: Path
) -> None:
    before = small.edges()
    with locked(small) as lock:
        try:
            code = small.audit(home, repair="ledger", before={stage: lock}).code
        except EdgekeeperError as error:  # once repairs have begun, the run can be resumed
            code = error.exit_code
    assert code == 3
    assert small.edges() == before


@pytest.mark.soak
@pytest.mark.parametrize("guard", ["no grant", "row level security"])
def test_of_a_table_that_may_not_be_read_the_memories_are_unknown_and_no_others(
    guard: str, small: Box, home: Path
) -> None:
    table = small.directory.tables.memories["document"]
    for statement in (
        "DROP ROLE IF EXISTS auditor",
        "CREATE ROLE auditor LOGIN PASSWORD 'auditor'",
        "GRANT CREATE ON DATABASE app TO auditor",
        "GRANT USAGE ON SCHEMA public TO auditor",
        "GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON ALL TABLES IN SCHEMA public TO auditor",
        f'REVOKE ALL ON "{table}" FROM auditor' if guard == "no grant"
        else f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY',
    ):  # fmt: skip
        small.sql(statement)
    url = re.sub(r"//[^@]+@", "//auditor:auditor@", small.directory.database_url)
    before = small.edges()
    try:
        done = small.audit(home, repair="ledger", DATABASE_URL=url, DATABASE_URL_UNPOOLED=url)
        after = small.edges()
    finally:
        small.sql("DROP OWNED BY auditor CASCADE")
        small.sql("DROP ROLE auditor")
    assert done.code == 3
    assert done.record.stores[NEON].state == "incomplete"
    assert set(done.record.stores[NEON].unknown_parts) == {"document"}
    assert not [each for each in done.record.findings if each.memory_type == "document"]
    assert not done.of("orphaned", "unclassified", "dangling_edge")
    written = {name for name in before if before[name] != after.get(name)}
    assert written
    assert "document" not in {before[name][1] for name in written}


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
