"""What every test with a sandbox is kept from: long waits, and settings from outside."""

from collections.abc import Iterator

import pytest
import stamina
from damaged_sandbox import settings_variables


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    """Retries as many as are enough to be seen, and none of their waits."""
    with stamina.set_testing(True, attempts=2, cap=True):
        yield


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings_variables():
        monkeypatch.delenv(name, raising=False)
