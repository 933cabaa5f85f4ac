"""One normal form for every id and every location, so that equal things compare equal.

A blob is named by its pathname: decoded, in Unicode as the store has it, without a leading slash.
An app's row names the same blob by a URL with percent-encoding. A canister memory is named
``icp://<capsule>/<memory>``. A memory is named by its UUID in canonical form.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from urllib.parse import quote, unquote_to_bytes
from uuid import UUID

MAX_PATHNAME_UTF16_UNITS = 950
#: Of a URL or pathname: far more than the longest pathname takes, each byte of it encoded.
MAX_LOCATION_LENGTH = 32_768
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LOCATION = re.compile(r"icp://(?P<capsule>[^/]+)/(?P<memory>[^/]+)")
_ETAG_MARKS = re.compile(r'(?:W/|")*')
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE | re.ASCII)
#: What is no pathname even where one is expected: pathnames may hold a colon, as in ``note:1.txt``.
_NO_BARE_PATHNAME = re.compile(
    r"[a-z][a-z0-9+.-]*://|//|(?:data|file|javascript|blob):", re.IGNORECASE | re.ASCII
)
#: A strict subset of URLs that no two parsers take apart differently: no user, no backslash, no
#: control character, no half of a surrogate pair (JSON can hold one; UTF-8 can't), an ASCII host.
#: What the HTTP client connects to is what was compared here.
_HTTP_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#\\\x00-\x1f\x7f\ud800-\udfff]*)?(?:[?#][^\x00-\x1f\x7f\ud800-\udfff]*)?",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_ACCESS_MODES = ("public", "private")


class LocationProblem(StrEnum):
    """Why a location does not name an object of the configured blob store."""

    NULL = "it is empty"
    RELATIVE = "it is a relative path where a URL belongs"
    FOREIGN = "it points to another host than the blob store"
    UNPARSEABLE = "it is no URL or pathname that a blob can have"


@dataclass(frozen=True, slots=True)
class BlobAddress:
    """Which URLs are the configured blob store's own.

    Attributes:
        store_id: the fourth part of the token; host names carry it in lower case.
        origin: ``host:port`` of an overridden API, whose object URLs are trusted too, else None.
    """

    store_id: str
    origin: str | None = None

    def owns(self, url: str) -> bool:
        """Whether ``url`` is an object URL of this store (scheme, host and port)."""
        return self._at_origin(url) or any(self._at_host(url, mode) for mode in _ACCESS_MODES)

    def takes_token(self, url: str) -> bool:
        """Whether the bearer token may, and must, be sent to ``url`` to read a private object."""
        return self._at_origin(url) or self._at_host(url, "private")

    def urls(self, pathname: str) -> list[str]:
        """The URLs that an object of this name can have, one for each access mode."""
        return [f"https://{self._host(mode)}/{url_path(pathname)}" for mode in _ACCESS_MODES]

    def pathname(self, location: str | None, *, bare: bool) -> str | LocationProblem:
        """The pathname that ``location`` names, or why it names none.

        Args:
            location: a URL, or with ``bare`` also a pathname as it stands.
            bare: whether a text without a scheme is a pathname (an edge's ``location``) or a
                mistake (a row's ``url``).
        """
        if location is None or not location.strip():
            return LocationProblem.NULL
        if bare and not _NO_BARE_PATHNAME.match(location):
            return _checked(location.removeprefix("/"))
        if not _SCHEME.match(location) and not location.startswith("//"):
            return LocationProblem.RELATIVE
        if len(location) > MAX_LOCATION_LENGTH or _CONTROL.search(location):
            return LocationProblem.UNPARSEABLE  # parsers differ in what they leave out
        if self.owns(location):
            return _decoded(location)
        unclear = location.lower().startswith(("http:", "https:")) and not _http_url(location)
        return LocationProblem.UNPARSEABLE if unclear else LocationProblem.FOREIGN

    def _host(self, access: str) -> str:
        return f"{self.store_id.lower()}.{access}.blob.vercel-storage.com"

    def _at_host(self, url: str, access: str) -> bool:
        match = _http_url(url)
        return match is not None and _endpoint(match) == ("https", self._host(access), 443)

    def _at_origin(self, url: str) -> bool:
        match = _http_url(url)
        if match is None or self.origin is None:
            return False
        scheme, host, port = _endpoint(match)
        protected = scheme == "https" or host in LOOPBACK_HOSTS
        return protected and f"{host}:{port}" == self.origin


def _http_url(url: str) -> re.Match[str] | None:
    """The parts of a URL that can't be misread, None for any other text."""
    return _HTTP_URL.fullmatch(url) if len(url) <= MAX_LOCATION_LENGTH else None


def _endpoint(url: re.Match[str]) -> tuple[str, str, int]:
    """Scheme, host (an IPv6 address without its brackets) and port, in lower case."""
    scheme = url["scheme"].lower()
    port = int(url["port"]) if url["port"] else _DEFAULT_PORTS[scheme]
    return scheme, url["host"].lower().strip("[]"), port


def _decoded(url: str) -> str | LocationProblem:
    """The pathname of a URL whose host is known to be the store's."""
    match = _http_url(url)
    path = (match and match["path"]) or ""
    try:
        pathname = unquote_to_bytes(path.removeprefix("/")).decode("utf-8")
    except UnicodeError:
        return LocationProblem.UNPARSEABLE
    if any(segment in (".", "..") for segment in pathname.split("/")):
        return LocationProblem.UNPARSEABLE  # clients resolve these, each in its own way
    return _checked(pathname)


def _checked(pathname: str) -> str | LocationProblem:
    """``pathname`` where a blob can have it."""
    try:
        units = len(pathname.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        return LocationProblem.UNPARSEABLE
    legal = 0 < units <= MAX_PATHNAME_UTF16_UNITS
    legal = legal and "//" not in pathname and not pathname.startswith("/")
    return pathname if legal and not _CONTROL.search(pathname) else LocationProblem.UNPARSEABLE


def url_path(pathname: str) -> str:
    """``pathname`` percent-encoded as a URL's path, without a leading slash."""
    return quote(pathname, safe="/!$&'()*+,;=:@-._~", errors="surrogatepass")


def leading_segment(pathname: str) -> str:
    """What stands before the first slash: ``images`` for ``images/2024/a.jpg``, empty for ``a``."""
    head, slash, _ = pathname.partition("/")
    return head if slash else ""


def is_ignored(pathname: str, prefixes: Iterable[str]) -> bool:
    """Whether one of ``prefixes`` is ``pathname`` or a folder above it.

    Prefixes are whole path segments: ``avatars`` stands for ``avatars/x``, not for ``avatars2/x``.
    """
    names = (prefix.strip("/") for prefix in prefixes)
    return any(name and f"{pathname}/".startswith(f"{name}/") for name in names)


def is_uuid(text: str) -> bool:
    """Whether ``text`` has the shape of a UUID: any 8-4-4-4-12 hex, of any version."""
    return _UUID.fullmatch(text) is not None


def is_canonical_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID in the lower-case form that everything is compared in."""
    return is_uuid(text) and text == text.lower()


def key_of_uuid(text: str) -> tuple[int, int]:
    """A UUID of any case as two unsigned 64-bit integers, high half first.

    Raises ValueError where ``text`` is no UUID.
    """
    number = UUID(text).int
    return number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF


def key_of_text(text: str) -> tuple[int, int]:
    """A 128-bit BLAKE2b digest of ``text`` as two unsigned 64-bit integers: its join key."""
    digest = digest_of_text(text)
    return int.from_bytes(digest[:8]), int.from_bytes(digest[8:])


def digest_of_text(text: str) -> bytes:
    """The 16 bytes of that digest."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def key_of_memory_id(text: str) -> tuple[int, int]:
    """The join key of a memory id as it was found: the UUID where it is one, else its digest."""
    return key_of_uuid(text) if is_uuid(text) else key_of_text(text)


def icp_location(capsule_id: str, memory_id: str) -> str:
    """The location of a canister memory."""
    return f"icp://{capsule_id}/{memory_id}"


def icp_memory_id(location: str | None) -> str | None:
    """The memory id that an edge's location names, or None where it names none."""
    match = _LOCATION.fullmatch(location) if location else None
    return match["memory"] if match else None


def icp_capsule_id(location: str | None) -> str | None:
    """The capsule id that an edge's location names, or None where it names none."""
    match = _LOCATION.fullmatch(location) if location else None
    return match["capsule"] if match else None


def etag(text: str) -> str:
    """An etag without its weakness mark and its quotes, however often a stranger wrote them."""
    return text[_ETAG_MARKS.match(text).end() :].rstrip('"')  # type: ignore[union-attr] # matches
