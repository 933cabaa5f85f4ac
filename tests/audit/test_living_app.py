"""The app lives while audits with repairs run: nothing false, nothing missed, nothing overwritten.

A history says what the app does, what goes wrong, and between which requests and statements of the
audit each step falls. EDGEKEEPER_HISTORIES says how many the long campaign plays.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damaged_sandbox import BLOB, Box
from hypothesis import HealthCheck, Phase, given, settings
from living_app import World
from living_history import LAG_SECONDS, History, Player, Seen, Tally, histories
from test_store_faults import LIST

MEMORIES = 14
FEW, MANY = 6, int(os.environ.get("EDGEKEEPER_HISTORIES", "2000"))
#: Kinds that only bytes or a person can mend; all others a ledger repair closes. The ledger follows
#: newer bytes only where no other copy speaks against them.
STAYS = frozenset({
    "lost", "orphaned", "unclassified", "size_mismatch", "hash_mismatch", "sync_failed",
    "stale_hash",
})  # fmt: skip
PLAYED = settings(
    deadline=None, database=None, print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip


@pytest.fixture(scope="module")
def world(new_box: Callable[[str], Box]) -> Iterator[World]:
    living = World(new_box("living").fill(MEMORIES, 5, None))
    yield living
    living.close()


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    counted = Tally()
    yield counted
    print(f"\nplayed: {counted}")  # noqa: T201 - the campaign's figures


@settings(PLAYED, max_examples=FEW, derandomize=True, phases=[Phase.generate])
@given(history=histories())
def test_a_living_app_is_told_the_truth_and_nothing_it_wrote_is_undone(
    world: World, tally: Tally, history: History
) -> None:
    play(world, tally, history)


@pytest.mark.soak
@pytest.mark.timeout(12 * 60 * 60)
@settings(PLAYED, max_examples=MANY)
@given(history=histories())
def test_of_thousands_of_lives_none_is_told_anything_false(
    world: World, tally: Tally, history: History
) -> None:
    play(world, tally, history)


def play(world: World, tally: Tally, history: History) -> None:
    """One history: audits while the app lives, then two when it is at rest."""
    with tempfile.TemporaryDirectory(prefix="edgekeeper-living-") as home:
        player = Player(world, history, tally, Path(home))
        try:
            player.prepare()
            tally.counts["histories"] += 1
            live(player)
            at_rest(player)
        except AssertionError as error:
            error.add_note("\n".join(player.log))
            raise
        finally:
            player.close()


def live(player: Player) -> None:
    history = player.history
    for store in history.lags:
        which = LIST if store == BLOB else {"canister_method": "memories_list"}
        player.world.box.fault(store, "stale_list", LAG_SECONDS, **which)
    for _ in range(history.audits):
        seen = player.audit(live=True)
        check(seen, since=0 if history.lags else seen.began)
    player.world.box.revive()


def check(seen: Seen, *, since: int) -> None:
    """What is promised of every audit, whatever the app does meanwhile."""
    false, missed = seen.false_findings(), seen.missed(since=since)
    assert not false, f"false: {[(key, seen.told(key)) for key in false]}"
    assert not missed, f"missed: {[(key, seen.told(key)) for key in missed]}"
    over, groundless = seen.repairs_over_newer_writes(), seen.groundless_repairs()
    assert not over, f"over newer writes: {over}"
    assert not groundless, f"groundless: {groundless}"


def at_rest(player: Player) -> None:
    """The app has stopped, maybe half-way; two audits mend what a ledger can mend."""
    before = player.truths[-1]
    for _ in range(2):
        seen = player.audit(live=False)
        check(seen, since=seen.began)
        player.look()
    after = player.truths[-1]
    assert before.rows == after.rows
    assert before.files == after.files
    assert before.copies == after.copies
    left = {key for key in seen.judge.findings(after) if key[0] not in STAYS}
    assert not left, f"left open: {left}"
