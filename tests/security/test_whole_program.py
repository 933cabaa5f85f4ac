"""The whole command line over a hostile collection, with marked secrets and everything logged.

Afterwards no secret is anywhere, nothing a stranger wrote can run, and nobody was asked who should not be.
"""

import base64
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from leaks import Marks, Processes, traces_of
from listening import Visits, http_ok, listener

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "audit"))

from damaged_sandbox import BLOB, ICP, Box
from hostile_collection import INVISIBLE, SCRIPT, Parts, plant, plant_locations

from flows import server

ROOT = Path(__file__).resolve().parents[2]
API_TOKEN, HEARTBEAT = 'api/mark+90412="x y" of serve', "3f2a0c1e-5b7d-heartbeat-mark"
NOTIFY, WRONG = "notify-mark-5502177", "wrong-password-mark-31177"
#: The program, in which a stage fails with an error that says everything that there is to hide.
BROKEN = """
import os
from tasks import observe

def snapshot(run):
    cause = ValueError(os.environ["SAID"])
    cause.add_note(os.environ["SAID"])
    raise RuntimeError(os.environ["SAID"]) from cause

observe.snapshot = snapshot
from edgekeeper.cli.app import app
app(["audit", "--verbose"])
"""


@dataclass
class Left:
    """A sandbox, and everything that the program has said and left in it.

    Attributes:
        visits: who came to the receivers of heartbeat and messages.
        strangers: who came to where only hostile URLs lead.
    """

    box: Box
    top: Path
    marks: Marks
    visits: Visits
    strangers: Visits
    outputs: dict[str, bytes] = field(default_factory=dict)
    arguments: set[bytes] = field(default_factory=set)

    def run(self, name: str, ends: int, command: list[str], **changes: str) -> None:
        """Runs Python with ``command`` on the sandbox; it has to end with ``ends``."""
        given = self.box.directory.settings()
        beat = f"http://127.0.0.1:{self.visits.port}/ping/{HEARTBEAT}"
        tell = f"json://me:{NOTIFY}@127.0.0.1"
        own = {
            "EDGEKEEPER_HOME": str(self.top / "home"), "EDGEKEEPER_API_TOKEN": API_TOKEN,
            "EDGEKEEPER_HEARTBEAT_URL": beat, "EDGEKEEPER_GRACE_MINUTES": "0",
            "EDGEKEEPER_NOTIFY_URL": f"{tell}:{self.visits.port}/{NOTIFY},{tell}:1/{NOTIFY}",
            "IC_IDENTITY_PEM": Path(given["IC_IDENTITY_PEM"]).read_text(),
            "PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
        }  # fmt: skip
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        places = {"TMPDIR": str(self.top / "tmp"), "HOME": str(self.top / "user")}
        environment = kept | places | {"PYTHONPATH": str(ROOT)} | given | own | changes
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.top, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with Processes(process.pid) as processes:
            self.outputs[name], _ = process.communicate(timeout=600)
        self.arguments |= processes.seen
        assert process.returncode == ends, (name, self.outputs[name].decode()[-3000:])

    def edgekeeper(self, name: str, ends: int, *arguments: str, **changes: str) -> None:
        self.run(name, ends, ["-m", "edgekeeper", *arguments, "--verbose"], **changes)


def said(marks: Marks) -> str:
    """What a server or a library might say: the secrets, in whatever form it has them, and parts."""
    words = [SCRIPT]
    for secret in (mark for name, mark in marks.secrets.items() if name != "other"):
        plain = secret if isinstance(secret, bytes) else secret.encode()
        if isinstance(secret, str):
            words += [secret, quote(secret, safe=""), repr(secret), secret[: len(secret) * 2 // 3]]
            words += [base64.b64encode(b"me:" + plain).decode(), plain.hex()]
    return " ".join(words)


def play(left: Left) -> None:
    """Every command that meets a secret, on stores that work, fail, and repeat what they heard."""
    box, given = left.box, left.box.directory.settings()
    settings = box.settings(left.top)
    gallery = plant(box, settings, left.strangers.port)
    plant_locations(box, settings, left.strangers.port)
    everything = said(left.marks)
    left.edgekeeper("doctor", 0, "doctor", "--json", "doctor.json")
    left.edgekeeper(
        "audit", 1, "audit", "--repair", "ledger", "--verify", "all", "--allow-percent", "100",
        "--json", "audit.json",
    )  # fmt: skip
    (run,) = (left.top / "home" / "runs").iterdir()
    left.edgekeeper("verify", 1, "verify", gallery, "--certified", "--json", "verify.json")
    left.edgekeeper("findings", 1, "findings", "--format", "csv")
    left.edgekeeper("report", 0, "report")
    left.edgekeeper("revert", 0, "revert", run.name)
    refused = {"status": 400, "body": {"error": {"code": "bad_request", "message": everything}}}
    box.fault(BLOB, "status", refused, path_regex="/api/blob")
    box.fault(ICP, "status", {"status": 400, "body": everything}, path_regex="query")
    left.edgekeeper("failing stores", 3, "audit", "--json", "failing.json")
    box.revive()
    left.run("internal error", 5, ["-c", BROKEN], SAID=everything)
    far = given["DATABASE_URL"].replace(box.directory.choices.database_password, WRONG)
    left.edgekeeper(
        "wrong password", 3, "schema", "status", DATABASE_URL=far, DATABASE_URL_UNPOOLED=far
    )
    left.edgekeeper(
        "no url", 2, "findings", DATABASE_URL=f"postgresql//:{WRONG}@[/x?{everything[:99]}"
    )


def prepare_prefect(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the server make its database, for which a busy machine may need minutes."""
    monkeypatch.setattr(server, "START_SECONDS", 900)
    first = server.TemporaryServer(home / "prefect").start()
    try:
        first.url()
    finally:
        first.stop()


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[Left]:
    with (
        tempfile.TemporaryDirectory(prefix="edgekeeper-marks-", ignore_cleanup_errors=True) as top,
        listener(http_ok) as visits,
        listener(http_ok) as strangers,
    ):
        box = Box.started(Path(top) / "sandbox").fill(60, 3, "missing=2,unmarked=2")
        pem = box.directory.identity.read_text("ascii")
        key = load_pem_private_key(pem.encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        choices = box.directory.choices
        secrets = {
            "password": choices.database_password, "token": choices.blob_token.rpartition("_")[2],
            "key": max(pem.split("\n"), key=len), "its bytes": key.private_bytes_raw(),
            "api token": API_TOKEN, "heartbeat": HEARTBEAT, "notify": NOTIFY, "other": WRONG,
        }  # fmt: skip
        place = Path(top) / "program"
        for name in ("tmp", "user"):
            (place / name).mkdir(parents=True)
        prepare_prefect(place / "home", monkeypatch)
        try:
            yield Left(box, place, Marks(secrets), visits, strangers)
        finally:
            box.stop()


@pytest.mark.parametrize("secret", ["a-secret-of-some-length", b"\x00\xff\x10 not a text \xfe\x01"])
def test_a_secret_is_found_in_whatever_form_and_in_parts(secret: str | bytes) -> None:
    marks = Marks({"it": secret})
    plain = secret.encode() if isinstance(secret, str) else secret
    hidden = [plain, plain[5:], plain[:-5], plain.hex().encode(), base64.b64encode(plain)]
    hidden += [base64.urlsafe_b64encode(before + plain + b"more") for before in (b"a", b"ab", b"")]
    assert [marks.found_in(b"x" + each + b"y") for each in hidden] == [{"it"}] * len(hidden)
    assert not marks.found_in(b"nothing of it")
    assert len(traces_of(secret)) > len(hidden)


@pytest.mark.timeout(1800)
def test_nothing_leaks_and_nothing_runs_whatever_the_program_says_or_leaves(left: Left) -> None:
    play(left)
    for name, output in left.outputs.items():
        assert not left.marks.found_in(output), (name, output.decode())
    names = {path.name for path in left.top.rglob("*")}
    assert {"prefect.db", "log.jsonl", "run.json", "report.html", "findings.parquet"} <= names
    assert not left.marks.found_below(left.top)
    hidden = b"".join(left.outputs.values()).count(b"***")
    assert hidden > 10, "what was to be hidden was there to be hidden"
    check_the_database(left)
    check_what_others_see(left)
    check_pages(left)
    check_artifacts(left)
    assert not left.strangers.said, "a URL of a row was fetched"


def check_the_database(left: Left) -> None:
    """No row of any table, and no line of the server's log, holds a mark."""
    tables = left.box.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert len(tables) > 10
    for (table,) in tables:
        rows = left.box.sql(f"SELECT t::text FROM {table} AS t")  # noqa: S608 - the catalog's own
        assert not left.marks.found_in("\n".join(row[0] for row in rows).encode()), table
    assert not left.marks.found_below(left.box.directory.logs)


def check_what_others_see(left: Left) -> None:
    """No process has a mark among its arguments; a receiver of messages hears its own alone."""
    if Path("/proc").is_dir():
        assert any(b"flows.server" in each for each in left.arguments), "the children were seen"
        assert not left.marks.found_in(b"\n".join(left.arguments))
    assert left.visits.said, "heartbeat and notification arrived"
    own = ("notify", "heartbeat")
    others = {name: mark for name, mark in left.marks.secrets.items() if name not in own}
    assert not Marks(others).found_in(left.visits.everything)


def check_pages(left: Left) -> None:
    """No page, of ours or of Data Docs, has an element that a stranger wrote."""
    pages = {path: path.read_text("utf-8") for path in left.top.rglob("*.html")}
    for path, text in pages.items():
        parts = Parts()
        parts.feed(text)
        assert not parts.active, path
        assert not INVISIBLE & set(text), path
    assert any("data-docs" in path.parts for path in pages)
    shown = {path.parent.name for path, text in pages.items() if "it ran" in text}
    assert len(shown) > 1, "the pages of the runs name the worst names, as text"


def check_artifacts(left: Left) -> None:
    """What Prefect was given to show is text, whatever it is called."""
    with closing(sqlite3.connect(left.top / "home" / "prefect" / "prefect.db")) as database:
        rows = database.execute("SELECT type, data, description FROM artifact").fetchall()
    kept = [  # of a progress the data is a number
        (kind, json.loads(data) if isinstance(data, str) else data, description or "")
        for kind, data, description in rows
    ]
    assert {"markdown", "table"} <= {kind for kind, _, _ in kept}
    for kind, data, description in kept:
        assert not INVISIBLE & set(f"{data}{description}")
        assert "<" not in description
        if kind == "markdown":
            assert "<" not in data
    assert any(kind == "markdown" and "it ran" in data for kind, data, _ in kept)
    assert any(kind == "table" and "it ran" in data for kind, data, _ in kept)
