"""Items of galleries whose memory has no row, and what the ledger knows of such a memory."""

from uuid import uuid4

from tasks.collection import rowless_items
from tasks.database import Connection

GALLERY, OTHER = str(uuid4()), str(uuid4())


def test_a_memory_was_in_neon_that_the_ledger_knows_from_elsewhere_than_the_canister(
    conn: Connection,
) -> None:
    there, in_blob, on_canister, unknown = (str(uuid4()) for _ in range(4))
    conn.execute("INSERT INTO images (id) VALUES (%s)", [there])
    conn.execute("INSERT INTO galleries (id) VALUES (%s), (%s)", [GALLERY, OTHER])
    for memory_id, backend in (
        (in_blob, "vercel-blob"), (in_blob, "icp-canister"), (on_canister, "icp-canister"),
    ):  # fmt: skip
        conn.execute(
            "INSERT INTO storage_edges (memory_id, memory_type, artifact, backend)"
            " VALUES (%s, 'image', 'asset', %s)",
            [memory_id, backend],
        )
    for gallery, memory_id in (
        *((GALLERY, each) for each in (there, in_blob, on_canister, unknown)), (OTHER, in_blob),
    ):  # fmt: skip
        conn.execute(
            "INSERT INTO gallery_items (gallery_id, memory_id, memory_type)"
            " VALUES (%s, %s, 'image')",
            [gallery, memory_id],
        )

    def found(gallery: str | None) -> dict[tuple[str, str], bool]:
        cases = rowless_items(conn, unknown_types=(), gallery_id=gallery)
        return {(each["gallery_id"], each["memory_id"]): each["was_in_neon"] for each in cases}

    own = {(GALLERY, in_blob): True, (GALLERY, on_canister): False, (GALLERY, unknown): False}
    assert found(GALLERY.upper()) == own
    assert found(None) == own | {(OTHER, in_blob): True}
    assert rowless_items(conn, unknown_types=("image",)) == []
