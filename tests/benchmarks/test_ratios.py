"""No part gets much slower beside a peer that is measured in the same run."""

from hashlib import sha256

from benchmarks.gate import TOLERANCE, Pair, limits, pairs, ratio


def test_no_part_is_much_slower_beside_its_peer_than_it_was() -> None:
    limit = limits()
    with pairs() as some:
        found = {pair.name: ratio(pair, enough=limit[pair.name]) for pair in some}
    assert sorted(found) == sorted(limit)
    worse = {name: (round(value, 2), limit[name]) for name, value in found.items()
             if value > limit[name]}  # fmt: skip
    assert not worse, f"{worse}; if that is meant: python -m benchmarks --record"


def test_work_that_is_done_twice_is_found_out() -> None:
    body = bytes(64 * 2**20)

    def once() -> None:
        sha256(body)

    def twice() -> None:
        once()
        once()

    assert ratio(Pair("the same", once, once)) < TOLERANCE
    assert ratio(Pair("twice as much", twice, once)) > TOLERANCE
