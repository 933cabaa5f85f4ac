"""Which assets' bytes are read tonight: rolling verification of everything within a budget.

What was written since it was last read comes first, then what was never read, then the stalest.
What is *urgent* (written since, or found to differ from the ledger) has three bytes of four as long
as anything else waits: however much is written each night, the others' turn comes. So an asset that
was read in one night is read again at the latest in the first night by which the nights since have
had room for everything that was in line before it, where a night's room is its budget less what was
urgent in it, and never less than a quarter of the budget.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: So many bytes of what is urgent for one of what is not, while both wait.
URGENT_SHARE = 3


def urgent(targets: pd.DataFrame) -> NDArray[np.bool_]:
    """The targets that were written since they were last read, or were not what the ledger says.

    Args:
        targets: ``object_version`` and ``object_size`` as the store has them, ``known_version``,
            ``known_size`` and ``known_outcome`` of the last reading, null where there was none.
    """
    both = targets["known_version"].notna() & targets["object_version"].notna()
    written = both & (targets["known_version"] != targets["object_version"])
    sized = targets["known_size"].notna() & targets["object_size"].notna()
    resized = sized & (targets["known_size"] != targets["object_size"]).fillna(value=False)
    differed = targets["known_outcome"] == "differed"
    found: NDArray[np.bool_] = (written | resized | differed).to_numpy(dtype=bool)
    return found


def moments(read_at: pd.Series) -> NDArray[np.int64]:
    """When each target was last read, as numbers that sort; never is before everything."""
    times = pd.to_datetime(read_at, utc=True).dt.tz_localize(None).astype("datetime64[us]")
    numbers: NDArray[np.int64] = times.to_numpy().view(np.int64)  # not a time: the least of all
    return numbers


def line(
    is_urgent: NDArray[np.bool_], read_at: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.intp]:
    """The positions of all targets in the order in which they are read while the budget lasts.

    Args:
        is_urgent: see :func:`urgent`.
        read_at: see :func:`moments`.
        size: bytes, as far as the store says; 0 where it does not.
    """
    by_age: NDArray[np.intp] = np.argsort(read_at, kind="stable")
    hasty = is_urgent[by_age]
    turns: NDArray[np.float64] = np.empty(len(by_age))  # a store may say absurd sizes
    for queue, step in ((hasty, 1), (~hasty, URGENT_SHARE)):
        own = size[by_age[queue]].astype(np.float64)
        turns[queue] = step * (np.cumsum(own) - own)
        turns[np.flatnonzero(queue)[:1]] = -1.0
    order: NDArray[np.intp] = by_age[np.lexsort((~hasty, turns))]
    return order


def assured(is_urgent: NDArray[np.bool_]) -> int:
    """How many of a line are read whatever they cost: the first that is urgent, the first other.

    An object that is larger than any night's budget would never be read otherwise.
    """
    return int(is_urgent.any()) + int(not is_urgent.all())
