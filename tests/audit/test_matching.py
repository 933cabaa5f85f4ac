"""What is read of the ledger's locations and of the rows' URLs before anything is matched."""

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from checks.columns import ICP_INVENTORY, LEDGER, NEON_INVENTORY
from checks.model import Backend
from checks.normal import BlobAddress, LocationProblem
from tasks import observe
from tasks.join_keys import unkeyed, with_memory_keys
from tasks.partitions import PartitionWriter, read_partition
from tasks.resolve import Workspace, ledger_part, rows_part

ADDRESS = BlobAddress("abc123")
OWN = "https://abc123.public.blob.vercel-storage.com/"
MEMORY = "00000000-0000-4000-8000-000000000001"


def spooled(directory: Path, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    named = unkeyed(schema)
    table = pa.Table.from_pylist([dict.fromkeys(named.names) | row for row in rows], named)
    with PartitionWriter(directory, schema, 1) as writer:
        writer.write(with_memory_keys(table, schema))


def plain(values: pd.Series) -> list[Any]:
    return [None if pd.isna(each) else each for each in values]


EDGES = [  # backend, location, present: what it names, and what is wrong
    ("vercel-blob", "a/b.jpg", True, "a/b.jpg", None),
    ("vercel-blob", OWN + "%C3%A4.jpg", True, "ä.jpg", None),
    ("vercel-blob", None, True, None, LocationProblem.NULL),
    ("vercel-blob", None, False, None, None),
    ("vercel-blob", None, None, None, None),
    ("vercel-blob", "", False, None, None),
    ("vercel-blob", "https://other.com/a", False, None, LocationProblem.FOREIGN),
    ("icp-canister", f"icp://capsule/{MEMORY}", True, MEMORY, None),
    ("icp-canister", None, True, None, None),
    ("icp-canister", "icp://capsule", False, None, LocationProblem.UNPARSEABLE),
    ("icp-canister", "", True, None, LocationProblem.UNPARSEABLE),
    ("neon-db", "whatever", True, None, None),
    (None, "a/b", True, None, None),
    ("another", "a/b", True, None, None),
]


@pytest.mark.parametrize("address", [ADDRESS, None])
def test_every_edges_location_is_read_as_its_backend_has_it(
    tmp_path: Path, address: BlobAddress | None
) -> None:
    workspace = Workspace(tmp_path, 1)
    columns = ("backend", "location", "present")
    rows = [dict(zip(columns, edge, strict=False)) | {"memory_id": MEMORY} for edge in EDGES]
    spooled(workspace.ledger, LEDGER, rows)
    found = ledger_part(workspace, 0, address)
    seen = [edge[0] != Backend.BLOB or address is not None for edge in EDGES]
    wanted = [edge[3:] if told else (None, None) for edge, told in zip(EDGES, seen, strict=True)]
    named, problems = plain(found["named"]), plain(found["location_problem"])
    assert list(zip(named, problems, strict=True)) == wanted
    assert found["malformed"].tolist() == [problem is not None for _, problem in wanted]


def test_a_ledger_without_rows_is_read_too(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, 1)
    spooled(workspace.ledger, LEDGER, [])
    spooled(workspace.inventory(Backend.NEON), NEON_INVENTORY, [])
    for frame in (ledger_part(workspace, 0, ADDRESS), rows_part(workspace, 0, ADDRESS)):
        assert frame.empty


def test_a_note_has_no_url_and_nothing_is_wrong_with_that(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, 1)
    rows = [
        {"memory_type": "image", "url": OWN + "a"}, {"memory_type": "image", "url": "a"},
        {"memory_type": "note", "url": "a"}, {"memory_type": "note"}, {"memory_type": "video"},
    ]  # fmt: skip
    named = [row | {"memory_id": MEMORY} for row in rows]
    spooled(workspace.inventory(Backend.NEON), NEON_INVENTORY, named)
    found = rows_part(workspace, 0, ADDRESS)
    assert plain(found["pathname"]) == ["a", None, None, None, None]
    assert plain(found["url_problem"]) == [
        None,
        LocationProblem.RELATIVE,
        None,
        None,
        LocationProblem.NULL,
    ]
    without = rows_part(workspace, 0, None)
    assert without[["pathname", "url_problem"]].isna().all(axis=None)


def test_no_columns_are_read_but_those_that_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path, 1)
    edges = [
        {"memory_id": MEMORY, "backend": backend, "location": location}
        for backend, location in (
            ("icp-canister", f"icp://one/{MEMORY}"), ("vercel-blob", f"icp://two/{MEMORY}"),
            ("icp-canister", None),
        )
    ]  # fmt: skip
    spooled(workspace.ledger, LEDGER, edges)
    replicas = [(True, 1, "whole"), (True, 2, "two"), (False, 1, "link"), (None, None, "unknown")]
    names = ("asset_there", "asset_count", "memory_id")
    rows = [dict(zip(names, each, strict=True)) for each in replicas]
    spooled(workspace.inventory(Backend.ICP), ICP_INVENTORY, rows)
    read: list[set[str]] = []
    asked: list[str] = []

    def noted(*place: Any, **columns: Any) -> Any:
        table = read_partition(*place, **columns)
        read.append(set(table.column_names))
        return table

    class Canister:
        async def external_links(self, memory_ids: list[str]) -> list[Any]:
            asked.extend(memory_ids)
            return []

    monkeypatch.setattr(observe, "read_partition", noted)
    assert observe.known_capsules(workspace) == {"one"}
    canister: Any = Canister()
    assert asyncio.run(observe._linked(canister, workspace, ADDRESS)) == set()
    assert sorted(asked) == ["link", "two", "unknown"]
    assert read == [{"backend", "location"}, set(names)]
