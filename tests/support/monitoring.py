"""The files of ``deploy/monitoring/``, as tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from testbed.worker import CHECKOUT

__all__ = [
    "MONITORING",
    "RULE_FILES",
    "AlertRule",
    "alert_names",
    "alert_rules",
    "dashboard",
    "log_queries",
    "metric_queries",
    "panels",
    "rule_file",
]

MONITORING = CHECKOUT / "deploy/monitoring"

#: The alerts of all workers, and those of the role `replicate`.
RULE_FILES = ("alerts.yaml", "downstream_alerts.yaml")


@dataclass(frozen=True)
class AlertRule:
    """A rule; several rules may raise the same alert.

    Attributes
    ----------
    content : `dict`
        The rule, as its file has it.
    file : `str`
        The name of the file.
    """

    content: dict[str, Any]
    file: str

    @property
    def alert(self) -> str:
        """The alert's name."""
        return str(self.content["alert"])

    @property
    def expression(self) -> str:
        """The PromQL expression."""
        return str(self.content["expr"])

    def __str__(self) -> str:
        return "-".join([self.alert, *filter(None, [self.content["labels"].get("problem")])])


def rule_file(name: str = RULE_FILES[0]) -> dict[str, Any]:
    """Return the content of a file of rules."""
    content: dict[str, Any] = yaml.safe_load((MONITORING / name).read_text())
    return content


def alert_rules() -> list[AlertRule]:
    """Return the rules of all files."""
    return [
        AlertRule(rule, name)
        for name in RULE_FILES
        for group in rule_file(name)["groups"]
        for rule in group["rules"]
    ]


def alert_names(*files: str) -> list[str]:
    """Return the names of the alerts of all files or of some, without repetitions, in order."""
    chosen = files or RULE_FILES
    return list(dict.fromkeys(rule.alert for rule in alert_rules() if rule.file in chosen))


def dashboard() -> dict[str, Any]:
    """Return the content of ``dashboard.json``."""
    content: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels, without the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def metric_queries() -> list[tuple[str, str]]:
    """Return the PromQL expressions of the panels, each with the panel's title."""
    return [
        (panel["title"], target["expr"])
        for panel in panels()
        if panel["datasource"]["type"] == "prometheus"
        for target in panel["targets"]
    ]


def log_queries() -> Iterator[tuple[str, set[str]]]:
    """Return the filters of the log panels, each with the keys of log lines that it shows."""
    for panel in panels():
        if panel["datasource"]["type"] == "loki":
            for target in panel["targets"]:
                _, _, chosen, text = target["expr"].split(" | ", 3)
                yield chosen, set(re.findall(r"{{\.(\w+)}}", text))
