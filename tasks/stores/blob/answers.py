"""What the API says, taken apart and checked: objects, pages of a listing, error envelopes.

Nothing here guesses. An answer that lacks a field or has one of another type is a
:class:`checks.errors.MalformedAnswerError`, and nobody draws a conclusion from it.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import orjson

from checks import normal
from checks.errors import MalformedAnswerError

#: Larger than any object can be, by a factor of ten: the store takes objects of up to 5 TB.
MAX_SIZE = 50 * 10**12
#: Times outside these years are no times of writing, and what computes with them would break.
_YEARS = range(1970, 2200)


class BlobVersion(NamedTuple):
    """What changes whenever an object is written.

    The same bytes put again have the same etag, so only the etag with the time tells versions
    apart. As text: ``<etag>@<time in UTC, milliseconds>``.

    Attributes:
        etag: in its normal form, without quotes.
        uploaded_at: in UTC; None where only the etag is known.
    """

    etag: str
    uploaded_at: datetime | None

    def __str__(self) -> str:
        if self.uploaded_at is None:
            return self.etag
        moment = self.uploaded_at.astimezone(UTC).isoformat(timespec="milliseconds")
        return f"{self.etag}@{moment[:-6]}Z"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The version that ``text`` names: one of ours, or a bare etag in any form."""
        etag, at, moment = text.rpartition("@")
        if at:
            try:
                return cls(normal.etag(etag), _moment(moment))
            except ValueError:
                pass  # an etag that holds an @
        return cls(normal.etag(text), None)

    def is_kept_by(self, current: "BlobVersion") -> bool:
        """Whether an object of version ``current`` is still this one, as far as this one says."""
        same_time = self.uploaded_at is None or str(self) == str(current)
        return self.etag == current.etag and same_time


class Blob(NamedTuple):
    """One object as a listing or a look-up describes it."""

    pathname: str
    url: str
    size: int
    etag: str
    uploaded_at: datetime
    content_type: str | None = None
    cache_control: str | None = None

    @property
    def version(self) -> BlobVersion:
        """The object's version."""
        return BlobVersion(self.etag, self.uploaded_at)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing, whose objects are looked at closely when they are asked for.

    By then the next page can be on its way.

    Attributes:
        items: the objects as they came.
        cursor: leads to the next page, None after the last.
        folders: of a folded page the prefixes, each with its slash, that more lies under.
    """

    items: list[Any]
    cursor: str | None
    folders: list[str] = field(default_factory=list)

    @property
    def blobs(self) -> list[Blob]:
        """The objects. Raises MalformedAnswerError."""
        return [parse_blob(item) for item in self.items]


def decoded(body: bytes) -> Any:
    """The JSON in an answer. Raises MalformedAnswerError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedAnswerError(
            f"the blob store answered with something that is not JSON ({error}); is "
            "VERCEL_BLOB_API_URL right, and no proxy in between?"
        ) from None


def parse_blob(item: Any) -> Blob:
    """One object of a listing, or the answer to a look-up. Raises MalformedAnswerError."""
    try:
        pathname, url, size = item["pathname"], item["url"], item["size"]
        etag, uploaded_at = item["etag"], _moment(item["uploadedAt"])
        content_type, cache_control = item.get("contentType"), item.get("cacheControl")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MalformedAnswerError(
            f"the blob store described an object in a way that can't be used: {repr(error)[:200]} "
            f"in {str(item)[:200]}"
        ) from None
    texts = (pathname, url, etag)
    optional = (content_type, cache_control)
    sound = all(type(text) is str and text for text in texts) and type(size) is int
    sound = sound and 0 <= size <= MAX_SIZE
    sound = sound and all(text is None or type(text) is str for text in optional)
    # An etag goes back to the store in a header.
    if not sound or not (etag.isascii() and etag.isprintable()):
        raise MalformedAnswerError(
            "the blob store described an object with fields of the wrong type or of impossible "
            f"value: {str(item)[:200]}"
        )
    return Blob(
        pathname, url, size, normal.etag(etag), uploaded_at, content_type, cache_control
    )  # fmt: skip


def parse_page(answer: Any) -> Page:
    """One page of a listing. Raises MalformedAnswerError where it is none."""
    blobs = answer.get("blobs") if isinstance(answer, dict) else None
    if not isinstance(blobs, list):
        raise MalformedAnswerError(
            f'a page of the blob listing has no "blobs" array: {str(answer)[:200]}'
        )
    more, cursor = answer.get("hasMore"), answer.get("cursor")
    if not isinstance(more, bool):
        raise MalformedAnswerError('a page of the blob listing does not say whether it "hasMore"')
    if more and not (isinstance(cursor, str) and cursor):
        raise MalformedAnswerError("a page of the blob listing has more after it but no cursor")
    folders = answer.get("folders") or []
    if not (isinstance(folders, list) and all(isinstance(each, str) for each in folders)):
        raise MalformedAnswerError('a page of the blob listing has no sound "folders"')
    return Page(blobs, cursor if more else None, folders)


def parse_error(body: bytes) -> tuple[str | None, str]:
    """Code and message of an error envelope; no code and no message where it is none."""
    try:
        error = orjson.loads(body)["error"]
        code, message = error.get("code"), error.get("message")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None, ""
    return (code if isinstance(code, str) else None), (message if isinstance(message, str) else "")


def _moment(text: str) -> datetime:
    """An aware time in UTC. Raises ValueError or TypeError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    if moment.year not in _YEARS:
        raise ValueError(f"the time {text!r} is none at which anything was written")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
