"""What proves something: hash trees, certificates, and the files that ``verify --check`` takes."""

import contextlib
import hashlib
import io
import json
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cbor2
from campaign import Target
from canister_targets import CANISTER
from hypothesis import strategies as st
from recordings import RECORDED, ROOT_KEY, chosen, for_each, recorded

from checks.errors import StoreError
from edgekeeper.cli.output import Output
from edgekeeper.cli.verify import _check
from sandbox.icp.keys import BlsKey
from tasks.statement import FILE, SCHEMA, _canonical, _readable
from tasks.stores.icp import certificate as certificates
from tasks.stores.icp.agent import reply_in
from tasks.stores.icp.certificate import Certificate, verify
from tasks.stores.icp.envelope import decode_cbor, map_in
from tasks.stores.icp.evidence import SCHEMA as EVIDENCE_SCHEMA
from tasks.stores.icp.evidence import examine
from tasks.stores.icp.hash_tree import HashTree
from tasks.stores.icp.query_signatures import _node_keys

KEY = BlsKey(b"a key for made certificates".ljust(64, b"."))
REQUEST = hashlib.sha256(b"a request").digest()
SUBNET = b"a subnet"

# Certificates -------------------------------------------------------------------------------------


def _recorded_certificates() -> list[bytes]:
    answers = [*recorded("icp-read_state*.cbor"), *recorded("icp-call*.cbor")]
    found = [decode_cbor(body, "a recording")["certificate"] for body in answers]
    return found + [decode_cbor(each, "a recording")["delegation"]["certificate"] for each in found]


def _time_of(data: bytes) -> datetime:
    """The certificate's own time, so that it is not its age that it fails for."""
    with contextlib.suppress(StoreError):
        return certificates._time(HashTree(map_in(decode_cbor(data, ""), "").get("tree")))
    return datetime.now(UTC)


def examine_certificate(data: bytes) -> str:
    """Verifies it, under two keys, and reads what it shows as if it had been found right."""
    at = _time_of(data)
    said = []
    for root_key in (ROOT_KEY, KEY.der):
        try:
            verify(data, canister_id=CANISTER, root_key=root_key, at=at)
            said.append("holds")
        except StoreError as error:
            said.append(str(error)[:20])
    tree = HashTree(map_in(decode_cbor(data, "a certificate"), "a certificate").get("tree"))
    shown = Certificate(tree, at, SUBNET, data)
    for read in (
        lambda: reply_in(shown, "memories_read", REQUEST),
        lambda: _node_keys(shown),
        lambda: certificates._time(tree) + timedelta(0),
        lambda: tuple(certificates._ranges(tree, SUBNET)),
        lambda: tree.look_up(b"canister", CANISTER, b"module_hash"),
        lambda: certificates._delegated(KEY.der, SUBNET, data),
    ):
        try:
            said.append(type(read()).__name__)
        except StoreError as error:
            said.append(type(error).__name__)
    return " ".join(said)


_LABELS = (
    b"time", b"request_status", REQUEST, b"status", b"reply", b"reject_code", b"reject_message",
    b"canister", CANISTER, b"module_hash", b"subnet", SUBNET, b"public_key", b"canister_ranges",
    b"node", b"",
)  # fmt: skip
_label = st.sampled_from(_LABELS) | st.binary(max_size=4)
_ranges = st.lists(
    st.lists(st.binary(max_size=10) | st.integers(), max_size=3) | st.none(), max_size=3
).map(cbor2.dumps)
_leaf = st.one_of(
    st.sampled_from([b"replied", b"rejected", b"done", b"\x01", b"\xff" * 9 + b"\x7f"]),
    st.binary(max_size=12), st.just(KEY.der), _ranges, st.text(max_size=8),
)  # fmt: skip
_tree = st.recursive(
    st.one_of(
        st.just([0]), st.tuples(st.just(3), _leaf).map(list),
        st.tuples(st.just(4), st.binary(min_size=32, max_size=32)).map(list),
        st.lists(st.integers(0, 5) | st.binary(max_size=3), max_size=4),
    ),
    lambda inner: st.one_of(
        st.tuples(st.just(1), inner, inner).map(list),
        st.tuples(st.just(2), _label, inner).map(list),
    ),
    max_leaves=24,
)  # fmt: skip


def signed(tree: Any, *, more: dict[str, Any] | None = None) -> bytes:
    """A certificate that our key signed, where the tree is one at all."""
    signature = b"\x00" * 48
    with contextlib.suppress(StoreError):
        signature = KEY.sign(b"\x0dic-state-root" + HashTree(tree).root_hash)
    return cbor2.dumps({"tree": tree, "signature": signature, **(more or {})})


def _paths(pairs: list[tuple[list[bytes], bytes]]) -> Any:
    """A tree in good order that has these values at these paths."""
    top: dict[bytes, Any] = {}
    for path, value in pairs:
        here = top
        for label in path[:-1]:
            following = here.setdefault(label, {})
            here = following if isinstance(following, dict) else here
        here[path[-1]] = value
    return _node(top)


def _node(state: Any) -> Any:
    if not isinstance(state, dict):
        return [3, state]
    nodes = [[2, label, _node(below)] for label, below in sorted(state.items())]
    while len(nodes) > 1:
        nodes = [
            [1, *nodes[place : place + 2]] if place + 1 < len(nodes) else nodes[place]
            for place in range(0, len(nodes), 2)
        ]
    return nodes[0] if nodes else [0]


_PLACES = (
    [b"time"], [b"request_status", REQUEST, b"status"], [b"request_status", REQUEST, b"reply"],
    [b"request_status", REQUEST, b"reject_code"], [b"request_status", REQUEST, b"reject_message"],
    [b"subnet", SUBNET, b"public_key"], [b"subnet", SUBNET, b"canister_ranges"],
    [b"subnet", SUBNET, b"node", b"n", b"public_key"], [b"canister_ranges", SUBNET, b"\x00"],
    [b"canister", CANISTER, b"module_hash"],
)  # fmt: skip
_state = st.lists(st.tuples(st.sampled_from(_PLACES), _leaf), max_size=6).map(_paths)
_delegation = st.fixed_dictionaries(
    {}, optional={"subnet_id": st.just(SUBNET) | st.none(), "certificate": st.binary(max_size=5)}
)
CERTIFICATES = Target(
    "certificates",
    _recorded_certificates(),
    st.builds(signed, _tree | _state)
    | st.builds(
        lambda tree, inner: signed(
            tree, more={"delegation": {"subnet_id": SUBNET, "certificate": signed(inner)}}
        ),
        _state, _state,
    )
    | st.builds(lambda tree, more: signed(tree, more={"delegation": more}), _state, _delegation),
    examine_certificate,
)  # fmt: skip


# Files --------------------------------------------------------------------------------------------


def sealed(evidence: bytes) -> bytes:
    """Evidence in a file whose checksum fits."""
    digest = hashlib.sha256(evidence).digest()
    body = {"schema": EVIDENCE_SCHEMA, "sha256": digest, "evidence": evidence}
    return b"\xd9\xd9\xf7" + cbor2.dumps(body)


def examine_evidence(data: bytes) -> str:
    number, body = chosen(data, 2)
    return str(examine(sealed(body) if number else body, ROOT_KEY).present)


def _evidence() -> list[bytes]:
    files = recorded("evidence*.cbor")
    inner = [decode_cbor(each, "a recording")["evidence"] for each in files]
    return [for_each(0, each) for each in files] + [for_each(1, each) for each in inner]


_question = st.fixed_dictionaries(
    {"method_name": st.sampled_from(["memories_read", "memories_list_assets"]),
     "request_type": st.just("call")},
    optional={
        "canister_id": st.just(CANISTER) | st.binary(max_size=4),
        "ingress_expiry": st.integers(-(2**64), 2**64 - 1),
        "arg": st.just(b"DIDL\x00\x01\x71\x01a") | st.binary(max_size=8),
        "nonce": st.none() | st.floats() | st.lists(st.booleans(), max_size=2),
    },
)  # fmt: skip
EVIDENCE = Target(
    "evidence",
    _evidence(),
    st.builds(
        lambda content, proof: for_each(1, cbor2.dumps({"content": content, "certificate": proof})),
        _question | st.none(), st.sampled_from(_recorded_certificates()) | st.builds(signed, _state),
    ),
    examine_evidence,
)  # fmt: skip


class _Desk:
    """A directory with a statement to be checked, and the recorded certificates beside it."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="edgekeeper-fuzz-")
        self.path = Path(self._kept.name) / FILE
        (self.path.parent / "certificates").mkdir()
        for name in json.loads(recorded("statement.json")[0])["statement"]["certificates"]:
            for each in recorded("evidence*.cbor"):
                (self.path.parent / name).write_bytes(each)


_desk: list[_Desk] = []


def resealed(content: Any) -> bytes:
    """Content in a statement whose checksum fits and that nobody signed."""
    body = {"schema": SCHEMA, "statement": content, "signature": None,
            "sha256": hashlib.sha256(_canonical(content)).hexdigest()}  # fmt: skip
    return _readable(body).encode()


def examine_statement(data: bytes) -> str:
    """Has the command check it: what it tells of it must not trip either."""
    number, body = chosen(data, 2)
    if number:
        try:
            body = resealed(json.loads(body))
        except (ValueError, RecursionError):
            return "no JSON at all"
    if not _desk:
        _desk.append(_Desk())
    _desk[0].path.write_bytes(body)
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(None):
        code = _check(Output(quiet=True), _desk[0].path)
    assert code in (0, 1)
    reason = re.sub(r"[^a-z ]+", "", said.getvalue())  # each reason leads deeper; not each name
    return f"{code} {reason[:50]}"


def _statements() -> list[bytes]:
    (file,) = recorded("statement.json")
    content = json.dumps(json.loads(file)["statement"]).encode()
    return [for_each(0, file), for_each(1, content), for_each(0, recorded("evidence.cbor")[0])]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_names = st.sampled_from(
    ["certificates/a.cbor", "../../../etc/passwd", "/dev/zero", "a\x00b", "x" * 5000, "", ".",
     "certificates"]
) | st.text(max_size=9)  # fmt: skip
_content = st.fixed_dictionaries(
    {"certificates": st.dictionaries(_names, st.text(max_size=4) | _json, max_size=3)},
    optional={"gallery_id": _json, "verdict": st.just("whole") | _json, "finished_at": _json,
              "memories": _json, "findings": _json},
)  # fmt: skip
STATEMENTS = Target(
    "statements",
    _statements(),
    st.builds(lambda content: for_each(1, json.dumps(content).encode()), _content | _json),
    examine_statement,
)
assert RECORDED.is_dir()
