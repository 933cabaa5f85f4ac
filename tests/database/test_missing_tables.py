"""A table of the app that is not there is empty or unknown, and doctor says which."""

from tasks.database import connect
from tasks.examination import Check, ask_database
from tasks.missing_tables import gaps
from tasks.schema import apply_schema
from tasks.settings import Settings
from tests.database.conftest import MakeDatabase

MEMORY = "11111111-1111-4111-8111-111111111111"


def looked_at(url: str) -> Check:
    """What the doctor says of the tables."""
    found = ask_database(Settings(_env_file=None, DATABASE_URL=url))
    return next(each for each in found.checks if each.what == "tables")


def test_a_missing_table_is_empty_while_the_ledger_knows_of_none_of_its_type(
    make_database: MakeDatabase,
) -> None:
    url = make_database("deployed")
    with connect(url) as conn:
        apply_schema(conn)
        wrong, known = gaps(conn)
        assert wrong == []
        assert [each.partition(":")[0] for each in known] == ["document"]
        conn.execute(
            "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend) "
            "VALUES (%s, 'document', 'metadata', 'neon-db')",
            [MEMORY],
        )
        wrong, known = gaps(conn)
        assert "the ledger has 1 edges of this type" in wrong[0]
        assert known == []
    tables = looked_at(url)
    assert "nothing is concluded" in tables.detail
    assert "search_path" in (tables.remedy or "")


def test_doctor_says_that_there_are_no_galleries(make_database: MakeDatabase) -> None:
    url = make_database("empty")
    with connect(url) as conn:
        apply_schema(conn)
    detail = looked_at(url).detail
    assert "a memory can be verified, a gallery can't" in detail
    assert "image: there is no table images or image in the search_path" in detail
