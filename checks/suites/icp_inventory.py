"""The checks of what the canister was seen to hold: one row per memory.

The canister's pages are cut from an unordered map and are read until their union stops growing; a
memory twice in one capsule would mean that the union was not taken.
"""

from typing import Any

from great_expectations.expectations.row_conditions import Column

from checks.model import MemoryType
from checks.suites import Limits, Suite, words

_KEY = ("capsule_id", "memory_id")


def _expectations(limits: Limits) -> list[Any]:
    """The checks."""
    has_asset = Column("asset_there") == True  # noqa: E712 - a condition, not a comparison
    return [
        words.unique(_KEY, "No capsule holds a memory twice."),
        *(
            words.filled(column, f"Every memory on ICP has a value in {column}.")
            for column in (*_KEY, "asset_there", "version")
        ),
        words.one_of("memory_type", MemoryType, "Every memory type is one of the five."),
        words.not_negative("size", "No asset has a negative size."),
        words.sha256("declared_sha256", "Every declared hash is a SHA-256 in lower-case hex."),
        words.past("created_at", limits.latest, "No memory on ICP was created in the future."),
        words.past("written_at", limits.latest, "No memory on ICP was written in the future."),
        words.filled_where(
            "size", has_asset, "asset_has_size",
            "Every asset on ICP has a size.", counts=False,
        ),
    ]  # fmt: skip


SUITE = Suite(
    table="icp-canister",
    title="ICP canister: memories",
    keys=_KEY,
    columns=(
        *_KEY, "memory_type", "asset_there", "version", "size", "declared_sha256", "created_at",
        "written_at",
    ),
    expectations=_expectations,
)  # fmt: skip
