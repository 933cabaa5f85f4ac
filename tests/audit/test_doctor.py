"""Each store is broken in turn, and the doctor names the culprit and the remedy.

That each setting is named when it is wrong is tested in ``tests/cli/test_commands.py``.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from damaged_sandbox import Box, command_line

from edgekeeper.cli.doctor import UNREACHABLE, UNUSABLE, Diagnosis, _diagnoses
from tasks import examination
from tasks.examination import FAILURE, OK, WARNING, Check
from tasks.settings import MAINNET_ROOT_KEY

READER = "reader"


def asked(box: Box, home: Path, **changes: str) -> dict[str, Diagnosis]:
    return {each.store: each for each in _diagnoses(box.settings(home, **changes))}


def checks(box: Box, home: Path, **changes: str) -> dict[str, Check]:
    found = asked(box, home, **changes).values()
    return {check.what: check for each in found for check in each.checks}


@pytest.fixture
def reader(sound: Box) -> Iterator[str]:
    """The connection string of a user who may read the app's tables and nothing else."""
    sound.sql(f"CREATE ROLE {READER} LOGIN PASSWORD 'reader'")
    sound.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    parts = urlsplit(sound.directory.database_url)
    server = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{READER}:reader@{server}"))
    sound.sql(f"DROP OWNED BY {READER}")
    sound.sql(f"DROP ROLE {READER}")


def test_where_nothing_is_wrong_every_check_says_so(sound: Box, home: Path) -> None:
    sound.audit(home)  # which makes what is missing of our own
    found = checks(sound, home)
    assert {name for name, check in found.items() if check.state != OK} <= {"schema"}
    assert "memories" in found["identity"].detail
    again = checks(sound, home)
    assert again["canister code"].detail.endswith("as before")


@pytest.mark.parametrize(
    ("server", "store"), [("postgres", "Neon"), ("blob", "Vercel Blob"), ("icp", "ICP canister")]
)
def test_a_store_that_is_down_is_named_with_what_to_check(
    server: str, store: str, sound: Box, home: Path
) -> None:
    sound.kill(server)
    try:
        found = asked(sound, home)
    finally:
        sound.revive()
    assert [name for name, each in found.items() if each.state == UNREACHABLE] == [store]
    assert "status page" in (found[store].remedy or "")


@pytest.mark.parametrize(
    ("store", "fault", "remedy"),
    [
        ("Vercel Blob", {"BLOB_READ_WRITE_TOKEN": "vercel_blob_rw_abcdefgh_0123456789"}, "credentials"),
        ("ICP canister", {"IC_ROOT_KEY": MAINNET_ROOT_KEY}, "IC_ROOT_KEY"),
    ],
)  # fmt: skip
def test_what_a_store_refuses_is_told_from_its_being_away(
    store: str, fault: dict[str, str], remedy: str, sound: Box, home: Path
) -> None:
    found = asked(sound, home, **fault)
    assert [name for name, each in found.items() if each.state == UNREACHABLE] == [store]
    assert remedy in (found[store].remedy or "")


def test_an_identity_that_sees_nothing_is_told_what_it_must_be(sound: Box, home: Path) -> None:
    found = checks(sound, home, IC_IDENTITY_PEM="")["identity"]
    assert found.state == WARNING
    assert "IC_IDENTITY_PEM" in (found.remedy or "")


def test_what_a_user_may_not_do_comes_with_its_grant(sound: Box, home: Path, reader: str) -> None:
    found = checks(sound, home, DATABASE_URL=reader, DATABASE_URL_UNPOOLED=reader)
    assert found["tables"].state == OK
    assert found["--repair ledger"].state == WARNING
    assert "GRANT INSERT, UPDATE, DELETE" in (found["--repair ledger"].remedy or "")
    assert found["audit"].state == FAILURE
    assert "CREATE" in (found["audit"].remedy or "")
    sound.sql(f"REVOKE SELECT ON images FROM {READER}")  # noqa: S608
    lacking = checks(sound, home, DATABASE_URL=reader, DATABASE_URL_UNPOOLED=reader)["tables"]
    assert lacking.state == FAILURE
    assert "images" in lacking.detail


def test_a_view_that_is_missing_is_named_and_says_where_to_look(sound: Box, home: Path) -> None:
    sound.sql("DROP VIEW IF EXISTS memory_presence CASCADE")
    found = checks(sound, home)["schema"]
    assert (found.state, found.remedy) == (FAILURE, "see: edgekeeper schema status")


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("module_hash", "00" * 32, "canister code"), ("controllers", ["aaaaa-aa"], "canister controllers")],
)  # fmt: skip
def test_a_canister_that_was_changed_since_is_noticed(
    name: str, value: object, what: str, sound: Box, home: Path
) -> None:
    checks(sound, home)
    kept = home / "canister.json"
    kept.write_text(json.dumps(json.loads(kept.read_text("utf-8")) | {name: value}), "utf-8")
    found = checks(sound, home)
    changed = {
        each for each in ("canister code", "canister controllers") if found[each].state != OK
    }
    assert changed == {what}
    assert "upgraded or transferred" in (found[what].remedy or "")


def test_a_clock_a_pooler_and_a_disk_are_named(
    sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examination._clock("database clock", -31.0).state == FAILURE
    assert examination._clock("database clock", 29.0).state == OK
    pooled = "postgresql://app:x@ep-cool-pooler.eu.neon.tech/app?sslmode=require"
    found = examination._pooler(sound.settings(home, DATABASE_URL=pooled, DATABASE_URL_UNPOOLED=""))
    assert found.state == WARNING
    assert "DATABASE_URL_UNPOOLED" in (found.remedy or "")
    monkeypatch.setattr(examination, "LEAST_DISK_BYTES", 10**18)
    (disk,) = examination.examine_machine(sound.settings(home))
    assert (disk.state, "EDGEKEEPER_HOME" in (disk.remedy or "")) == (WARNING, True)


def test_a_database_that_is_not_there_is_a_setting(sound: Box, home: Path) -> None:
    elsewhere = urlunsplit(
        urlsplit(sound.directory.database_url)._replace(path="/no_such_database")
    )
    found = asked(sound, home, DATABASE_URL=elsewhere, DATABASE_URL_UNPOOLED="")["Neon"]
    assert found.state == UNUSABLE
    assert found.remedy == "correct the setting that is named above"


def test_a_cluster_that_can_not_be_used_is_named_and_is_no_success(sound: Box, home: Path) -> None:
    done = command_line(sound, home, "doctor", EDGEKEEPER_TASK_RUNNER="dask:tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "cluster" in done.stdout
    assert "use threads" in done.stdout + done.stderr
