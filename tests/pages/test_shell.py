"""The shell that runs the pages: what one line does counts for the next, and no failure is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest
from shell import Page, Shell


@pytest.fixture
def shell(new_shell: Callable[[Path], Shell], tmp_path: Path) -> Shell:
    return new_shell(tmp_path)


def test_what_a_line_exports_and_where_it_goes_counts_for_the_next(
    shell: Shell, tmp_path: Path
) -> None:
    shell.run('export A="b c"  # a comment')
    shell.run("mkdir there && cd there")
    assert shell.run('echo "$A in $PWD"') == f"b c in {tmp_path}/there\n"


@pytest.mark.parametrize(
    "line", ["false", "no-such-program", "false | cat", "echo Traceback >&2", "exit 0", "if"]
)
def test_a_line_that_fails_is_noticed(shell: Shell, line: str) -> None:
    with pytest.raises(AssertionError):
        shell.run(line)


def test_a_line_that_is_to_last_and_ends_is_noticed(shell: Shell) -> None:
    with pytest.raises(AssertionError, match="no such thing"):
        shell.begin("echo no such thing >&2; false", ready=lambda: False)


def test_what_lasts_ends_with_the_shell(new_shell: Callable[[Path], Shell], tmp_path: Path) -> None:
    shell = new_shell(tmp_path)
    shell.begin("echo $BASHPID > pid; sleep 600", ready=(tmp_path / "pid").exists)
    process = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{process}").exists()
    shell.close()
    assert not Path(f"/proc/{process}").exists()


def test_a_line_of_a_block_that_was_not_run_is_left(shell: Shell) -> None:
    page = Page("docs/rehearsal.md", ["2. A shell of its own", "6. Throw it away"])
    page.run("6. Throw it away", shell, filled={"neonctl": "echo", "rm -r": "echo"})
    assert page.left["6. Throw it away"] == []
    assert len(page.left["2. A shell of its own"]) == 7
    with pytest.raises(AssertionError):
        Page("docs/rehearsal.md", ["7. There is no such part"])
