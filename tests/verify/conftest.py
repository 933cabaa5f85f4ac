"""A sandbox with galleries, undamaged, whose database each test finds as it was."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import Box, settings_variables

MEMORIES = 120


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
def _box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(
        prefix="edgekeeper-verify-", ignore_cleanup_errors=True
    ) as top:
        box = Box.started(Path(top) / "sandbox").fill(MEMORIES, 11, None)
        box.keep()
        yield box
        box.stop()


@pytest.fixture
def box(_box: Box) -> Box:
    """The sandbox; what a test changes in the stores it puts back itself."""
    _box.revive()
    _box.set_back()
    return _box


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
