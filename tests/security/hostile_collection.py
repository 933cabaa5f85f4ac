# ruff: noqa: S608 - the tables' names are the sandbox's own
"""A collection with rows, names and addresses of the worst kind, and what no page may make of it."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
from damaged_sandbox import BLOB, Box

from tasks.settings import Settings

SCRIPT = "<script>document.title='it ran'</script><img src=x onerror=\"document.title='it ran'\">"
HOSTILE_NAMES = (
    f"images/{SCRIPT}.jpg", "images/\u202egpj.exe", "images/\u200b{{7*7}}.jpg", '=HYPERLINK("x";"y")',
    "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "images/<table><base href=x>.jpg", "images/$(id)`id`.jpg",
)  # fmt: skip
TITLE = f"{SCRIPT}\x1b[31m\u202e\r\n=1+1"


#: What turns text around, hides in it, or drives a terminal.
INVISIBLE = frozenset("\u202e\x1b\u200b\x07")


def hostile_urls(store: str, port: int) -> list[str]:
    """URLs that look like the store's own, or lead to where nobody should go."""
    own = f"{store.lower()}.public.blob.vercel-storage.com"
    return [
        "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "javascript:alert(1)",
        f"https://{own}.evil.example/images/a.jpg", f"https://{own}@evil.example/images/a.jpg",
        f"https://evil.example\\@{own}/a.jpg", f"https://{own}:8443/images/a.jpg",
        "https://otherstore.public.blob.vercel-storage.com/a.jpg", f"http://{own}/a.jpg",
        f"https://{own.replace('e', chr(0x435), 1)}/a.jpg", f"http://127.0.0.1:{port}/a.jpg",
        f"http://localhost:{port}/a.jpg", f"//127.0.0.1:{port}/a.jpg", f"http://[::1]:{port}/a.jpg",
        f"http://2130706433:{port}/a.jpg", f"http://127.0.0.1:{port}\t/a.jpg",
        f"https://{own}\u3002evil.example/a.jpg",
    ]  # fmt: skip


def plant(box: Box, settings: Settings, port: int) -> str:
    """Hostile texts in the database, hostile names in the blob store; gives a gallery of them.

    Some of the URLs lead to ``port`` of this machine, where nobody should come.
    """
    urls = hostile_urls(settings.blob_store_id or "", port)
    ids = [row[0] for row in box.sql("SELECT id FROM images ORDER BY id LIMIT %s", len(urls))]
    gallery, owner = box.sql("SELECT id, owner_id FROM galleries ORDER BY id LIMIT 1")[0]
    box.sql("UPDATE galleries SET title = %s WHERE id = %s", TITLE, gallery)
    box.sql("DELETE FROM gallery_items WHERE gallery_id = %s", gallery)
    for number, (memory_id, url) in enumerate(zip(ids, urls, strict=True)):
        box.sql("UPDATE images SET url = %s, title = %s WHERE id = %s", url, TITLE, memory_id)
        box.sql(
            "INSERT INTO gallery_items (id, gallery_id, memory_id, memory_type, position) "
            "VALUES (gen_random_uuid(), %s, %s, 'image', %s)",
            gallery, memory_id, number,
        )  # fmt: skip
    box.sql("UPDATE users SET image = %s WHERE id = %s", urls[0], owner)
    box.sql("UPDATE videos SET metadata = %s", json.dumps({"thumbnail": urls[3]}))
    assert settings.blob_token is not None
    headers = {"authorization": f"Bearer {settings.blob_token.get_secret_value()}"}
    for name in HOSTILE_NAMES:
        httpx.put(
            f"{settings.blob_api_url}/", params={"pathname": name}, content=b"x", headers=headers
        ).raise_for_status()
    return str(gallery)


def plant_locations(box: Box, settings: Settings, port: int) -> None:
    """The same URLs as the places where edges say that files are."""
    for number, url in enumerate(hostile_urls(settings.blob_store_id or "", port)):
        place = f"(SELECT id FROM storage_edges WHERE backend = '{BLOB}' ORDER BY id OFFSET {number} LIMIT 1)"
        box.sql(f"UPDATE storage_edges SET location = %s WHERE id = {place}", url)


#: Buttons of Great Expectations; the scripts that they would call are taken out of its pages.
_BUTTONS = ("showAllValidations()", "hideSucceededValidations()")


class Parts(HTMLParser):
    """The elements of a page that could do something."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        odd = [
            (name, value) for name, value in attrs
            if (name.startswith("on") and value not in _BUTTONS)
            or re.match(r"\s*(javascript|data|https?):", value or "")
        ]  # fmt: skip
        if tag in ("script", "img", "iframe", "object", "embed", "base") or odd:
            self.active.append(f"{tag} {odd}")
