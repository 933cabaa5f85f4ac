"""`docs/rehearsal.md`: Neon's own command line makes the branch, and nothing but that is written to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from damaged_sandbox import Box
from neon_api import KEY, Project, served
from shell import Page, Shell, export

HERE = Path(__file__).resolve().parent
NEONCTL = HERE / "js" / "node_modules" / "neonctl" / "bin" / "cli.js"
STEPS = (
    "1. Make the branch", "2. A shell of its own", "3. Back-fill", "4. Repair", "5. Take it back",
    "6. Throw it away",
)  # fmt: skip
#: What a person gives; of the sandbox's other settings real stores need none.
GIVEN = ("BLOB_READ_WRITE_TOKEN", "CANISTER_ID_BACKEND", "IC_IDENTITY_PEM", "EDGEKEEPER_BLOB_PLAN")
#: Quiet, and without TLS, which the sandbox's Postgres has not.
OPTIONS = "--no-analytics --ssl omit"

#: Before and after the repair something is open: what only bytes can mend.
REPAIR = {"edgekeeper findings": (1,), "edgekeeper audit --repair": (0,), "edgekeeper audit": (1,)}


@pytest.mark.timeout(900)  # a minute and a half on an idle machine; a busy one is no failure
@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.skipif(
    not NEONCTL.is_file(), reason="neonctl is not installed: npm ci in tests/pages/js"
)
@pytest.mark.runs("docs/rehearsal.md", *STEPS)
def test_a_rehearsal_writes_to_the_branch_alone_and_leaves_nothing(
    page: Page, new_shell: Callable[[Path], Shell], tmp_path: Path, box: Box
) -> None:
    given = box.directory.settings()
    project = Project(given["DATABASE_URL"])
    before = box.edges()
    shell = new_shell(tmp_path)
    shell.run(f'neonctl() {{ node "{NEONCTL}" --config-dir "{tmp_path}/neon" {OPTIONS} "$@"; }}')
    shell.run(
        export({name: given[name] for name in ("VERCEL_BLOB_API_URL", "IC_URL", "IC_ROOT_KEY")})
    )
    home = tmp_path / "rehearsal" / "home"
    with served(project) as url:
        shell.run(export({"NEON_API_HOST": url, "NEON_API_KEY": KEY}))
        said = page.run("1. Make the branch", shell)
        address = said["neonctl connection-string rehearsal"].strip()
        page.run(
            "2. A shell of its own", shell, filled={f"{k}=…": f"{k}={given[k]}" for k in GIVEN}
        )
        page.run("3. Back-fill", shell, codes={"edgekeeper audit": (1,)})
        drifted = ledger(address)
        page.run("4. Repair", shell, codes=REPAIR)
        assert ledger(address) != drifted
        (repaired,) = (path.parent.name for path in home.glob("runs/*/run.json") if repairs(path))
        page.run("5. Take it back", shell, filled={"RUN_ID": repaired})
        assert ledger(address) == drifted
        assert box.edges() == before
        page.run("6. Throw it away", shell)
    assert list(project.branches.values()) == ["app"]
    assert not home.parent.exists()


def ledger(url: str) -> list[tuple[object, ...]]:
    """What the ledger in a database says."""
    said = (
        "SELECT memory_id, memory_type, artifact, backend, present, location, content_hash, "
        "size_bytes, sync_state, sync_error FROM storage_edges ORDER BY id"
    )
    with psycopg.connect(url) as conn:
        return conn.execute(said).fetchall()


def repairs(run: Path) -> bool:
    """Whether a run is the audit that repaired."""
    record = json.loads(run.read_text("utf-8"))
    return (record["flow"], record["repair"]) == ("nightly-audit", "ledger")
