"""The app goes on writing while an audit looks: no false alarm, and nothing of it is overwritten."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from damaged_sandbox import BLOB, ICP, Box, reverted
from test_store_faults import LIST

from checks.errors import StoreUnreachableError
from checks.model import Backend
from sandbox.drift.findings import Finding
from tasks.database import connect, connector
from tasks.journal import revert_run
from tasks.lease import held
from tasks.stores.blob.store import BlobStore

APP_WRITES = (
    "UPDATE storage_edges SET sync_error = 'the app was here', updated_at = now() "
    "WHERE memory_id = %s AND artifact = %s::artifact_t AND backend = %s::backend_t RETURNING id"
)


def first(box: Box, kind: str, backend: str, *, needs: str = "listing") -> Finding:
    return next(
        each for each in box.truth
        if (each.kind, each.backend, each.needs) == (kind, backend, needs)
    )  # fmt: skip


def pathname_of(box: Box, finding: Finding) -> str:
    """The name of the file whose url the memory's row has."""
    table = box.directory.tables.memories[finding.memory_type or ""]
    url = box.sql(f'SELECT url FROM "{table}" WHERE id = %s', finding.memory_id)[0][0]  # noqa: S608
    address = box.settings(Path()).blob_address
    assert address is not None
    return str(address.pathname(url, bare=False))


@contextmanager
def uploaded(box: Box, pathname: str) -> Iterator[Callable[[], None]]:
    """What uploads a file; it is gone afterwards."""

    def put() -> None:
        token = {"authorization": f"Bearer {box.directory.choices.blob_token}"}
        httpx.put(
            f"{box.directory.blob_origin}/api/blob/", params={"pathname": pathname},
            content=b"back again", headers=token,
        ).raise_for_status()  # fmt: skip

    yield put
    with box.blob_storage() as storage:
        storage.delete([pathname])


def test_an_edge_that_the_app_writes_before_the_repair_is_left_alone(box: Box, home: Path) -> None:
    missing = first(box, "missing", BLOB)

    def app() -> None:
        assert box.sql(APP_WRITES, missing.memory_id, "asset", BLOB)

    done = box.audit(home, repair="ledger", before={"mend": app})
    (mine,) = [each for each in done.record.findings if each.fingerprint == missing.fingerprint]
    assert mine.repair == "superseded"
    assert mine.repair_detail
    row = next(row for row in box.edges(BLOB).values() if row[0] == missing.memory_id)
    assert row[4] is True
    assert row[10] == "the app was here"


def test_an_edge_that_the_app_writes_while_we_look_is_no_finding(box: Box, home: Path) -> None:
    missing = first(box, "missing", BLOB)

    def app() -> None:
        box.sql(APP_WRITES, missing.memory_id, "asset", BLOB)

    done = box.audit(home, before={"conclude": app})
    assert missing.fingerprint not in {each.fingerprint for each in done.record.findings}
    assert done.record.limits["in_flight"]


def test_an_edge_that_the_app_writes_right_after_the_look_is_no_finding(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = first(box, "missing", BLOB)
    pathname = pathname_of(box, missing)
    look = BlobStore.look_up

    async def look_and_be_overtaken(store: BlobStore, location: str, *more: Any) -> Any:
        seen = await look(store, location, *more)
        if location == pathname:
            box.sql(APP_WRITES, missing.memory_id, "asset", BLOB)
        return seen

    monkeypatch.setattr(BlobStore, "look_up", look_and_be_overtaken)
    done = box.audit(home, repair="ledger")
    assert missing.memory_id not in {each.memory_id for each in done.of("missing", "lost")}
    edge = next(row for row in box.edges(BLOB).values() if row[0] == missing.memory_id)
    assert edge[4] is True


def test_an_object_that_an_edge_names_by_now_is_no_orphan(box: Box, home: Path) -> None:
    orphan = next(each for each in box.truth if each.kind == "orphaned" and each.backend == BLOB)
    edges = "artifact = 'asset' AND backend = 'vercel-blob' AND present"

    def app() -> None:
        one = f"(SELECT id FROM storage_edges WHERE {edges} ORDER BY id LIMIT 1)"  # noqa: S608
        statement = f"UPDATE storage_edges SET location = %s WHERE id = {one} RETURNING id"  # noqa: S608
        assert box.sql(statement, orphan.location)

    done = box.audit(home, before={"conclude": app})
    assert orphan.location not in {each.location for each in done.of("orphaned")}


def test_a_memory_made_and_a_memory_deleted_while_we_look_are_no_finding(
    sound: Box, home: Path
) -> None:
    doomed = sound.sql("SELECT memory_id, memory_type FROM storage_edges ORDER BY id LIMIT 1")[0]
    table = sound.directory.tables.memories[doomed[1]]

    def app() -> None:
        sound.sql("DELETE FROM storage_edges WHERE memory_id = %s", doomed[0])
        sound.sql(f'DELETE FROM "{table}" WHERE id = %s', doomed[0])  # noqa: S608

    done = sound.audit(home, before={"conclude": app})
    assert not done.kinds


def test_an_object_that_comes_between_listing_and_look_is_not_missing(box: Box, home: Path) -> None:
    missing = first(box, "missing", BLOB)
    with uploaded(box, pathname_of(box, missing)) as put:
        done = box.audit(home, repair="ledger", before={"conclude": put})
        assert missing.memory_id not in {each.memory_id for each in done.of("missing", "lost")}
        edge = next(row for row in box.edges(BLOB).values() if row[0] == missing.memory_id)
        assert edge[4] is True


def test_an_object_that_goes_between_listing_and_look_is_not_untracked(
    box: Box, home: Path
) -> None:
    untracked = first(box, "untracked", BLOB)
    with box.blob_storage() as storage:
        kept = storage.get(pathname_of(box, untracked))
        assert kept is not None
        try:
            done = box.audit(
                home, repair="ledger", before={"conclude": lambda: storage.delete([kept.pathname])}
            )
        finally:
            storage.replace(kept)
    assert untracked.memory_id not in {each.memory_id for each in done.of("untracked")}
    assert untracked.memory_id not in {row[0] for row in box.edges(BLOB).values()}


def test_an_object_that_goes_between_its_two_reads_is_not_unverifiable(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = first(box, "hash_mismatch", BLOB, needs="bytes")
    read = BlobStore.read
    with box.blob_storage() as storage:
        kept = storage.get(pathname_of(box, wrong))
        assert kept is not None

        async def read_and_be_overtaken(store: BlobStore, location: str, *more: Any) -> Any:
            seen = await read(store, location, *more)
            if location == kept.pathname:
                storage.delete([location])
            return seen

        monkeypatch.setattr(BlobStore, "read", read_and_be_overtaken)
        try:
            done = box.audit(home, verify="all")
        finally:
            storage.replace(kept)
    told = {(each.kind, each.backend) for each in done.record.findings
            if each.memory_id == wrong.memory_id}  # fmt: skip
    assert not {kind for kind, backend in told if backend == BLOB}
    assert done.record.limits["in_flight"]


def test_an_object_that_never_answers_is_unverifiable_and_its_store_in_no_doubt(
    box: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = first(box, "hash_mismatch", BLOB, needs="bytes")
    pathname = pathname_of(box, wrong)
    look, read = BlobStore.look_up, BlobStore.read

    def silent_of(usual: Any) -> Any:
        async def answer(store: BlobStore, location: str, *more: Any) -> Any:
            if location == pathname:
                raise StoreUnreachableError("no answer about this one")
            return await usual(store, location, *more)

        return answer

    monkeypatch.setattr(BlobStore, "read", silent_of(read))
    monkeypatch.setattr(BlobStore, "look_up", silent_of(look))
    done = box.audit(home, verify="all")
    told = {each.kind for each in done.of("unverifiable", backend=BLOB)
            if each.memory_id == wrong.memory_id}  # fmt: skip
    assert told == {"unverifiable"}
    assert not done.record.inconclusive
    assert done.of("missing", backend=BLOB)


def test_a_listing_that_lags_behind_makes_nothing_missing(box: Box, home: Path) -> None:
    missing = first(box, "missing", BLOB)
    with uploaded(box, pathname_of(box, missing)) as put:
        put()
        box.fault(BLOB, "stale_list", 3_600, **LIST)
        done = box.audit(home, repair="ledger")
        assert missing.memory_id not in {each.memory_id for each in done.of("missing", "lost")}


def test_the_breaker_refuses_what_takes_away_and_lets_the_rest_pass(box: Box, home: Path) -> None:
    before = box.edges()
    done = box.audit(home, repair="ledger", percent=1.0)
    assert done.code == 3
    missing = done.of("missing", backend=BLOB)
    assert {each.repair for each in missing} == {"refused"}
    assert all("%" in (each.repair_detail or "") for each in missing)
    assert done.record.repairs.refused >= len(missing)
    assert {each.repair for each in done.of("untracked", "unmarked")} == {"applied"}
    after = box.edges()
    tripped = {each.backend for each in done.record.findings if each.repair == "refused"}
    for edge_id, row in before.items():
        if row[3] in tripped and row[4]:
            assert after[edge_id][4]
    allowed = box.audit(home, repair="ledger", percent=100.0)
    assert allowed.code == 1
    assert {each.repair for each in allowed.of("missing")} == {"applied"}


def test_a_run_without_repairs_reports_the_breaker_only(box: Box, home: Path) -> None:
    assert box.audit(home, percent=1.0).code == 1


def test_a_revert_puts_back_row_for_row(box: Box, home: Path) -> None:
    before = box.edges(physical=False)
    done = box.audit(home, repair="ledger")
    assert box.edges(physical=False) != before
    connecting = connector(box.directory.database_url)
    with (
        held(connecting, "20260101T000000Z-bbbb", flow="revert", policy="ledger") as lease,
        connect(box.directory.database_url) as conn,
    ):
        report = revert_run(conn, done.record.run_id, fence=lease.fence)
    assert report.reverted
    assert not report.changed_since
    assert box.edges(physical=False) == before
    assert box.audit(home).identities == done.identities


def test_of_a_young_row_or_object_nothing_is_said_until_its_grace_is_over(
    box: Box, home: Path
) -> None:
    untracked = first(box, "untracked", BLOB)
    table = box.directory.tables.memories[untracked.memory_type or ""]
    box.sql(f'UPDATE "{table}" SET created_at = now() WHERE id = %s', untracked.memory_id)  # noqa: S608
    found = {each.memory_id for each in box.audit(home).of("untracked")}
    assert untracked.memory_id not in found
    done = box.audit(home, EDGEKEEPER_GRACE_MINUTES="0")
    assert untracked.memory_id in {each.memory_id for each in done.of("untracked")}


def test_a_store_chosen_by_hand_leaves_the_others_alone(box: Box, home: Path) -> None:
    before = {name: box.edges(name) for name in (BLOB, ICP)}
    done = box.audit(home, repair="ledger", stores=frozenset({Backend.BLOB}))
    assert done.code == 1
    assert box.edges(ICP) == before[ICP]
    assert box.edges(BLOB) != before[BLOB]
    assert not done.of(backend=ICP)


def test_what_a_deleted_memory_left_is_an_orphan_although_the_ledger_had_no_edge_for_neon(
    sound: Box, home: Path
) -> None:
    (memory, location), *_ = sound.sql(
        "SELECT memory_id::text, location FROM storage_edges "
        "WHERE backend = 'vercel-blob' AND memory_type = 'document' ORDER BY memory_id"
    )
    sound.sql(f"DELETE FROM {sound.directory.tables.memories['document']} WHERE id = %s", memory)  # noqa: S608
    sound.sql("DELETE FROM storage_edges WHERE memory_id = %s AND backend = 'neon-db'", memory)
    before = sound.edges(physical=False)
    first = sound.audit(home, repair="ledger")
    assert [each.repair for each in first.of("deleted_memory")] == ["applied"]
    assert len(sound.edges()) == len(before) + 1

    second = sound.audit(home, repair="ledger")
    assert not second.of("deleted_memory")
    assert location in {each.location for each in second.of("orphaned", backend=BLOB)}

    assert reverted(sound, first.record.run_id).changed_since == 0
    assert sound.edges(physical=False) == before
