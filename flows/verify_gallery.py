"""Verifying a gallery, or one memory: is it really stored, down to the last byte?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checks.errors import StoreError, UsageError
from checks.model import Backend, RepairPolicy
from checks.run import RunRecord
from flows.engine import flow, name_run, task
from tasks import (
    audit,
    certifying,
    chosen,
    content_repair,
    looking_up,
    membership,
    mending,
    observe,
    publish,
    rolling,
    verdict,
)
from tasks.comparison import Concluded
from tasks.lease import Fence
from tasks.settings import ALL_BYTES, load_settings

choose = task(chosen.choose)
snapshot = task(looking_up.snapshot)
look_up = task(looking_up.look_up)
resolve = task(observe.resolve)
read_bytes = task(rolling.verify, name="read")
conclude = task(observe.conclude, name="compare-and-confirm")
compare_items = task(membership.compare_items)
certify = task(certifying.certify)
propose = task(mending.propose)
mend = task(content_repair.mend, name="repair")
close = task(verdict.close, name="report")


@flow("verify-gallery")
def verify_gallery(
    gallery_id: str | None = None,
    memory: str | None = None,
    certified: bool | None = None,  # noqa: FBT001 - a deployment's parameter
    repair: str = "none",
) -> dict[str, Any]:
    """Reads every byte of a gallery's memories in every store, and says what is really there.

    Args:
        gallery_id: the gallery to verify.
        memory: one memory instead, as TYPE:ID.
        certified: whether the canister's claims are certified; default: where an identity is set.
        repair: none; ledger: mend what the ledger says of these memories; content: copy bytes back.

    Returns:
        the run object of the interface's contract, with ``gallery``.
    """
    if (gallery_id is None) == (memory is None):
        raise UsageError("Name a gallery, or one memory as TYPE:ID, and not both.")
    if memory is not None:
        chosen.parse_memory(memory)
    settings = load_settings()
    if certified is None:
        certified = settings.identity_pem is not None
    options = audit.AuditOptions(
        repair=RepairPolicy(repair), verify_budget=ALL_BYTES,
        breaker_percent=settings.breaker_percent,
    )  # fmt: skip
    with audit.under_way(settings, options, flow=audit.VERIFY_GALLERY) as (run, fence):
        name_run(run.run_id)
        try:
            found = _found(run, choose(run, gallery_id, memory), certified=certified)
        except StoreError as error:
            record = publish.close_inconclusive(run, error)
        else:
            record = _mended(run, fence, found)
    return record.to_dict()


@dataclass(frozen=True, slots=True)
class _Found:
    """What a verification has concluded before it changes anything."""

    asked: chosen.Chosen
    seen: observe.Seen
    reading: Mapping[str, Any]
    conclusions: list[Concluded]
    items: membership.Membership
    evidence: Mapping[str, Any]
    proposal: mending.Proposal


def _found(run: audit.AuditRun, asked: chosen.Chosen, *, certified: bool) -> _Found:
    """What a verification looks at, in its order."""
    facts = snapshot(run, asked)
    blob, icp = (look_up.submit(run, each, facts, asked) for each in (Backend.BLOB, Backend.ICP))
    reports = {
        Backend.NEON: observe.neon_report(facts),
        Backend.BLOB: blob.result(),
        Backend.ICP: icp.result(),
    }
    resolve(run, facts)
    reading = read_bytes(run, facts, reports, [memory_id for memory_id, _ in asked.pairs()])
    seen = observe.Seen(facts, observe.after_reading(reports, reading))
    conclusions = [conclude(run, number, seen) for number in range(facts["partitions"])]
    items = compare_items(run, seen, asked)
    conclusions.append(items.concluded)
    evidence = certify(run, seen) if certified else certifying.no_certificates()
    return _Found(asked, seen, reading, conclusions, items, evidence, propose(run, facts))


def _mended(run: audit.AuditRun, fence: Fence | None, found: _Found) -> RunRecord:
    """Repairs and reports."""
    made = mend(run, found.seen, fence, found.proposal) if fence else None
    outcome = publish.Outcome(found.conclusions, found.reading, found.proposal, made, ())
    return close(run, found.seen, found.asked, outcome, found.evidence, found.items)
