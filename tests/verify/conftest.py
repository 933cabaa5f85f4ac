"""A sandbox with galleries, undamaged, whose database each test finds as it was."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import Box
from gallery_run import Verify
from undisturbed import no_settings_from_outside, quick_retries  # noqa: F401

from checks.run import RunRecord
from flows.verify_gallery import verify_gallery

MEMORIES = 120


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
    return _box.renewed()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def verify(box: Box, home: Path, monkeypatch: pytest.MonkeyPatch, without_prefect: None) -> Verify:
    """Runs the flow's stages in this process, without Prefect."""
    del without_prefect
    for name, value in (box.directory.settings() | {"EDGEKEEPER_HOME": str(home)}).items():
        monkeypatch.setenv(name, value)

    def run(gallery_id: str | None = None, **more: Any) -> RunRecord:
        return RunRecord.model_validate(verify_gallery.fn(gallery_id, **more))

    return run


@pytest.fixture
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks as the plain functions that they are."""
    from flows import verify_gallery as module  # noqa: PLC0415

    for name in (
        "choose", "snapshot", "resolve", "read_bytes", "conclude", "compare_items", "certify", "propose", "mend",
        "close",
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name).fn)
    monkeypatch.setattr(module, "look_up", _Submitted(module.look_up.fn))


class _Submitted:
    """A function that is called where a task would be submitted."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def submit(self, *arguments: Any) -> "_Result":
        return _Result(self._function(*arguments))


class _Result:
    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self) -> Any:
        return self._value
