"""A sandbox whose memories are partly on the canister; each test finds it as it was."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import Box
from forever_box import Canister
from undisturbed import no_settings_from_outside, quick_retries  # noqa: F401

from flows.server import TemporaryServer

MEMORIES = 120


@pytest.fixture(scope="session")
def _box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(
        prefix="edgekeeper-forever-", ignore_cleanup_errors=True
    ) as top:
        box = Box.started(Path(top) / "sandbox").fill(MEMORIES, 21, None)
        box.keep()
        yield box
        box.stop()


@pytest.fixture
def box(_box: Box) -> Iterator[Box]:
    """The sandbox; its database and its stores are as they were before, whatever a test did."""
    _box.renewed()
    canister = Canister.of(_box)
    yield _box
    canister.set_back(_box)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture(scope="session")
def prefect_url() -> Iterator[str]:
    """One Prefect server for all programs that are started: making its database takes seconds."""
    with tempfile.TemporaryDirectory(prefix="edgekeeper-prefect-") as top:
        server = TemporaryServer(Path(top)).start()
        yield server.url()
        server.stop()
