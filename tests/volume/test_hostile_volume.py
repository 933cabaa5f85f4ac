"""More of everything than anybody has: what it costs is measured, in a process of its own."""

from pathlib import Path

import pytest
from damaged_sandbox import Box
from icp_process import CANISTER_ID, PEM, IcpProcess, inline, new_memory
from measuring import Cost, cost

MEGABYTE = 1_000_000
#: A gallery, an audit and a capsule as small as the default suite needs, and as large as an attack.
VERIFY = """
import os
from damaged_sandbox import verified
from tasks.settings import load_settings
"""
AUDIT = """
from damaged_sandbox import audited
from tasks.settings import load_settings
"""
LIST = """
import asyncio
from checks.model import StoreState
from tasks.settings import load_settings
from tasks.stores.icp import IcpStore
from tasks.stores.protocol import ListingReport

async def listed():
    report, ids = ListingReport(StoreState.INCOMPLETE, expected=0), 0
    store = IcpStore.from_settings(load_settings(None))
    async for rows in store.list_batches(report):
        ids += len(rows)
    await store.aclose()
    return [report.state.value, ids, report.detail or ""]
"""


def variables(box: Box, home: Path, *without: str, **more: str) -> dict[str, str]:
    given = box.directory.settings() | {"EDGEKEEPER_HOME": str(home)} | more
    return {name: value for name, value in given.items() if name not in without}


def run_of(home: Path) -> Path:
    (run,) = (home / "runs").iterdir()
    return run


@pytest.mark.parametrize(
    "items", [2_000, pytest.param(100_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_a_gallery_of_a_hundred_thousand_items_costs_what_its_items_cost(
    items: int, box: Box, tmp_path: Path
) -> None:
    gallery, owner = box.sql("SELECT gen_random_uuid()::text, min(owner_id::text) FROM galleries")[
        0
    ]
    box.sql("INSERT INTO galleries (id, owner_id, title) VALUES (%s, %s, 'all')", gallery, owner)
    box.sql(
        "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) "
        "SELECT gen_random_uuid(), %s, gen_random_uuid(), 'image', n FROM generate_series(1, %s) n",
        gallery, items,
    )  # fmt: skip
    settings = variables(box, tmp_path, "BLOB_READ_WRITE_TOKEN", "CANISTER_ID_BACKEND", G=gallery)
    work = (
        "record = verified(load_settings(None), os.environ['G'])\n"
        "outcome = [record.gallery.verdict, len(record.gallery.memories), dict(record.counts)]"
    )
    used = cost(VERIFY, work, settings, seconds=1700)
    assert used.outcome == ["incomplete", items, {"dangling_item": items}]
    assert used.grown_mb < 250 + items * 8_000 / MEGABYTE, used
    assert used.seconds < 60 + items * 3 / 1_000, used
    run = run_of(tmp_path)
    assert (run / "report.html").stat().st_size < MEGABYTE
    assert (run / "statement.json").stat().st_size < 300 * items


def test_a_title_and_a_url_of_ten_megabytes_are_findings_of_a_few_words(
    box: Box, tmp_path: Path
) -> None:
    images = [row[0] for row in box.sql("SELECT id FROM images ORDER BY id LIMIT 4")]
    address = box.settings(tmp_path).blob_address
    assert address is not None
    own = address.urls("a")[0]
    for memory_id, start in zip(
        images, (own, "https://elsewhere.example/", "", "\x01"), strict=True
    ):
        box.sql("UPDATE images SET url = %s || repeat('x%%20y', 2000000), title = repeat('t', 10000000) WHERE id = %s",
                start, memory_id)  # fmt: skip
    work = (
        "record = audited(load_settings(None), repair='ledger', verify='all').record\n"
        "outcome = [record.status.value, [(f.kind, f.memory_id) for f in record.findings]]"
    )
    used = cost(AUDIT, work, variables(box, tmp_path))
    status, found = used.outcome
    assert status == "drift"
    wrong = {memory_id for kind, memory_id in found if kind == "invalid_location"}
    assert wrong == {str(memory_id) for memory_id in images}
    assert used.grown_mb < 700, used
    for path in run_of(tmp_path).glob("*.*"):
        assert path.stat().st_size < 2 * MEGABYTE, path


def listed(icp: IcpProcess, seconds: float = 280) -> Cost:
    settings = {
        "IC_URL": icp.url, "CANISTER_ID_BACKEND": CANISTER_ID, "IC_IDENTITY_PEM": PEM,
        "IC_ROOT_KEY": icp.root_key, "EDGEKEEPER_IC_RATE": "10",
    }  # fmt: skip
    return cost(LIST, "outcome = asyncio.run(listed())", settings, seconds)


@pytest.mark.parametrize(
    "memories", [1_500, pytest.param(50_000, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])]
)
def test_a_capsule_of_fifty_thousand_memories_is_listed_page_by_page(
    memories: int, icp: IcpProcess
) -> None:
    capsule = icp.capsule()
    icp.storage.add_memories([new_memory(capsule, inline(10)[0]) for _ in range(memories)])
    used = listed(icp, seconds=1700)
    assert used.outcome == ["complete", memories, ""]
    assert used.grown_mb < 60 + memories * 1_000 / MEGABYTE, used
    assert used.seconds < 30 + memories / 100, used


@pytest.mark.parametrize("letters", [15_000, 60_000, 1_400_000])
def test_a_page_that_fills_a_reply_is_read_and_one_that_does_not_fit_comes_in_parts(
    letters: int, icp: IcpProcess
) -> None:
    capsule = icp.capsule()
    count = 250 if letters < MEGABYTE else 8
    title = "t" * letters
    icp.storage.add_memories([new_memory(capsule, title=title) for _ in range(count)])
    used = listed(icp)
    assert used.outcome == ["complete", count, ""]
    assert used.grown_mb < 150, used
    assert used.seconds < 60, used


def test_a_memory_that_fits_into_no_reply_leaves_its_capsule_alone_unknown(icp: IcpProcess) -> None:
    whole, full = icp.capsule(), icp.capsule()
    icp.storage.add_memories([new_memory(whole) for _ in range(3)])
    icp.storage.add_memories([new_memory(full, title="t" * 4 * MEGABYTE)])
    state, count, detail = listed(icp).outcome
    assert [state, count] == ["incomplete", 3]
    assert "1 of 2 capsules" in detail
    assert "cannot be larger" in detail


def test_an_answer_of_twice_the_networks_limit_is_not_read_to_its_end(icp: IcpProcess) -> None:
    icp.capsule()
    icp.fault("endless_body", None, None, path_regex="query")
    used = listed(icp)
    state, count, detail = used.outcome
    assert [state, count] == ["incomplete", 0]
    assert "more than 6291456 bytes" in detail
    assert used.grown_mb < 60, used
