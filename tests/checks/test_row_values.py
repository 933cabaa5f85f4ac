"""Values that a ledger's row can't have, and rows that have no place."""

from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from partition_samples import HASH
from partition_samples import sound as sound_sample

from checks.columns import LEDGER
from checks.row_values import canonical_sha256, displaced, row_problems

_LETTERS = "abcdefab-cdef-4abc-8def-abcdefabcdef"


def ledger(**changes: Any) -> pd.DataFrame:
    """The edges of a sound memory, the last of them changed."""
    rows = [dict(each) for each in sound_sample().edges]
    rows[-1].update(changes)
    known = [{name: row.get(name) for name in LEDGER.names} for row in rows]
    frame: pd.DataFrame = pa.Table.from_pylist(known, LEDGER).to_pandas()
    return frame


def test_nothing_is_wrong_with_a_sound_ledger() -> None:
    assert displaced(ledger()).isna().all()
    assert not [each for each in row_problems(ledger()) if each]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"content_hash": HASH.upper()}, "hash"),
        ({"content_hash": HASH[:40]}, "hash"),
        ({"content_hash": ""}, "hash"),
        ({"size_bytes": -1}, "size"),
        ({"present": None}, "whether"),
        ({"sync_state": "paused"}, "sync state"),
        ({"sync_state": None}, "sync state"),
    ],
)
def test_a_value_outside_its_domain_is_said_of_its_row_alone(
    changes: dict[str, Any], problem: str
) -> None:
    *others, last = row_problems(ledger(**changes))
    assert others == [None] * 3
    assert problem in last


def test_two_problems_of_one_row_are_both_named() -> None:
    last = row_problems(ledger(size_bytes=-1, content_hash="x"))[-1]
    assert "size" in last
    assert "hash" in last


@pytest.mark.parametrize("column", ["artifact", "backend", "memory_type"])
def test_a_row_of_an_unknown_kind_has_no_place(column: str) -> None:
    *others, last = displaced(ledger(**{column: "hologram"}))
    assert others == [None] * 3
    assert column in last


def test_of_two_rows_in_one_place_the_one_with_the_canonical_id_has_it() -> None:
    edges = ledger(artifact="metadata").assign(memory_id=_LETTERS)
    edges.loc[3, "memory_id"] = _LETTERS.upper()
    assert displaced(edges).notna().tolist() == [False, False, False, True]
    turned = edges.iloc[::-1].reset_index(drop=True)
    assert displaced(turned).notna().tolist() == [True, False, False, False]


@pytest.mark.parametrize("text", [HASH.upper(), f"sha256:{HASH}", f" {HASH}\n", f"0x{HASH}"])
def test_a_hash_in_another_form_is_read(text: str) -> None:
    assert canonical_sha256(text) == HASH


@pytest.mark.parametrize("text", [None, "", HASH[:40], f"md5:{HASH[:32]}", HASH + "00", "z" * 64])
def test_what_is_no_sha256_is_not_made_one(text: str | None) -> None:
    assert canonical_sha256(text) is None
