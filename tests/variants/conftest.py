"""One sandbox's stores for all variants; each variant is a database of its own beside them."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from legacy_sandbox import LegacySandbox
from undisturbed import no_settings_from_outside, quick_retries  # noqa: F401


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
