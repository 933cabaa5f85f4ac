"""What a run asks of its stores, counted where it is asked: what a plan's quota is about.

Whoever wants to know opens a meter; what is asked while it is open, on the same thread or by tasks
that it began, counts in it. A try that failed counts too, as the stores bill it.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

#: Operations of the blob store by class, bytes of files that it sent, requests to the canister.
BLOB_ADVANCED, BLOB_SIMPLE, BLOB_BYTES, ICP_REQUESTS = MEASURED = (
    "blob_advanced", "blob_simple", "blob_bytes", "icp_requests",
)  # fmt: skip

_meter: ContextVar[Counter[str] | None] = ContextVar("usage", default=None)
_counting = threading.Lock()


def count(what: str, by: int = 1) -> None:
    """Counts ``by`` more of ``what``, one of ``MEASURED``, where a meter is open."""
    meter = _meter.get()
    if meter is not None:
        with _counting:
            meter[what] += by


def so_far() -> Mapping[str, int]:
    """What the innermost open meter has counted; nothing where none is open."""
    return dict(_meter.get() or {})


@contextmanager
def metered() -> Iterator[Counter[str]]:
    """What is asked while the block lasts, by ``MEASURED``; an outer meter does not see it."""
    counted: Counter[str] = Counter()
    token = _meter.set(counted)
    try:
        yield counted
    finally:
        _meter.reset(token)
