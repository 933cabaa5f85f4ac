"""The state table: every combination has a verdict, and every rule decides somewhere."""

from itertools import product

import numpy as np
import pytest

from checks.states import RULES, TABLE, Edge, Memory, Object, Sync, Verdict, judge

COMBINATIONS = list(product(Memory, Edge, Object, Sync))


def test_the_table_is_total_and_says_what_the_rules_say() -> None:
    assert TABLE.size == len(COMBINATIONS)
    assert {int(each) for each in np.unique(TABLE)} <= {int(each) for each in Verdict}
    for combination in COMBINATIONS:
        assert TABLE[combination] == judge(*combination).verdict


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.why)
def test_every_rule_decides_a_combination(rule: object) -> None:
    assert any(judge(*each) is rule for each in COMBINATIONS)


@pytest.mark.parametrize("verdict", Verdict, ids=lambda each: each.name)
def test_every_verdict_is_given(verdict: Verdict) -> None:
    assert (verdict == TABLE).any()


def test_only_impossible_combinations_are_called_so() -> None:
    for memory, edge, obj, sync in COMBINATIONS:
        contradicts = (edge == Edge.NONE) != (sync == Sync.NONE)
        assert (judge(memory, edge, obj, sync).verdict == Verdict.IMPOSSIBLE) == contradicts


def test_unknown_never_yields_a_finding() -> None:
    silent = {Verdict.UNKNOWN, Verdict.AGREE, Verdict.IN_FLIGHT, Verdict.IMPOSSIBLE}
    for memory, edge, obj, sync in COMBINATIONS:
        verdict = judge(memory, edge, obj, sync).verdict
        if memory == Memory.UNKNOWN:
            assert verdict in silent
        elif obj == Object.UNKNOWN:  # a row that can't be read is wrong whatever is stored
            assert verdict in silent | {Verdict.INVALID}


def test_nothing_is_missing_or_absent_where_the_object_was_seen() -> None:
    for memory, edge, sync in product(Memory, Edge, Sync):
        verdict = judge(memory, edge, Object.THERE, sync).verdict
        assert verdict not in (Verdict.MISSING, Verdict.SYNC_FAILED, Verdict.EXTERNAL_ONLY)


def test_a_young_migration_yields_nothing() -> None:
    for memory, edge, obj in product((Memory.THERE, Memory.NEVER), (Edge.FALSE, Edge.TRUE), Object):
        verdict = judge(memory, edge, obj, Sync.YOUNG).verdict
        assert verdict in (Verdict.IN_FLIGHT, Verdict.UNKNOWN)
