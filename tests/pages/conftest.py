"""Where the pages' commands are run: what `make install` makes, a shell, and a sandbox."""

import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import Box, settings_variables
from shell import Page, Shell

from sandbox import supervisor
from sandbox.directory import SandboxDirectory
from tests.audit.conftest import home, new_box, prefect_url  # noqa: F401
from tests.pages.not_here import NOT_HERE
from tests.pages.shown import ROOT, every

#: What of the environment a reader's shell has too; none of it is a setting of edgekeeper's.
OTHERS = ("PREFECT_", "PYTEST_", "COV_", "NEON_", "RAY_")
#: What lies in the top directory and is not of the source; a fresh one is made of `.installed`.
OWN = {".git", ".venv", ".edgekeeper", ".env", ".installed", "edgekeeper.egg-info"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "runs(page, *headings): the blocks that a test runs")
    config.addinivalue_line("markers", "every(*starts): runs what begins so, wherever it stands")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """A test that came to its end has run every line of the blocks that it says it runs."""
    outcome = yield
    page = pyfuncitem.funcargs.get("page")
    if isinstance(page, Page):
        assert {heading: lines for heading, lines in page.left.items() if lines} == {}
    return outcome


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Page:
    """The parts of a page that the test is marked with."""
    name, *headings = request.node.get_closest_marker("runs").args
    return Page(name, headings)


@pytest.fixture
def commands(request: pytest.FixtureRequest) -> list[str]:
    """Every command of the pages that begins as the test is marked, but for what can't be run."""
    starts = request.node.get_closest_marker("every").args
    return [each for each in every(*starts) if each not in NOT_HERE]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The top directory as `make install` leaves it, into which the pages' commands may write."""
    top = tmp_path / "source"
    for there, where in ((ROOT, top), (Path(sys.prefix), top / ".venv")):
        where.mkdir()
        for entry in there.iterdir():
            if entry.name not in OWN:
                (where / entry.name).symlink_to(entry)
    (top / ".venv" / ".installed").touch()
    return top


@pytest.fixture
def new_shell(source: Path, tmp_path: Path) -> Iterator[Callable[[Path], Shell]]:
    """Opens a shell in a directory: with `.venv/bin` in PATH, and with no settings of its own."""
    ours = set(settings_variables())
    kept = {k: v for k, v in os.environ.items() if k not in ours and not k.startswith(OTHERS)}
    search = f"{source / '.venv' / 'bin'}{os.pathsep}{kept['PATH']}"
    user = tmp_path / "user"
    user.mkdir()
    quiet = {"NO_COLOR": "1", "BROWSER": "true", "DO_NOT_TRACK": "1",
             "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "HOME": str(user),
             "PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_WORKER_QUERY_SECONDS": "1"}  # fmt: skip
    shells: list[Shell] = []

    def new(directory: Path) -> Shell:
        logs = tmp_path / f"printed-{len(shells)}"
        logs.mkdir()
        shells.append(Shell(directory, {**kept, **quiet, "PATH": search}, logs))
        return shells[-1]

    yield new
    for each in shells:
        each.close()
        sandbox = SandboxDirectory.of(each.directory / ".edgekeeper" / "sandbox")
        if sandbox.choices_file.exists():
            supervisor.stop(sandbox)


@pytest.fixture(scope="session")
def _shared(new_box: Callable[[str], Box]) -> Box:  # noqa: F811
    box = new_box("shown").fill(60, 12, "missing=2,untracked=1,stale_failure=1")
    box.keep()
    return box


@pytest.fixture
def box(_shared: Box) -> Box:
    """A sandbox with a little damage; its ledger is as if no run had ever been."""
    return _shared.renewed()
