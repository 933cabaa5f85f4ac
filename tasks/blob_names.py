"""What the URLs in the app's rows name in the blob store, for whole columns."""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from checks.normal import (
    MAX_LOCATION_LENGTH,
    MAX_PATHNAME_UTF16_UNITS,
    BlobAddress,
    LocationProblem,
)

#: A URL of the form that the app itself makes of its uploads; anything else is looked at closely.
_PLAIN = re.compile(
    r"(?P<origin>https?://[a-z0-9.:-]+/)(?P<path>(?:[A-Za-z0-9._~/-]|%[0-9A-Fa-f]{2})+)"
)
#: What needs a closer look in a decoded pathname: segments such as .., and what no blob can have.
_ODD = re.compile(r"(?:\A|/)(?:\.|/)|[\x00-\x1f\x7f\ufffd]")


def pathnames(
    address: BlobAddress, urls: Iterable[str | None], *, bare: bool = False
) -> list[str | LocationProblem]:
    """``address.pathname`` of each URL, quick where a URL is of the usual form."""
    own: dict[str, bool] = {}
    found: list[str | LocationProblem] = []
    for url in urls:
        plain = _PLAIN.fullmatch(url) if url and len(url) <= MAX_LOCATION_LENGTH else None
        if plain is None:
            found.append(address.pathname(url, bare=bare))
            continue
        origin, path = plain.groups()
        if origin not in own:
            own[origin] = address.owns(origin)
        pathname = unquote(path) if "%" in path else path
        usual = own[origin] and 2 * len(pathname) <= MAX_PATHNAME_UTF16_UNITS
        if usual and not _ODD.search(pathname):
            found.append(pathname)
        else:
            found.append(address.pathname(url, bare=bare))
    return found
