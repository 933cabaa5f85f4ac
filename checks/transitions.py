"""How an edge's sync state may change: anything may begin to migrate, only migrating ends."""

from checks.model import SyncState

#: From where to where; what stays as it is, and a new row that says idle, is no transition.
LEGAL: frozenset[tuple[SyncState | None, SyncState]] = frozenset(
    {
        (None, SyncState.MIGRATING),
        (SyncState.IDLE, SyncState.MIGRATING),
        (SyncState.FAILED, SyncState.MIGRATING),
        (SyncState.MIGRATING, SyncState.IDLE),
        (SyncState.MIGRATING, SyncState.FAILED),
    }
)


def may_become(now: SyncState | None, then: SyncState) -> bool:
    """Whether an edge in state ``now`` (None: there is none yet) may be written as ``then``."""
    return now is then or (now, then) in LEGAL or (now is None and then is SyncState.IDLE)


def illegal(now: SyncState | None, then: SyncState) -> str | None:
    """Why an edge may not be written as ``then``; None where it may."""
    if may_become(now, then):
        return None
    before = now.value if now else "absent"
    return (
        f"an edge that is {before} can't become {then.value}: a copy begins as migrating and ends "
        "as idle or failed"
    )
