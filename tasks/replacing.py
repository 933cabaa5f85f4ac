"""Replacing an original in the canister, which has no method for that: the memory is made anew.

What the memory is made of is kept aside first, its bytes on the disk and in the database what it is
to be made of; all its assets are uploaded again; only then it is removed and created under the same
id. Killed in between, the next run finds what it is to be made of and creates it.

A memory that could not be made again as it was is left as it is: one that is shared with somebody,
or one with an asset whose bytes are in another store or can't be read.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from checks.errors import ObjectChangedError, StoreError
from checks.model import Backend
from checks.normal import icp_location
from tasks.copying import CanisterTarget, Uploaded
from tasks.database import Connection, transaction
from tasks.lease import Fence, still_ours
from tasks.quarantine import Kept, brought_back, keep, place, removed, write_body
from tasks.queries import query
from tasks.sources import IN_MEMORY, Source
from tasks.stores.icp.memory import Asset, Memory
from tasks.stores.icp.uploading import Upload, upload
from tasks.stores.icp.written import Described
from tasks.subjects import Subject


class NotReplaceableError(StoreError):
    """A memory can't be made anew as it was: it is left as it is."""


@dataclass(frozen=True, slots=True)
class Replacing:
    """What replacing needs.

    Attributes:
        target: the canister.
        home: where what is replaced is kept.
        fence: the lease under which it is done.
    """

    target: CanisterTarget
    home: Path
    fence: Fence

    async def replace(
        self, subject: Subject, memory: Memory, source: Source, described: Described
    ) -> Memory:
        """Makes the memory anew with the source's bytes as its original, and reads it back.

        Raises NotReplaceableError where it could not be made again as it was, ObjectChangedError
        where it was written while that was prepared.
        """
        whole = await self.target.updates.whole(memory.id)
        _check_replaceable(subject, whole, memory)
        blob_id = await self.target.upload(subject, source, memory.capsule_id)
        original = Uploaded(blob_id, source.size, source.sha256, source.content_type)
        directory = place(self.home, self.fence.run_id, Backend.ICP, _where(memory))
        assets: list[dict[str, Any]] = [original.described(described)]
        for number, asset in enumerate(memory.assets):
            if asset.asset_type == "Original":
                await self._keep_original(asset, directory)
            else:
                assets.append(await self._again(subject, memory, asset, whole, directory, number))
        metadata = whole["metadata"] | {
            "total_size": sum(each["metadata"][1]["base"]["bytes"] for each in assets),
            "asset_count": len(assets),
        }
        anew = {"metadata": metadata, "assets": assets}
        return await self._swap(memory, whole, directory, anew)

    async def finish(self, location: str) -> Memory | None:
        """Creates a memory that a killed run had removed to replace it; None: there is none."""
        manifest = await self.target.database.run(_half_replaced, location)
        if manifest is None:
            return None
        return await self._create(location, _decoded(manifest["anew"]), manifest["kept"])

    async def _swap(
        self, memory: Memory, whole: dict[str, Any], directory: Path, anew: dict[str, Any]
    ) -> Memory:
        location, run_id = _where(memory), self.fence.run_id
        await self.target.database.run(_settled, location)
        row = {"kept_at": str(directory), "run_id": run_id}
        kept = Kept(
            run_id, Backend.ICP, location, str(memory.updated_at), memory.content_type,
            0, "", directory, {"anew": _encoded(anew), "kept": row},
        )  # fmt: skip
        await self.target.database.run(keep, kept)
        await self.target.database.run(still_ours, self.fence)
        # The canister deletes on no condition: the last look is as late as it can be.
        if await self.target.updates.whole(memory.id) != whole:
            await self.target.database.run(_settled, location)
            raise ObjectChangedError(f"{location} was written meanwhile; it was not replaced")
        await self.target.updates.delete(memory.id, delete_assets=True)
        await self.target.database.run(removed, kept)
        return await self._create(location, anew, row)

    async def _create(self, location: str, anew: dict[str, Any], row: dict[str, str]) -> Memory:
        capsule_id, memory_id = location.removeprefix("icp://").split("/")
        await self.target.updates.create(capsule_id, anew["metadata"], anew["assets"], memory_id)
        memory = await self.target.present(location)
        done = Kept(row["run_id"], Backend.ICP, location, None, None, 0, "", Path(row["kept_at"]))
        await self.target.database.run(brought_back, done)
        return memory

    async def _keep_original(self, asset: Asset, directory: Path) -> None:
        """Keeps the bytes that are to be replaced, as far as they can be read."""
        with _spool(directory) as body:
            if await self.target.store.digests(asset, body) is not None:
                write_body(directory, body, f"original-{asset.asset_id}")

    async def _again(
        self,
        subject: Subject,
        memory: Memory,
        asset: Asset,
        whole: dict[str, Any],
        directory: Path,
        number: int,
    ) -> dict[str, Any]:
        """Another asset of the memory, kept aside and uploaded once more."""
        with _spool(directory) as body:
            digests = await self.target.store.digests(asset, body)
            if digests is None:
                raise NotReplaceableError(
                    f"the {asset.asset_type} of {subject} on the canister can't be read: the "
                    "memory can't be made anew as it was"
                )
            write_body(directory, body, f"asset-{number}")
            idem = f"{memory.id}/{asset.asset_id}/{digests.sha256}"
            wanted = Upload(memory.capsule_id, body, digests.size, digests.sha256, idem)
            memo = self.target.memo(memory.capsule_id, idem)
            blob_id = await upload(self.target.updates, wanted, self.target.chunk_bytes, memo)
        return {"blob_id": blob_id, "metadata": _metadata_of(whole, asset)}


def _check_replaceable(subject: Subject, whole: dict[str, Any], memory: Memory) -> None:
    if whole["access_entries"]:
        raise NotReplaceableError(
            f"{subject} on the canister is shared with somebody, which could not be made again: "
            "its original can't be replaced"
        )
    if whole["blob_external_assets"]:
        raise NotReplaceableError(
            f"{subject} on the canister has an asset in another store: it can't be made anew"
        )
    if memory.memory_type != subject.memory_type:
        raise NotReplaceableError(
            f"the canister has {subject} as a {memory.memory_type}: it can't be made anew"
        )


def _metadata_of(whole: dict[str, Any], asset: Asset) -> Any:
    return next(
        each["metadata"]
        for name in ("inline_assets", "blob_internal_assets")
        for each in whole[name]
        if each["asset_id"] == asset.asset_id
    )


def _where(memory: Memory) -> str:
    return icp_location(memory.capsule_id, memory.id)


def _half_replaced(conn: Connection, location: str) -> dict[str, Any] | None:
    with transaction(conn):
        statement = query("queries/quarantine", "half_replaced")
        row = conn.execute(statement, {"location": location}).fetchone()
    return None if row is None else row[0]


def _settled(conn: Connection, location: str) -> None:
    """The memory is there: no removal of it is half done, whatever was begun once."""
    with transaction(conn):
        conn.execute(query("queries/quarantine", "settled"), {"location": location})


def _spool(directory: Path) -> IO[bytes]:
    return cast("IO[bytes]", SpooledTemporaryFile(IN_MEMORY, dir=str(directory)))


_HEX = "hex:"


def _encoded(value: Any) -> Any:
    """What a memory is made of as JSON: bytes in hex, a variant as a list of two."""
    if isinstance(value, bytes):
        return _HEX + value.hex()
    if isinstance(value, dict):
        return {name: _encoded(each) for name, each in value.items()}
    return [_encoded(each) for each in value] if isinstance(value, list | tuple) else value


def _decoded(anew: dict[str, Any]) -> dict[str, Any]:
    """The same as it is written to the canister: of its texts only hashes were bytes."""
    for asset in anew["assets"]:
        base = asset["metadata"][1]["base"]
        digest = base["sha256"]
        base["sha256"] = bytes.fromhex(digest.removeprefix(_HEX)) if digest else None
    return anew
