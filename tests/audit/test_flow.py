"""What the flow itself decides: which policies it takes, and which end a store's failure has."""

import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from damaged_sandbox import Box
from prefect_audit import prefect_with

from checks.errors import SettingsError, StoreUnreachableError, UsageError
from flows import backfill
from flows import nightly_audit as audits
from flows.engine import run_flow, task
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


def test_an_audit_that_fails_while_comparing_ends_after_the_galleries(
    sound: Box, home: Path, prefect_url: str
) -> None:
    """What is under way would else write to the directory of a run that is over."""
    settings, failed, over = sound.settings(home), Event(), []

    def slowly(run: audit.AuditRun, _seen: Any) -> None:
        failed.wait()
        time.sleep(0.5)
        over.append(run.directory.run_json.exists())

    def fail(*_: object) -> None:
        failed.set()
        raise StoreUnreachableError("it went away")

    with prefect_with(prefect_url, settings, audits) as patch:
        patch.setattr(audits, "conclude_collection", task(slowly))
        patch.setattr(audits, "conclude_left_over", fail)
        run_flow(audits.nightly_audit)
    (run_id,) = run_directory.run_ids(home)
    assert run_directory.existing(home, run_id).read_run().status == "inconclusive"
    assert over == [False]


def test_a_back_fill_goes_on_with_what_it_was_begun_with_or_says_so(
    sound: Box, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_run: object) -> None:
        raise AssertionError("it began")

    def fill(**parameters: Any) -> list[str]:
        with pytest.raises(AssertionError, match="it began"):
            backfill.backfill.fn(**parameters)
        return run_directory.run_ids(home)

    monkeypatch.setattr(backfill, "load_settings", lambda: sound.settings(home))
    monkeypatch.setattr(backfill, "_observed", fail)
    (run_id,) = fill()
    with pytest.raises(UsageError, match=f"{run_id} goes on .* --hash-content .*use --restart"):
        backfill.backfill.fn(hash_content=True)
    assert fill() == [run_id]
    assert len(fill(hash_content=True, restart=True)) == 2


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
