"""What locations name, in the blob store and on the canister, for whole columns.

Texts of the usual form are taken apart by Arrow; anything else is looked at closely, one by one.
"""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from checks.normal import (
    MAX_LOCATION_LENGTH,
    MAX_PATHNAME_UTF16_UNITS,
    BlobAddress,
    LocationProblem,
    leading_segment,
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
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:  # one holds half a surrogate pair, as JSON can, and Arrow can't
        own: dict[str, bool] = {}
        return [_looked_at(address, text, own, bare=bare) for text in texts]
    names, problems = pathname_column(address, column, bare=bare)
    found: list[str | LocationProblem] = names.to_pylist()
    for place, problem in problems.items():
        found[place] = problem
    return found


def pathname_column(
    address: BlobAddress, urls: Any, *, bare: bool = False
) -> tuple[Any, dict[int, LocationProblem]]:
    """``address.pathname`` of each of a pyarrow array of URLs.

    Returns:
        The pathnames, null where a URL names none, and by their places why these name none.
    """
    names = _usual(address, urls, bare=bare)
    unusual = names.is_null()
    places = np.flatnonzero(unusual)
    own: dict[str, bool] = {}
    texts = urls.take(pa.array(places)).to_pylist()
    found = [_looked_at(address, text, own, bare=bare) for text in texts]
    decoded = [None if isinstance(name, LocationProblem) else name for name in found]
    problems = {
        int(place): name
        for place, name in zip(places, found, strict=True)
        if isinstance(name, LocationProblem)
    }
    return pc.replace_with_mask(names, unusual, pa.array(decoded, pa.string())), problems


def icp_memory_id_column(locations: Any) -> Any:
    """``icp_memory_id`` of each of a pyarrow array of locations, null where it names none."""
    return pc.struct_field(pc.extract_regex(locations, _REPLICA), "memory")


def leading_segments(pathnames: Any) -> set[str]:
    """``leading_segment`` of all of a pyarrow array of pathnames, each once."""
    heads = pc.replace_substring_regex(pathnames, "(?s)/.*", "/").unique()
    return set(map(leading_segment, heads.to_pylist()))


def _usual(address: BlobAddress, column: Any, *, bare: bool) -> Any:
    """The pathnames of texts that need no decoding; null for all others."""
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
    return pc.if_else(short, names, None)


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
