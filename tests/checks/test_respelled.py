"""An edge's id in other writing is put into canonical form where nobody can mean another one."""

from typing import Any

import pandas as pd
import pytest
from partition_samples import BLOB, NEON, Sample

from checks.normal import key_of_uuid
from checks.repairs import plan
from tasks.comparison import _respelled

ID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


def odd(*rows: dict[str, Any]) -> pd.DataFrame:
    high, low = key_of_uuid(ID)
    plain = {"key_hi": high, "key_lo": low, "memory_id": ID.upper(), "memory_type": "image",
             "artifact": "asset", "backend": "vercel-blob", "kind": "invalid_id",
             "fingerprint": "f"}  # fmt: skip
    return pd.DataFrame([plain | row for row in rows])


@pytest.fixture
def sample() -> Sample:
    return Sample().row(ID).edge("metadata", NEON, ID).edge("asset", BLOB, ID)


def test_the_edge_alone_is_put_into_canonical_form(sample: Sample) -> None:
    parts = _respelled(sample.cases(), odd({}))
    (repair,) = plan(parts[:0], parts, "run")
    assert (repair.kind, repair.action, repair.edge_id) == (
        "invalid_id", "update", "asset@vercel-blob",
    )  # fmt: skip
    assert dict(repair.values) == {"memory_id": ID}
    assert not repair.takes_away


def test_where_the_app_writes_it_so_the_edge_is_left_as_the_app_finds_it(sample: Sample) -> None:
    in_app = {"artifact": None, "backend": "neon-db", "fingerprint": "g"}
    assert _respelled(sample.cases(), odd({}, in_app)).empty


@pytest.mark.parametrize("row", [{"kind": "invalid_row"}, {"memory_type": "video"}])
def test_nothing_else_is_respelled(row: dict[str, Any], sample: Sample) -> None:
    assert _respelled(sample.cases(), odd(row)).empty


def test_where_nothing_is_odd_nothing_is_respelled(sample: Sample) -> None:
    assert _respelled(sample.cases(), odd({}).iloc[:0]).empty
