"""The alerts pass promtool's checks and tests, and each rule is needed for a test to pass."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.monitoring import (
    MONITORING,
    RULE_FILES,
    AlertRule,
    alert_names,
    alert_rules,
    rule_file,
)

RULES = alert_rules()


def rule_tests_of(file: str) -> list[dict[str, Any]]:
    """Return the tests of a file of rules."""
    name = file.replace(".yaml", "_test.yaml")
    tests: list[dict[str, Any]] = yaml.safe_load((MONITORING / name).read_text())["tests"]
    return tests


TESTS = [each for file in RULE_FILES for each in rule_tests_of(file)]


def promtool(programs: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [programs / "promtool", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (verb, file.replace(".yaml", ending))
        for file in RULE_FILES
        for verb, ending in (("check", ".yaml"), ("test", "_test.yaml"))
    ],
)
def test_the_alerts_pass(prometheus_programs: Path, arguments: tuple[str, str]) -> None:
    verb, file = arguments
    done = promtool(prometheus_programs, verb, "rules", file, folder=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_of_prometheus_passes(prometheus_programs: Path) -> None:
    done = promtool(prometheus_programs, "check", "config", "prometheus.yaml", folder=MONITORING)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("expression", ["vector(1) < 0", "vector(1)"], ids=["never", "always"])
def test_a_rule_that_never_or_always_fires_fails_its_tests(
    prometheus_programs: Path, tmp_path: Path, rule: AlertRule, expression: str
) -> None:
    changed = rule_file(rule.file)
    for group in changed["groups"]:
        for each in group["rules"]:
            if each == rule.content:
                each["expr"] = expression
    own = [each for each in TESTS if each["name"].startswith(f"{rule.alert}:")]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(changed))
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": own})
    )
    done = promtool(prometheus_programs, "test", "rules", "tests.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert f"alertname: {rule.alert}" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", alert_names())
def test_an_alert_has_series_that_fire_that_must_not_and_that_begin_anew(alert: str) -> None:
    own = {
        each["name"].removeprefix(f"{alert}: "): checked["exp_alerts"]
        for each in TESTS
        for checked in each["alert_rule_test"]
        if checked["alertname"] == alert
    }
    assert [name for name, expected in own.items() if name.startswith("fires") and expected]
    assert [name for name, expected in own.items() if "does not fire" in name and not expected]
    assert [name for name in own if name.startswith(("restarted", "absent"))]


def test_each_test_is_named_after_its_alert() -> None:
    for each in TESTS:
        for checked in each["alert_rule_test"]:
            assert each["name"].startswith(f"{checked['alertname']}: ")
