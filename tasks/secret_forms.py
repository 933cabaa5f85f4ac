"""What the secrets of the settings can look like where they turn up: parts, encodings, pieces."""

import base64
import functools
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from tasks.settings import MASK, Settings

SHORTEST = 6  # masking a shorter text would blank out innocent words
_PEM_LINE = 20
_SHORTEST_PART = 8  # of an address; keys in them are long, words such as "ping" are not
#: Secrets that are addresses: the key is in the path, or in any other part of it.
_ADDRESSES = ("heartbeat_url", "notify_url")
#: A long secret that was cut is known by a piece of this length at either end of it.
_PIECE, _LONG = 12, 18
_KNOWN_BEGINNINGS = ("vercel_blob_rw_", "-----BEGIN")


def secrets_of(settings: Settings) -> Iterable[str]:
    """Every secret value, its parts and forms: passwords and keys in URLs, a token's last part."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, SecretStr):
                secret = each.get_secret_value()
                found |= {secret, secret.strip(), _password(secret)}
                found |= _parts(secret) if name in _ADDRESSES else set()
    found.add(_password(settings.home))
    token = settings.blob_token.get_secret_value() if settings.blob_token else ""
    found.add(token.removeprefix(f"vercel_blob_rw_{settings.blob_store_id}_"))
    pem = settings.identity_pem.get_secret_value() if settings.identity_pem else ""
    if "-----BEGIN" in pem:
        found |= {line for line in pem.replace("\\n", "\n").split() if len(line) >= _PEM_LINE}
    forms = (form for secret in found if len(secret) >= SHORTEST for form in _forms(secret))
    return {form for form in forms if len(form) >= SHORTEST}


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _parts(url: str) -> set[str]:
    """The long parts of an address: of its path, its query, and who it is for."""
    try:
        address = urlsplit(url)
        parts = [*address.path.split("/"), *(value for _, value in parse_qsl(address.query))]
        parts += [address.username or "", address.netloc if "http" not in address.scheme else ""]
    except ValueError:
        return set()
    return {part for part in parts if len(part) >= _SHORTEST_PART}


def _forms(secret: str) -> set[str]:
    """A secret as it may turn up: as it stands, decoded, in a URL, in JSON, in hex, in base64."""
    plain = {secret, unquote(secret)}
    forms = plain | {quote(secret, safe=""), json.dumps(secret)[1:-1]}
    if _is_known_by_its_parts(secret):
        return forms
    for text in plain:
        data = text.encode("utf-8", "surrogateescape")
        forms |= {data.hex(), data.hex().upper(), *_in_base64(data)}
    return forms


def _is_known_by_its_parts(secret: str) -> bool:
    """Whether what is secret of it is a secret by itself, and the rest is everybody's."""
    return "://" in secret or secret.startswith(_KNOWN_BEGINNINGS)


def _in_base64(data: bytes) -> Iterator[str]:
    """``data`` inside of something that was encoded: there are three places where it can begin.

    Without the characters at its ends, which depend on what stands beside it.
    """
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
            yield encode(b"\0" * before + data)[first:last].decode("ascii")


@functools.lru_cache(maxsize=4)
def ends_of(secrets: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Both ends of each long secret, with the secret: a text that was cut may hold a piece."""
    return tuple(
        (end, secret)
        for secret in secrets
        if len(secret) >= _LONG and not _is_known_by_its_parts(secret)
        for end in (secret[:_PIECE], secret[-_PIECE:])
    )


def without_pieces(text: str, end: str, secret: str) -> str:
    """``text`` without any run of it that is ``secret`` from, or up to, that ``end`` of it."""
    if end not in text:
        return text
    if not secret.startswith(end):
        return without_pieces(text[::-1], end[::-1], secret[::-1])[::-1]
    parts: list[str] = []
    at = 0
    while (start := text.find(end, at)) >= 0:
        parts += [text[at:start], MASK]
        pairs = enumerate(zip(text[start : start + len(secret)], secret, strict=False))
        alike = next((n for n, (a, b) in pairs if a != b), min(len(secret), len(text) - start))
        at = start + alike
    return "".join([*parts, text[at:]])


@functools.lru_cache(maxsize=4)
def any_of(secrets: tuple[str, ...]) -> str:
    """A regular expression, as the RE2 library has it, for all secrets and their pieces."""
    ends = ends_of(secrets)
    cut = {secret for _, secret in ends}
    known = {end for end, _ in ends} | {secret for secret in secrets if secret not in cut}
    return "|".join(map(re.escape, sorted(known)))
