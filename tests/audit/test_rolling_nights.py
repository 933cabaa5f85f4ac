"""Night after night within a budget, in a real sandbox: in the end every byte was read."""

from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import BLOB, Box

from tasks import verification
from tasks.stores.blob.store import BlobStore
from tasks.stores.icp.store import IcpStore

_NEVER_READ = """SELECT count(*) FROM storage_edges AS e WHERE artifact = 'asset' AND present
    AND backend <> 'neon-db' AND NOT EXISTS (SELECT FROM audit.verification AS v
        WHERE v.memory_id = e.memory_id::text AND v.backend = e.backend::text)"""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The locations that are read, in their order; a second read counts as one more."""
    seen: list[str] = []
    for store in (BlobStore, IcpStore):
        read = store.read

        async def noted(self: Any, location: str, *more: Any, _read: Any = read) -> Any:
            seen.append(location)
            return await _read(self, location, *more)

        monkeypatch.setattr(store, "read", noted)
    return seen


def test_a_small_budget_reads_everything_in_enough_nights(box: Box, home: Path) -> None:
    whole = box.audit(home, verify="all").record.coverage.bytes_this_run
    gone, left = box.sql(_NEVER_READ)[0][0], None
    shares = []
    box.set_back()
    budget, nights = whole // 4, 0
    while left != gone:
        record = box.audit(home, verify=str(budget)).record
        nights += 1
        before, left = left, box.sql(_NEVER_READ)[0][0]
        assert before is None or left < before, "a night that has got nowhere"
        assert record.coverage.bytes_this_run < 2 * budget
        shares.append(record.coverage.stores[BLOB].verified["7d"].assets)
        assert nights < 20
    assert nights >= 3
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]
    assert nights - 2 <= (record.coverage.full_cycle_runs or 0) <= nights + 2


def test_time_that_is_over_ends_the_reading_and_not_the_audit(
    box: Box, home: Path, reads: list[str]
) -> None:
    done = box.audit(home, verify="all", minutes=0)
    assert done.code in (0, 1)
    by_turns = {each for each in reads if "tidied" not in each}  # those prove where a file moved to
    assert 1 <= len(by_turns) <= 2  # of what is urgent and of the rest one each, whatever it is


def test_what_was_read_before_a_run_was_killed_is_not_read_again(
    box: Box, home: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = box.audit(home / "undisturbed", verify="all")
    everything = set(reads)
    box.set_back()
    reads.clear()
    monkeypatch.setattr(verification, "_PORTION", 10)
    keep, portions = verification._Kept.flush, 0

    async def killed_at_the_fourth(self: Any) -> None:
        nonlocal portions
        portions += 1
        if portions == 4:
            raise KeyboardInterrupt
        await keep(self)

    monkeypatch.setattr(verification._Kept, "flush", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        box.audit(home, verify="all")
    monkeypatch.setattr(verification._Kept, "flush", keep)
    (run,) = (path.name for path in (home / "runs").iterdir())
    kept = box.sql("SELECT count(*) FROM audit.verification WHERE backend <> 'neon-db'")[0][0]
    assert kept >= 30
    before, reads[:] = set(reads), []
    resumed = box.audit(home, resume=run)
    assert resumed.identities == undisturbed.identities
    assert resumed.record.coverage.bytes_this_run == undisturbed.record.coverage.bytes_this_run
    assert before | set(reads) == everything
    assert len(set(reads)) <= len(everything) - kept


def test_an_object_that_never_comes_whole_is_unverifiable_and_keeps_nothing_else_from_being_read(
    box: Box, home: Path
) -> None:
    box.audit(home, verify="all")
    seen = "SELECT memory_id, sha256, md5, version, verified_at < now() FROM audit.verification WHERE backend = 'vercel-blob' ORDER BY 1"
    before = box.sql(seen)
    assert before
    box.fault(BLOB, "truncate", 0, method="GET", path_regex=r"^/images/IMG_6")
    done = box.audit(home, verify="all")
    assert done.record.stores[BLOB].state.value == "complete"
    assert box.sql(seen) == before, "a reading that failed leaves what the last one saw"
    last = "SELECT memory_id FROM audit.verification WHERE run_id = %s AND backend = 'vercel-blob' AND outcome = %s"
    silent = {row[0] for row in box.sql(last, done.record.run_id, "silent")}
    assert silent
    assert {each.memory_id for each in done.of("unverifiable", backend=BLOB)} == silent
    assert box.sql(last, done.record.run_id, "read")


def test_a_store_that_answers_no_reading_at_all_is_unknown(box: Box, home: Path) -> None:
    box.fault(BLOB, "reset", 0, method="GET", path_regex=r"^/(?!api/|__).*")
    done = box.audit(home, verify="all")
    assert done.code == 3
    assert done.record.stores[BLOB].state.value == "incomplete"
    assert not done.of("unverifiable", "missing", backend=BLOB)
