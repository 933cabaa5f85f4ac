"""Words on a page: numbers read well, and nothing in a text can hide."""

import unicodedata
from datetime import timedelta

import pytest
import report_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from tasks.wording import age, count, duration, percent, size, visible


@given(st.text())
def test_every_character_of_a_shown_text_can_be_seen(text: str) -> None:
    shown = visible(text)
    assert not any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown
    )
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_a_text_with_nothing_to_hide_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (size(812), "812 B"),
        (size(999_949), "1000 kB"),
        (size(3_400_000), "3.4 MB"),
        (size(214_338_115_004), "214 GB"),
        (size(5 * 10**15), "5000 TB"),
        (duration(0.04), "0.0 s"),
        (duration(9.99), "10.0 s"),
        (duration(59.7), "1 min 0 s"),
        (duration(185), "3 min 5 s"),
        (duration(7_440), "2 h 4 min"),
        (percent(328_439, 328_440), "99.9 %"),
        (percent(1, 1_000_000), "0.1 %"),
        (percent(3, 3), "100 %"),
        (percent(0, 3), "0 %"),
        (percent(0, 0), "\u2013"),
        (age(samples.NOW, samples.NOW), "today"),
        (age(samples.NOW - timedelta(days=1), samples.NOW), "1 day ago"),
    ],
)
def test_values_read_as_a_person_would_write_them(shown: str, expected: str) -> None:
    assert shown.replace("\u00a0", " ") == expected


def test_digits_stand_in_threes() -> None:
    assert count(1_234_567) == "1\u202f234\u202f567"
