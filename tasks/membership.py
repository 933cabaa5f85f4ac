"""A verified gallery's items and their order, compared with the canister's copy of it."""

import asyncio
from dataclasses import asdict, dataclass
from typing import Any, Literal

from checks.errors import StoreError
from checks.model import Backend
from tasks import collection, comparison
from tasks.audit import AuditRun
from tasks.chosen import Chosen
from tasks.listings import is_configured
from tasks.observe import OpenStores, Seen, view_of
from tasks.stores.icp.store import IcpStore

#: How the canister's copy of a gallery compares; None: no gallery was asked about, or no canister.
OnIcp = Literal["same", "different", "not_there", "unknown"] | None


@dataclass(frozen=True, slots=True)
class Membership:
    """What comparing a gallery's items found.

    Attributes:
        concluded: its findings, in numbers.
        on_icp: how the canister's copy of the gallery compares.
    """

    concluded: comparison.Concluded
    on_icp: OnIcp


def compare_items(run: AuditRun, seen: Seen, asked: Chosen) -> Membership:
    """Looks for items whose memory is gone, and compares the gallery with the canister's.

    A canister has no method that makes a gallery, so that there often is none to compare with.
    """

    def work() -> dict[str, Any]:
        if asked.gallery_id is None or not asked.found:
            return asdict(Membership(comparison.Concluded(), None))
        workspace = run.workspace(seen.facts["partitions"])
        unknown = view_of(run, seen.facts, seen.reports).unknown_types
        with run.connect() as conn:
            rowless = collection.rowless_items(
                conn, unknown_types=unknown, gallery_id=asked.gallery_id
            )
        away: dict[str, str] = {}
        try:
            cases, on_icp = asyncio.run(_compared(run, seen, asked.gallery_id, rowless))
        except StoreError as error:
            cases, on_icp = [], "unknown"
            away[Backend.ICP.value] = f"the gallery could not be read there: {error}"
        concluded = comparison.conclude_collection(workspace, cases)
        concluded.unknown = away
        return asdict(Membership(concluded, on_icp))

    facts = run.stage("gallery", work)
    fields = comparison.Concluded.__slots__
    concluded = {name: facts["concluded"][name] for name in fields}
    return Membership(comparison.Concluded(**concluded), facts["on_icp"])


async def _compared(
    run: AuditRun, seen: Seen, gallery_id: str, rowless: list[dict[str, Any]]
) -> tuple[list[Any], OnIcp]:
    """The findings as cases, and how the canister's copy compares."""
    async with OpenStores(run, seen) as stores:
        canister = stores.get(Backend.ICP)
        if not isinstance(canister, IcpStore):
            alone = not is_configured(run.settings, Backend.ICP)
            gone = await collection.gone_items(rowless, None) if alone else []
            return gone, None if alone else "unknown"
        on_canister = collection.looked_up(canister)
        gone = await collection.gone_items(rowless, on_canister)
        if await canister.canister.gallery(gallery_id) is None:
            return gone, "not_there"
        cases = await collection.gallery_cases(canister, run.connect, on_canister, ids=[gallery_id])
        differs = any(each["kind"] == "gallery_divergence" for each in cases)
        return gone + cases, "different" if differs else "same"
