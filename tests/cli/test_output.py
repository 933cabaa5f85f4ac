"""What a command writes: a file for its owner alone, and words that can't drive a terminal."""

import json
import stat
from pathlib import Path

import pytest

from edgekeeper.cli import command
from edgekeeper.cli.output import Output


def test_json_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")
    path.chmod(0o644)
    out = Output(json_path=str(path))
    out.json({"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_store_said_can_not_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output()
    for speak in (out.say, out.notice, out.progress):
        speak("first\nsecond \x1b[2J")
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert "\x1b" not in text
        assert "first\nsecond \\x1b[2J\n" in text


def test_the_place_of_the_last_log_is_known_whatever_the_settings_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe not a text")
    monkeypatch.chdir(tmp_path)
    assert command._home() == tmp_path / ".edgekeeper"
