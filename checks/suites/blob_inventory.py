"""The checks of what Vercel Blob was seen to hold: one row per object.

A pathname twice is what a listing yields that repeats a page; objects that nothing refers to are
findings.
"""

from typing import Any

from checks.suites import Limits, Suite, words

#: A pathname in normal form: no leading slash, no empty segment inside, no control characters.
PATHNAME = r"^(?!/)(?!.*//)[^\x00-\x1f\x7f]+$"


def _expectations(limits: Limits) -> list[Any]:
    """The checks. An object dated in the future would never be old enough to be judged."""
    return [
        words.unique(("location",), "The listing names every object once."),
        *(
            words.filled(column, f"Every object has a value in {column}.")
            for column in ("location", "size", "version", "written_at")
        ),
        words.matches("location", PATHNAME, "Every pathname is in its normal form."),
        words.not_negative("size", "No object has a negative size."),
        words.past("written_at", limits.latest, "No object was uploaded in the future."),
    ]


SUITE = Suite(
    table="vercel-blob",
    title="Vercel Blob: objects",
    keys=("location",),
    columns=("location", "size", "version", "written_at"),
    expectations=_expectations,
)
