"""The identity that edgekeeper signs its canister calls with in a sandbox."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from sandbox.icp.principal import self_authenticating, to_text


def write_identity(path: Path) -> None:
    """Write a new Ed25519 key as a PKCS#8 PEM (what dfx and ic-py read), unless one is there."""
    if path.exists():
        return
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def principal_of(path: Path) -> str:
    """The principal of the key in a PEM file, in text form."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return to_text(self_authenticating(der))
