"""Whatever a stranger wrote ends in a clear error or is read: no crash, no hang, bounded memory."""

import json
import os
from pathlib import Path

import pytest
from blob_targets import BLOBS
from campaign import Campaign, Figures, Target
from canister_targets import ANSWERS, CANDID
from evidence_targets import CERTIFICATES, EVIDENCE, STATEMENTS
from recordings import ROOT_KEY
from settings_targets import SETTINGS, VARIABLES
from text_targets import NAMES, TEXTS

TARGETS = (ANSWERS, CANDID, CERTIFICATES, EVIDENCE, STATEMENTS, BLOBS, NAMES, TEXTS, SETTINGS)
#: Where a campaign leaves its figures, and how long it takes for each target.
FIGURES = Path(os.environ.get("FUZZ_FIGURES", ".fuzz"))
SECONDS = float(os.environ.get("FUZZ_SECONDS", "900"))

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IC_ROOT_KEY", ROOT_KEY.hex())
    monkeypatch.chdir(tmp_path)


def sound(figures: Figures) -> None:
    shown = [each | {"hex": each["hex"][:400]} for each in figures.examples]
    assert figures.failures == 0, json.dumps(shown, indent=1)


@every_target
def test_some_hundred_inputs_are_read_or_refused(target: Target) -> None:
    sound(Campaign(target, 1).run(inputs=500))


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
@every_target
def test_a_quarter_of_an_hour_of_inputs_is_read_or_refused(target: Target) -> None:
    figures = Campaign(target, int.from_bytes(os.urandom(4))).run(seconds=SECONDS)
    figures.write(FIGURES if FIGURES.is_absolute() else Path(__file__).parents[2] / FIGURES)
    sound(figures)
