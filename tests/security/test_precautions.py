"""What ``doctor`` warns of: secrets that others may read, and a database that is not checked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.precautions import precautions
from tasks.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "marked-password"


def warnings(directory: Path, **settings: str) -> list[str]:
    return precautions(load_settings(None, **settings), directory / ".env")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_an_identity_for_its_owner_alone_is_as_it_should_be(mode: int, tmp_path: Path) -> None:
    pem = tmp_path / "identity.pem"
    pem.touch(mode)
    assert warnings(tmp_path, identity_pem=str(pem)) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_an_identity_that_others_may_use_is_warned_of(mode: int, tmp_path: Path) -> None:
    pem = tmp_path / "identity.pem"
    pem.touch()
    pem.chmod(mode)
    (sentence,) = warnings(tmp_path, identity_pem=str(pem))
    for part in ("IC_IDENTITY_PEM", f"{mode:04o}", "chmod 600"):
        assert part in sentence


def test_a_pem_given_itself_is_no_file() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----\n"
    assert warnings(Path("/nowhere"), identity_pem=pem) == []


def test_settings_in_a_file_that_others_may_read_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    (tmp_path / ".env").chmod(0o644)
    (sentence,) = warnings(tmp_path)
    assert ".env" in sentence
    assert "chmod 600" in sentence
    (tmp_path / ".env").chmod(0o600)
    assert warnings(tmp_path) == []


@pytest.mark.parametrize(
    ("runner", "safe"),
    [
        ("threads", True), ("dask", True), ("ray", True), ("dask:127.0.0.1:8786", True),
        ("dask:tls://far.example:8786", True), ("dask:tcp://far.example:8786", False),
        ("dask:far.example:8786", False), ("ray:ray://far.example:10001", False),
    ],
)  # fmt: skip
def test_settings_that_go_to_a_cluster_without_tls_are_warned_of(
    runner: str, *, safe: bool, tmp_path: Path
) -> None:
    said = warnings(tmp_path, task_runner=runner)
    assert bool(said) is not safe
    assert all("EDGEKEEPER_TASK_RUNNER" in sentence for sentence in said)


@pytest.mark.parametrize("query", ["", "?sslmode=require"])
@pytest.mark.parametrize("field", ["database_url", "database_url_unpooled"])
def test_a_database_that_nobody_checks_is_warned_of(query: str, field: str, tmp_path: Path) -> None:
    far = f"postgresql://app:{PASSWORD}@far.example/app{query}"
    (sentence,) = warnings(tmp_path, **{field: far})
    assert field.upper() in sentence
    assert PASSWORD not in sentence


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app@far.example/app?sslmode=require&channel_binding=require",
        "postgresql://app@far.example/app?sslmode=verify-full",
        "postgresql://app@127.0.0.1/app",
    ],
)
def test_a_database_that_is_checked_is_as_it_should_be(url: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, database_url=url) == []


def test_the_doctor_says_it_also_when_it_is_quiet(tmp_path: Path) -> None:
    pem = tmp_path / "identity.pem"
    pem.touch()
    pem.chmod(0o644)
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-m", "edgekeeper", "doctor", "--quiet", "--json", "out.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**environment, "PYTHONPATH": str(ROOT), "IC_IDENTITY_PEM": str(pem),
             "DATABASE_URL": f"postgresql://app:{PASSWORD}@127.0.0.1:1/app"},
    )  # fmt: skip
    (sentence,) = json.loads((tmp_path / "out.json").read_text("utf-8"))["warnings"]
    assert sentence in done.stderr
    assert done.returncode == 3
