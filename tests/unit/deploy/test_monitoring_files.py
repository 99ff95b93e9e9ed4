"""The dashboard is the one that its module makes; alerts, panels and runbook fit together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.telemetry.status import LOGIN_PATIENCE
from testbed.worker import CHECKOUT
from tests.support.monitoring import (
    MONITORING,
    RULE_FILES,
    AlertRule,
    alert_names,
    alert_rules,
    dashboard,
    metric_queries,
    panels,
    rule_file,
)
from tests.support.runbook import RUNBOOK, RUNBOOK_URL, anchors


def exposed() -> dict[str, str]:
    """Return the types of the metrics of docs/metrics.md, which are those that a worker exposes."""
    table = (CHECKOUT / "docs/metrics.md").read_text()
    return dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:butler_writer|process)_\w+", expression))


def test_the_dashboard_is_what_its_module_makes() -> None:
    made = subprocess.run(
        [sys.executable, MONITORING / "dashboard.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == (MONITORING / "dashboard.json").read_text(), "run: make dashboard"


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_has_a_unit_and_leads_to_a_section_of_the_runbook(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    (link,) = panel["links"]
    address, _, anchor = link["url"].partition("#")
    assert address == RUNBOOK_URL
    assert anchor in anchors()


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    cells = [
        (x, y)
        for panel in dashboard()["panels"]
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23


def test_alerts_sections_of_the_runbook_and_annotations_have_the_same_names() -> None:
    sections = re.findall(r"^### (ButlerWriter\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    annotations = [
        annotation["name"]
        for annotation in dashboard()["annotations"]["list"]
        if annotation["name"].startswith("ButlerWriter")
    ]
    assert alert_names() == sections == annotations
    assert all(len(alert_names(file)) <= 15 for file in RULE_FILES)


@pytest.mark.parametrize("rule", alert_rules(), ids=str)
def test_an_alert_has_a_severity_and_leads_to_its_section(rule: AlertRule) -> None:
    content = rule.content
    assert content["labels"]["severity"] in {"critical", "warning"}
    assert content["annotations"]["runbook_url"] == f"{RUNBOOK_URL}#{content['alert'].lower()}"
    assert content["annotations"]["summary"]
    assert content["annotations"]["description"]


def test_what_is_away_raises_its_alert_before_a_refused_worker_ends_itself() -> None:
    (group,) = rule_file()["groups"]
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    away = [rule for rule in group["rules"] if "dependency_up{" in rule["expr"]]
    assert len(away) == 3
    for rule in away:
        times = [config["global"]["scrape_interval"], group["interval"], rule["for"]]
        assert sum(int(time.removesuffix("s")) for time in times) <= LOGIN_PATIENCE


def test_alerts_and_panels_use_only_metrics_that_workers_expose() -> None:
    expressions = [rule.expression for rule in alert_rules()]
    expressions += [expression for _, expression in metric_queries()]
    used = {name for expression in expressions for name in names_in(expression)}
    series = {name + ("_bucket" if kind == "histogram" else "") for name, kind in exposed().items()}
    assert used
    assert used <= series


def test_every_metric_of_a_worker_is_on_the_dashboard() -> None:
    text = " ".join(expression for _, expression in metric_queries())
    own = {name for name in exposed() if name.startswith("butler_writer_")}
    # Receipts of the ledger are for developers.
    assert {name for name in own if name not in text} == {"butler_writer_receipts_total"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of the Compose profile ``monitoring``."""
    found = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    return {name: own for name, own in found.items() if own.get("profiles") == ["monitoring"]}


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return where the files of ``deploy/monitoring/`` are mounted, all of them read-only."""
    parts = [volume.split(":") for volume in service["volumes"] if volume.startswith("./")]
    assert all(mode == "ro" for _, _, mode in parts)
    return {source.removeprefix("./deploy/monitoring/"): target for source, target, _ in parts}


def test_prometheus_reads_the_alerts_and_scrapes_every_worker(services: dict[str, Any]) -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    found = mounts(services["prometheus"])
    assert f"--config.file={found['prometheus.yaml']}" in services["prometheus"]["command"]
    assert config["rule_files"] == list(RULE_FILES)
    for rules in RULE_FILES:
        assert str(Path(found["prometheus.yaml"]).with_name(rules)) == found[rules]
    jobs = {}
    for scrape in config["scrape_configs"]:
        (discovery,) = scrape["dns_sd_configs"]
        assert discovery["port"] == 6066
        jobs[scrape["job_name"]] = discovery["names"]
    # The alerts compare by job: each role has one.
    assert jobs == {"butler-writer": ["worker"], "butler-writer-public": ["downstream"]}


def test_grafana_shows_the_dashboard_with_data_of_prometheus(services: dict[str, Any]) -> None:
    found = mounts(services["grafana"])
    assert Path(found["datasources.yaml"]).parent.name == "datasources"
    assert Path(found["dashboards.yaml"]).parent.name == "dashboards"
    (provider,) = yaml.safe_load((MONITORING / "dashboards.yaml").read_text())["providers"]
    assert str(Path(found["dashboard.json"]).parent) == provider["options"]["path"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == found["dashboard.json"]
    (source,) = yaml.safe_load((MONITORING / "datasources.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_and_grafana_are_hardened_and_reachable_from_this_machine_only(
    services: dict[str, Any],
) -> None:
    assert services.keys() == {"prometheus", "grafana"}
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert "repository:/repo" not in service["volumes"]
    environment = services["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
