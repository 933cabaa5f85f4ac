"""Who asks: a key pair that signs requests, or nobody in particular."""

import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256K1,
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from ic.principal import Principal
from pydantic import SecretStr

from checks.errors import SettingsError
from tasks.settings import Settings

MAX_PRINCIPAL_BYTES = 29
_MAX_PEM_BYTES = 64 * 1024
_PEM_MARK = "-----BEGIN"
_SEC1_MARK = "-----BEGIN EC PRIVATE KEY-----"
_PKCS8 = re.compile(rb"-----BEGIN PRIVATE KEY-----(?P<body>[A-Za-z0-9+/=\s]+)-----END")
_ED25519_SECOND_FORM = bytes.fromhex("3053020101300506032b657004220420")
_ED25519_BYTES = 32
_FORMS = "an unencrypted Ed25519, secp256k1 or P-256 private key in PEM"


class Identity(Protocol):
    """A sender of requests."""

    @property
    def principal(self) -> bytes:
        """The sender's principal."""
        ...

    @property
    def public_key(self) -> bytes | None:
        """In DER; None for the anonymous sender."""
        ...

    def sign(self, message: bytes) -> bytes | None:
        """The signature of ``message``, None for the anonymous sender."""
        ...


@dataclass(frozen=True, slots=True)
class AnonymousIdentity:
    """The sender that everybody is who shows no key."""

    principal: bytes = b"\x04"
    public_key: bytes | None = None

    def sign(self, message: bytes) -> None:
        """Nothing: the anonymous sender signs nothing."""


class KeyIdentity:
    """A sender with a private key, which signs with OpenSSL.

    ic-py's own identity takes 40 times as long to sign, which at a thousand pages would be most of
    a listing's processor time.
    """

    def __init__(self, key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> None:
        self._key = key
        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key: bytes | None = der
        self.principal: bytes = self_authenticating(der)

    def sign(self, message: bytes) -> bytes:
        """Ed25519, or ECDSA with SHA-256 as two 32-byte numbers one after the other."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, ECDSA(SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def with_identity(settings: Settings) -> Settings:
    """``settings`` with the PEM itself where they name its path: on other machines it is not there.

    One that can't be read stays a path, for who uses it to say so.
    """
    path = path_of(settings.identity_pem.get_secret_value()) if settings.identity_pem else None
    if path is None:
        return settings
    try:
        pem = _read_pem(path)
    except SettingsError:
        return settings
    return settings.model_copy(update={"identity_pem": SecretStr(pem)})


def load_identity(pem: str | None) -> Identity:
    """The identity of a PEM, given itself or by its path; the anonymous one for None.

    Raises SettingsError, which never repeats what was given: it may be the key.
    """
    if pem is None:
        return AnonymousIdentity()
    path = path_of(pem)
    text = pem if path is None else _read_pem(path)
    if _SEC1_MARK in text:  # openssl writes the curve's parameters in front of the key
        text = text[text.index(_SEC1_MARK) :]
    try:
        key = _load_pem(text.replace("\\n", "\n").encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SettingsError(
            f"IC_IDENTITY_PEM could not be read as {_FORMS} ({type(error).__name__}). "
            "Example: IC_IDENTITY_PEM=/run/secrets/identity.pem"
        ) from None
    if isinstance(key, Ed25519PrivateKey):
        return KeyIdentity(key)
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256K1 | SECP256R1):
        return KeyIdentity(key)
    raise SettingsError(f"IC_IDENTITY_PEM holds a key of another kind; it takes {_FORMS}")


def _load_pem(pem: bytes) -> PrivateKeyTypes:
    """The key in a PEM, in a form that OpenSSL reads or in the second one of PKCS #8.

    That one, with the public key beside the private one, is how dfx wrote Ed25519 identities.
    """
    match = _PKCS8.search(pem)
    der = binascii.a2b_base64(match["body"]) if match else b""
    if der.startswith(_ED25519_SECOND_FORM):
        start = len(_ED25519_SECOND_FORM)
        return Ed25519PrivateKey.from_private_bytes(der[start : start + _ED25519_BYTES])
    return load_pem_private_key(pem, password=None)


def path_of(pem: str) -> Path | None:
    """Where the PEM is read from; None where it was given itself."""
    if _PEM_MARK in pem:
        return None
    try:
        return Path(pem).expanduser()
    except RuntimeError:  # nobody of that name has a home
        return Path(pem)


def _read_pem(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM_BYTES).decode("ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text file"
        raise SettingsError(
            f"IC_IDENTITY_PEM names a file that could not be read ({reason}); it takes {_FORMS} "
            "or the path to one"
        ) from None


def self_authenticating(public_key: bytes) -> bytes:
    """The principal of a public key in DER."""
    return hashlib.sha224(public_key).digest() + b"\x02"


def principal_text(principal: bytes) -> str:
    """A principal the way people write it."""
    return str(Principal(principal).to_str())


def principal_bytes(text: str) -> bytes:
    """The bytes of a principal as people write it.

    Raises ValueError where ``text`` is none, or its checksum does not fit.
    """
    try:
        principal = Principal.from_str(text).bytes
    except (TypeError, binascii.Error):  # ic-py raises a text, which is a TypeError
        principal = b""
    if not 0 < len(principal) <= MAX_PRINCIPAL_BYTES:
        raise ValueError(f"{text!r} is no principal")
    return bytes(principal)
