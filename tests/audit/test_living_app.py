"""The app lives while audits with repairs run: nothing false, nothing missed, nothing overwritten.

A history says what the app does, what goes wrong, and between which requests and statements of the
audit each step falls. EDGEKEEPER_HISTORIES says how many the long campaign plays, and
EDGEKEEPER_FIGURES where it writes what it counted, as JSON. A night that fails is not made smaller,
which would take as long as the campaign; the blob that is printed plays it again.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from damaged_sandbox import Audited, Box
from hypothesis import HealthCheck, Phase, assume, given, settings
from living_app import MEMORIES_EACH, MOST_LIVES, World
from living_history import LAG_SECONDS, LAGGING, Night, Player, Seen, Tally, in_stages, nights
from living_truth import CONTENTS, is_graver_said
from prefect_audit import through_prefect

FEW, MANY = 16, int(os.environ.get("EDGEKEEPER_HISTORIES", "2000"))
#: Kinds that only bytes or a person can mend; all others a ledger repair closes. The ledger follows
#: newer bytes only where no other copy speaks against them.
STAYS = frozenset({
    "lost", "orphaned", "unclassified", "size_mismatch", "hash_mismatch", "sync_failed",
    "stale_hash", "location_conflict", "replica_divergence",
})  # fmt: skip
PLAYED = settings(
    deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def world(new_box: Callable[[str], Box]) -> Iterator[World]:
    living = World(new_box("living").fill(MOST_LIVES * MEMORIES_EACH, 5, None))
    yield living
    living.close()


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    counted = Tally(os.environ.get("EDGEKEEPER_FIGURES"))
    yield counted
    counted.save()
    print(f"\nplayed: {counted}")  # noqa: T201 - the campaign's figures


@pytest.mark.timeout(15 * 60)
@settings(PLAYED, max_examples=1, derandomize=True, phases=[Phase.generate])
@given(night=nights(FEW))
def test_a_living_app_is_told_the_truth_and_nothing_it_wrote_is_undone(
    world: World, tally: Tally, night: Night
) -> None:
    play(world, tally, night)


@pytest.mark.soak
@pytest.mark.timeout(24 * 60 * 60)
@settings(PLAYED, max_examples=-(-MANY // MOST_LIVES), phases=[Phase.generate])
@given(night=nights(MOST_LIVES))
def test_of_thousands_of_lives_none_is_told_anything_false(
    world: World, tally: Tally, night: Night
) -> None:
    play(world, tally, night)


@pytest.mark.soak
@pytest.mark.timeout(60 * 60)
@settings(PLAYED, max_examples=-(-MANY // 1000), phases=[Phase.generate])
@given(night=nights(FEW))
def test_the_flow_that_prefect_runs_tells_the_truth_of_a_living_app_too(
    world: World, tally: Tally, prefect_url: str, night: Night
) -> None:
    play(world, tally, night, partial(through_prefect, prefect_url))
    tally.counts["nights through Prefect"] += 1


def play(
    world: World, tally: Tally, night: Night, through: Callable[..., Audited] = in_stages
) -> None:
    """One night: audits while the app lives, then two when it is at rest."""
    assume(any(each.moves for each in night.histories))  # the first that is drawn is the plainest
    with tempfile.TemporaryDirectory(prefix="edgekeeper-living-") as home:
        player = Player(world, night, tally, Path(home))
        try:
            player.prepare()
            live(player, through)
            at_rest(player, through)
        except AssertionError as error:
            error.add_note("\n".join(player.log))
            raise
        finally:
            player.close()
        tally.counts["histories"] += sum(bool(each.moves) for each in night.histories)
        tally.save()


def live(player: Player, through: Callable[..., Audited]) -> None:
    night = player.night
    for store, which in (LAGGING[each] for each in night.lags):
        player.world.box.fault(store, "stale_list", LAG_SECONDS, **which)
    for number in range(night.audits):
        seen = player.audit(number, live=True, through=through)
        assert night.lags or not seen.unseen, f"not seen whole: {seen.stores}"
        check(player.tally, seen, since=0 if night.lags else seen.began)
    player.world.box.revive()


def check(tally: Tally, seen: Seen, *, since: int) -> None:
    """What is promised of every audit, whatever the app does meanwhile."""
    seen.tallied(tally.counts)
    wrong = {
        "false": seen.false_findings(), "missed": seen.missed(since=since),
        "over newer writes": seen.repairs_over_newer_writes(),
        "groundless": seen.groundless_repairs(),
    }  # fmt: skip
    for name, each in wrong.items():
        tally.counts[name] += len(each)
    told = [(key, seen.told(key)) for key in (*wrong["false"], *wrong["missed"])]
    stores = {name: (each.state.value, each.detail) for name, each in seen.stores.items()}
    assert not any(wrong.values()), f"{wrong}\n{told}\nstores: {stores}"


def at_rest(player: Player, through: Callable[..., Audited]) -> None:
    """The app has stopped, maybe half-way; two audits mend what a ledger can mend."""
    before = player.truths[-1]
    for number in range(2):
        seen = player.audit(number, live=False, through=through)
        assert not seen.unseen, f"not seen whole: {seen.stores}"
        check(player.tally, seen, since=seen.began)
        player.look()
    after = player.truths[-1]
    assert before.rows == after.rows
    assert before.files == after.files
    assert before.copies == after.copies
    stays = STAYS if player.night.reads else STAYS | {"hash_unknown"}  # bytes alone tell a hash
    said = seen.judge.findings(after)
    kept = {key for key in said if key[0] in stays}
    left = {
        key for key in said - kept
        if not is_graver_said(key, kept)
        and not (key[0] in CONTENTS | {"unmarked"} and seen.judge.is_doubtful(after, key[1] or ""))
    }  # fmt: skip
    assert not left, f"left open: {left}"
