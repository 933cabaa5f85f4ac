"""What the flow itself decides: which policies it takes, and which end a store's failure has."""

import sys
from pathlib import Path

import pytest
from damaged_sandbox import Box

from checks.errors import SettingsError, StoreUnreachableError, UsageError
from flows import nightly_audit as audits
from flows.engine import run_flow
from tasks import audit, run_directory


def test_a_policy_that_there_is_not_is_refused_by_the_flow_too() -> None:
    with pytest.raises(UsageError, match="no repair policy; use"):
        audits.nightly_audit.fn(repair="everything")


def test_a_store_that_fails_after_repairs_began_leaves_a_run_to_be_resumed(
    sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sound.settings(home)

    def fail(*_: object) -> None:
        raise StoreUnreachableError("it went away")

    monkeypatch.setattr(audits, "load_settings", lambda: settings)
    monkeypatch.setattr(audits, "_found", lambda _run, _progress: None)
    monkeypatch.setattr(audits, "_mended", fail)
    with pytest.raises(StoreUnreachableError) as failed:
        audits.nightly_audit.fn(repair="ledger")
    assert failed.value.exit_code == 3
    (run_id,) = run_directory.run_ids(home)
    assert run_directory.existing(home, run_id).read_run().status == "failed"
    assert audit.unfinished(settings, audit.NIGHTLY_AUDIT) == run_id


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_task_runner_that_is_not_installed_is_named_with_what_to_install(
    kind: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKEEPER_TASK_RUNNER", kind)
    monkeypatch.setenv("EDGEKEEPER_HOME", str(home))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    monkeypatch.setitem(sys.modules, f"prefect_{kind}", None)
    with pytest.raises(SettingsError, match=rf"Install edgekeeper\[{kind}\]"):
        run_flow(audits.nightly_audit)
