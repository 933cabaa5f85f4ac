"""What Neon names now is found among all that it names, of which nothing is kept."""

import uuid
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from checks.normal import BlobAddress
from tasks import copy_out, references
from tasks.database import Connection
from tasks.references import still_named

ADDRESS = BlobAddress("AbC123")
OWN = "https://abc123.public.blob.vercel-storage.com/"


def test_every_source_names_and_what_was_not_asked_for_is_left_out(conn: Connection) -> None:
    conn.execute("INSERT INTO images (url) VALUES (%s), (NULL), ('no url')", [OWN + "v%20%C3%A4"])
    conn.execute("INSERT INTO documents (url) VALUES (%s)", [OWN + "not/asked/for"])
    for metadata in (f'{{"thumbnail": "{OWN}one"}}', f'"{{\\"thumbnail\\": \\"{OWN}two\\"}}"', "3"):
        conn.execute("INSERT INTO videos (metadata) VALUES (%s)", [metadata])
    conn.execute("INSERT INTO users (image) VALUES (%s)", [OWN + "me"])
    conn.execute(
        "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend, present, location)"
        " VALUES (%s, 'image', 'asset', 'vercel-blob', true, 'edge')",
        [uuid.uuid4()],
    )
    named = {"v ä", "one", "two", "me", "edge"}
    assert still_named(conn, ADDRESS, [*named, "nobody's", "no url"]) == named
    assert still_named(conn, ADDRESS, ["not/asked"]) == set()
    assert still_named(conn, ADDRESS, []) == set()


def test_however_many_references_there_are_none_is_kept(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    conn.execute(
        "INSERT INTO images (url) SELECT %s || repeat('long/', 30) || n"
        " FROM generate_series(1, 40000) n",
        [OWN],
    )
    conn.execute("INSERT INTO images (url) VALUES (%s)", [OWN + "asked/for"])
    monkeypatch.setattr(copy_out, "_CHUNK_BYTES", 1 << 18)
    held = []

    def watched(*query: Any) -> Iterator[Any]:
        for table in copy_out.copy_tables(*query):
            held.append(pa.total_allocated_bytes())
            yield table

    monkeypatch.setattr(references, "copy_tables", watched)
    assert still_named(conn, ADDRESS, ["asked/for", "elsewhere"]) == {"asked/for"}
    assert len(held) > 20
    assert max(held) - held[0] < 1 << 21  # of 8 MB
