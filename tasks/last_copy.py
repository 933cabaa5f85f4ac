"""Whether bytes that nothing refers to are the last copy of what a living memory was promised.

A file that was moved behind everybody's back is recognised by its bytes, but not where these could
not be read, or there were too many. So before bytes are removed for good the ledger is asked
whether it has recorded them for a memory whose own file does not hold them.
"""

from dataclasses import dataclass

from checks.model import MemoryType
from checks.normal import BlobAddress, is_uuid
from tasks.app_tables import find_app_tables
from tasks.database import Connection, transaction
from tasks.queries import query
from tasks.serial_connection import SerialConnection
from tasks.stores.blob.store import BlobStore
from tasks.stores.protocol import HashedObject
from tasks.subjects import Subject, read_subjects


@dataclass(frozen=True, slots=True)
class LastCopies:
    """What asking needs.

    Attributes:
        blob: the store.
        database: Neon.
        address: which URLs are the store's own.
    """

    blob: BlobStore
    database: SerialConnection
    address: BlobAddress

    async def why_needed(self, read: HashedObject) -> str | None:
        """Why bytes that were read now are not to be removed, None where nothing needs them.

        Raises StoreError where a memory's own file can't be read: nobody can say then.
        """
        pairs = await self.database.run(recorded_for, read)
        strange = [memory_id for memory_id, _ in pairs if not is_uuid(memory_id)]
        if strange:
            return f"the ledger has these bytes for {strange[0]!r}, which is no memory's id"
        for subject in await self.database.run(read_subjects, pairs, self.address):
            if subject.there and not await self._holds(subject, read):
                return (
                    f"the ledger has these bytes for {subject}, whose own file does not hold them: "
                    "let its url name this file, or copy it there"
                )
        return None

    async def _holds(self, subject: Subject, read: HashedObject) -> bool:
        """Whether a memory's own file holds the bytes; of an unknown hash the size has to do."""
        if subject.pathname is None:
            return False
        if read.sha256 in {each.lower() for each in subject.recorded_hashes()}:
            own = await self.blob.read(subject.pathname)
            return own is not None and own.sha256 == read.sha256
        seen = await self.blob.look_up(subject.pathname)
        return seen is not None and seen.size == read.size


def recorded_for(conn: Connection, read: HashedObject) -> list[tuple[str, str]]:
    """The memories, by id and type, whose file the ledger says to be these bytes, or may be."""
    with transaction(conn, snapshot=True):
        edges = find_app_tables(conn).ledger().identifier
        found = conn.execute(
            query("queries/quarantine", "recorded_for", edges=edges),
            {"sha256": read.sha256, "size": read.size, "note": MemoryType.NOTE.value},
        ).fetchall()
    return [(memory_id.lower(), memory_type) for memory_id, memory_type in found]
