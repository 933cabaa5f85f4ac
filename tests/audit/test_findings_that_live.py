"""Findings across audits: counted, resolved when gone, acknowledged by a person, awake again."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from damaged_sandbox import ICP, Audited, Box, command_line

from checks.errors import UsageError
from tasks.acknowledgements import acknowledge, withdraw
from tasks.database import connect
from tasks.findings_history import known_finding


def take_note(box: Box, fingerprint: str, until: datetime) -> None:
    with connect(box.directory.database_url) as conn:
        acknowledge(
            conn, fingerprint, known_finding(conn, fingerprint), until=until, reason="it is known"
        )


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def open_now(done: Audited) -> list[Any]:
    """What exit code and notifications count."""
    return [each for each in done.record.findings if each.is_open(datetime.now(UTC))]


def page(home: Path, done: Audited) -> str:
    return (home / "runs" / done.record.run_id / "report.html").read_text("utf-8")


ONE_FAILURE = (
    "UPDATE storage_edges SET sync_state = 'failed', sync_error = 'no luck' WHERE id = (SELECT id "
    "FROM storage_edges WHERE present AND backend = 'vercel-blob' AND artifact = 'asset' LIMIT 1)"
)
TABLES = ("images", "videos", "notes", "documents", "audio")


def test_a_finding_that_is_gone_is_resolved_also_where_it_belongs_to_no_store(
    box: Box, home: Path
) -> None:
    without_icp = {"CANISTER_ID_BACKEND": ""}
    lost = box.audit(home, **without_icp).of("lost")[0]
    box.sql("DELETE FROM storage_edges WHERE memory_id::text = %s", lost.memory_id)
    for table in TABLES:
        box.sql(f"DELETE FROM {table} WHERE id::text = %s", lost.memory_id)  # noqa: S608
    assert lost.fingerprint not in {
        each.fingerprint for each in box.audit(home, **without_icp).record.findings
    }
    resolved = "SELECT resolved_at IS NOT NULL FROM audit.finding WHERE fingerprint = %s"
    assert box.sql(resolved, lost.fingerprint) == [(True,)]
    with (
        connect(box.directory.database_url) as conn,
        pytest.raises(UsageError, match="was resolved on"),
    ):
        known_finding(conn, lost.fingerprint)


def test_a_finding_stays_open_while_the_capsule_of_its_memory_is_not_seen(
    box: Box, home: Path
) -> None:
    missing = box.audit(home).of("missing", backend=ICP)[0]
    box.sql(
        "UPDATE storage_edges SET location = regexp_replace(location, '^icp://[^/]+', "
        "'icp://capsule_unseen') WHERE memory_id::text = %s AND backend = 'icp-canister'",
        missing.memory_id,
    )
    done = box.audit(home)
    assert done.record.stores[ICP].state == "complete"
    assert list(done.record.stores[ICP].unknown_parts) == ["capsule_unseen"]
    assert missing.fingerprint not in {each.fingerprint for each in done.record.findings}
    still_open = "SELECT resolved_at IS NULL FROM audit.finding WHERE fingerprint = %s"
    assert box.sql(still_open, missing.fingerprint) == [(True,)]


def test_what_is_acknowledged_is_shown_and_wakes_nobody_until_its_date_has_passed(
    sound: Box, home: Path
) -> None:
    sound.sql(ONE_FAILURE)
    found = sound.audit(home)
    assert (found.code, found.kinds) == (1, {"stale_failure": 1})
    (finding,) = found.record.findings
    assert open_now(found) == [finding]

    take_note(sound, finding.fingerprint, soon())
    quiet = sound.audit(home)
    assert (quiet.code, quiet.record.acknowledged, quiet.record.open.warning) == (0, 1, 0)
    assert open_now(quiet) == []
    (same,) = quiet.record.findings
    assert (same.fingerprint, same.first_seen) == (finding.fingerprint, finding.first_seen)
    assert (same.runs_seen, same.acknowledged_reason) == (2, "it is known")
    assert "Acknowledged until" in page(home, quiet)

    sound.sql("UPDATE audit.ack SET until = now() WHERE fingerprint = %s", finding.fingerprint)
    awake = sound.audit(home)
    (found_again,) = open_now(awake)
    assert (awake.code, awake.record.acknowledged) == (1, 0)
    assert found_again.woken == "its date has passed"
    assert "No longer acknowledged, its date has passed" in page(home, awake)

    sound.sql("UPDATE storage_edges SET sync_state = 'idle', sync_error = NULL")
    assert not sound.audit(home).kinds
    with connect(sound.directory.database_url) as conn:
        with pytest.raises(UsageError, match="was resolved on"):
            known_finding(conn, finding.fingerprint)
        withdraw(conn, finding.fingerprint)
        with pytest.raises(UsageError, match="Nobody has acknowledged"):
            withdraw(conn, finding.fingerprint)


def test_a_person_acknowledges_on_the_command_line_and_takes_it_back(
    sound: Box, home: Path
) -> None:
    sound.sql(ONE_FAILURE)
    (finding,) = sound.audit(home).record.findings
    until = ("--until", f"{soon():%Y-%m-%d}", "--reason", "[red]the owner\x1b[2J looks[/]")
    done = command_line(sound, home, "ack", finding.fingerprint, *until, "--json", "out.json")
    assert done.returncode == 0, done.stderr
    assert finding.explanation[:30] in done.stdout.replace("\n", " ")
    assert json.loads((home / "out.json").read_text("utf-8"))["kind"] == "stale_failure"

    shown = command_line(sound, home, "findings")
    assert shown.returncode == 0
    assert "[red]the owner" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "No findings" in command_line(sound, home, "findings", "--open").stdout

    assert command_line(sound, home, "ack", finding.fingerprint, "--withdraw").returncode == 0
    assert command_line(sound, home, "findings", "--open").returncode == 1
    unknown = command_line(sound, home, "ack", "0" * 16, *until)
    assert unknown.returncode == 2
    assert "No finding has the fingerprint" in unknown.stderr
