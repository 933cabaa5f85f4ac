"""What is handed out can be checked offline; one bit flipped anywhere, and it does not hold."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest
from damaged_sandbox import Box

from checks.errors import MalformedAnswerError, StoreError, UntrustedAnswerError
from flows.verify_gallery import verify_gallery
from tasks.settings import MAINNET_ROOT_KEY
from tasks.statement import check_statement
from tasks.stores.icp.certificate import root_key_of
from tasks.stores.icp.envelope import SELF_DESCRIBED
from tasks.stores.icp.evidence import examine

FLIPS = 150


@pytest.fixture(scope="module")
def handed_out(
    _box: Box, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes, list[str]]:
    """The directory of a certified verification, the root key, and the memories verified."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (_box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}).items():
            patch.setenv(name, value)
        gallery = _box.sql(
            "SELECT gallery_id::text FROM gallery_items GROUP BY 1 ORDER BY count(*) DESC"
        )
        from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

        with prefect_test_harness(server_startup_timeout=300):
            record = verify_gallery(gallery[0][0], certified=True)
    memories = [each["memory_id"] for each in record["gallery"]["memories"]]
    root_key = root_key_of(_box.directory.settings()["IC_ROOT_KEY"])
    return Path(record["report"]).parent, root_key, memories


def certificate(handed_out: tuple[Path, bytes, list[str]]) -> bytes:
    directory, _, _ = handed_out
    return next((directory / "certificates").iterdir()).read_bytes()


def test_a_certificate_shows_what_the_canister_claimed(handed_out: Any) -> None:
    _, root_key, memories = handed_out
    claim = examine(certificate(handed_out), root_key)
    assert claim.memory_id in memories
    assert claim.present
    assert claim.declared_sha256


def test_a_statement_is_signed_and_its_certificates_hold(handed_out: Any) -> None:
    directory, root_key, _ = handed_out
    checked = check_statement(directory / "statement.json", root_key)
    assert checked.signer
    assert checked.claims
    assert not checked.absent
    assert {claim.memory_id for claim in checked.claims.values()} <= {
        each["memory_id"] for each in checked.content["memories"]
    }


def flips(data: bytes, number: int) -> list[bytes]:
    chosen = random.Random(7)
    places = [chosen.randrange(8 * len(data)) for _ in range(number)]
    return [
        data[: place // 8] + bytes([data[place // 8] ^ 1 << place % 8]) + data[place // 8 + 1 :]
        for place in places
    ]


def test_a_bit_flipped_anywhere_in_a_certificate_is_noticed(handed_out: Any) -> None:
    _, root_key, _ = handed_out
    for changed in flips(certificate(handed_out), FLIPS):
        with pytest.raises(StoreError):
            examine(changed, root_key)


def test_a_bit_flipped_in_what_is_proven_is_noticed_with_a_fitting_checksum_too(
    handed_out: Any,
) -> None:
    """A forger mends the checksum as well; then the signatures have to tell."""
    _, root_key, _ = handed_out
    body = cbor2.loads(certificate(handed_out))
    for changed in flips(body["evidence"], FLIPS):
        with pytest.raises(StoreError):
            examine(resealed(changed), root_key)


def resealed(evidence: bytes) -> bytes:
    import hashlib  # noqa: PLC0415

    digest = hashlib.sha256(evidence).digest()
    return SELF_DESCRIBED + cbor2.dumps(
        {"schema": "edgekeeper.certificate/1", "sha256": digest, "evidence": evidence}
    )


def edited(data: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    evidence = cbor2.loads(cbor2.loads(data)["evidence"])
    evidence = {"content": dict(evidence["content"]), "certificate": evidence["certificate"]}
    edit(evidence)
    return resealed(cbor2.dumps(evidence))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda e: e["content"].update(arg=b"DIDL\x00\x01\x71\x01a"), "says nothing of what was asked"),
        (lambda e: e["content"].update(method_name="memories_list_assets"), "says nothing"),
        (lambda e: e["content"].update(canister_id=b"\xff" * 10), "answers another request"),
        (lambda e: e["content"].update(canister_id=b"\x00" * 9 + b"\x01"), "answers another request"),
        (lambda e: e["content"].update(ingress_expiry=e["content"]["ingress_expiry"] + 10**12),
         "minutes from"),
        (lambda e: e["content"].update(ingress_expiry=e["content"]["ingress_expiry"] + 1),
         "says nothing"),
        (lambda e: e["content"].update(method_name="memories_delete"), "not about a memory"),
        (lambda e: e.update(certificate=_without_delegation(e["certificate"])),
         "carries no delegation, and the root key itself did not sign it"),
        (lambda e: e.update(certificate=_without_signature(e["certificate"])),
         "subnet [a-z0-9-]+ did not sign this"),
    ],
)  # fmt: skip
def test_each_way_of_not_holding_is_refused_with_its_reason(
    edit: Callable[[dict[str, Any]], None], reason: str, handed_out: Any
) -> None:
    _, root_key, _ = handed_out
    with pytest.raises((UntrustedAnswerError, MalformedAnswerError), match=reason):
        examine(edited(certificate(handed_out), edit), root_key)


def _without_delegation(raw: bytes) -> bytes:
    content = cbor2.loads(raw)
    return cbor2.dumps(
        {name: value for name, value in dict(content).items() if name != "delegation"}
    )


def _without_signature(raw: bytes) -> bytes:
    """The certificate with the signature of its delegation, which is over something else."""
    content = dict(cbor2.loads(raw))
    inner = cbor2.loads(dict(content["delegation"])["certificate"])
    return cbor2.dumps(content | {"signature": dict(inner)["signature"]})


def test_another_networks_root_key_does_not_make_it_hold(handed_out: Any) -> None:
    with pytest.raises(UntrustedAnswerError, match="it is of another network, or was changed"):
        examine(certificate(handed_out), root_key_of(MAINNET_ROOT_KEY))


def test_a_bit_flipped_anywhere_in_a_statement_is_noticed(handed_out: Any, tmp_path: Path) -> None:
    directory, root_key, _ = handed_out
    (tmp_path / "certificates").symlink_to(directory / "certificates")
    path = tmp_path / "statement.json"
    for changed in flips((directory / "statement.json").read_bytes(), FLIPS):
        path.write_bytes(changed)
        with pytest.raises(StoreError):
            check_statement(path, root_key)


def test_a_statement_with_a_new_checksum_still_needs_its_signature(
    handed_out: Any, tmp_path: Path
) -> None:
    import hashlib  # noqa: PLC0415

    from tasks.statement import _canonical, _readable  # noqa: PLC0415

    directory, root_key, _ = handed_out
    body = json.loads((directory / "statement.json").read_text("utf-8"))
    body["statement"]["verdict"] = "lost"
    body["sha256"] = hashlib.sha256(_canonical(body["statement"])).hexdigest()
    (tmp_path / "statement.json").write_text(_readable(body), "utf-8")
    with pytest.raises(UntrustedAnswerError, match="signature does not hold"):
        check_statement(tmp_path / "statement.json", root_key)


def test_a_certificate_that_is_not_beside_the_statement_is_named(
    handed_out: Any, tmp_path: Path
) -> None:
    directory, root_key, _ = handed_out
    (tmp_path / "statement.json").write_bytes((directory / "statement.json").read_bytes())
    checked = check_statement(tmp_path / "statement.json", root_key)
    assert not checked.claims
    assert len(checked.absent) == len(list((directory / "certificates").iterdir()))


def test_a_statement_names_no_titles(handed_out: Any, box: Box) -> None:
    directory, _, _ = handed_out
    text = (directory / "statement.json").read_text("utf-8")
    titles = box.sql("SELECT title FROM galleries UNION SELECT title FROM images")
    assert not [title for (title,) in titles if title and len(title) > 3 and title in text]
