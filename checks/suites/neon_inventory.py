"""The checks of what Neon was seen to hold: the rows of the five memory tables.

Not watched here, because it is drift and therefore a finding: ids that are no UUIDs, one id under
two types, URLs that name no object of the blob store.
"""

from typing import Any

from checks.model import MemoryType
from checks.suites import Limits, Suite, words

_KEY = ("memory_id", "memory_type")


def _expectations(limits: Limits) -> list[Any]:
    """The checks. A row dated in the future would stay in its grace period and never be judged."""
    return [
        words.unique(_KEY, "No memory table holds an id twice."),
        *(
            words.filled(column, f"Every memory has a value in {column}.")
            for column in (*_KEY, "version")
        ),
        words.one_of("memory_type", MemoryType, "Every memory type is one of the five."),
        words.not_negative("content_size", "No content has a negative length."),
        words.sha256("content_sha256", "Every hash of a note's text is a SHA-256."),
        words.past("created_at", limits.latest, "No memory was created in the future."),
        words.past("written_at", limits.latest, "No memory was written in the future."),
    ]


SUITE = Suite(
    table="neon-db",
    title="Neon: memories",
    keys=_KEY,
    columns=(*_KEY, "version", "content_size", "content_sha256", "created_at", "written_at"),
    expectations=_expectations,
)
