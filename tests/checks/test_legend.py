"""The page about finding kinds says what the program does, and leaves nothing out."""

from pathlib import Path

from checks.kinds import KINDS
from checks.legend import kinds_table, page, states_table
from checks.states import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "finding-kinds.md"
WRITE = (
    'python -c "from checks.legend import page; print(page(), end=str())" > docs/finding-kinds.md'
)


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text("utf-8") == page(), f"write it anew: {WRITE}"


def test_every_kind_and_every_rule_has_its_line() -> None:
    lines = kinds_table().splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == list(KINDS)
    assert len(states_table().splitlines()) == len(RULES) + 2
