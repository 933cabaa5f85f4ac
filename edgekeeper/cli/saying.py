"""What a person says of a finding on the command line: which one, and why."""

from typing import Annotated

import typer

from checks.errors import UsageError

LONGEST_REASON = 1_000

Fingerprint = Annotated[
    str, typer.Argument(metavar="FINGERPRINT", help="The finding's, as the report shows it.")
]


def reason_of(text: str) -> str:
    """The reason. Raises UsageError where it says nothing, or is a document."""
    if not text.strip() or len(text) > LONGEST_REASON:
        raise UsageError(f"--reason: say why, in 1 to {LONGEST_REASON:,} characters.")
    return text.strip()
