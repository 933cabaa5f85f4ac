"""Records what the sandbox's servers answer, as the fuzzers' first inputs.

Run by hand when an answer's form changes: ``PYTHONPATH=. python tests/fuzz/record.py``.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import Box, command_line

from tasks.stores.icp import IcpStore
from tasks.stores.icp.canister import MEMORIES_LIST_ASSETS, MEMORIES_READ, Canister
from tasks.stores.icp.transport import Transport

RECORDED = Path(__file__).parent / "recorded"


def main() -> None:
    """Fills ``recorded/`` anew."""
    RECORDED.mkdir(exist_ok=True)
    for old in RECORDED.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as top:
        box = Box.started(Path(top) / "sandbox").fill(60, 5, None)
        try:
            record_blobs(box)
            asyncio.run(record_canister(box, Path(top)))
            record_evidence(box, Path(top))
        finally:
            box.stop()


def keep(name: str, data: bytes) -> None:
    """Writes one answer down; a second one of the same name gets a number."""
    stem, _, suffix = name.rpartition(".")
    number = len(list(RECORDED.glob(f"{stem}*.{suffix}")))
    (RECORDED / f"{stem}{f'-{number}' if number else ''}.{suffix}").write_bytes(data)


def record_blobs(box: Box) -> None:
    """Pages, a look-up, a write, and each refusal that the server makes by itself."""
    settings = box.settings(Path("unused"))
    assert settings.blob_token is not None
    token = settings.blob_token.get_secret_value()
    with httpx.Client(headers={"authorization": f"Bearer {token}"}) as client:
        api = settings.blob_api_url
        page = client.get(api, params={"limit": "5"})
        keep("blob-page.json", page.content)
        keep("blob-page.json", client.get(api, params={"limit": "1000"}).content)
        keep(
            "blob-head.json",
            client.get(api, params={"url": page.json()["blobs"][0]["url"]}).content,
        )
        keep("blob-error.json", client.get(api, params={"url": "nowhere"}).content)
        keep("blob-error.json", client.get(api, headers={"authorization": "Bearer x"}).content)
        put = client.put(f"{api}/", params={"pathname": "images/ein Tag.jpg"}, content=b"lake")
        keep("blob-put.json", put.content)


async def record_canister(box: Box, home: Path) -> None:
    """Every question an audit asks, as the replica answered it."""
    settings = box.settings(home)
    answered = Transport._attempt

    async def attempt(self: Any, method: str, path: str, body: bytes | None) -> Any:
        status, content = await answered(self, method, path, body)
        keep(f"icp-{path.rpartition('/')[2]}.cbor", content)
        return status, content

    Transport._attempt = attempt  # type: ignore[method-assign]
    store = IcpStore.from_settings(settings, known_capsules=())
    canister: Canister = store.canister
    try:
        (capsule, *_) = await canister.capsules()
        await canister.whoami()
        page = await canister.memories_page(capsule.id, limit=7)
        assert page is not None
        for item in page.items[:3]:
            await canister.memory(item["id"])
            await canister.asset_ids(item["id"])
            await record_assets(canister, item["id"])
        await canister.memories_page("no such capsule")
        await canister.ping([item["id"] for item in page.items])
        for gallery in (await canister.galleries())[:1]:
            await canister.gallery(gallery["id"])
        await canister.upload_config()
        await canister.service_interface()
        await canister.controllers()
        await canister.certified(MEMORIES_READ, page.items[0]["id"])
        await canister.certified(MEMORIES_LIST_ASSETS, "no such memory")
        await canister.agent.transport.get("/api/v2/status")
    finally:
        Transport._attempt = answered  # type: ignore[method-assign]
        await store.aclose()
    (RECORDED / "root_key.hex").write_text(settings.ic_root_key + "\n")


async def record_assets(canister: Canister, memory_id: str) -> None:
    memory = await canister.memory(memory_id)
    assert memory is not None
    for asset in memory.assets:
        await canister.asset(memory_id, asset.asset_id)
        if asset.locator is not None:
            await canister.blob_meta(asset.locator)
            await canister.blob_chunk(asset.locator, 0)


def record_evidence(box: Box, home: Path) -> None:
    """A statement with its certificates, as a verification of a small gallery leaves them."""
    with psycopg.connect(box.directory.database_url) as conn:
        found = conn.execute(
            "SELECT gallery_id::text FROM gallery_items GROUP BY 1 ORDER BY count(*) LIMIT 1"
        ).fetchone()
    assert found is not None
    done = command_line(box, home / "home", "verify", found[0], "--certified", "--quiet")
    (run,) = (home / "home" / "runs").iterdir()
    assert done.returncode in (0, 1), done.stderr
    keep("statement.json", (run / "statement.json").read_bytes())
    for certificate in sorted((run / "certificates").iterdir())[:3]:
        keep("evidence.cbor", certificate.read_bytes())


if __name__ == "__main__":
    main()
