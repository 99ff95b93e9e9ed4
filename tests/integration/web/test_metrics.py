"""The metrics of a real worker are complete, documented, and what promtool accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import DimensionUniverse
from prometheus_client.parser import text_string_to_metric_families

from app.installation import own_version
from app.telemetry.labels import Needed, Step
from models.causes import Cause
from testbed.cluster import Cluster
from testbed.waiting import wait_until
from testbed.worker import CHECKOUT, Worker
from tests.support.deployment import Deployment
from tests.support.events import Night

TABLE_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def idle(broker: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker to which nothing is sent."""
    topic = f"prompt-output-{os.getpid()}-idle"
    with Deployment(broker, topic, tmp_path_factory.mktemp("idle")).worker() as worker:
        worker.wait_ready()
        # Kafka and the database are asked once in five seconds.
        wait_until(lambda: number_of_partitions(worker) == 1, 30, "the first look")
        yield worker


def series(worker: Worker) -> dict[str, dict[str, float]]:
    """Return the values of each metric by the values of the labels, but without buckets."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(worker.page("/metrics")):
        for sample in family.samples:
            if "le" not in sample.labels:
                labels = ",".join(sample.labels.values())
                found.setdefault(sample.name, {})[labels] = sample.value
    return found


def number_of_partitions(worker: Worker) -> float:
    return series(worker)["butler_writer_input_partitions"][""]


def test_promtool_accepts_the_metrics(prometheus_programs: Path, idle: Worker) -> None:
    done = subprocess.run(
        [prometheus_programs / "promtool", "check", "metrics"],
        input=idle.page("/metrics"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_documents_list_the_metrics(idle: Worker) -> None:
    text = idle.page("/metrics")
    helps = dict(re.findall(r"^# HELP (\w+) (.+)$", text, re.MULTILINE))
    types = dict(re.findall(r"^# TYPE (\w+) (.+)$", text, re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in types}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            labels[name] |= set(sample.labels) - {"le"}

    table = TABLE_ROW.findall((CHECKOUT / "docs/metrics.md").read_text())

    documented = {name: (kind, set(re.findall(r"`(\w+)`", own))) for name, kind, own, _ in table}
    assert documented == {name: (kind, labels[name]) for name, kind in types.items()}
    ours = {name: text for name, _, _, text in table if name.startswith("butler_writer_")}
    assert ours == {name: helps[name] for name in ours}


def test_every_series_whose_labels_are_known_exists_from_the_start(idle: Worker) -> None:
    found = series(idle)
    steps = dict.fromkeys(map(str, Step), 0.0)
    expected = {
        "butler_writer_receipts_total": dict.fromkeys(
            ["expected", "repeated", "unplaced", "jumped"], 0.0
        ),
        "butler_writer_events_total": {"written": 0.0, "dead": 0.0},
        "butler_writer_datasets_total": {"inserted": 0.0, "already_there": 0.0},
        "butler_writer_dead_letters_total": dict.fromkeys(map(str, Cause), 0.0),
        "butler_writer_retries_total": steps,
        "butler_writer_step_running_seconds": steps,
        "butler_writer_step_failing_seconds": steps,
        "butler_writer_flush_seconds_count": steps,
        "butler_writer_consumer_lag": {"0": 0.0},
        "butler_writer_oldest_unacked_seconds": {"0": 0.0},
        "butler_writer_dependency_up": dict.fromkeys(map(str, Needed), 1.0),
        "butler_writer_ready": {"": 1.0},
        "butler_writer_assigned_partitions": {"": 1.0},
    }
    assert {name: found.get(name) for name in expected} == expected
    # Nothing has happened yet: all others, too, are there and 0.
    counters = {name: each for name, each in found.items() if name.endswith(("_total", "_count"))}
    ours = {name: each for name, each in counters.items() if name.startswith("butler_writer_")}
    ours.pop("butler_writer_commits_total")
    assert {value for each in ours.values() for value in each.values()} == {0.0}


def test_the_build_is_a_metric(idle: Worker) -> None:
    (family,) = (
        each
        for each in text_string_to_metric_families(idle.page("/metrics"))
        if each.name == "butler_writer_build_info"
    )
    (sample,) = family.samples
    assert sample.value == 1
    assert sample.labels["version"] == own_version()
    assert sample.labels["universe"] == str(DimensionUniverse().version)
    assert all(sample.labels.values())


def flush_lines(worker: Worker) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line[:1] == "{"]
    return [line for line in lines if line["event"] == "window flushed"]


def test_a_flush_is_in_the_metrics_and_in_one_log_line(
    broker: Cluster, topic_name: str, tmp_path: Path
) -> None:
    deployment = Deployment(broker, topic_name, tmp_path)
    with deployment.worker() as worker:
        worker.wait_ready()
        night = Night(deployment.root)
        deployment.send(*(night.event(1, detector) for detector in range(3)))
        broker.produce(deployment.topic, b"no event")
        deployment.wait_done()
        wait_until(
            lambda: sum(line["acked"] for line in flush_lines(worker)) == 4, 30, "the log lines"
        )
        found, lines = series(worker), flush_lines(worker)
    assert found["butler_writer_latency_seconds_count"] == {"": 4}
    assert found["butler_writer_window_events_sum"] == {"": 4}
    assert found["butler_writer_window_events_count"] == {"": len(lines)}
    assert found["butler_writer_window_bytes_sum"] == {"": sum(line["bytes"] for line in lines)}
    assert found["butler_writer_chain_updates_total"][""] >= 1
    assert found["butler_writer_commits_total"][""] >= 1
    latencies = [line["max_latency"] for line in lines]
    assert 0 < max(latencies) < 60
    total = found["butler_writer_latency_seconds_sum"][""]
    assert max(latencies) <= total + 0.001 <= 4 * max(latencies) + 0.005
    offsets = [line["offsets"]["0"] for line in lines]
    assert (offsets[0][0], offsets[-1][1]) == (0, 3)
    for line in lines:
        assert set(line["step_seconds"]) == set(map(str, Step)) - {Step.KEEP_WAITING.value}
        assert sum(line["step_seconds"].values()) <= line["seconds"] + 0.01
        assert line["opened_at"] < line["timestamp"]
        assert (line["version"], bool(line["worker"])) == (own_version(), True)
