"""The repairs of a run: bytes brought back first, then what the ledger says."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from checks.describe import plain_records
from checks.errors import LeaseLostError, SettingsError, StoreError, StoreUnreachableError
from checks.kinds import KINDS
from checks.model import Artifact, Backend, RepairPolicy, RepairState
from tasks import mending, purging
from tasks.audit import AuditRun
from tasks.comparison import judged_part
from tasks.confirm import seen_version
from tasks.lease import Fence
from tasks.ledger import repaired
from tasks.mending import Made, Outcomes, Proposal
from tasks.observe import Seen
from tasks.progress import advance
from tasks.restoring import Damage, Restoring
from tasks.store_forever import opened, storing_of
from tasks.stores.blob.store import BlobStore
from tasks.subjects import read_subjects

AT_ONCE = 4
_WORK = "bringing content back"
_NOT_MADE = "not copied: a store stopped answering"


@dataclass(frozen=True, slots=True)
class Order:
    """The damaged artifacts of one memory in one store."""

    memory_id: str
    memory_type: str
    backend: Backend
    damages: Mapping[Artifact, Damage]


@dataclass(slots=True)
class Restored:
    """What came of content repair.

    Attributes:
        outcomes: by fingerprint.
        unknown: why it was broken off, by what did not answer.
    """

    outcomes: Outcomes = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def merged(self, made: Made) -> Made:
        """What became of all repairs: where the ledger was mended instead, it says why."""
        outcomes = dict(made.outcomes)
        for name, (state, detail) in self.outcomes.items():
            mended = made.outcomes.get(name)
            if state == RepairState.REFUSED.value and mended is not None:
                outcomes[name] = (mended[0], detail if mended[1] is None else mended[1])
            else:
                outcomes[name] = (state, detail)
        return Made(outcomes, self.unknown | made.unknown)


def mend(run: AuditRun, seen: Seen, fence: Fence, proposal: Proposal) -> Made:
    """Makes the repairs that the run's policy allows and says what became of each.

    Content comes first: what can't be brought back is then for the ledger to say. What has been
    orphaned for weeks is removed last. Raises
    LeaseLostError where another run has taken over.
    """
    policy = run.options.repair
    if not policy.allows(RepairPolicy.CONTENT):
        return mending.mend(run, seen, fence, proposal)
    restored = restore(run, seen, fence, proposal)
    made = restored.merged(mending.mend(run, seen, fence, proposal))
    if policy.allows(RepairPolicy.PURGE):
        gone = purging.purge(run, seen, fence, proposal)
        made = Made(made.outcomes | gone.outcomes, made.unknown | gone.unknown)
        if gone.refused is not None:
            proposal.tripped.setdefault(gone.refused.backend, gone.refused)
    return made


def restore(run: AuditRun, seen: Seen, fence: Fence, proposal: Proposal) -> Restored:
    """Copies what is missing or rotten from verified replicas.

    Raises LeaseLostError where another run has taken over.
    """
    result = Restored()
    orders = list(_orders(run, seen, proposal, result))
    if orders:
        asyncio.run(_restore_all(run, fence, orders, result))
    return result


def _orders(run: AuditRun, seen: Seen, proposal: Proposal, result: Restored) -> Iterator[Order]:
    """What is to be repaired; what the breaker refuses is said so in ``result``."""
    workspace = run.workspace(seen.facts["partitions"])
    with run.connect() as conn:
        done = repaired(conn, run.run_id)
    for partition in range(workspace.partitions):
        judged, _ = judged_part(workspace, partition)
        copied = judged["kind"].map(lambda kind: KINDS[kind].content_repair is not None)
        elsewhere = judged["backend"].isin([Backend.BLOB.value, Backend.ICP.value])
        wanted = judged[copied.astype(bool) & elsewhere]
        for finished in set(wanted["fingerprint"]) & done:
            result.outcomes[finished] = (RepairState.APPLIED.value, None)
        wanted = wanted[~wanted["fingerprint"].isin(done)]
        for _, group in wanted.groupby(["memory_id", "memory_type", "backend"]):
            damages = _damages(group, proposal, result)
            if damages:
                first = group.iloc[0]
                backend = Backend(first["backend"])
                yield Order(first["memory_id"], first["memory_type"], backend, damages)


def _damages(group: pd.DataFrame, proposal: Proposal, result: Restored) -> dict[Artifact, Damage]:
    damages: dict[Artifact, Damage] = {}
    for case in plain_records(group):
        tripped = proposal.tripped.get(case["backend"])
        if tripped is not None and KINDS[case["kind"]].takes_away:
            result.outcomes[case["fingerprint"]] = (RepairState.REFUSED.value, str(tripped))
            continue
        damages[Artifact(case["artifact"])] = Damage(
            case["kind"], case["fingerprint"], case["edge_id"], case["version"], seen_version(case)
        )
    return damages


async def _restore_all(run: AuditRun, fence: Fence, orders: list[Order], result: Restored) -> None:
    try:
        async with opened(run, to_fill=False) as desk:
            blob = desk.shelves.stores.get(Backend.BLOB)
            restoring = Restoring(
                storing_of(run, fence, desk), blob if isinstance(blob, BlobStore) else None
            )
            await _side_by_side(run, restoring, orders, result)
    except LeaseLostError:
        raise
    except (SettingsError, StoreError) as error:
        if isinstance(error, StoreError):
            result.unknown["content repair"] = str(error)
        for order in orders:
            for damage in order.damages.values():
                refused = (RepairState.REFUSED.value, f"not copied: {error}")
                result.outcomes.setdefault(damage.fingerprint, refused)


async def _side_by_side(
    run: AuditRun, restoring: Restoring, orders: list[Order], result: Restored
) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(order: Order) -> None:
        async with room:
            outcomes: Mapping[Artifact, tuple[RepairState, str | None]]
            if result.unknown:
                outcomes = dict.fromkeys(order.damages, (RepairState.REFUSED, _NOT_MADE))
            else:
                outcomes = await _one(run, restoring, order, result)
        for artifact, (state, detail) in outcomes.items():
            fingerprint = order.damages[artifact].fingerprint
            result.outcomes[fingerprint] = (state.value, detail)
        advance(_WORK, 1, len(orders))

    try:
        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(one(order))
    except ExceptionGroup as several:  # a lost lease ends them all
        raise several.exceptions[0] from None


async def _one(
    run: AuditRun, restoring: Restoring, order: Order, result: Restored
) -> Mapping[Artifact, tuple[RepairState, str | None]]:
    """One memory in one store, as Neon has it now."""
    pair = (order.memory_id, order.memory_type)
    database = restoring.storing.database
    try:
        (subject,) = await database.run(read_subjects, [pair], run.settings.blob_address)
        return await restoring.restore(subject, order.backend, order.damages)
    except LeaseLostError:
        raise
    except StoreError as error:
        if isinstance(error, StoreUnreachableError):
            result.unknown["content repair"] = str(error)
        return dict.fromkeys(order.damages, (RepairState.REFUSED, f"not copied: {error}"))
