"""What the tests of the report share."""

from pathlib import Path

import pytest
import report_samples as samples

from tasks.run_directory import RunDirectory, create


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    """A run's directory in an empty home."""
    return create(tmp_path / "home", samples.record().run_id)
