"""docs/trust.md lists the settings that say what events may name, and the strict example loads."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from app.butler.policy import WritePolicy
from app.settings import ButlerSettings, load_settings
from models.causes import Cause
from testbed.worker import CHECKOUT

DOCUMENT = CHECKOUT / "docs" / "trust.md"
STRICT = CHECKOUT / "deploy" / "strict.env"

RUN = "LSSTCam/prompt/output-2025-09-12/SingleFrame/pipelines-cf62e06-config-8acfde6"

#: The settings that say what events may name, and their defaults.
SETTINGS = {
    "ALLOWED_RUNS": None,
    "ALLOWED_CHAINS": None,
    "ALLOWED_ELEMENTS": (),
    "NEW_DATASET_TYPES": 20,
    "PATHS_BELOW_RUN": True,
    "STAGING_ROOTS": (),
}


def test_the_table_has_each_setting_and_each_cause() -> None:
    rows = re.findall(
        r"^\| .+ \| `BUTLER_WRITER_(\w+)`.* \| (.+) \| (.+) \| `(\w+)` \|$",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    assert [name for name, *_ in rows] == [*SETTINGS]
    causes = {cause for *_, cause in rows}
    assert causes == {c.value for c in Cause if c.value.endswith("_not_allowed")} | {
        "invalid_event"
    }
    assert "20" in rows[3][1]


def test_the_defaults_are_those_of_the_table() -> None:
    policy = WritePolicy()
    assert {name: getattr(policy, name.lower()) for name in SETTINGS} == SETTINGS


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> ButlerSettings:
    command = ["sh", "-ec", f"set -a; . {STRICT}; env -0"]
    said = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    given = dict(line.split("=", 1) for line in said.split("\0")[:-1])
    monkeypatch.setattr(os, "environ", {k: v for k, v in given.items() if k != "PWD"})
    return load_settings().write


def test_the_strict_example_allows_the_runs_and_chains_of_the_pods(strict: ButlerSettings) -> None:
    assert strict.allowed_runs is not None
    assert strict.allowed_chains is not None
    assert strict.chain_pattern is not None
    chain = strict.chain_pattern.find("chain", RUN)
    assert chain is not None
    assert strict.allowed_runs.matches(RUN)
    assert strict.allowed_chains.matches(chain)
    assert (strict.new_dataset_types, strict.paths_below_run) == (None, True)


@pytest.mark.parametrize(
    "name",
    [
        "LSSTCam/calib",
        "LSSTCam/defaults",
        "LSSTCam/prompt",
        RUN.replace("prompt", "calib"),
        f"{RUN}/more",
        f"{RUN}\n",
        f"u/someone/{RUN}",
    ],
)
def test_the_strict_example_allows_no_other_name(strict: ButlerSettings, name: str) -> None:
    for pattern in (strict.allowed_runs, strict.allowed_chains):
        assert pattern is not None
        assert not pattern.matches(name)
