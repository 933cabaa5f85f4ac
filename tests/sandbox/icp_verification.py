"""Verification of what the Internet Computer stand-in signs, written from the specification.

It shares no code with the stand-in, so that a mistake there is not made here too.
"""

import hashlib
from itertools import pairwise
from typing import Any

import cbor2
import leb128
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from py_arkworks_bls12381 import GT, G1Point, G2Point

BLS_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
DER_PREFIX = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
)
SELF_DESCRIBED = bytes.fromhex("d9d9f7")

Tree = list[Any]


class VerificationError(AssertionError):
    """A signature or a certificate is not what it claims to be."""


def loads(data: bytes) -> Any:
    """What a self-described CBOR message holds."""
    assert data.startswith(SELF_DESCRIBED), "the message does not say that it is CBOR"
    return cbor2.loads(data.removeprefix(SELF_DESCRIBED))


def root_hash(tree: Tree) -> bytes:
    """The hash of a tree of which parts may be pruned."""

    def digest(kind: str, *parts: bytes) -> bytes:
        name = f"ic-hashtree-{kind}".encode()
        return hashlib.sha256(bytes([len(name)]) + name + b"".join(parts)).digest()

    match tree:
        case [0]:
            return digest("empty")
        case [1, left, right]:
            return digest("fork", root_hash(left), root_hash(right))
        case [2, label, below]:
            return digest("labeled", label, root_hash(below))
        case [3, value]:
            return digest("leaf", value)
        case [4, pruned] if len(pruned) == 32:
            return bytes(pruned)
    raise VerificationError(f"no hash tree: {tree!r}")


def find(tree: Tree, *path: bytes) -> Tree | None:
    """The subtree at a path, None where the tree proves that there is none.

    Raises VerificationError where the tree doesn't say.
    """
    for label in path:
        branches = list(_flat(tree))
        labels = [branch[1] if branch[0] == 2 else None for branch in branches]
        assert [x for x in labels if x is not None] == sorted(x for x in labels if x is not None)
        if label not in labels:
            _check_absent(label, labels)
            return None
        tree = branches[labels.index(label)][2]
    return tree


def _flat(tree: Tree) -> list[Tree]:
    if tree[0] == 0:
        return []
    return [*_flat(tree[1]), *_flat(tree[2])] if tree[0] == 1 else [tree]


def _check_absent(label: bytes, labels: list[bytes | None]) -> None:
    """No label where it would stand between two that are next to each other, or at an end."""
    known: list[bytes | None] = [b"", *labels, b"\xff" * 64]
    for left, right in pairwise(known):
        if left is not None and right is not None and left <= label < right:
            return
    raise VerificationError(f"the tree does not say whether {label!r} is there")


def value(tree: Tree, *path: bytes) -> bytes | None:
    """The leaf at a path, None where it is proven absent."""
    found = find(tree, *path)
    if found is None:
        return None
    if found[0] != 3:
        raise VerificationError(f"{path!r} is no leaf: {found!r}")
    return bytes(found[1])


def verify_bls(der: bytes, signature: bytes, message: bytes) -> None:
    """Raise VerificationError unless the signature is this key's for this message."""
    if not der.startswith(DER_PREFIX) or len(der) != len(DER_PREFIX) + 96:
        raise VerificationError("no BLS key")
    key = G2Point.from_compressed_bytes(der.removeprefix(DER_PREFIX))
    point = G1Point.hash_to_curve(message, BLS_DOMAIN)
    if GT.pairing(G1Point.from_compressed_bytes(signature), G2Point()) != GT.pairing(point, key):
        raise VerificationError("the BLS signature is wrong")


def verify_certificate(data: bytes, root_key: bytes, canister: bytes, *, sharded: bool) -> Tree:
    """The tree of a certificate that the root key vouches for, by way of one delegation."""
    certificate = loads(data)
    delegation = loads(certificate["delegation"]["certificate"])
    subnet = certificate["delegation"]["subnet_id"]
    assert "delegation" not in delegation, "only one delegation is allowed"
    _verify_signature(delegation, root_key)
    ranges = _ranges(delegation["tree"], subnet, canister, sharded=sharded)
    if not any(low <= canister <= high for low, high in loads(ranges)):
        raise VerificationError("the delegation is not for this canister")
    key = value(delegation["tree"], b"subnet", subnet, b"public_key")
    assert key is not None
    _verify_signature(certificate, key)
    tree: Tree = certificate["tree"]
    return tree


def _ranges(tree: Tree, subnet: bytes, canister: bytes, *, sharded: bool) -> bytes:
    if not sharded:
        ranges = value(tree, b"subnet", subnet, b"canister_ranges")
    else:
        shards = find(tree, b"canister_ranges", subnet)
        assert shards is not None
        label = max(branch[1] for branch in _flat(shards) if branch[1] <= canister)
        ranges = value(shards, label)
    assert ranges is not None
    return ranges


def _verify_signature(certificate: dict[str, Any], key: bytes) -> None:
    message = b"\x0dic-state-root" + root_hash(certificate["tree"])
    verify_bls(key, certificate["signature"], message)


def verify_query(answer: dict[str, Any], request_id: bytes, node_keys: dict[bytes, bytes]) -> None:
    """Raise unless the answer to a query is signed by a node that the subnet knows."""
    (signature,) = answer["signatures"]
    signed = {key: item for key, item in answer.items() if key != "signatures"}
    signed |= {"timestamp": signature["timestamp"], "request_id": request_id}
    key = load_der_public_key(node_keys[signature["identity"]])
    assert isinstance(key, Ed25519PublicKey)
    key.verify(signature["signature"], b"\x0bic-response" + hash_of(signed))


def hash_of(item: Any) -> bytes:
    """The representation-independent hash of a value."""
    if isinstance(item, dict):
        pairs = [hash_of(name) + hash_of(inner) for name, inner in item.items()]
        data = b"".join(sorted(pairs))
    elif isinstance(item, list):
        data = b"".join(hash_of(inner) for inner in item)
    elif isinstance(item, int):
        data = bytes(leb128.u.encode(item))
    else:
        data = item.encode() if isinstance(item, str) else item
    return hashlib.sha256(data).digest()
