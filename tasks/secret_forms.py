"""What the secrets of the settings can look like where they turn up: parts, encodings, pieces."""

import base64
import functools
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
            if isinstance(each, SecretStr) and not _leads_to_a_file(name, each):
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


def _leads_to_a_file(name: str, value: SecretStr) -> bool:
    """Whether the identity is given as a path: no secret, and other paths begin like it."""
    return name == "identity_pem" and os.path.exists(os.path.expanduser(value.get_secret_value()))  # noqa: PTH110, PTH111 - they take any text


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


@dataclass(frozen=True, slots=True)
class Piece:
    """What the ``whole`` secrets, forms of one, begin with; ``backwards``: what they end with."""

    text: str
    whole: tuple[str, ...]
    backwards: bool

    def without(self, text: str) -> str:
        """``text`` without any run of it that is one of the secrets from, or up to, this piece."""
        if self.text not in text:
            return text
        if self.backwards:
            turned = Piece(
                self.text[::-1], tuple(each[::-1] for each in self.whole), backwards=False
            )
            return turned.without(text[::-1])[::-1]
        parts: list[str] = []
        at = 0
        while (start := text.find(self.text, at)) >= 0:
            parts += [text[at:start], MASK]
            at = start + max(_alike(text, start, each) for each in self.whole)
        return "".join([*parts, text[at:]])


def _alike(text: str, start: int, secret: str) -> int:
    """For how many characters ``text`` is ``secret`` from ``start`` on."""
    pairs = enumerate(zip(text[start : start + len(secret)], secret, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(secret), len(text) - start))


@functools.lru_cache(maxsize=4)
def pieces_of(secrets: tuple[str, ...]) -> tuple[Piece, ...]:
    """Both ends of each long secret: a text that was cut may hold no more of one."""
    long = [each for each in secrets if len(each) >= _LONG and not _is_known_by_its_parts(each)]
    whole: defaultdict[tuple[str, bool], list[str]] = defaultdict(list)
    for secret in long:
        whole[secret[:_PIECE], False].append(secret)
        whole[secret[-_PIECE:], True].append(secret)
    return tuple(Piece(text, tuple(of), backwards) for (text, backwards), of in whole.items())


@functools.lru_cache(maxsize=4)
def any_of(secrets: tuple[str, ...]) -> str:
    """A regular expression, as the RE2 library has it, for all secrets and their pieces."""
    pieces = pieces_of(secrets)
    by_piece = {secret for piece in pieces for secret in piece.whole}
    known = {piece.text for piece in pieces} | {each for each in secrets if each not in by_piece}
    return "|".join(map(re.escape, sorted(known)))
