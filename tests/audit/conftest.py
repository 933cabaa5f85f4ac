"""Sandboxes for the audit's tests: one damaged and shared, whose ledger each test finds anew."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damaged_sandbox import Box
from undisturbed import no_settings_from_outside, quick_retries  # noqa: F401

from flows.server import TemporaryServer

SHARED_MEMORIES = 180
#: At least one of each variant of each kind, and little more: every finding is looked up.
DAMAGE = (
    "missing=8,lost=2,untracked=4,unmarked=4,orphaned=2,unclassified=1,size_mismatch=2,"
    "hash_mismatch=3,hash_unknown=2,stuck=2,sync_failed=1,stale_failure=2,dangling_edge=2,"
    "deleted_memory=2,icp_only=2,external_only=2,invalid_id=2,invalid_location=5,"
    "location_conflict=3,invalid_row=3,type_mismatch=1,"
    "stale_hash=2,outdated_replica=2,replica_divergence=2,"
    "duplicate_content=1,gallery_divergence=1,dangling_item=1,moved=2,unverifiable=1"
)


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
    box = new_box("damaged").fill(SHARED_MEMORIES, 7, DAMAGE)
    box.keep()
    return box


@pytest.fixture
def box(_shared: Box) -> Box:
    """A damaged sandbox with a few memories; its ledger is as if no run had ever been.

    What a test changes in the stores it puts back itself.
    """
    return _shared.renewed()


@pytest.fixture(scope="session")
def _sound(new_box: Callable[[str], Box]) -> Box:
    box = new_box("sound").fill(SHARED_MEMORIES, 8, None)
    box.keep()
    return box


@pytest.fixture
def sound(_sound: Box) -> Box:
    """The same without any damage."""
    return _sound.renewed()


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
