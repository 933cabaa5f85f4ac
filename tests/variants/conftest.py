"""One sandbox's stores for all variants; each variant is a database of its own beside them."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import settings_variables
from legacy_sandbox import LegacySandbox


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    """Retries as many as are enough to be seen, and none of their waits."""
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings_variables():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def legacy() -> Iterator[LegacySandbox]:
    """A collection that is older than its ledger, and what its true ledger would be."""
    with tempfile.TemporaryDirectory(
        prefix="edgekeeper-variants-", ignore_cleanup_errors=True
    ) as top:
        sandbox = LegacySandbox.started(Path(top) / "sandbox")
        yield sandbox
        sandbox.box.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
