"""A real Prometheus scrapes two real workers: alerts fire and resolve, and every panel has data."""

from __future__ import annotations

import copy
import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.cluster import Cluster
from testbed.postgresql import PostgreSQL
from testbed.prometheus import Prometheus
from testbed.waiting import wait_until
from testbed.worker import Worker
from tests.support.deployment import Deployment
from tests.support.events import Night
from tests.support.monitoring import log_queries, metric_queries, rule_file

#: Values of Grafana's variables.
VARIABLES = {"$job": ".*", "$__rate_interval": "30s"}

WORKERS = 2


def hasty_rules() -> dict[str, Any]:
    """Return the alerts, each of which fires after a second."""
    rules = copy.deepcopy(rule_file())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = "1s"
    return rules


def without_variables(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@pytest.fixture
def deployment(
    kafka: Cluster, private_postgresql: PostgreSQL, topic_name: str, tmp_path: Path
) -> Deployment:
    return Deployment(
        kafka,
        topic_name,
        tmp_path,
        database=private_postgresql.create_database("monitored"),
        partitions=WORKERS,
        settings={"BUTLER_WRITER_MISSING_FILE_WAIT": "0.1", "BUTLER_WRITER_RETRY_WAIT_MAX": "1"},
    )


@pytest.fixture
def workers(deployment: Deployment) -> Iterator[list[Worker]]:
    with deployment.worker() as one, deployment.worker() as two:
        for worker in (one, two):
            worker.wait_ready()
        wait_until(lambda: one.partitions() and two.partitions(), 60, "a partition for each")
        yield [one, two]


@pytest.fixture
def prometheus(prometheus_programs: Path, workers: list[Worker]) -> Iterator[Prometheus]:
    targets = [f"127.0.0.1:{worker.port}" for worker in workers]
    with Prometheus(targets, hasty_rules()) as server:
        yield server


def value(prometheus: Prometheus, expression: str) -> float:
    """Return the value of an expression that has one series."""
    (series,) = prometheus.query(expression) or [{"value": [0, "nan"]}]
    return float(series["value"][1])


def wait_value(prometheus: Prometheus, expression: str, expected: float) -> None:
    wait_until(
        lambda: value(prometheus, expression) == expected,
        30,
        lambda: f"{expression} is {value(prometheus, expression)}, not {expected}",
        interval=0.5,
    )


def wait_firing(
    prometheus: Prometheus, condition: Callable[[set[str]], bool], timeout: float = 45
) -> None:
    wait_until(
        lambda: condition(prometheus.firing()),
        timeout,
        lambda: f"alerts: {prometheus.firing()}",
        interval=0.5,
    )


def panels_without_data(prometheus: Prometheus) -> list[str]:
    """Return the queries of panels that give no number."""

    def has_number(expression: str) -> bool:
        found = prometheus.query(without_variables(expression))
        return any(not math.isnan(float(series["value"][1])) for series in found)

    return [
        f"{title}: {expression}"
        for title, expression in metric_queries()
        if not has_number(expression)
    ]


def lines_of(workers: list[Worker]) -> list[dict[str, Any]]:
    return [json.loads(line) for worker in workers for line in worker.log_text().splitlines()]


def matches(line: dict[str, Any], chosen: str) -> bool:
    """Tell whether a log line passes a filter of LogQL: one label that is equal or matches."""
    found = re.fullmatch(r'(\w+)(=~|=)"([^"]*)"', chosen)
    assert found is not None, chosen
    key, operator, text = found.groups()
    pattern = text if operator == "=~" else re.escape(text)
    return re.fullmatch(pattern, str(line.get(key, ""))) is not None


@pytest.mark.kafka
@pytest.mark.postgresql
@pytest.mark.timeout(300)
def test_a_stopped_database_raises_its_alert_and_every_panel_has_data(
    prometheus_programs: Path,
    deployment: Deployment,
    private_postgresql: PostgreSQL,
    workers: list[Worker],
    prometheus: Prometheus,
) -> None:
    """One test, because the servers take half of its time."""
    wait_value(prometheus, "sum(butler_writer_ready)", WORKERS)
    wait_firing(prometheus, lambda names: not names)  # idle workers are well
    night = Night(deployment.root)
    deployment.send(*(night.event(1, detector) for detector in range(10)))
    deployment.wait_done()

    wait_until(
        lambda: not panels_without_data(prometheus),
        30,
        lambda: "no data:\n" + "\n".join(panels_without_data(prometheus)),
        interval=1,
    )
    wait_firing(prometheus, lambda names: not names)
    wait_value(prometheus, "sum(butler_writer_consumer_lag)", 0)

    lost = night.event(2, 0)
    lost["datasets"][0]["path"] += ".lost"
    deployment.send(lost)
    wait_firing(prometheus, lambda names: names == {"ButlerWriterDeadLetters"})

    private_postgresql.stop()
    deployment.send(*(night.event(3, detector) for detector in range(6)))
    both = {"ButlerWriterDeadLetters", "ButlerWriterDatabaseAway"}
    wait_firing(prometheus, lambda names: names == both)
    wait_value(prometheus, "sum(butler_writer_consumer_lag)", 6)
    wait_value(prometheus, "sum(butler_writer_ready)", 0)

    private_postgresql.start()
    wait_firing(prometheus, lambda names: names == {"ButlerWriterDeadLetters"}, 60)
    deployment.wait_done()
    wait_value(prometheus, "sum(butler_writer_consumer_lag)", 0)

    lines = lines_of(workers)
    for chosen, keys in log_queries():
        assert any(matches(line, chosen) for line in lines), chosen
        assert keys <= {key for line in lines for key in line}

    for worker in workers:
        checked = subprocess.run(
            [prometheus_programs / "promtool", "check", "metrics"],
            input=worker.page("/metrics"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
