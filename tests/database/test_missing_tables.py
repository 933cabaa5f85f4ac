"""A table of the app that is not there is empty or unknown, and doctor says which."""

from edgekeeper.cli.doctor import _ask_database
from tasks.database import connect
from tasks.missing_tables import gaps
from tasks.schema import apply_schema
from tasks.settings import Settings
from tests.database.conftest import MakeDatabase

MEMORY = "11111111-1111-4111-8111-111111111111"


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
    detail, remedy = _ask_database(Settings(_env_file=None, DATABASE_URL=url))
    assert detail.startswith("Postgres")
    assert "nothing is concluded" in (remedy or "")
    assert "search_path" in (remedy or "")


def test_doctor_says_that_there_are_no_galleries(make_database: MakeDatabase) -> None:
    url = make_database("empty")
    with connect(url) as conn:
        apply_schema(conn)
    detail, _ = _ask_database(Settings(_env_file=None, DATABASE_URL=url))
    assert "a memory can be verified, a gallery can't" in detail
    assert "image: there is no table images or image in the search_path" in detail
