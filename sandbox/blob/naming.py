"""Names: what a pathname may be, the URLs of an object, and what follows from a file's name."""

import mimetypes
import re
import secrets
import string
from dataclasses import dataclass
from functools import cache
from posixpath import basename, splitext
from urllib.parse import quote, unquote, urlsplit

MAX_UTF16_UNITS = 950
RESERVED = re.compile(r"__faults|__health|api/blob(/.*)?")  # another host in the real store
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")
_SUFFIX_ALPHABET = string.ascii_letters + string.digits
_SUFFIX_LENGTH = 30
_CONTENT_TYPES = {  # not in every version of the standard library's table
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".webp": "image/webp",
    ".m4a": "audio/mp4",
    ".md": "text/markdown",
}


class InvalidPathnameError(ValueError):
    """A pathname that no object may have; the message says why."""


def checked_pathname(pathname: str) -> str:
    """The pathname an object is stored under: without the leading slash it may be given with.

    Raises InvalidPathnameError.
    """
    name = pathname.removeprefix("/")
    if not name:
        raise InvalidPathnameError("pathname is empty: name the object to write")
    if "//" in pathname:
        raise InvalidPathnameError('pathname contains "//": encode it, or use single slashes')
    if not is_unicode(pathname):
        raise InvalidPathnameError("pathname is not valid Unicode")
    units = len(pathname.encode("utf-16-le")) // 2
    if units > MAX_UTF16_UNITS:
        raise InvalidPathnameError(
            f"pathname is too long: {units} UTF-16 units, at most {MAX_UTF16_UNITS} are allowed"
        )
    if any(segment in {".", ".."} for segment in name.split("/")):
        raise InvalidPathnameError("pathname has a segment . or ..: no URL can name it")
    if RESERVED.fullmatch(name):
        raise InvalidPathnameError(f"pathname {name!r} is taken by the sandbox's own addresses")
    return name


def with_random_suffix(pathname: str) -> str:
    """The pathname with a random part between its name and its extension."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    if pathname.endswith("/"):
        return f"{pathname[:-1]}-{suffix}/"
    stem, extension = splitext(pathname)
    return f"{stem}-{suffix}{extension}"


def guessed_content_type(pathname: str) -> str:
    """The media type by extension, from a table that is the same on every machine."""
    if pathname.endswith("/"):
        return "application/x-directory"
    known = _CONTENT_TYPES.get(splitext(pathname)[1].lower())
    return known or _media_types().guess_type(pathname)[0] or "application/octet-stream"


def default_disposition(pathname: str, kind: str = "inline") -> str:
    """A Content-Disposition value in ASCII, with the full name beside it where that is not."""
    name = basename(pathname.rstrip("/"))
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'{kind}; filename="{plain}"{extended}'


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a store's objects are reached: the address of this server, and the store's id."""

    base: str  # "http://127.0.0.1:4000"
    store_id: str

    def url(self, pathname: str) -> str:
        """The object's URL."""
        path = pathname if _PLAIN.fullmatch(pathname) else quote(pathname, safe="/")
        return f"{self.base}/{path}"

    def pathname(self, url_or_pathname: str) -> str | None:
        """The pathname that a URL of this store, or a pathname, names.

        None for a URL of another place, and for what cannot be the name of an object.
        """
        if not is_unicode(url_or_pathname):
            return None
        if not re.match(r"https?://", url_or_pathname, re.IGNORECASE):
            return url_or_pathname.removeprefix("/")
        try:
            parts = urlsplit(url_or_pathname)
            own = self._owns(parts.hostname or "", parts.port)
        except ValueError:  # a malformed host or port
            return None
        return unquote(parts.path).removeprefix("/") if own else None

    def _owns(self, host: str, port: int | None) -> bool:
        here = urlsplit(self.base)
        if port == here.port and host in {here.hostname, "localhost", "127.0.0.1", "::1"}:
            return True
        store = self.store_id.lower()
        return host in {f"{store}.{kind}.blob.vercel-storage.com" for kind in ("public", "private")}


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which JSON can carry and UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


@cache
def _media_types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()
