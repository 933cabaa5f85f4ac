"""Listing the stores into a run's inventory: each in one, or in shards that become one."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from checks.columns import BLOB_INVENTORY, ICP_INVENTORY
from checks.errors import StoreError
from checks.model import Backend, StoreState
from tasks.audit import AuditRun
from tasks.expectation import expected_objects, judge_shrinkage, known_before
from tasks.inventory import as_one, break_off, judge_emptiness, spool
from tasks.partitions import PartitionWriter, merge, rows_in
from tasks.progress import advancing
from tasks.settings import Settings
from tasks.stores import open_store
from tasks.stores.icp.store import IcpStore
from tasks.stores.protocol import ListingReport, Shard

SCHEMAS = {Backend.BLOB: BLOB_INVENTORY, Backend.ICP: ICP_INVENTORY}


def is_configured(settings: Settings, backend: Backend) -> bool:
    """Whether the settings name a store for ``backend``."""
    return backend is Backend.NEON or settings.store_name(backend) is not None


def list_store(run: AuditRun, backend: Backend, facts: Mapping[str, Any]) -> ListingReport:
    """Lists one store into the run's inventory; a store that is not looked at lists as nothing."""

    def work() -> dict[str, Any]:
        return asdict(_judged(backend, facts, asyncio.run(_list(run, backend, facts))))

    return report_of(run.stage(_listing_stage(backend), work))


def listing_shards(run: AuditRun, backend: Backend, facts: Mapping[str, Any]) -> list[Shard]:
    """What of a store a cluster's workers list side by side; nothing where that is not done.

    A store that does not answer is not cut: its listing says what is wrong.
    """
    done = run.directory.done_stage(_listing_stage(backend)) is not None
    if run.abreast <= 1 or done or not _wanted(run, backend):
        return []

    async def cut() -> list[Shard]:
        store = open_store(backend, run.settings, known_capsules=facts["capsules"])
        try:
            return await store.shards(run.abreast, expected_objects(backend, facts))
        finally:
            await store.aclose()

    try:
        return asyncio.run(cut())
    except StoreError:
        return []


def list_shard(
    run: AuditRun, backend: Backend, shard: Shard, facts: Mapping[str, Any], shards: int
) -> ListingReport:
    """Lists one of so many shards, into a directory of its own."""

    def work() -> dict[str, Any]:
        sharing = min(run.abreast, shards)
        return asdict(asyncio.run(_list(run, backend, facts, shard, sharing)))

    return report_of(run.stage(f"{_listing_stage(backend)}-{shard.id}", work))


def put_together(
    run: AuditRun,
    backend: Backend,
    facts: Mapping[str, Any],
    shards: Mapping[Shard, ListingReport],
) -> ListingReport:
    """Makes the inventory of a whole store, of which each shard was listed by itself.

    One whose files are not what its report says is listed again: a former attempt at the run may
    have lost them.
    """
    partitions = facts["partitions"]

    def work() -> dict[str, Any]:
        places = {shard: run.directory.shard(backend.value, shard.id) for shard in shards}
        reports = [
            report if rows_in(places[shard], partitions) == report.objects
            else asyncio.run(_list(run, backend, facts, shard))
            for shard, report in shards.items()
        ]  # fmt: skip
        merge([*places.values()], run.directory.inventory(backend.value), partitions)
        return asdict(_judged(backend, facts, as_one(reports)))

    report = report_of(run.stage(_listing_stage(backend), work))
    shutil.rmtree(run.directory.shards(backend.value), ignore_errors=True)
    return report


def _judged(backend: Backend, facts: Mapping[str, Any], report: ListingReport) -> ListingReport:
    """The report, which is doubted where there is less than there should be."""
    judge_emptiness(report, backend, facts["present"].get(backend.value, 0))
    judge_shrinkage(report, backend, known_before(facts, backend))
    return report


def _listing_stage(backend: Backend) -> str:
    return f"list-{backend.value}"


def _wanted(run: AuditRun, backend: Backend) -> bool:
    """Whether a store is looked at."""
    return backend in run.options.stores and is_configured(run.settings, backend)


def report_of(facts: Mapping[str, Any]) -> ListingReport:
    """A listing report as a stage's facts hold it."""
    values = {name: facts[name] for name in ListingReport.__slots__ if name in facts}
    return ListingReport(**values | {"state": StoreState(facts["state"])})


async def _list(
    run: AuditRun,
    backend: Backend,
    facts: Mapping[str, Any],
    shard: Shard | None = None,
    sharing: int = 1,
) -> ListingReport:
    partitions, own = facts["partitions"], run.directory
    directory = own.shard(backend.value, shard.id) if shard else own.inventory(backend.value)
    if not _wanted(run, backend):
        list_nothing(directory, SCHEMAS[backend], partitions)
        detail = "left out by --store" if is_configured(run.settings, backend) else None
        return ListingReport(StoreState.NOT_CONFIGURED, detail=detail)
    store = open_store(backend, run.settings, known_capsules=facts["capsules"], sharing=sharing)
    try:
        told = advancing(f"listing {backend}", _expected(backend, facts))
        if isinstance(store, IcpStore):
            await store.check_interface()  # what its listing raises is in the report already
        report = await spool(
            store, SCHEMAS[backend], directory, partitions, told,
            expected=expected_objects(backend, facts), shard=shard,
        )  # fmt: skip
    except StoreError as error:  # of one store: what the others hold is not in doubt
        list_nothing(directory, SCHEMAS[backend], partitions)
        report = ListingReport(StoreState.INCOMPLETE)
        break_off(report, error)
        if shard and backend is Backend.ICP:  # of the others' capsules more is known
            report.unknown_parts |= dict.fromkeys(shard.names, str(error))
            report.doubted = False
    finally:
        await store.aclose()
    return report


def _expected(backend: Backend, facts: Mapping[str, Any]) -> int | None:
    """About how many objects a listing will give; a canister memory stands for two edges."""
    present = facts["present"].get(backend.value)
    return None if present is None else int(present) // (2 if backend is Backend.ICP else 1)


def list_nothing(directory: Path, schema: pa.Schema, partitions: int) -> None:
    """Leaves the inventory of a store that was not looked at."""
    with PartitionWriter(directory, schema, partitions):
        pass
