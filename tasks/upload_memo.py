"""Remembers upload sessions in the database, where whoever comes after a kill finds them."""

from dataclasses import dataclass

from tasks.database import Connection, transaction
from tasks.queries import query
from tasks.serial_connection import SerialConnection
from tasks.stores.icp.uploading import Session


@dataclass(frozen=True, slots=True)
class UploadMemo:
    """The memory of one upload: :class:`tasks.stores.icp.uploading.Memo`.

    Attributes:
        database: where it is remembered.
        canister_id, capsule_id: where to.
        idem: which bytes of which memory.
    """

    database: SerialConnection
    canister_id: str
    capsule_id: str
    idem: str

    async def kept(self) -> Session | None:
        """The session, None where there is none to go on with."""
        row = await self.database.run(self._execute, "kept")
        if row is None:
            return None
        number, chunk_bytes, sent, blob_id = row
        return Session(int(number), chunk_bytes, sent, blob_id)

    async def keep(self, session: Session) -> None:
        """Remembers the session in place of the one before."""
        await self.database.run(
            self._execute, "keep",
            session=str(session.number), chunk_bytes=session.chunk_bytes, sent=session.sent,
            blob_id=session.blob_id,
        )  # fmt: skip

    async def forget(self) -> None:
        """Remembers none any more."""
        await self.database.run(self._execute, "forget")

    def _execute(
        self, conn: Connection, /, name: str, **values: object
    ) -> tuple[str, int, int, str | None] | None:
        key = {"canister_id": self.canister_id, "capsule_id": self.capsule_id, "idem": self.idem}
        with transaction(conn):
            cursor = conn.execute(query("queries/uploads", name), key | values)
            return cursor.fetchone() if cursor.description else None
