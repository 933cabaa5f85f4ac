"""A sandbox and a canister that tests may fill to the brim."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "stores"))

from damaged_sandbox import Box
from icp_process import IcpProcess
from undisturbed import no_settings_from_outside  # noqa: F401


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with tempfile.TemporaryDirectory(
        prefix="edgekeeper-volume-", ignore_cleanup_errors=True
    ) as top:
        started = Box.started(Path(top) / "sandbox").fill(40, 3, None)
        yield started
        started.stop()


@pytest.fixture
def icp(tmp_path: Path) -> Iterator[IcpProcess]:
    process = IcpProcess(tmp_path / "icp")
    yield process
    process.close()
