"""What locations name, in the blob store and on the canister, for whole columns.

Texts of the usual form are taken apart by Arrow; anything else is looked at closely, one by one.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from checks.normal import (
    MAX_LOCATION_LENGTH,
    MAX_PATHNAME_UTF16_UNITS,
    BlobAddress,
    LocationProblem,
    icp_memory_id,
)

#: A URL of the form that the app itself makes of its uploads.
_ENCODED = re.compile(
    r"(?P<origin>https?://[a-z0-9.:-]+/)(?P<path>(?:[A-Za-z0-9._~/-]|%[0-9A-Fa-f]{2})+)"
)
#: What needs a closer look in a decoded pathname: segments such as .., and what no blob can have.
_ODD = re.compile(r"(?:\A|/)(?:\.|/)|[\x00-\x1f\x7f\ufffd]")
#: A pathname that stands for itself also in a URL, and no segment of which begins with a dot.
_PATH = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
_BARE = f"^{_PATH}$"
_PLAIN = f"^(?P<origin>https?://[a-z0-9.:-]+/)(?P<path>{_PATH})$"
_REPLICA = "^icp://[^/]+/(?P<memory>[^/]+)$"


def pathnames(
    address: BlobAddress, urls: Iterable[str | None], *, bare: bool = False
) -> list[str | LocationProblem]:
    """``address.pathname`` of each URL, quick where a URL is of the usual form."""
    texts = list(urls)
    own: dict[str, bool] = {}
    found: list[Any] = _usual(address, texts, bare=bare)
    for place, (text, name) in enumerate(zip(texts, found, strict=True)):
        if name is None:
            found[place] = _looked_at(address, text, own, bare=bare)
    return found


def icp_memory_ids(locations: Iterable[str | None]) -> list[str | None]:
    """``icp_memory_id`` of each location."""
    texts = list(locations)
    column = _column(texts)
    if column is None:
        return list(map(icp_memory_id, texts))
    ids: list[str | None] = pc.struct_field(
        pc.extract_regex(column, _REPLICA), "memory"
    ).to_pylist()
    return ids


def _usual(address: BlobAddress, texts: list[str | None], *, bare: bool) -> list[str | None]:
    """The pathnames of texts that need no decoding; None for all others."""
    column = _column(texts)
    if column is None:
        return [None] * len(texts)
    parts = pc.extract_regex(column, _PLAIN)
    origins = pc.struct_field(parts, "origin").dictionary_encode()
    own = pa.array(map(address.owns, origins.dictionary.to_pylist()), pa.bool_())
    names = pc.if_else(own.take(origins.indices), pc.struct_field(parts, "path"), None)
    if bare:
        names = pc.if_else(pc.match_substring_regex(column, _BARE), column, names)
    short = pc.and_(
        pc.less_equal(pc.binary_length(names), MAX_PATHNAME_UTF16_UNITS),
        pc.less_equal(pc.binary_length(column), MAX_LOCATION_LENGTH),
    )
    usual: list[str | None] = pc.if_else(short, names, None).to_pylist()
    return usual


def _looked_at(
    address: BlobAddress, url: str | None, own: dict[str, bool], *, bare: bool
) -> str | LocationProblem:
    """``address.pathname`` of one URL; ``own`` keeps which origins are the store's."""
    encoded = _ENCODED.fullmatch(url) if url and len(url) <= MAX_LOCATION_LENGTH else None
    if encoded is None:
        return address.pathname(url, bare=bare)
    origin, path = encoded.groups()
    if origin not in own:
        own[origin] = address.owns(origin)
    pathname = unquote(path) if "%" in path else path
    usual = own[origin] and 2 * len(pathname) <= MAX_PATHNAME_UTF16_UNITS
    return pathname if usual and not _ODD.search(pathname) else address.pathname(url, bare=bare)


def _column(texts: list[str | None]) -> Any | None:
    """Texts as Arrow has them; None where one holds half a surrogate pair, as JSON can."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return None
