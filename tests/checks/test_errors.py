"""What is kept of an error: little, and of both its ends."""

import pytest

from checks.errors import MAX_TEXT, AccessRefusedError, MalformedAnswerError, StoreError

SAID = "the store said " + "x" * 20_000 + "; check the settings"


@pytest.mark.parametrize("kind", [StoreError, AccessRefusedError, MalformedAnswerError])
def test_an_error_keeps_what_happened_and_what_to_do_and_not_all_that_was_said(
    kind: type[StoreError],
) -> None:
    kept = str(kind(SAID))
    assert len(kept) <= MAX_TEXT
    assert kept.startswith("the store said xxx")
    assert kept.endswith("xxx; check the settings")


def test_a_message_of_usual_length_is_kept_whole() -> None:
    assert str(StoreError("a" * MAX_TEXT)) == "a" * MAX_TEXT
