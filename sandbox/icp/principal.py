"""Principals: who calls, what is called, and their text form."""

import base64
import hashlib
import zlib
from typing import Final

ANONYMOUS: Final = b"\x04"
MAX_BYTES: Final = 29
_SELF_AUTHENTICATING: Final = b"\x02"
_CHECKSUM_BYTES: Final = 4


def self_authenticating(der_public_key: bytes) -> bytes:
    """The principal that belongs to a public key (DER)."""
    return hashlib.sha224(der_public_key).digest() + _SELF_AUTHENTICATING


def to_text(principal: bytes) -> str:
    """The text form: checksum and bytes in base 32, in groups of five."""
    checked = zlib.crc32(principal).to_bytes(_CHECKSUM_BYTES) + principal
    text = base64.b32encode(checked).decode().lower().rstrip("=")
    return "-".join(text[start : start + 5] for start in range(0, len(text), 5))


def from_text(text: str) -> bytes:
    """The bytes of a principal in text form; ValueError where it is none."""
    plain = text.replace("-", "").upper()
    try:
        checked = base64.b32decode(plain + "=" * (-len(plain) % 8))
    except ValueError as error:
        raise ValueError(f"{text!r} is no principal: {error}") from error
    principal = checked[_CHECKSUM_BYTES:]
    if len(principal) > MAX_BYTES or to_text(principal) != text:
        raise ValueError(f"{text!r} is no principal: its checksum or its form is wrong")
    return principal
