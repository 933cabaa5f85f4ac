"""Completion in the shell: what is typed after a tab is asked of the program itself."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRY = """
source <(_EDGEKEEPER_COMPLETE=source_bash edgekeeper)
COMP_WORDS=(%s) COMP_CWORD=%d
$(complete -p edgekeeper | sed 's/.*-F \\([^ ]*\\).*/\\1/') edgekeeper
echo "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edgekeeper sto", "store-forever"),
        ("edgekeeper schema a", "apply"),
        ("edgekeeper audit --repair l", "ledger"),
    ],
)
@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_bash_completes_commands_options_and_values(
    typed: str, offered: str, tmp_path: Path
) -> None:
    program = tmp_path / "edgekeeper"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} "
        f'exec {shlex.quote(sys.executable)} -m edgekeeper "$@"\n'
    )
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f"PATH={shlex.quote(str(tmp_path))}:$PATH\n"
         + TRY % (typed, len(typed.split()) - 1)],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.stdout.split() == [offered], done.stderr
