"""Sandboxes for the audit's tests: one damaged and shared, whose ledger each test finds anew."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stamina
from damaged_sandbox import Box, settings_variables

SHARED_MEMORIES = 400


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
def new_box() -> Iterator[Callable[[str], Box]]:
    """Starts a sandbox outside pytest's directories, which another session may clear away."""
    with tempfile.TemporaryDirectory(prefix="edgekeeper-audit-", ignore_cleanup_errors=True) as top:
        boxes: list[Box] = []

        def start(name: str) -> Box:
            boxes.append(Box.started(Path(top) / name))
            return boxes[-1]

        yield start
        for box in boxes:
            box.stop()


@pytest.fixture(scope="session")
def _shared(new_box: Callable[[str], Box]) -> Box:
    box = new_box("damaged").fill(SHARED_MEMORIES, 7)
    box.keep()
    return box


@pytest.fixture
def box(_shared: Box) -> Box:
    """A damaged sandbox with 400 memories; its ledger is as if no run had ever been.

    What a test changes in the stores it puts back itself.
    """
    _shared.revive()
    _shared.set_back()
    return _shared


@pytest.fixture(scope="session")
def _sound(new_box: Callable[[str], Box]) -> Box:
    box = new_box("sound").fill(SHARED_MEMORIES, 8, None)
    box.keep()
    return box


@pytest.fixture
def sound(_sound: Box) -> Box:
    """The same without any damage."""
    _sound.revive()
    _sound.set_back()
    return _sound


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
