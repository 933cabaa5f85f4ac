"""Certificates: a witness of the state, signed by the subnet, which the root key vouches for."""

import time
from collections.abc import Iterable
from typing import Any, Final

import cbor2

from sandbox.icp.candid import unsigned
from sandbox.icp.envelope import SELF_DESCRIBED
from sandbox.icp.hash_tree import Path, State, Wanted, wanted, witness
from sandbox.icp.keys import BlsKey, NetworkKeys

# Any principal that has a first byte may be the canister's.
LOWEST: Final = b"\x00"
HIGHEST: Final = b"\xff" * 29

_STATE_ROOT: Final = b"\x0dic-state-root"
_DELEGATION_SECONDS: Final = 60


def encode(value: Any) -> bytes:
    """CBOR with the tag that says so."""
    return SELF_DESCRIBED + cbor2.dumps(value)


CANISTER_RANGES: Final = encode([[LOWEST, HIGHEST]])


class Certifier:
    """Signs states as the subnet does, with a delegation from the root.

    The delegation proves that the canister is the subnet's in one of two layouts: up to version 2
    of ``read_state`` and 3 of ``call`` under ``/subnet/<id>/canister_ranges``, from then on under
    ``/canister_ranges/<id>/<shard>``, a shard being named by the lowest principal in it.
    """

    def __init__(self, keys: NetworkKeys) -> None:
        self._keys = keys
        self._delegations: dict[bool, tuple[float, dict[str, Any]]] = {}

    def certify(self, state: State, paths: Iterable[Path], *, sharded: bool) -> bytes:
        """A certificate of now that shows what ``state`` has at ``paths``, and the time."""
        timed: State = {**state, **self.subnet_state(), b"time": unsigned(time.time_ns())}
        show = wanted([*paths, (b"time",)])
        delegation = self._delegation(sharded=sharded)
        return encode({**_signed(self._keys.subnet, timed, show), "delegation": delegation})

    def subnet_state(self) -> State:
        """The part of the state that describes the subnet itself."""
        node: State = {self._keys.node_id: {b"public_key": self._keys.node_der}}
        subnet: State = {
            b"public_key": self._keys.subnet.der,
            b"canister_ranges": CANISTER_RANGES,
            b"node": node,
        }
        return {
            b"subnet": {self._keys.subnet_id: subnet},
            b"canister_ranges": {self._keys.subnet_id: {LOWEST: CANISTER_RANGES}},
        }

    def _delegation(self, *, sharded: bool) -> dict[str, Any]:
        made, delegation = self._delegations.get(sharded, (0.0, {}))
        if time.monotonic() - made > _DELEGATION_SECONDS or not delegation:
            delegation = self._new_delegation(sharded=sharded)
            self._delegations[sharded] = (time.monotonic(), delegation)
        return delegation

    def _new_delegation(self, *, sharded: bool) -> dict[str, Any]:
        subnet = self._keys.subnet_id
        paths = [(b"time",), (b"subnet", subnet, b"public_key")]
        if sharded:
            paths.append((b"canister_ranges", subnet))
        else:
            paths.append((b"subnet", subnet, b"canister_ranges"))
        state: State = {**self.subnet_state(), b"time": unsigned(time.time_ns())}
        certificate = encode(_signed(self._keys.root, state, wanted(paths)))
        return {"subnet_id": subnet, "certificate": certificate}


def _signed(key: BlsKey, state: State, show: Wanted) -> dict[str, Any]:
    tree, root_hash = witness(state, show)
    return {"tree": tree, "signature": key.sign(_STATE_ROOT + root_hash)}
