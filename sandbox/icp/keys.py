"""The keys of the network, its one subnet and that subnet's one node, made at first start."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from sandbox.icp.principal import self_authenticating

KEY_FILE: Final = "keys.json"
ROOT_KEY_FILE: Final = "root_key.hex"

_SIGNATURE_DOMAIN: Final = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX: Final = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)


class BlsKey:
    """A BLS12-381 key: signatures in G1, public key in G2."""

    def __init__(self, seed: bytes) -> None:
        self._secret = Scalar.from_le_bytes_mod_order(seed)
        public = G2Point() * self._secret
        self.der = _DER_PREFIX + public.to_compressed_bytes()

    def sign(self, message: bytes) -> bytes:
        """The 48-byte signature of a message."""
        point = G1Point.hash_to_curve(message, _SIGNATURE_DOMAIN) * self._secret
        return bytes(point.to_compressed_bytes())


@dataclass(frozen=True, slots=True)
class NetworkKeys:
    """Everything the stand-in signs with, and the principals that follow from the public keys."""

    root: BlsKey
    subnet: BlsKey
    node: Ed25519PrivateKey

    @property
    def subnet_id(self) -> bytes:
        """The subnet's principal."""
        return self_authenticating(self.subnet.der)

    @property
    def node_der(self) -> bytes:
        """The node's public key as DER."""
        form = PublicFormat.SubjectPublicKeyInfo
        return self.node.public_key().public_bytes(Encoding.DER, form)

    @property
    def node_id(self) -> bytes:
        """The node's principal."""
        return self_authenticating(self.node_der)


def load_or_make(directory: Path) -> NetworkKeys:
    """The directory's keys; the root's public one is (re)written beside them as DER in hex."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / KEY_FILE
    if not path.exists():
        fresh = {"root": 64, "subnet": 64, "node": 32}
        _write_secret(path, {name: secrets.token_hex(size) for name, size in fresh.items()})
    seeds = {name: bytes.fromhex(seed) for name, seed in json.loads(path.read_text()).items()}
    keys = NetworkKeys(
        root=BlsKey(seeds["root"]),
        subnet=BlsKey(seeds["subnet"]),
        node=Ed25519PrivateKey.from_private_bytes(seeds["node"]),
    )
    (directory / ROOT_KEY_FILE).write_text(keys.root.der.hex())
    return keys


def _write_secret(path: Path, content: dict[str, str]) -> None:
    unfinished = path.with_suffix(".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    unfinished.rename(path)
