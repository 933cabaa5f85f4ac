"""The seed data set: who owns which memories, what they are called, when what happened.

Everything is a pure function of the recipe and a number, so that parts can be made by several
processes in any order, and made again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from random import Random
from typing import Any, Final
from uuid import UUID

from sandbox import names
from sandbox.content import Generated
from sandbox.icp.principal import self_authenticating, to_text

DAY_MS: Final = 24 * 60 * 60 * 1000
MIN_BYTES: Final = 64  # beyond the 32 bytes that make one generated body differ from all others
MAX_BYTES: Final = 64 * 1024 * 1024
PUBLIC_SHARE: Final = 0.1
SPREAD: Final = 1.0  # standard deviation of the logarithm of the sizes
# Nothing is younger than this, whatever the day: the same seed is to give the same data.
_LAST_DAY: Final = datetime(2026, 10, 1, tzinfo=UTC)
_OLDEST_DAYS: Final = 700
_YOUNGEST_DAYS: Final = 50  # what follows an upload takes up to 41 days
_MEMORIES_PER_USER: Final = 250
_FEWEST_USERS: Final = 3
_EDITED: Final = 0.2
_WITHOUT_AVATAR: Final = 3  # every third user has none
_WITH_THUMBNAIL: Final = 0.7
_WITH_DERIVED: Final = 0.3
_CAPSULE_STEP_S: Final = 7_919
# Of fifty memories: 30 images, 5 videos, 6 notes, 5 documents, 4 audio recordings.
_TYPES: Final = (
    ("image",) * 30 + ("video",) * 5 + ("note",) * 6 + ("document",) * 5 + ("audio",) * 4
)

FOLDERS: Final[Mapping[str, str]] = {
    "image": "images",
    "video": "videos",
    "document": "documents",
    "audio": "audio",
}
_MEDIA: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "image": (("jpg", "image/jpeg"), ("png", "image/png"), ("heic", "image/heic")),
    "video": (("mp4", "video/mp4"), ("mov", "video/quicktime")),
    "document": (("pdf", "application/pdf"), ("txt", "text/plain")),
    "audio": (("mp3", "audio/mpeg"), ("m4a", "audio/mp4")),
}


@dataclass(frozen=True, slots=True)
class File:
    """Bytes in the blob store."""

    pathname: str
    content_type: str
    body: Generated
    uploaded_at: int


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with memories, and with a capsule on the canister. Times are ms since 1970."""

    number: int
    id: str
    account_id: str
    name: str
    email: str
    avatar: File | None
    capsule_id: str
    principal: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory. Times are ms since 1970 and follow each other in the order of the fields."""

    number: int
    id: str
    kind: str
    owner: int
    title: str
    caption: str | None
    is_public: bool
    secure_code: str
    metadata: dict[str, Any]
    file: File | None
    text: str | None
    thumbnail: File | None
    derived: tuple[tuple[str, Generated], ...]
    on_icp: bool
    created_at: int
    updated_at: int
    recorded_at: int
    copied_at: int
    synced_at: int

    @property
    def mime_type(self) -> str:
        """The media type of the asset."""
        return self.file.content_type if self.file else "text/plain"


@dataclass(frozen=True)
class Recipe:
    """What to make: the same recipe makes the same data."""

    seed: int
    memories: int
    galleries: int
    median_bytes: int
    icp_share: float

    @property
    def users(self) -> int:
        """How many users there are."""
        return max(_FEWEST_USERS, self.memories // _MEMORIES_PER_USER)

    @cached_property
    def end(self) -> int:
        """When the data set ends, in ms since 1970; at least three days ago."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return to_ms(min(_LAST_DAY, today - timedelta(days=3)))

    def rng(self, *purpose: object) -> Random:
        """Random numbers for one purpose, always the same."""
        return Random("/".join(map(str, (self.seed, *purpose))))

    def body(self, name: str, length: int) -> Generated:
        """Bytes that nothing else in the data set has."""
        return Generated(f"{self.seed}/{name}", length)

    def user(self, number: int) -> User:
        """The user with this number."""
        rng = self.rng("user", number)
        user_id = make_uuid(rng)
        created_at = self.end - (_OLDEST_DAYS + 5) * DAY_MS
        created_at -= (self.users - number) * _CAPSULE_STEP_S * 1000
        avatar = None
        if number % _WITHOUT_AVATAR:
            path = f"avatars/{user_id}.png"
            avatar = File(
                path, "image/png", self.body(path, rng.randrange(2_000, 9_000)), created_at
            )
        key = self.body(f"user-{number}", 64).read()
        return User(
            number=number,
            id=user_id,
            account_id=make_uuid(rng),
            name=f"User {number}",
            email=f"user{number}@example.org",
            avatar=avatar,
            capsule_id=f"capsule_{created_at * 1_000_000}",
            principal=to_text(self_authenticating(key)),
            created_at=created_at,
        )

    def memory(self, number: int) -> Memory:
        """The memory with this number."""
        rng = self.rng("memory", number)
        memory_id = make_uuid(rng)
        kind = _type_pattern()[number % len(_TYPES)]
        uploaded = self.end - int(rng.uniform(_YOUNGEST_DAYS, _OLDEST_DAYS) * DAY_MS)
        created = uploaded + rng.randrange(100, 5_000)
        updated = created
        if rng.random() < _EDITED:
            updated += rng.randrange(60_000, 20 * DAY_MS)
        copied = updated + rng.randrange(60_000, 20 * DAY_MS)
        file = text = None
        if kind == "note":
            text = names.note(rng, number)
        else:
            file = self._file(rng, kind, memory_id, uploaded)
        thumbnail = None
        if kind == "video" and rng.random() < _WITH_THUMBNAIL:
            thumbnail = self._thumbnail(rng, memory_id, uploaded)
        on_icp = rng.random() < self.icp_share
        return Memory(
            number=number,
            id=memory_id,
            kind=kind,
            owner=int(self.users * rng.random() ** 2),
            title=names.title(rng),
            caption=names.caption(rng),
            is_public=rng.random() < PUBLIC_SHARE,
            secure_code=f"{rng.getrandbits(128):032x}",
            metadata=_metadata(rng, kind, file),
            file=file,
            text=text,
            thumbnail=thumbnail,
            derived=self._derived(rng, kind, memory_id) if on_icp else (),
            on_icp=on_icp,
            created_at=created,
            updated_at=updated,
            recorded_at=updated + rng.randrange(20, 3_000),
            copied_at=copied,
            synced_at=copied + rng.randrange(200, 20_000),
        )

    def _file(self, rng: Random, kind: str, memory_id: str, uploaded: int) -> File:
        extension, content_type = rng.choice(_MEDIA[kind])
        path = names.pathname(rng, FOLDERS[kind], extension)
        size = int(self.median_bytes * math.exp(rng.gauss(0, SPREAD)))
        body = self.body(memory_id, min(max(size, MIN_BYTES), MAX_BYTES))
        return File(path, content_type, body, uploaded)

    def _thumbnail(self, rng: Random, memory_id: str, uploaded: int) -> File:
        path = names.pathname(rng, "thumbnails", "jpg")
        body = self.body(f"{memory_id}/thumbnail", rng.randrange(1_000, 6_000))
        return File(path, "image/jpeg", body, uploaded)

    def _derived(self, rng: Random, kind: str, memory_id: str) -> tuple[tuple[str, Generated], ...]:
        if kind not in ("image", "video") or rng.random() > _WITH_DERIVED:
            return ()
        sizes = {"Thumbnail": rng.randrange(500, 3_000), "Display": rng.randrange(3_000, 12_000)}
        wanted = list(sizes)[: rng.randrange(1, 3)]
        return tuple(
            (name, self.body(f"{memory_id}/{name.lower()}", sizes[name])) for name in wanted
        )


def _metadata(rng: Random, kind: str, file: File | None) -> dict[str, Any]:
    """The JSON column; a video's thumbnail is added where its URL is known."""
    if file is None:
        return {"tags": rng.sample(["family", "travel", "été", "work"], 2), "mood": "calm"}
    size, name = file.body.length, file.pathname.rpartition("/")[2]
    if kind in ("image", "document"):
        described = {
            "size": size,
            "mimeType": file.content_type,
            "originalName": name,
            "uploadedAt": to_datetime(file.uploaded_at).isoformat(timespec="milliseconds") + "Z",
        }
        return described | (
            {"dimensions": {"width": 4032, "height": 3024}} if kind == "image" else {}
        )
    if kind == "video":
        return {"width": 1920, "height": 1080, "format": file.content_type.rpartition("/")[2]}
    return {"format": file.content_type.rpartition("/")[2], "bitrate": 128_000, "channels": 2}


@cache
def _type_pattern() -> tuple[str, ...]:
    return tuple(Random(0).sample(_TYPES, len(_TYPES)))


def make_uuid(rng: Random) -> str:
    """A random UUID (version 4) in canonical form."""
    return str(UUID(int=rng.getrandbits(128), version=4))


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def to_datetime(ms: int) -> datetime:
    """The UTC time without a zone, as the app's columns have it."""
    return datetime(1970, 1, 1) + timedelta(milliseconds=ms)  # noqa: DTZ001
